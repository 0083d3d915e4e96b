"""Where the servers of a pool are, when its database is a cluster.

A switchover does not touch the pool itself: its clients, its queue, its limits.  It
changes where the pool's connections go; while there is no writer, they go nowhere.
Connections to the other nodes are kept open, so that a new writer can be used at once.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster.node_checks import CheckResult
from pgswitch.errors import OutcomeUnknown, SessionLost, TransactionLost
from pgswitch.net.backend import Backend, Phase
from pgswitch.pool import standbys
from pgswitch.pool.held_clients import LossCause, ServerLocation
from pgswitch.pool.login_attempts import INTERVENTION, NO_ENTRY, NO_RESOURCES
from pgswitch.pool.loss import LossOutcome
from pgswitch.pool.server_connector import WRITER_LOST, WRITER_MOVED
from pgswitch.pool.standbys import StandbyConnections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.cluster.cluster import LossCounts
    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.held_clients import HeldClients
    from pgswitch.wire.welcome import Welcome

SQLSTATES = {
    LossOutcome.ROLLED_BACK: TransactionLost.sqlstate,
    LossOutcome.PIPELINE_LOST: TransactionLost.sqlstate,
    LossOutcome.UNKNOWN: OutcomeUnknown.sqlstate,
    LossOutcome.UNKNOWN_INSIDE: OutcomeUnknown.sqlstate,
    LossOutcome.SESSION_LOST: SessionLost.sqlstate,
}


IN_HOT_STANDBY, READ_ONLY = "in_hot_standby", "default_transaction_read_only"


class Route(ServerLocation, Protocol):
    """Where the servers of a pool are; the pool's view of its cluster."""

    @property
    def searching(self) -> bool:
        """Whether there is no node to use now, and clients wait."""

    @property
    def starting(self) -> bool:
        """Whether that is because the first decision is still due: servers stay."""

    @property
    def is_welcome_stale(self) -> bool:
        """Whether the welcome that logins get may not be that of the present node."""

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the node's host and port in it."""

    @property
    def no_writer_reason(self) -> str:
        """Why there is no writer, for a client whose wait timed out; else empty."""

    def suspect(self) -> None:
        """Make the monitor probe the node: a server was lost, or misbehaved."""

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over the standby connections."""

    def correct_parameters(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return the parameters that a server has reported, as they are now."""

    def is_at_wrong_address(self, backend: Backend) -> bool:
        """Tell whether a server is not at the address that the monitor uses."""

    def welcome_learned(self) -> None:
        """Note that the welcome has been learned from a server."""

    def server_ready(self) -> None:
        """Note that a server has logged in and is ready for clients."""

    def login_refused(self, sqlstate: str) -> bool:
        """Handle a login that the node refuses; return whether clients go on waiting.

        :param sqlstate: empty if the node gave none.
        """

    def refresh(self) -> None:
        """Do what is due; called a few times a second."""

    def close(self) -> None:
        """Close everything: the pool is given up."""


class RoutePool(standbys.StandbyPool, Protocol):
    """What a route needs of its pool; see pool/pool.py."""

    welcome: Welcome | None
    held_clients: HeldClients

    def add_server(self, backend: Backend) -> None:
        """Add a standby connection to the pool's servers."""

    def launch(self, *, asked: int = 0) -> None:
        """Open servers for waiting clients; ``asked`` were sent away meanwhile."""

    def set_open(self) -> None:
        """Let clients have servers, or not."""

    def serve_waiters(self) -> None:
        """Give servers to waiting clients; open more."""

    def learn_welcome(self, backend: Backend) -> None:
        """Use the parameters of this server for the welcome of logins."""

    def resume_logins(self) -> None:
        """Go on with the logins that wait, if the welcome is known."""


class RouteCluster(Protocol):
    """What a route needs of its cluster; see cluster/cluster.py."""

    loss_counts: LossCounts

    @property
    def no_writer_reason(self) -> str:
        """Why there is no writer now; empty if there is."""

    def suspect(self) -> None:
        """Take a hint that something is wrong with the writer."""

    def address_of(self, node: Node) -> str:
        """Return the address where a node with a host name answered; empty: none."""

    def check(self, callback: CheckCallback) -> None:
        """Check the writer over a new connection."""

    def server_ready(self) -> None:
        """Note that a connection to the writer is ready for clients."""


class WriterRoute:
    """The writer as seen by one pool, and the pool's standby connections."""

    def __init__(
        self,
        pool: RoutePool,
        cluster: RouteCluster,
        name_of: Callable[[Node], str] = attrgetter("name"),
    ) -> None:
        """Begin at the host that the database's entry names.

        :param name_of: returns the name of a node as a database.
        """
        self.cluster = cluster
        self.node: Node | None = None
        """None: unknown, so the entry's own host is used."""
        self.searching = False
        """There is no writer; clients wait."""
        self.starting = False
        """The first decision is still due; clients wait, servers stay."""
        self.is_welcome_stale = False
        """The welcome that logins get may be that of another node."""
        self._is_login_untried = False
        """No login to this writer has succeeded yet; one to the last writer has."""
        self._pool = pool
        self.standbys = StandbyConnections(pool, self._at, name_of)
        """Connections to the other nodes."""

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the node's host and port in it."""
        return self._at(self.node)

    def _at(self, node: Node | None) -> DatabaseSpec:
        spec = self._pool.spec
        if node is None:
            return spec
        return replace(spec, host=node.host, port=node.port)

    @property
    def no_writer_reason(self) -> str:
        """Why there is no writer now; empty if there is."""
        return self.cluster.no_writer_reason if self.searching else ""

    is_standby = False
    """The writer writes."""

    def verdict(self, reason: str) -> LossCause | None:
        """Return the cause of the loss of a server; None: a check must show it."""
        if reason == WRITER_MOVED:
            return LossCause.MOVED
        # Before the first decision nothing is known of the writer.
        return LossCause.LEAVING if self.searching and not self.starting else None

    def verdict_of(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return the cause of a loss that a check of the writer shows.

        Whether a writer that takes no connections is lost is for the machine to decide.
        """
        del undone
        return LossCause.WELL if finding is CheckResult.WELL else None

    def check(self, callback: CheckCallback) -> None:
        """Check the writer over a new connection."""
        self.cluster.check(callback)

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over the standby connections."""
        return iter(self.standbys)

    def suspect(self) -> None:
        """Make the monitor probe the writer."""
        self.cluster.suspect()

    def correct_parameters(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return the parameters that a server has reported, as they are now.

        A standby connection reports the promotion only with its next answer.
        """
        if self.node is None or IN_HOT_STANDBY not in reported:
            return reported
        return {**reported, IN_HOT_STANDBY: "off"}

    def is_at_wrong_address(self, backend: Backend) -> bool:
        """Tell whether a server is not at the address that the monitor uses."""
        node = self.node
        return node is not None and is_at_other_address(
            self.cluster.address_of(node), backend
        )

    def welcome_learned(self) -> None:
        """Note that the welcome has been learned from a server."""
        if not self.searching:
            self.is_welcome_stale = False

    def server_ready(self) -> None:
        """Note that a server has logged in and is ready for clients."""
        if not self.searching:
            self._is_login_untried = False
            self.cluster.server_ready()

    def login_refused(self, sqlstate: str) -> bool:
        """Handle a login that the writer refuses; return whether clients go on waiting.

        It may be full, start up or shut down.  If it rejects a secret that the last
        writer accepted, it may be repaired; otherwise the secret is wrong, and waiting
        is useless.
        """
        if sqlstate[:2] == NO_ENTRY:
            return self._is_login_untried
        return sqlstate[:2] in (NO_RESOURCES, INTERVENTION)

    def note(self, outcome: LossOutcome | None) -> None:
        """Note what became of a client whose server was lost; None: disconnected."""
        loss_counts = self.cluster.loss_counts
        if outcome is LossOutcome.AGAIN:
            loss_counts.retried += 1
        elif outcome is None or outcome is LossOutcome.SESSION_LOST:
            loss_counts.lost += 1
        if outcome in SQLSTATES:
            self.note_error(SQLSTATES[outcome])

    def note_error(self, sqlstate: str) -> None:
        """Count an error that a client got for its loss, by SQLSTATE."""
        self.cluster.loss_counts.errors[sqlstate] += 1

    # Called by the cluster, see ClusterRoutes.

    def wait(self) -> None:
        """Make clients wait; present servers stay."""
        self.searching = self.starting = self.is_welcome_stale = True
        self._pool.set_open()

    def hold(self, *, is_leaving: bool = False) -> None:
        """Make clients wait, and close the connections to the last writer.

        :param is_leaving: busy connections are left to end by themselves until there is
            a new writer, because the server's last message shows what may run again.
        """
        self.searching, self.starting = True, False
        if self._welcome_value(READ_ONLY) == "on":
            # The last writer may have been made read-only before the switchover.
            self.is_welcome_stale = True
        self._pool.set_open()
        for backend in list(self._pool.servers.values()):
            if not is_leaving or not _is_at_work(backend):
                backend.close(WRITER_LOST)
        self._pool.held_clients.decide(LossCause.LEAVING)

    def serve_from(self, node: Node | None, *, same: bool) -> None:
        """Serve clients from this node; None: the host of the database's entry.

        :param same: it is the present server under another name.
        """
        is_host = node is not None and self.target.hosts == (node.host,)
        is_back = same or node == self.node
        was_starting = self.starting
        was_searching = self.searching and not was_starting
        if was_starting or not same:
            self.is_welcome_stale = not same
        self.searching = self.starting = False
        self.node = node
        self._correct_welcome()
        login_attempts = self._pool.server_connections.login_attempts
        if not same:
            was_known = self._pool.welcome is not None
            self._is_login_untried = (
                was_known and login_attempts.sqlstate[:2] != NO_ENTRY
            )
        for backend in list(self._pool.servers.values()):
            # A name may lead to another machine now, and servers that were opened
            # before the start may be at a host that the entry named then.
            if (
                not same
                or (is_host and self.is_at_wrong_address(backend))
                or (was_starting and self._is_at_another(backend))
            ):
                backend.close(WRITER_MOVED)
        if was_searching or not is_back:
            self._pool.held_clients.decide(
                LossCause.BACK if is_back else LossCause.MOVED
            )
        elif was_starting:
            self._pool.held_clients.check_again()
        login_attempts.succeeded()
        self._pool.set_open()
        if node is not None:
            self._use_standbys(node)
        self._pool.resume_logins()
        self._pool.serve_waiters()
        if self._pool.spec.user is not None and self._pool.welcome is None:
            # So that logins find the welcome, even if no client uses the pool again.
            self._pool.launch(asked=1)

    def _is_at_another(self, backend: Backend) -> bool:
        """Tell whether the address of a server shows that it is not at the node."""
        node = self.node
        if node is None or backend.phase is Phase.LOGIN:
            return False
        if backend.address.port not in (0, node.port):
            return True
        there = self.cluster.address_of(node) or node.host or ""
        return addresses_differ(backend.address.host, there)

    def _use_standbys(self, node: Node) -> None:
        """Move the standby connections to this node into the pool."""
        for backend in self.standbys.take(node):
            self._pool.add_server(backend)
            if backend.phase is Phase.LOGIN:
                continue
            if self.is_at_wrong_address(backend):
                backend.close(WRITER_MOVED)
            elif backend.parameters:
                self._pool.learn_welcome(backend)

    def _correct_welcome(self) -> None:
        """Correct ``in_hot_standby`` in the welcome: the node is the writer now."""
        welcome = self._pool.welcome
        is_writer = self.node is not None
        if (
            welcome is not None
            and is_writer
            and self._welcome_value(IN_HOT_STANDBY) == "on"
        ):
            self._pool.welcome = welcome.changed(IN_HOT_STANDBY, "off")

    def _welcome_value(self, parameter: str) -> str:
        """Return a parameter of the welcome; empty if it has none."""
        welcome = self._pool.welcome
        return "" if welcome is None else welcome.parameters.get(parameter, "")

    def refresh(self) -> None:
        """Maintain the standby connections."""
        self.standbys.refresh()

    def close(self) -> None:
        """Close the standby connections: the pool is given up."""
        self.standbys.keep(())
        self._pool.held_clients.give_up()


def is_at_other_address(address: str, backend: Backend) -> bool:
    """Tell whether a server is not at this address; an empty address matches any.

    A server that is still connecting may have no address yet.
    """
    here = backend.address.host
    return here != backend.host and addresses_differ(here, address)


def addresses_differ(one: str, other: str) -> bool:
    """Tell whether two hosts are both addresses, and differ."""
    try:
        return ip_address(one.partition("%")[0]) != ip_address(other.partition("%")[0])
    except ValueError:
        return False


def _is_at_work(backend: Backend) -> bool:
    """Tell whether a client of this server waits for an answer."""
    if backend.phase is Phase.LOGIN:
        return False
    exchange = backend.stream.exchange
    return exchange is not None and exchange.outstanding() > 0
