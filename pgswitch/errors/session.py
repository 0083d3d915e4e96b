"""What ends a client after its login, or one of its statements."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.report import PROTOCOL_VIOLATION, Fault, LogLevelName, Severity


class QueryWaitTimeout(Fault):
    """Waited for a server longer than ``query_wait_timeout``."""

    text = "query_wait_timeout"


class QueryTimeoutWaiting(Fault):
    """Waited for a server longer than ``query_timeout``."""

    text = "query_timeout"


class QueryTimeout(Fault):
    """A query ran longer than ``query_timeout``."""

    text = "query timeout"


class IdleTransactionTimeout(Fault):
    """Idle inside a transaction longer than ``idle_transaction_timeout``."""

    text = "idle transaction timeout"


class TransactionTimeout(Fault):
    """A transaction took longer than ``transaction_timeout``."""

    text = "transaction timeout"


class ClientIdleTimeout(Fault):
    """Idle longer than ``client_idle_timeout``."""

    text = "client_idle_timeout"


class ServerShuttingDown(Fault):
    """Would have to wait for a server during SHUTDOWN WAIT_FOR_SERVERS."""

    text = "server shutting down"


class Drained(Fault):
    """DRAIN: the service ends, and the client has nothing under way.

    Text and code are PostgreSQL's, so that drivers and their pools connect anew.
    """

    text = "terminating connection due to administrator command"
    sqlstate = "57P01"
    detail = "The pooler is draining: nothing of this session was under way."


class NotHandedOver(Fault):
    """``-R``: another process goes on, but not with this connection."""

    text = "terminating connection due to administrator command"
    sqlstate = "57P01"
    detail = (
        "The pooler was restarted, and encrypted connections and consoles cannot be"
        " handed over."
    )


class DatabaseRemoved(Fault):
    """KILL, or the entry is gone after a reload."""

    text = "database removed"


class AdminForcedDisconnect(Fault):
    """The console's KILL_CLIENT."""

    text = "admin forced disconnect"


class SuspendTimeout(Fault):
    """SUSPEND could not flush this connection in time."""

    text = "suspend_timeout"


class ServerConnCrashed(Fault):
    """The server that the client was using closed its socket."""

    text = "server conn crashed?"


class ServerConnectionClosed(Fault):
    """Writing to the server that the client was using failed."""

    text = "server connection closed"


class ServerLoginFailing(Fault):
    """The pool's last login failed and it has no server: no use waiting."""

    text = "server login has been failing, cached error: {reason} (server_login_retry)"


class ServerLoginWrongPasswordType(Fault):
    """The stored secret does not fit what the server asks for."""

    text = "server login failed: wrong password type"
    log_level: ClassVar[LogLevelName] = "error"


class ServerSignatureNotVerified(Fault):
    """The server's closing SCRAM message cannot be read."""

    text = "server login failed: failed to verify server signature"


class ServerSignatureInvalid(Fault):
    """The server does not know the user's secret: perhaps an impostor."""

    text = "server login failed: invalid server signature"


class ServerAuthUnsupported(Fault):
    """The server asks for something that we do not speak (GSSAPI, SSPI)."""

    text = "server login failed: unknown/unsupported auth method: {method}"
    hint = "Let pg_hba.conf of the server ask for scram-sha-256, md5, cert or trust."


class ServerSaslUnsupported(Fault):
    """The server offers no SASL mechanism that we speak."""

    text = (
        "server login failed: none of the server's SASL authentication mechanisms "
        "are supported"
    )


class TransactionBlocksNotAllowed(Fault):
    """A transaction block under statement pooling."""

    text = "transaction blocks not allowed in statement pooling mode"


class DatabaseConfigurationChanged(Fault):
    """``server_fast_close``, or a replication client whose database changed."""

    text = "database configuration changed"


class InvalidServerParameter(Fault):
    """The server refused a tracked parameter of the client."""

    text = "invalid server parameter"


class PqexecDisallowed(Fault):
    """A simple query while ``disable_pqexec`` is on."""

    text = "PQexec disallowed"
    hint = "Use the extended query protocol, or switch disable_pqexec off."


class ServerClosed(Fault):
    """The client's server was closed for the ``reason`` given."""

    text = "{reason}"


class OutOfMemory(Fault):
    """A bound on memory was met."""

    text = "out of memory"
    log_level: ClassVar[LogLevelName] = "error"


class InternalFault(Fault):
    """A fault of the pooler itself; the log holds the traceback."""

    text = "failure"
    log_level: ClassVar[LogLevelName] = "error"


class ServerLoginRefused(Fault):
    """A server refused our login: its own text and SQLSTATE, passed on uncut."""

    text = "{message}"
    text_limit: ClassVar[int | None] = None

    @property
    def cause(self) -> str:
        """Not the server's words, which the SQLSTATE stands for."""
        return "server login failed"

    def __init__(self, *, message: str, sqlstate: str = PROTOCOL_VIOLATION) -> None:
        """Take the server's text and code; the severity is always FATAL."""
        super().__init__(message=message)
        self.sqlstate = sqlstate or PROTOCOL_VIOLATION


class QueryCancelled(Fault):
    """The client cancelled a query that was still waiting for a server.

    PostgreSQL's own words and code, for drivers know them; PgBouncer cannot do it.
    """

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "57014"
    text = "canceling statement due to user request"
