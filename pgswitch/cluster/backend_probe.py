"""A probe that logs in as the pools do.

It is used with a secret of any kind: a password, an MD5 hash, or SCRAM keys from a
client's login.  The key derivation of SCRAM runs in a thread and is bounded; libpq
offers neither (see probe_choice.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.probe import ProbeFailed, ProbeQuery, QueryRefused
from pgswitch.net.backend import Backend
from pgswitch.net.connection_states import CloseReason, ServerState
from pgswitch.pool.server_connections import NO_RESOURCES, STARTING_UP
from pgswitch.pool.server_connector import ServerConnector
from pgswitch.types import PoolKey
from pgswitch.wire import decode, encode
from pgswitch.wire.constants import DATA_ROW, ROW_DESCRIPTION
from pgswitch.wire.server_auth import Failed, ServerRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgswitch.cluster.probe import QueryRows
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import ServiceContext

QUERY_CANCELED = "57014"
_TRANSIENT = ("40", NO_RESOURCES)
"""SQLSTATE classes: a conflict with replay on a standby, and lack of resources."""
PARAMETERS = {"application_name": "pgswitch monitor"}


class ProbeResult:
    """A query, and its rows as they come; a ServerQuery of net/backend.py."""

    unfit = ""

    def __init__(self, query: str) -> None:
        """Begin without rows."""
        self.request = encode.query(query)
        self.columns: tuple[str, ...] = ()
        self.rows: list[Sequence[object]] = []

    def message(self, kind: int, body: bytes) -> None:
        """Take one message of the answer."""
        if kind == ROW_DESCRIPTION:
            self.columns = decode.column_names(body)
        elif kind == DATA_ROW:
            self.rows.append(decode.text_row(body))


class BackendProbe:
    """Probes one node over a connection that is opened when needed and kept."""

    def __init__(
        self,
        context: ServiceContext,
        spec: DatabaseSpec,
        user: str,
        lost: Callable[[], None],
    ) -> None:
        """Open nothing yet.

        :param spec: the database's entry with the node's host and port in it.
        :param lost: called when the connection ends while no query is under way.
        """
        self._spec = spec
        self._lost = lost
        self._connector = ServerConnector(
            PoolKey(spec.name, user), context, self, quiet=True
        )
        # The monitor cancels nothing, so it needs no long cancel key.
        self._connector.fall_back()
        self._backend: Backend | None = None
        self.address = ""
        """The address that was reached last; empty: none yet, or a unix socket."""
        self._asked: Deferred[QueryRows] | None = None
        """Waits for an answer or a connection."""
        self._reading = ProbeResult("")
        self._refusal: ProbeFailed | None = None
        self._asking = ProbeQuery(self.read, spec.recovery_query or "")

    @property
    def is_connected(self) -> bool:
        """Whether the next query needs no new connection."""
        return (
            self._backend is not None
            and self._backend.stored_state is not ServerState.LOGIN
        )

    @property
    def is_reached(self) -> bool:
        """Whether the host has accepted the connection, logged in or not yet."""
        return self._backend is not None and self._backend.transport is not None

    def ask(self, wait_s: float = 0.0) -> Deferred[NodeReport]:
        """Ask what the node is; fails with ProbeFailed.

        :param wait_s: a standby may answer this much later, or when it is promoted.
        """
        return self._asking.ask(wait_s)

    def read(self, query: str) -> Deferred[QueryRows]:
        """Run a query; fails with ProbeFailed."""
        outcome: Deferred[QueryRows] = Deferred()
        self._asked, self._reading = outcome, ProbeResult(query)
        if self._backend is None:
            self._asking.reset()
            self._refusal = None
            self._backend = self._connector.open_one(self._spec, 0, extra=PARAMETERS)
            self._connector.connect(self._spec, self._backend)
        else:
            self._run(self._backend)
        return outcome

    def close(self) -> None:
        """Close the connection; a query under way fails."""
        asked, self._asked = self._asked, None
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close(CloseReason.MONITOR_CLOSED)
        if asked is not None:
            asked.errback(ProbeFailed(ProbeFailure.SILENT, ProbeFailure.SILENT.value))

    def _run(self, backend: Backend) -> None:
        backend.ask(self._reading, self._answered)

    def _answered(self, error: dict[str, str] | None) -> None:
        if error is not None:
            self._fail(_fault_of(error))
            return
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.callback((self._reading.columns, self._reading.rows))

    def _fail(self, fault: ProbeFailed) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.errback(fault)

    # The owner of the connection.

    def logged_in(self, backend: Backend) -> None:
        """Send the query that waits for the connection."""
        here = backend.address.host
        self.address = "" if here == "unix" else here
        self._run(backend)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Keep the reason: the connection is closed next."""
        del backend
        if isinstance(refusal, Failed):
            self._refusal = ProbeFailed(ProbeFailure.UNFIT, refusal.reason)
            return
        failure = ProbeFailure.UNFIT
        if refusal.sqlstate == STARTING_UP:
            failure = ProbeFailure.NOT_READY
        elif refusal.sqlstate.startswith(NO_RESOURCES):
            failure = ProbeFailure.FULL
        self._refusal = ProbeFailed(failure, refusal.message)

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Fail the query under way, or report the end of an idle connection."""
        del reason
        self._connector.cancel(backend)
        if backend is not self._backend:
            return
        self._backend = None
        is_connect = backend.state_at_close is ServerState.LOGIN
        failure = ProbeFailure.REFUSED if is_connect else ProbeFailure.LOST
        if self._asked is not None:
            self._fail(self._refusal or ProbeFailed(failure, backend.close_text))
        elif not is_connect:
            self._lost()

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Ignore it: the queries ask for what matters."""

    def on_read_only(self, backend: Backend) -> None:
        """Ignore it: no client has this connection."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Ignore it: no client has this connection."""


def _fault_of(error: dict[str, str]) -> ProbeFailed:
    """Return what the ErrorResponse to a query means."""
    code, words = error.get("C", ""), error.get("M", "")
    if code == STARTING_UP:
        return ProbeFailed(ProbeFailure.NOT_READY, words)
    is_transient = code == QUERY_CANCELED or code.startswith(_TRANSIENT)
    return QueryRefused(words, is_transient=is_transient)
