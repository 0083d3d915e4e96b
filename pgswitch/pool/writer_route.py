"""Where the servers of a pool are, when its database is a cluster.

The pool itself stays one: its clients, its queue, its limits.  What changes with a
switchover is where its connections go, and for a while that there is nowhere for
them to go.  Connections to the other nodes are kept open, so that a new writer can
be used the moment it is one.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster.node_checks import CheckResult
from pgswitch.errors import OutcomeUnknown, SessionLost, TransactionLost
from pgswitch.net.close_reason import CloseReason
from pgswitch.net.server_state import ServerState
from pgswitch.pool.loss import LossCause, LossOutcome
from pgswitch.pool.server_connections import INTERVENTION, NO_ENTRY, NO_RESOURCES
from pgswitch.pool.standbys import StandbyConnections, StandbyPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.cluster.switchovers import LossCounts
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.failover import HeldClients
    from pgswitch.wire.welcome import Welcome

SQLSTATES = {
    LossOutcome.ROLLED_BACK: TransactionLost.sqlstate,
    LossOutcome.PIPELINE_LOST: TransactionLost.sqlstate,
    LossOutcome.UNKNOWN: OutcomeUnknown.sqlstate,
    LossOutcome.UNKNOWN_INSIDE: OutcomeUnknown.sqlstate,
    LossOutcome.SESSION_LOST: SessionLost.sqlstate,
}
IN_HOT_STANDBY, READ_ONLY = "in_hot_standby", "default_transaction_read_only"


class RoutePool(StandbyPool, Protocol):
    """What a site needs of its pool; see pool/pool.py."""

    welcome: Welcome | None
    held_clients: HeldClients

    def add_server(self, backend: Backend) -> None:
        """Make a server of the pool of one that was opened elsewhere."""

    def launch(self, *, at_least: int = 0) -> None:
        """Open servers for waiting clients, but for no fewer than ``at_least``."""

    def update_open(self) -> None:
        """Let clients have servers, or not."""

    def serve_waiters(self) -> None:
        """Give servers to those who wait; open more."""

    def learn_welcome(self, backend: Backend) -> None:
        """Have clients told from now on what this server has reported."""

    def welcome_waiting(self) -> None:
        """Go on with the logins that wait, if what clients are told is known."""


class RouteCluster(Protocol):
    """What a pool tells its cluster; see cluster/cluster.py."""

    loss_counts: LossCounts

    @property
    def why_searching(self) -> str:
        """Why there is no writer now; empty if there is."""

    def suspect(self) -> None:
        """Take a hint that something is wrong with the writer."""

    def address_of(self, node: Node) -> str:
        """Return where the monitor has asked a node that has a name; empty: nowhere."""

    def check(self, heard: CheckCallback) -> None:
        """Call on the writer over a new connection."""

    def served(self) -> None:
        """Hear that a server of the writer's is there for clients."""


class WriterRoute:
    """The node that one pool's servers are on, and the warm ones on other nodes."""

    def __init__(
        self,
        pool: RoutePool,
        cluster: RouteCluster,
        name_of: Callable[[Node], str] = attrgetter("name"),
    ) -> None:
        """Begin at the place that the database's entry names.

        ``name_of`` returns what a node is called as a database.
        """
        self.cluster = cluster
        self.node: Node | None = None
        """None: nothing is known yet, so the entry's own host it is."""
        self.searching = False
        """There is no writer; clients wait."""
        self.starting = False
        """It is not known yet whether there is one; servers stay."""
        self.welcome_is_outdated = False
        """What clients are told at login is another node's, or may be."""
        self._is_untried = False
        """Nobody has logged in to this writer yet, but to the last one."""
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
    def why_searching(self) -> str:
        """Why there is no writer now; empty if there is."""
        return self.cluster.why_searching if self.searching else ""

    is_standby = False
    """The writer writes."""

    def cause_of(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server; None: it is to be found out."""
        if reason is CloseReason.WRITER_MOVED:
            return LossCause.MOVED
        # At a start nobody has said anything of the writer yet.
        return LossCause.LEAVING if self.searching and not self.starting else None

    def cause_found(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a call on the writer says.

        Whether a writer that takes no connections is given up is the machine's to say.
        """
        del undone
        return LossCause.WELL if finding is CheckResult.WELL else None

    def check(self, heard: CheckCallback) -> None:
        """Call on the writer over a new connection."""
        self.cluster.check(heard)

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over the connections kept for later."""
        return iter(self.standbys)

    def suspect(self) -> None:
        """Have the monitor look at the writer."""
        self.cluster.suspect()

    def corrected(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return what a server has reported as it is now, for clients that log in.

        A connection that was kept for a promotion was logged in to a standby, and says
        otherwise only with its next answer.
        """
        if self.node is None or IN_HOT_STANDBY not in reported:
            return reported
        return {**reported, IN_HOT_STANDBY: "off"}

    def is_elsewhere(self, backend: Backend) -> bool:
        """Tell whether a server is at another address than the monitor has asked."""
        node = self.node
        return node is not None and is_elsewhere(self.cluster.address_of(node), backend)

    def welcome_learned(self) -> None:
        """Note that a server has said what clients are told at login."""
        if not self.searching:
            self.welcome_is_outdated = False

    def served(self) -> None:
        """Note that a server has logged in and is there for clients."""
        if not self.searching:
            self._is_untried = False
            self.cluster.served()

    def login_refused(self, sqlstate: str) -> bool:
        """Deal with a writer that refuses a login; True: clients go on waiting.

        It may be full, start up or stop (as its backends say that are at a login just
        then).  That it does not know our secret is its own fault, and may be mended, if
        the last writer knew it; else ours, and nothing to wait for.
        """
        if sqlstate[:2] == NO_ENTRY:
            return self._is_untried
        return sqlstate[:2] in (NO_RESOURCES, INTERVENTION)

    def count_outcome(self, outcome: LossOutcome | None) -> None:
        """Note what became of a client whose server was lost; None: disconnected."""
        loss_counts = self.cluster.loss_counts
        if outcome is LossOutcome.AGAIN:
            loss_counts.retried += 1
        elif outcome is None or outcome is LossOutcome.SESSION_LOST:
            loss_counts.lost += 1
        if outcome in SQLSTATES:
            self.count_error(SQLSTATES[outcome])

    def count_error(self, sqlstate: str) -> None:
        """Note that a client was told of its loss with this SQLSTATE."""
        self.cluster.loss_counts.errors[sqlstate] += 1

    # What the cluster asks.

    def wait_for_nodes(self) -> None:
        """Have clients wait; the servers that there are stay."""
        self.searching = self.starting = self.welcome_is_outdated = True
        self._pool.update_open()

    def wait_for_writer(self, *, is_leaving: bool = False) -> None:
        """Have clients wait, and close what goes to the last writer.

        ``is_leaving``: what is at work there is left to its own end until there is a
        new writer, for the server's last word tells what may be run again.
        """
        self.searching, self.starting = True, False
        if self._told(READ_ONLY) == "on":
            # Of the last writer, perhaps that it might not change any more.
            self.welcome_is_outdated = True
        self._pool.update_open()
        for backend in list(self._pool.servers.values()):
            if not is_leaving or not _is_at_work(backend):
                backend.close(CloseReason.WRITER_LOST)
        self._pool.held_clients.decide(LossCause.LEAVING)

    def serve_from(self, node: Node | None, *, same: bool) -> None:
        """Use this node; ``same``: it is the present server under another name.

        None: the host of the database's entry.
        """
        is_host = node is not None and self.target.hosts == (node.host,)
        is_back = same or node == self.node
        was_starting = self.starting
        was_searching = self.searching and not was_starting
        if was_starting or not same:
            self.welcome_is_outdated = not same
        self.searching = self.starting = False
        self.node = node
        self._correct_welcome()
        login_attempts = self._pool.server_connections.login_attempts
        if not same:
            was_known = self._pool.welcome is not None
            self._is_untried = was_known and login_attempts.sqlstate[:2] != NO_ENTRY
        for backend in list(self._pool.servers.values()):
            # A name may lead to another machine by now; and what was opened before
            # a start may be at whatever the entry of then led to.
            if (
                not same
                or (is_host and self.is_elsewhere(backend))
                or (was_starting and self._is_at_another(backend))
            ):
                backend.close(CloseReason.WRITER_MOVED)
        if was_searching or not is_back:
            self._pool.held_clients.decide(
                LossCause.BACK if is_back else LossCause.MOVED
            )
        elif was_starting:
            self._pool.held_clients.check_again()
        login_attempts.succeeded()
        self._pool.update_open()
        if node is not None:
            self._use_standby_servers(node)
        self._pool.welcome_waiting()
        self._pool.serve_waiters()
        if self._pool.spec.user is not None and self._pool.welcome is None:
            # So that logins find what servers report, even when nobody writes again.
            self._pool.launch(at_least=1)

    def _is_at_another(self, backend: Backend) -> bool:
        """Tell whether a server is certainly not at the node, by its address."""
        node = self.node
        if node is None or backend.stored_state is ServerState.LOGIN:
            return False
        if backend.address.port not in (0, node.port):
            return True
        there = self.cluster.address_of(node) or node.host or ""
        return differ(backend.address.host, there)

    def _use_standby_servers(self, node: Node) -> None:
        """Make the connections that were kept for this moment the pool's."""
        for backend in self.standbys.hand_over(node):
            self._pool.add_server(backend)
            if backend.stored_state is ServerState.LOGIN:
                continue
            if self.is_elsewhere(backend):
                backend.close(CloseReason.WRITER_MOVED)
            elif backend.parameters:
                self._pool.learn_welcome(backend)

    def _correct_welcome(self) -> None:
        """Have clients told of no standby any more, where that is the writer now."""
        welcome = self._pool.welcome
        is_writer = self.node is not None
        if welcome is not None and is_writer and self._told(IN_HOT_STANDBY) == "on":
            self._pool.welcome = welcome.changed(IN_HOT_STANDBY, "off")

    def _told(self, parameter: str) -> str:
        """Return what clients are told at login of a parameter; empty: nothing."""
        welcome = self._pool.welcome
        return "" if welcome is None else welcome.parameters.get(parameter, "")

    def refresh(self) -> None:
        """Do what is due: see to the connections to standbys."""
        self.standbys.refresh()

    def close(self) -> None:
        """Close the connections to standbys: the pool is given up."""
        self.standbys.set_nodes(())
        self._pool.held_clients.release_all()


def is_elsewhere(address: str, backend: Backend) -> bool:
    """Tell whether a server is not at this address; an empty one is any.

    One that is being connected may not be anywhere yet.
    """
    here = backend.address.host
    return here != backend.host and differ(here, address)


def differ(one: str, other: str) -> bool:
    """Tell whether two hosts are addresses, and not the same."""
    try:
        return ip_address(one.partition("%")[0]) != ip_address(other.partition("%")[0])
    except ValueError:
        return False


def _is_at_work(backend: Backend) -> bool:
    """Tell whether a client of this server waits for an answer."""
    if backend.stored_state is ServerState.LOGIN:
        return False
    exchange = backend.stream.exchange
    return exchange is not None and exchange.outstanding() > 0
