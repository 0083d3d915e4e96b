"""A probe that connects by txpostgres, without a secret.

The only file that uses the driver.  libpq may block in three places, which are avoided:
host names are looked up first, and the address goes into ``hostaddr``; nothing is ever
cancelled; and libpq gets no password, because it would derive the keys of SCRAM in the
reactor's thread, however long that takes (see probe_choice.py).  There are no deadlines
here: the monitor closes the probe when it has waited long enough, and the query under
way fails at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import errors, extensions
from twisted.internet.defer import Deferred, succeed
from txpostgres import txpostgres

from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.probe import ProbeFailed, ProbeQuery, QueryRefused
from pgswitch.tls.contexts import TlsOptions

if TYPE_CHECKING:
    from twisted.python.failure import Failure as TwistedFailure

    from pgswitch.cluster.nodes import Node

ResolveHost = Callable[[str], Deferred[tuple[str, ...]]]


NO_FILE = "/nonexistent"
_NOT_CONNECTED = (1, 2)
"""CONNECTION_BAD and CONNECTION_STARTED of libpq's ConnStatusType."""
_TLS_PREFERRED = TlsOptions(mode="prefer")


@dataclass(frozen=True, slots=True)
class MonitorLogin:
    """The monitor's login where no secret is needed."""

    dbname: str
    user: str
    tls: TlsOptions = _TLS_PREFERRED
    socket_directory: str = "/tmp"  # noqa: S108 - as PostgreSQL


def _tls_options(tls: TlsOptions) -> dict[str, object]:
    """Return TLS settings as libpq's parameters; it takes no versions or ciphers.

    Files that are not set get a name too, or libpq would look for its defaults.
    """
    authorities = tls.ca_file or ("system" if tls.mode == "verify-full" else NO_FILE)
    options: dict[str, object] = {
        "sslmode": tls.mode,
        "sslrootcert": authorities,
        "sslcert": tls.cert_file or NO_FILE,
        "sslkey": tls.key_file or NO_FILE,
    }
    if tls.is_direct:
        # libpq before 17 does not know this parameter.
        options["sslnegotiation"] = "direct"
    return options


class _Connection(txpostgres.Connection):  # type: ignore[misc] # untyped
    """A connection that reports its loss instead of raising into the reactor.

    libpq itself closes its socket when something fails.  A reactor that still watches
    that file descriptor would watch the next file opened under the same number; so
    nothing is watched while libpq works.
    """

    def __init__(self, reactor: Any, lost: Callable[[], None]) -> None:  # noqa: ANN401 - one object with many interfaces
        super().__init__(reactor=reactor)
        self.is_ready = self.was_ready = False
        self._on_lost = lost

    @property
    def is_reached(self) -> bool:
        """Whether libpq has a connection, logged in or not yet."""
        if self.is_ready:
            return True
        made = self._connection
        return made is not None and made.info.status not in _NOT_CONNECTED

    def unwatch(self) -> None:
        """Make the reactor watch nothing; the next query makes it watch again."""
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)

    def doRead(self) -> None:
        self.unwatch()
        self._advance(super().doRead)

    def doWrite(self) -> None:
        self.unwatch()
        self._advance(super().doWrite)

    def cursorFinished(self, cursor: object) -> None:
        self._advance(lambda: super(_Connection, self).cursorFinished(cursor))

    def _advance(self, work: Callable[[], None]) -> None:
        """Let libpq work; report the end of the connection, if it comes to that."""
        try:
            work()
        except (psycopg2.Error, ValueError, OSError):  # also if it has no socket left
            self.close()
            if self.is_ready:
                self._on_lost()


class DriverProbe:
    """Probes one node over a connection that is opened when needed and kept."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        node: Node,
        credentials: Callable[[], MonitorLogin],
        lost: Callable[[], None],
        addresses: ResolveHost,
        *,
        recovery_query: str = "",
    ) -> None:
        """Open nothing yet.

        :param credentials: returns the login for the next connect.
        :param lost: called when the connection ends while no query is under way.
        :param addresses: looks up a host, which may be an address already.
        :param recovery_query: replaces pg_is_in_recovery().
        """
        self._reactor = reactor
        self._node = node
        self._credentials = credentials
        self._lost = lost
        self._addresses = addresses
        self._connection: _Connection | None = None
        self._asking = ProbeQuery(self.read, recovery_query)
        self._asked: Deferred[Any] | None = None
        """Waits for an answer or a connection."""
        self.address = ""
        """The address that was tried last; empty for a unix socket."""

    @property
    def is_connected(self) -> bool:
        """Whether the next query needs no new connection."""
        return self._connection is not None and self._connection.is_ready

    @property
    def is_reached(self) -> bool:
        """Whether the host has accepted the connection, logged in or not yet."""
        return self._connection is not None and self._connection.is_reached

    def ask(self, wait_s: float = 0.0) -> Deferred[NodeReport]:
        """Ask what the node is; fails with ProbeFailed.

        :param wait_s: a standby may answer this much later, or when it is promoted.
        """
        return self._asking.ask(wait_s)

    def read(self, query: str) -> Deferred[Any]:
        """Run a query; fails with ProbeFailed."""
        outcome: Deferred[Any] = Deferred()
        self._asked = outcome
        work = self._query(query) if self.is_connected else self._begin(query)
        connection = self._connection

        def done(result: object) -> None:
            if self._asked is outcome:
                self._asked = None
                outcome.callback(result)

        def failed(failure: TwistedFailure) -> None:
            if self._asked is not outcome:
                return  # The probe was closed meanwhile.
            # The connection may be closed already; that makes it no failed login.
            is_login = connection is None or not connection.was_ready
            fault = _fault_of(failure.value, is_connect=is_login)
            self._asked = None
            if not isinstance(fault, QueryRefused):
                self._drop()
            outcome.errback(fault)

        work.addCallbacks(done, failed)
        return outcome

    def close(self) -> None:
        """Close the connection; a query under way fails."""
        asked, self._asked = self._asked, None
        # First, or the driver's error would be reported as the reason.
        self._drop()
        if asked is not None:
            asked.errback(ProbeFailed(ProbeFailure.SILENT, ProbeFailure.SILENT.value))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.pollable() is not None:
            connection.is_ready = False
            connection.close()

    def _begin(self, query: str) -> Deferred[Any]:
        """Connect, then run a query."""
        self._drop()
        self._asking.reset()
        connection = self._connection = _Connection(self._reactor, self._ended)
        looking_up = self._look_up()

        def connect(address: str) -> Deferred[Any]:
            if self._connection is not connection:
                raise ProbeFailed(ProbeFailure.SILENT, "closed")
            self.address = address
            connecting: Deferred[Any] = connection.connect(**self._options(address))
            return connecting

        def connected(_done: object) -> Deferred[Any]:
            if self._connection is not connection:
                raise ProbeFailed(ProbeFailure.SILENT, "closed")
            connection.is_ready = connection.was_ready = True
            return self._query(query)

        return looking_up.addCallback(connect).addCallback(connected)

    def _look_up(self) -> Deferred[str]:
        """Return the node's address, empty for a unix socket."""
        host = self._node.host
        if host is None or host.startswith(("/", "@")):
            return succeed("")
        return self._addresses(host).addCallback(lambda found: found[0])

    def _options(self, address: str) -> dict[str, object]:
        """Return all parameters, also those that libpq would look for in files."""
        mine = self._credentials()
        options: dict[str, object] = {
            "host": self._node.host or mine.socket_directory,
            "port": self._node.port,
            "dbname": mine.dbname,
            "user": mine.user,
            # Empty means none; without it libpq uses PGPASSWORD.
            "password": "",
            "application_name": "pgswitch monitor",
            **_tls_options(mine.tls),
            "gssencmode": "disable",
            "passfile": NO_FILE,
        }
        if address:
            options["hostaddr"] = address
        return options

    def _query(self, query: str) -> Deferred[Any]:
        connection = self._connection
        assert connection is not None  # noqa: S101 - callers have seen to it
        connection.unwatch()
        asking: Deferred[Any] = connection.cursor().execute(query)
        return asking.addCallback(
            lambda done: (tuple(one[0] for one in done.description), done.fetchall())
        )

    def _ended(self) -> None:
        self._connection = None
        if self._asked is None:
            self._lost()


def _fault_of(error: BaseException | None, *, is_connect: bool) -> ProbeFailed:
    """Return what an error of the driver or of a name look-up means.

    libpq does not report the SQLSTATE of a failed login, so its text has to do: 57P03
    means that the server is starting up, shutting down or in recovery mode.
    """
    words = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, ProbeFailed):
        return error
    if isinstance(error, errors.CannotConnectNow):
        return ProbeFailed(ProbeFailure.NOT_READY, words)
    if is_connect:
        return ProbeFailed(_failure_of_login(words), words)
    is_errors = isinstance(error, psycopg2.Error)
    if is_errors and not isinstance(error, psycopg2.OperationalError):
        return QueryRefused(words)
    if isinstance(error, _QUERY_ONLY):
        return QueryRefused(words, is_transient=True)
    return ProbeFailed(ProbeFailure.LOST, words or ProbeFailure.LOST.value)


def _failure_of_login(words: str) -> ProbeFailure:
    if "FATAL:" not in words and _NEEDS_LOGIN not in words:
        return ProbeFailure.REFUSED
    if any(one in words for one in _NOT_READY):
        return ProbeFailure.NOT_READY
    return (
        ProbeFailure.FULL if any(one in words for one in _FULL) else ProbeFailure.UNFIT
    )


_FULL = ("too many clients", "too many connections", "connection slots are reserved")


_QUERY_ONLY = (
    extensions.QueryCanceledError,
    extensions.TransactionRollbackError,
)
"""Operational errors that do not end the connection: statement_timeout, a conflict with
replay on a standby."""
_NEEDS_LOGIN = "no password supplied"
"""libpq's error when a server asks for a password."""
_NOT_READY = (
    "starting up",
    "shutting down",
    "recovery mode",
    "not yet accepting connections",
    "not accepting connections",
)
