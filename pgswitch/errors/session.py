"""Errors that end a logged-in client or one of its statements."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import PROTOCOL_VIOLATION, Fault, LogLevelName, Severity


class QueryWaitTimeout(Fault):
    """Waited for a server longer than ``query_wait_timeout``."""

    text = "query_wait_timeout"


class QueryTimeoutWaiting(Fault):
    """Waited for a server longer than ``query_timeout``."""

    text = "query_timeout"


class ClientIdleTimeout(Fault):
    """Idle longer than ``client_idle_timeout``."""

    text = "client_idle_timeout"


class ServerShuttingDown(Fault):
    """A client would have to wait for a server during SHUTDOWN WAIT_FOR_SERVERS."""

    text = "server shutting down"


class Drained(Fault):
    """DRAIN: the service is shutting down, and the client has nothing in progress.

    Text and code are PostgreSQL's, so drivers and their pools reconnect.
    """

    text = "terminating connection due to administrator command"
    sqlstate = "57P01"
    detail = "The pooler is draining: this session had nothing in progress."


class NotHandedOver(Fault):
    """``-R``: another process takes over, but not this connection."""

    text = "terminating connection due to administrator command"
    sqlstate = "57P01"
    detail = (
        "The pooler was restarted, and encrypted connections and consoles cannot be"
        " handed over."
    )


class DatabaseRemoved(Fault):
    """KILL, or a reload removed the entry."""

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


class ServerLoginFailing(Fault):
    """The pool's last login failed and it has no server to wait for."""

    text = "server login has been failing, cached error: {reason} (server_login_retry)"


class ServerLoginWrongPasswordType(Fault):
    """The stored secret does not fit the server's authentication method."""

    text = "server login failed: wrong password type"
    log_level: ClassVar[LogLevelName] = "error"


class ServerSignatureNotVerified(Fault):
    """The server's final SCRAM message cannot be parsed."""

    text = "server login failed: failed to verify server signature"


class ServerSignatureInvalid(Fault):
    """The server does not know the user's secret: it may be an impostor."""

    text = "server login failed: invalid server signature"


class ServerAuthUnsupported(Fault):
    """The server asks for an unsupported authentication method (GSSAPI, SSPI)."""

    text = "server login failed: unknown/unsupported auth method: {method}"
    hint = "Let pg_hba.conf of the server ask for scram-sha-256, md5, cert or trust."


class ServerSaslUnsupported(Fault):
    """The server offers no SASL mechanism that we support."""

    text = (
        "server login failed: none of the server's SASL authentication mechanisms "
        "are supported"
    )


class TransactionBlocksNotAllowed(Fault):
    """A transaction block under statement pooling."""

    text = "transaction blocks not allowed in statement pooling mode"


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


class InternalFault(Fault):
    """A bug in the pooler; the log has the traceback."""

    text = "failure"
    log_level: ClassVar[LogLevelName] = "error"


class ServerLoginRefused(Fault):
    """A server refused our login: its own text and SQLSTATE, not cut."""

    text = "{message}"
    text_limit: ClassVar[int | None] = None

    @property
    def cause(self) -> str:
        """A fixed text: the server's varies, and the SQLSTATE says enough."""
        return "server login failed"

    def __init__(self, *, message: str, sqlstate: str = PROTOCOL_VIOLATION) -> None:
        """Take the server's text and code; the severity is always FATAL."""
        super().__init__(message=message)
        self.sqlstate = sqlstate or PROTOCOL_VIOLATION


class QueryCancelled(Fault):
    """The client canceled a query that was still waiting for a server.

    Text and code are PostgreSQL's, which drivers know; PgBouncer has no such error.
    """

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "57014"
    text = "canceling statement due to user request"


class RuleMoveRefused(Fault):
    """A rule routes a query to another database inside a transaction or pipeline.

    The server is made to fail the statement; this error replaces the server's.
    """

    severity: ClassVar[Severity] = "ERROR"
    text_limit: ClassVar[int | None] = None
    sqlstate = "25001"
    text = (
        'routing_rules asked for database "{key}" inside a transaction or pipeline'
        ' that runs on "{here}"'
    )
    hint = (
        "A transaction stays on one server: have the function return None while "
        "in_transaction is true, or set rules_reroute_in_transaction = ignore."
    )


class RewriteFailed(Fault):
    """rewrite_query failed, and the query must not be sent unchanged."""

    text = "rewrite_query failed (rewrite_query_disconnect_on_failure)"
    hint = "The pooler's log says what went wrong."
    log_level: ClassVar[LogLevelName] = "error"
