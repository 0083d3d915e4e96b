"""Every fault a client can be told of: one class each, and nothing else.

A fault carries what the wire needs (severity, SQLSTATE, text, DETAIL, HINT) and what
the log needs (level), so that no call site spells a message. Texts and codes are
those PgBouncer sends, because monitoring tools match on them; DETAIL and HINT are
ours, and present only where an operator is helped by them.

Texts may hold ``{placeholders}``, filled by keyword arguments of the constructor::

    raise NoSuchDatabase(database="shop")

Used by every floor. Faults of the configuration file live with the configuration.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

Severity = Literal["FATAL", "ERROR", "NOTICE"]
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]

PROTOCOL_VIOLATION: Final = "08P01"
"""SQLSTATE that PgBouncer gives nearly everything."""

TEXT_LIMIT: Final = 127
"""Longest reason text, in UTF-8 bytes, that PgBouncer sends to a client."""

UTF8_MARK_MASK: Final = 0xC0
UTF8_CONTINUATION: Final = 0x80
"""A byte inside a character, seen through the mask (RFC 3629, section 3)."""

SHOWN_HEADER: Final = 8
"""How many bytes of a bad header are shown, as twice as many hexadecimal digits."""


def cut_text(text: str, limit: int) -> str:
    """Return ``text`` cut to at most ``limit`` UTF-8 bytes, no character halved."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) <= limit:
        return text
    while limit > 0 and raw[limit] & UTF8_MARK_MASK == UTF8_CONTINUATION:
        limit -= 1
    return raw[:limit].decode("utf-8", "surrogateescape")


class Report:
    """What faults and notices share: the fields of one message to a client.

    Class attributes are templates; an instance has them filled in. ``text_limit``
    is the length in bytes at which the text is cut, None for never.
    """

    severity: ClassVar[Severity]
    log_level: ClassVar[LogLevelName] = "warn"
    text_limit: ClassVar[int | None] = TEXT_LIMIT
    sqlstate: str = PROTOCOL_VIOLATION
    text: str = ""
    detail: str | None = None
    hint: str | None = None

    def __init__(
        self,
        *,
        detail: str | None = None,
        hint: str | None = None,
        **values: object,
    ) -> None:
        """Fill the class's templates.

        ``detail`` and ``hint`` replace those of the class and are taken as they
        are; ``values`` fill the placeholders. KeyError if one of them is missing.
        """
        super().__init__()
        text = self.text.format_map(values)
        limit = self.text_limit
        self.text = text if limit is None else cut_text(text, limit)
        self.detail = detail if detail is not None else _fill(self.detail, values)
        self.hint = hint if hint is not None else _fill(self.hint, values)

    def __str__(self) -> str:
        """Return the text, as log lines show it."""
        return self.text

    def __repr__(self) -> str:
        """Return class name and text."""
        return f"{type(self).__name__}({self.text!r})"


def _fill(template: str | None, values: dict[str, object]) -> str | None:
    """Return the template with its placeholders filled, None for None."""
    return None if template is None else template.format_map(values)


class Fault(Report, Exception):
    """Something went wrong that a client is told of, or closed for.

    FATAL: the connection is closed after the message, no ReadyForQuery follows.
    ERROR: the connection stays and ReadyForQuery follows (console).
    """

    severity: ClassVar[Severity] = "FATAL"
    is_silent: ClassVar[bool] = False

    @property
    def cause(self) -> str:
        """The text as its class has it, with what may be anything left open."""
        template = type(self).text
        return self.text if template == "{reason}" else template


class SilentClose(Fault):
    """The connection is closed without a message; the reason goes to the log."""

    is_silent: ClassVar[bool] = True
    log_level: ClassVar[LogLevelName] = "info"
    text = "{reason}"

    def __init__(self, reason: str) -> None:
        """Take the reason as the log shall show it."""
        super().__init__(reason=reason)


# ------------------------------------------------- a peer that breaks the protocol


class ProtocolViolation(Fault):
    """A peer sent what the protocol does not allow; base of the ones below."""

    text = "bad packet"


class BadPacketHeader(ProtocolViolation):
    """A client's message has no acceptable header."""

    text = "bad packet header: '{digits}'"
    detail = "The bytes are neither a startup packet nor a message PostgreSQL knows."

    def __init__(self, header: bytes) -> None:
        """Take the bytes seen; the first eight are shown in hexadecimal."""
        super().__init__(digits=bytes(header[:SHOWN_HEADER]).hex())


class UnknownPacket(ProtocolViolation):
    """A message type that its sender may not use here."""

    text = "unknown pkt"


class ServerUnknownPacket(UnknownPacket):
    """A server's message has a type that servers do not send."""


class ServerBadHeader(ProtocolViolation):
    """A server's message has an impossible length."""

    text = "bad pkt header"


class BrokenPacket(ProtocolViolation):
    """A body does not have the layout of its message.

    ``message`` is the manual's name of the message, for example ``Parse``.
    """

    text = "broken {message} packet"


class FailedToParsePacket(ProtocolViolation):
    """A message could not be taken apart at all."""

    text = "failed to parse packet"


class ParameterStatusNotStored(ProtocolViolation):
    """A server's ParameterStatus can be read but not kept."""

    text = "failed to store ParameterStatus"


class IncompletePacket(ProtocolViolation):
    """A console message ends before its body does."""

    text = "incomplete pkt"


class IncompleteQuery(ProtocolViolation):
    """A console Query has no terminating zero byte."""

    text = "incomplete query"


class OldProtocol(ProtocolViolation):
    """The client speaks protocol 2.0."""

    text = "old V2 protocol not supported"
    hint = "Protocol 3.0 or later is needed (PostgreSQL 7.4 and later drivers)."


class UnencryptedDataAfterSslRequest(ProtocolViolation):
    """Bytes came in clear behind an SSLRequest: perhaps injected on the way."""

    text = "received unencrypted data after SSL request"


class UnencryptedDataAfterGssRequest(ProtocolViolation):
    """Bytes came in clear behind a GSSENCRequest: perhaps injected on the way."""

    text = "received unencrypted data after GSSAPI encryption request"


class StartupRepeated(ProtocolViolation):
    """A second startup packet on one connection."""

    text = "client re-sent startup pkt"


class StartupTerminatorMissing(ProtocolViolation):
    """The parameter list of a startup packet does not end with its last byte."""

    text = "invalid startup packet layout: expected terminator as last byte"


class PasswordBeforeStartup(ProtocolViolation):
    """A password came before the startup packet."""

    text = "client password pkt before startup packet"


class StatementNameInUse(ProtocolViolation):
    """A named Parse for a name that the client has not closed."""

    text = "prepared statement name is already in use"


class StatementMissing(ProtocolViolation):
    """A Bind or Describe names a statement that the client never prepared."""

    text = "prepared statement did not exist"


# --------------------------------------------------------------------------- login


class SslRequired(Fault):
    """A login in clear over TCP while ``client_tls_sslmode`` is require or above."""

    text = "SSL required"
    hint = "Connect with sslmode=require or stricter."


class NoUsername(Fault):
    """The startup packet names no user."""

    text = "no username supplied"


class UsernameTooLong(Fault):
    """The user name has 128 bytes or more."""

    text = "username too long"


class PasswordTooLong(Fault):
    """The password has 65531 bytes or more."""

    text = "password too long"


class UnsupportedStartupParameter(Fault):
    """A startup parameter that is neither tracked nor ignored."""

    text = "unsupported startup parameter: {name}"
    hint = (
        "List it in ignore_startup_parameters to have it ignored, or in "
        "track_extra_parameters if the server reports it."
    )


class UnsupportedOption(Fault):
    """A setting inside the startup parameter ``options``, not tracked, not ignored."""

    text = "unsupported startup parameter in options: {name}"
    hint = UnsupportedStartupParameter.hint


class UnsupportedOptionsForm(Fault):
    """The startup parameter ``options`` has another form than settings."""

    text = (
        "unsupported options startup parameter: "
        "only '-c config=val' and '--config=val' are allowed"
    )


class TooManyClients(Fault):
    """``max_client_conn`` is reached."""

    text = "no more connections allowed (max_client_conn)"


class TooManyDatabaseClients(Fault):
    """``max_db_client_connections`` is reached."""

    text = "client connections exceeded (max_db_client_connections)"


class TooManyUserClients(Fault):
    """``max_user_client_connections`` is reached."""

    text = "client connections exceeded (max_user_client_connections)"


class EmptyPassword(Fault):
    """The client answered a password request with nothing."""

    text = "empty password returned by client"


class PasswordFailed(Fault):
    """Wrong password or unknown user; deliberately without saying which."""

    text = "password authentication failed"


class SaslFailed(Fault):
    """Any failure of SCRAM; deliberately without saying which."""

    text = "SASL authentication failed"


class SaslMechanismInvalid(Fault):
    """The client chose a mechanism that was not offered."""

    text = "client selected an invalid SASL authentication mechanism"
    detail = "SCRAM-SHA-256 is offered, over TLS also with channel binding."


class TrustFailed(Fault):
    """An unknown user under ``trust``."""

    text = '"trust" authentication failed'


class CertificateFailed(Fault):
    """The client certificate is missing or names another user."""

    text = "certificate authentication failed"


class PeerRejected(Fault):
    """The operating-system user of a unix-socket client may not be that user."""

    text = "unix socket login rejected"


class LdapFailed(Fault):
    """The directory refused the password or could not be asked."""

    text = "LDAP authentication failed"


class LdapOptionsMissing(Fault):
    """``auth_type=ldap`` without ``auth_ldap_options``."""

    text = "auth_ldap_options is null"


class LdapUnsupported(Fault):
    """The LDAP library is not installed."""

    text = "ldap is not supported by this build"


class PamFailed(Fault):
    """PAM refused the password or could not be asked."""

    text = "PAM authentication failed"


class NoAuthenticationMethod(Fault):
    """No line of the HBA file matches."""

    text = "no authentication method is found"


class LoginRejected(Fault):
    """The matching line of the HBA file says reject."""

    text = "login rejected"


class NoSuchUser(Fault):
    """``auth_query`` gave no row."""

    text = "no such user"


class AuthDatabaseDisabled(Fault):
    """The database that ``auth_query`` would run in is disabled."""

    text = 'authentication database "{database}" is disabled'


class BouncerConfigError(Fault):
    """The configuration makes this login impossible; DETAIL may say why."""

    text = "bouncer config error"
    log_level: ClassVar[LogLevelName] = "error"


class NoSuchDatabase(Fault):
    """An unknown database, said only after the password was right."""

    text = "no such database: {database}"


class DatabaseDisabled(Fault):
    """The console's DISABLE is in force."""

    text = 'database "{database}" is disabled'


class PoolerShuttingDown(Fault):
    """A login during a shutdown."""

    text = "pooler is shutting down"


class NotAllowed(Fault):
    """A console login by somebody who is neither admin nor stats user."""

    text = "not allowed"
    hint = "Console users are listed in admin_users and stats_users."


class ClientLoginTimeout(Fault):
    """The login took longer than ``client_login_timeout``."""

    text = "client_login_timeout"


class ClientLoginTimeoutServerDown(Fault):
    """No server logged in within ``client_login_timeout``, so there is no welcome."""

    text = "client_login_timeout (server down)"


class WelcomeNotPrepared(Fault):
    """The welcome message could not be put together."""

    text = "failed to prepare welcome message"
    log_level: ClassVar[LogLevelName] = "error"


# --------------------------------------------------------------------- after login


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


# --------------------------------------------------------------------------- rules


class RuleMoveRefused(Fault):
    """A rule sends a query elsewhere while a transaction or pipeline is under way.

    The server ends that with an error of its own, which this is told in place of.
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
    """rewrite_query failed, and such a query must not be sent as it is."""

    text = "rewrite_query failed (rewrite_query_disconnect_on_failure)"
    hint = "The pooler's log says what went wrong."
    log_level: ClassVar[LogLevelName] = "error"


# ------------------------------------------------------- lost to a switchover


class TransactionLost(Fault):
    """The transaction went with its server: certainly not committed."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "40001"
    text = "transaction lost: its server went away"
    detail = "Nothing of it was committed."
    hint = "Run the transaction again."


class InFailedTransaction(Fault):
    """A statement after the loss and before the end of the transaction."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "25P02"
    text = (
        "current transaction is aborted, commands ignored until end of"
        " transaction block"
    )


class OutcomeUnknown(Fault):
    """The server went after it was sent something that it may have carried out."""

    severity: ClassVar[Severity] = "ERROR"
    sqlstate = "08007"
    text = "statement outcome unknown: its server went away before it answered"
    hint = "Find out whether it took effect before running it again."


class SessionLost(Fault):
    """The server of a session, and with it all that the session had there."""

    sqlstate = "57P01"
    text = "server connection lost: {reason}"
    hint = "Connect again; new connections are served as soon as there is a writer."


# ------------------------------------------------------------------------- console


class ConsoleError(Fault):
    """A console statement failed; the connection stays. Base of the ones below."""

    severity: ClassVar[Severity] = "ERROR"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None


class AdminAccessNeeded(ConsoleError):
    """A stats user gave a command for admins."""

    text = "admin access needed"


class InvalidCommand(ConsoleError):
    """Not a statement of the console."""

    text = "invalid command '{command}', use SHOW HELP;"


class BadArguments(ConsoleError):
    """A command with impossible arguments."""

    text = "bad arguments"


class SetFailed(ConsoleError):
    """SET of an unknown setting or to a value it does not take."""

    text = "SET failed"


class AlreadyPaused(ConsoleError):
    """PAUSE or SUSPEND while one of them is in force."""

    text = "already suspended/paused"


class SuspendWithPausedDatabases(ConsoleError):
    """SUSPEND while databases are paused."""

    text = "cannot suspend with paused databases"


class PoolerNotPaused(ConsoleError):
    """RESUME with nothing to resume."""

    text = "pooler is not paused/suspended"


class ConsoleShuttingDown(ConsoleError):
    """A command that a shutdown under way rules out."""

    text = "pooler is shutting down"


class ConsoleNoSuchDatabase(ConsoleError):
    """A command for an unknown database."""

    text = "no such database: {database}"


class DatabaseNotPaused(ConsoleError):
    """RESUME of a database that is not paused."""

    text = "database {database} is not paused"


class DatabaseNeeded(ConsoleError):
    """A command that needs the name of a database came without."""

    text = "a database is required"


class AdminDatabaseRefused(ConsoleError):
    """A command for the console's own database.

    ``verb`` is what cannot be done: ``pause``, ``reconnect``, ``disable``,
    ``enable``, ``kill`` or ``wait in``.
    """

    text = "cannot {verb} admin db: {database}"


class InvalidClientPointer(ConsoleError):
    """KILL_CLIENT with something that names no client."""

    text = "invalid client pointer supplied"


class ClientNotFound(ConsoleError):
    """KILL_CLIENT for a client that is gone."""

    text = "client not found"


class ResultNotPrepared(ConsoleError):
    """The rows of a SHOW could not be put together."""

    text = "result prepare failed"
    log_level: ClassVar[LogLevelName] = "error"


class ConsolePacketUnsupported(ConsoleError):
    """Another message at the console; the connection is closed afterwards."""

    text = "unsupported packet type for admin console: {type}"


class PauseTimedOut(ConsoleError):
    """PAUSE with a TIMEOUT did not come about in time."""

    text = "PAUSE timed out after {seconds:g} s with {busy} servers in use, undone"
    sqlstate = "57014"


class PauseEnded(ConsoleError):
    """Somebody ended the pause that this PAUSE was still waiting for."""

    text = "the pause was ended by somebody else"
    sqlstate = "57014"


class StatementCancelled(ConsoleError):
    """The client cancelled a statement that was waiting.

    The code is PostgreSQL's query_canceled, so that drivers know it.
    """

    text = "canceling statement due to user request"
    sqlstate = "57014"


class PreparedStatementExists(ConsoleError):
    """Parse of a name in use; text and code are PostgreSQL's, as of those below."""

    text = 'prepared statement "{name}" already exists'
    sqlstate = "42P05"


class PreparedStatementMissing(ConsoleError):
    """Bind or Describe of an unknown statement."""

    text = 'prepared statement "{name}" does not exist'
    sqlstate = "26000"


class PortalMissing(ConsoleError):
    """Execute or Describe of an unknown portal."""

    text = 'portal "{name}" does not exist'
    sqlstate = "34000"


class TooManyParameters(ConsoleError):
    """Bind with parameters, which no statement of the console has."""

    text = "bind message supplies {count} parameters, but the statement requires 0"


class ReloadFailed(ConsoleError):
    """The new configuration is not acceptable, the old one stays in force."""

    text = "RELOAD failed, see logs for additional details"
    sqlstate = "F0000"


# ------------------------------------------------------------------------- notices


class Notice(Report):
    """Something a client is told in passing; not an exception. Base of those below."""

    severity: ClassVar[Severity] = "NOTICE"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None
    sqlstate = "00000"
    text = "{text}"


class ClientQueued(Notice):
    """A client waits for a server since ``query_wait_notify`` seconds."""

    text = "No server connection available in postgres backend, client being queued"


class SetIgnored(Notice):
    """SET of something that the console has no use for."""

    text = "SET ignored"


class TlsNotApplied(Notice):
    """The new TLS settings do not work."""

    text = "TLS settings could not be applied, still using old configuration"


class ConsoleUsage(Notice):
    """SHOW HELP; the list of commands goes into DETAIL."""

    text = "Console usage"
