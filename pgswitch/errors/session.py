"""Errors after the login: they end a connection or a statement."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import PROTOCOL_VIOLATION, Fault, LogLevelName, Severity


class QueryWaitTimeout(Fault):
    """The client waited for a server longer than query_wait_timeout."""

    text = "query_wait_timeout"
    remedy = (
        "Look at SHOW POOLS: the pool is too small, transactions are too long, or "
        "the server is down."
    )


class QueryTimeoutWaiting(Fault):
    """The client waited for a server longer than query_timeout."""

    text = "query_timeout"
    remedy = "As for query_wait_timeout."


class ClientIdleTimeout(Fault):
    """The client was idle longer than client_idle_timeout."""

    text = "client_idle_timeout"
    remedy = "Connect again, or raise client_idle_timeout."


class ServerShuttingDown(Fault):
    """The client would have to wait for a server during SHUTDOWN WAIT_FOR_SERVERS."""

    text = "server shutting down"
    remedy = "Connect again when the pooler is back."


class Drained(Fault):
    """The pooler drains, and the client has nothing in progress.

    Drivers know text and SQLSTATE, and connect again.
    """

    text = "terminating connection due to administrator command"
    sqlstate = "57P01"
    detail = "The pooler is draining: nothing of this session was under way."
    remedy = "Nothing: connect again."


class NotHandedOver(Fault):
    """Another process took over (-R), but cannot take this connection."""

    text = "terminating connection due to administrator command"
    sqlstate = "57P01"
    detail = (
        "The pooler was restarted, and encrypted connections and consoles cannot be"
        " handed over."
    )
    remedy = "Nothing: connect again."


class DatabaseRemoved(Fault):
    """KILL of the database, or a reload removed its entry."""

    text = "database removed"
    remedy = "Connect again if the database still exists."


class AdminForcedDisconnect(Fault):
    """An admin closed the connection by KILL_CLIENT."""

    text = "admin forced disconnect"
    remedy = "Ask the admin."


class SuspendTimeout(Fault):
    """SUSPEND could not flush this connection within suspend_timeout."""

    text = "suspend_timeout"
    remedy = "Connect again."


class ServerConnCrashed(Fault):
    """The server that the client was using closed its connection."""

    text = "server conn crashed?"
    remedy = "Look at the log of the server."


class ServerLoginFailing(Fault):
    """The last login of the pool failed and it has no server, so waiting is useless."""

    text = "server login has been failing, cached error: {reason} (server_login_retry)"
    remedy = (
        "The text holds the reason; logins are tried again every "
        "server_login_retry seconds."
    )


class ServerLoginWrongPasswordType(Fault):
    """The stored secret does not fit the authentication that the server asks for."""

    text = "server login failed: wrong password type"
    log_level: ClassVar[LogLevelName] = "error"
    remedy = (
        "Store the password or the SCRAM keys, or change pg_hba.conf of the server."
    )


class ServerSignatureNotVerified(Fault):
    """The server's final SCRAM message cannot be parsed."""

    text = "server login failed: failed to verify server signature"
    remedy = "Check that it is PostgreSQL that answers there."


class ServerSignatureInvalid(Fault):
    """The server does not know the user's secret: it may be an impostor."""

    text = "server login failed: invalid server signature"
    remedy = (
        "Check that it is the right server, and verify its certificate "
        "(server_tls_sslmode = verify-full)."
    )


class ServerAuthUnsupported(Fault):
    """The server asks for an authentication method that pgswitch does not support."""

    text = "server login failed: unknown/unsupported auth method: {method}"
    hint = "Let pg_hba.conf of the server ask for scram-sha-256, md5, cert or trust."


class ServerSaslUnsupported(Fault):
    """The server offers no SASL mechanism that pgswitch speaks."""

    text = (
        "server login failed: none of the server's SASL authentication mechanisms "
        "are supported"
    )
    remedy = "Let the server offer SCRAM-SHA-256."


class TransactionBlocksNotAllowed(Fault):
    """The client opened a transaction block under pool_mode = statement."""

    text = "transaction blocks not allowed in statement pooling mode"
    remedy = "Use pool_mode = transaction for this database or user."


class InvalidServerParameter(Fault):
    """The server refused the value of a tracked parameter of the client."""

    text = "invalid server parameter"
    remedy = "Correct the value in the connection string of the client."


class PqexecDisallowed(Fault):
    """The client sent a simple query while disable_pqexec is on."""

    text = "PQexec disallowed"
    hint = "Use the extended query protocol, or switch disable_pqexec off."


class ServerClosed(Fault):
    """The server of the client was closed, for the reason in the text."""

    text = "{reason}"
    remedy = "Connect again; the log says more about the server."


class InternalFault(Fault):
    """pgswitch itself failed."""

    text = "failure"
    log_level: ClassVar[LogLevelName] = "error"
    remedy = "Report it, with the traceback from the log."


class ServerLoginRefused(Fault):
    """The server refused the login. Text and SQLSTATE are its own."""

    text = "{message}"
    text_limit: ClassVar[int | None] = None
    remedy = "Act on the text, as if connected to the server directly."

    @property
    def cause(self) -> str:
        """A fixed text: the SQLSTATE stands for the words of the server."""
        return "server login failed"

    def __init__(self, *, message: str, sqlstate: str = PROTOCOL_VIOLATION) -> None:
        """Take text and SQLSTATE of the server; the severity is always FATAL."""
        super().__init__(message=message)
        self.sqlstate = sqlstate or PROTOCOL_VIOLATION


class QueryCancelled(Fault):
    """The client cancelled a query that was still waiting for a server."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "57014"
    text = "canceling statement due to user request"
    remedy = "Nothing."


class RuleMoveRefused(Fault):
    """routing_rules moves a query away from a transaction or pipeline in progress."""

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
    """rewrite_query failed.

    The setting rewrite_query_disconnect_on_failure forbids sending the query as it is.
    """

    text = "rewrite_query failed (rewrite_query_disconnect_on_failure)"
    hint = "The pooler's log says what went wrong."
    log_level: ClassVar[LogLevelName] = "error"
