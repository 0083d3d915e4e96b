"""The route of a pool to the writer of its cluster.

In a switchover the pool keeps its clients, its queue and its limits.  What changes is
the node that it connects to; for a while it has none.  Connections to the other nodes
are kept open, so that a new writer can be used the moment it is promoted.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster.node_checks import CheckResult
from pgswitch.errors import OutcomeUnknown, SessionLost, TransactionLost
from pgswitch.net.connection_states import CloseReason, ServerState
from pgswitch.pool.loss import LossCause, LossOutcome
from pgswitch.pool.server_connections import INTERVENTION, NO_ENTRY, NO_RESOURCES
from pgswitch.pool.standbys import StandbyConnections, StandbyPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.cluster.cluster import LossCounts
    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.failover import HeldClients
    from pgswitch.wire.params import Welcome

SQLSTATES = {
    LossOutcome.ROLLED_BACK: TransactionLost.sqlstate,
    LossOutcome.PIPELINE_LOST: TransactionLost.sqlstate,
    LossOutcome.UNKNOWN: OutcomeUnknown.sqlstate,
    LossOutcome.UNKNOWN_INSIDE: OutcomeUnknown.sqlstate,
    LossOutcome.SESSION_LOST: SessionLost.sqlstate,
}
IN_HOT_STANDBY, READ_ONLY = "in_hot_standby", "default_transaction_read_only"


class RoutePool(StandbyPool, Protocol):
    """What the route needs of its pool; see pool/pool.py."""

    welcome: Welcome | None
    held_clients: HeldClients

    def add_server(self, backend: Backend) -> None:
        """Take a connection that was kept open to a standby."""

    def launch(self, *, at_least: int = 0) -> None:
        """Open servers for waiting clients, but for no fewer than ``at_least``."""

    def update_open(self) -> None:
        """Update whether clients may have servers."""

    def serve_waiters(self) -> None:
        """Give servers to waiting clients; open more."""

    def learn_welcome(self, backend: Backend) -> None:
        """Report to clients that log in from now on what this server has reported."""

    def resume_logins(self) -> None:
        """Go on with the logins that wait, if the welcome is known."""


class RouteCluster(Protocol):
    """What the route needs of its cluster; see cluster/cluster.py."""

    loss_counts: LossCounts

    @property
    def no_writer_reason(self) -> str:
        """Why no writer is known now; empty if one is."""

    def suspect(self) -> None:
        """Have the monitor check the writer."""

    def address_of(self, node: Node) -> str:
        """Return the address at which a node was probed; empty: none, or no name."""

    def check(self, callback: CheckCallback) -> None:
        """Check the writer over a new connection."""

    def server_ready(self) -> None:
        """Note that a server at the writer is ready for clients."""


class WriterRoute:
    """The node of one pool's servers, and connections to the other nodes."""

    def __init__(
        self,
        pool: RoutePool,
        cluster: RouteCluster,
        name_of: Callable[[Node], str] = attrgetter("name"),
    ) -> None:
        """Begin at the host of the database's entry.

        ``name_of`` returns the name of a node's own database.
        """
        self.cluster = cluster
        self.node: Node | None = None
        """None: the writer is unknown; use the entry's host."""
        self.searching = False
        """No writer is known; clients wait."""
        self.starting = False
        """No node has answered since the start; servers stay."""
        self.is_welcome_stale = False
        """The pool's welcome is from another node, or may be."""
        self._is_untried = False
        """No login to this writer has succeeded yet, but one to the last writer."""
        self._pool = pool
        self.standbys = StandbyConnections(pool, self._at, name_of)
        """Connections to the other nodes."""

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the node's host and port."""
        return self._at(self.node)

    def _at(self, node: Node | None) -> DatabaseSpec:
        spec = self._pool.spec
        if node is None:
            return spec
        return replace(spec, host=node.host, port=node.port)

    @property
    def no_writer_reason(self) -> str:
        """Why no writer is known now; empty if one is."""
        return self.cluster.no_writer_reason if self.searching else ""

    is_standby = False
    """The writer takes writes."""

    def cause_of(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server; None: not known yet."""
        if reason is CloseReason.WRITER_MOVED:
            return LossCause.MOVED
        # At a start nothing is known about the writer yet.
        return LossCause.LEAVING if self.searching and not self.starting else None

    def cause_found(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a check of the writer explains.

        A writer that takes no connections explains nothing: the cluster decides whether
        it is given up.
        """
        del undone
        return LossCause.WELL if finding is CheckResult.WELL else None

    def check(self, callback: CheckCallback) -> None:
        """Check the writer over a new connection."""
        self.cluster.check(callback)

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over the connections to standbys."""
        return iter(self.standbys)

    def suspect(self) -> None:
        """Have the monitor check the writer."""
        self.cluster.suspect()

    def correct_parameters(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return parameters that a server has reported with their present values.

        A connection that was kept for a promotion logged in to a standby, and corrects
        that only with its next answer.
        """
        if self.node is None or IN_HOT_STANDBY not in reported:
            return reported
        return {**reported, IN_HOT_STANDBY: "off"}

    def is_at_wrong_address(self, backend: Backend) -> bool:
        """Tell whether a server is at another address than the monitor's probe."""
        node = self.node
        return node is not None and is_at_other_address(
            self.cluster.address_of(node), backend
        )

    def welcome_learned(self) -> None:
        """Note that a server has reported what clients get at login."""
        if not self.searching:
            self.is_welcome_stale = False

    def server_ready(self) -> None:
        """Note that a server has logged in and is ready for clients."""
        if not self.searching:
            self._is_untried = False
            self.cluster.server_ready()

    def login_refused(self, sqlstate: str) -> bool:
        """Deal with a writer that refuses a login; True: clients go on waiting.

        It may be full, starting or stopping.  If it rejects a secret that the last
        writer accepted, that may be mended on the node; else the secret is wrong, and
        waiting does not help.
        """
        if sqlstate[:2] == NO_ENTRY:
            return self._is_untried
        return sqlstate[:2] in (NO_RESOURCES, INTERVENTION)

    def count_outcome(self, outcome: LossOutcome | None) -> None:
        """Count what became of a client whose server was lost; None: disconnected."""
        loss_counts = self.cluster.loss_counts
        if outcome is LossOutcome.AGAIN:
            loss_counts.retried += 1
        elif outcome is None or outcome is LossOutcome.SESSION_LOST:
            loss_counts.lost += 1
        if outcome in SQLSTATES:
            self.count_error(SQLSTATES[outcome])

    def count_error(self, sqlstate: str) -> None:
        """Count an error with this SQLSTATE that reports a loss to a client."""
        self.cluster.loss_counts.errors[sqlstate] += 1

    # Called by the cluster.

    def wait_for_nodes(self) -> None:
        """Have clients wait until the nodes answer; the present servers stay."""
        self.searching = self.starting = self.is_welcome_stale = True
        self._pool.update_open()

    def wait_for_writer(self, *, is_leaving: bool = False) -> None:
        """Have clients wait for a writer, and close the servers at the last one.

        ``is_leaving``: servers with outstanding requests stay until the new writer is
        known, because their shutdown notices tell what may be run again.
        """
        self.searching, self.starting = True, False
        if self._welcome_value(READ_ONLY) == "on":
            # The last writer reported this, perhaps because it was demoted.
            self.is_welcome_stale = True
        self._pool.update_open()
        for backend in list(self._pool.servers.values()):
            if not is_leaving or not _is_answering(backend):
                backend.close(CloseReason.WRITER_LOST)
        self._pool.held_clients.decide(LossCause.LEAVING)

    def serve_from(self, node: Node | None, *, same: bool) -> None:
        """Use this node; ``same``: it is the present writer under another name.

        None: the host of the database's entry.
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
            self._is_untried = was_known and login_attempts.sqlstate[:2] != NO_ENTRY
        for backend in list(self._pool.servers.values()):
            # A name may have got another address; and what was opened before a
            # start may be at the host of the entry as it was then.
            if (
                not same
                or (is_host and self.is_at_wrong_address(backend))
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
        self._pool.resume_logins()
        self._pool.serve_waiters()
        if self._pool.spec.user is not None and self._pool.welcome is None:
            # So that logins get a welcome even if no query opens a server.
            self._pool.launch(at_least=1)

    def _is_at_another(self, backend: Backend) -> bool:
        """Tell whether a server's address shows that it is not at the node."""
        node = self.node
        if node is None or backend.stored_state is ServerState.LOGIN:
            return False
        if backend.address.port not in (0, node.port):
            return True
        there = self.cluster.address_of(node) or node.host or ""
        return addresses_differ(backend.address.host, there)

    def _use_standby_servers(self, node: Node) -> None:
        """Give the pool the connections that were kept open to this node."""
        for backend in self.standbys.hand_over(node):
            self._pool.add_server(backend)
            if backend.stored_state is ServerState.LOGIN:
                continue
            if self.is_at_wrong_address(backend):
                backend.close(CloseReason.WRITER_MOVED)
            elif backend.parameters:
                self._pool.learn_welcome(backend)

    def _correct_welcome(self) -> None:
        """Correct the welcome of a standby that is the writer now."""
        welcome = self._pool.welcome
        is_writer = self.node is not None
        if (
            welcome is not None
            and is_writer
            and self._welcome_value(IN_HOT_STANDBY) == "on"
        ):
            self._pool.welcome = welcome.changed(IN_HOT_STANDBY, "off")

    def _welcome_value(self, parameter: str) -> str:
        """Return the value of a parameter in the welcome; empty: none."""
        welcome = self._pool.welcome
        return "" if welcome is None else welcome.parameters.get(parameter, "")

    def refresh(self) -> None:
        """Open and check connections to standbys; called by each maintenance run."""
        self.standbys.refresh()

    def close(self) -> None:
        """Close the connections to standbys: the pool is dropped."""
        self.standbys.set_nodes(())
        self._pool.held_clients.release_all()


def is_at_other_address(address: str, backend: Backend) -> bool:
    """Tell whether a server is not at this address; an empty address matches any.

    A server that is connecting may not have an address yet.
    """
    here = backend.address.host
    return here != backend.host and addresses_differ(here, address)


def addresses_differ(one: str, other: str) -> bool:
    """Tell whether two hosts are addresses, and different ones."""
    try:
        return ip_address(one.partition("%")[0]) != ip_address(other.partition("%")[0])
    except ValueError:
        return False


def _is_answering(backend: Backend) -> bool:
    """Tell whether a client has outstanding requests on this server."""
    if backend.stored_state is ServerState.LOGIN:
        return False
    exchange = backend.stream.exchange
    return exchange is not None and exchange.outstanding() > 0
