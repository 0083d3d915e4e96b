"""Errors that the console answers."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, LogLevelName, Severity


class ConsoleError(Fault):
    """A failed console statement; the connection stays open. Base of those below."""

    severity: ClassVar[Severity] = "ERROR"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None


class AdminAccessNeeded(ConsoleError):
    """A stats user tried a command for admins."""

    text = "admin access needed"


class InvalidCommand(ConsoleError):
    """Not a statement of the console."""

    text = "invalid command '{command}', use SHOW HELP;"


class BadArguments(ConsoleError):
    """A command with invalid arguments."""

    text = "bad arguments"


class SetFailed(ConsoleError):
    """SET of an unknown setting or to an invalid value."""

    text = "SET failed"


class AlreadyPaused(ConsoleError):
    """PAUSE or SUSPEND while the pooler is paused or suspended."""

    text = "already suspended/paused"


class SuspendWithPausedDatabases(ConsoleError):
    """SUSPEND while databases are paused."""

    text = "cannot suspend with paused databases"


class PoolerNotPaused(ConsoleError):
    """RESUME with nothing to resume."""

    text = "pooler is not paused/suspended"


class ConsoleShuttingDown(ConsoleError):
    """A command that is not allowed during a shutdown."""

    text = "pooler is shutting down"


class ConsoleNoSuchDatabase(ConsoleError):
    """A command for an unknown database."""

    text = "no such database: {database}"


class DatabaseNotPaused(ConsoleError):
    """RESUME of a database that is not paused."""

    text = "database {database} is not paused"


class DatabaseNeeded(ConsoleError):
    """A command without the database name it needs."""

    text = "a database is required"


class AdminDatabaseRefused(ConsoleError):
    """A command for the console's own database.

    ``verb`` is one of ``pause``, ``reconnect``, ``disable``, ``enable``, ``kill`` and
    ``wait in``.
    """

    text = "cannot {verb} admin db: {database}"


class InvalidClientPointer(ConsoleError):
    """KILL_CLIENT with something that is not a client's pointer."""

    text = "invalid client pointer supplied"


class ClientNotFound(ConsoleError):
    """KILL_CLIENT for a client that has disconnected."""

    text = "client not found"


class ConsolePacketUnsupported(ConsoleError):
    """A message type the console does not support; the connection is then closed."""

    text = "unsupported packet type for admin console: {type}"


class PauseTimedOut(ConsoleError):
    """PAUSE with a TIMEOUT did not complete in time."""

    text = "PAUSE timed out after {seconds:g} s with {busy} servers in use, undone"
    sqlstate = "57014"


class PauseEnded(ConsoleError):
    """RESUME ended the pause that this PAUSE was still waiting for."""

    text = "the pause was ended by another command"
    sqlstate = "57014"


class StatementCancelled(ConsoleError):
    """The client canceled a waiting statement.

    The code is PostgreSQL's query_canceled, which drivers know.
    """

    text = "canceling statement due to user request"
    sqlstate = "57014"


class PreparedStatementExists(ConsoleError):
    """Parse of a name in use; text and code are PostgreSQL's, as in those below."""

    text = 'prepared statement "{name}" already exists'
    sqlstate = "42P05"


class TooMuchPrepared(ConsoleError):
    """Parse or Bind beyond the limit of one console client."""

    text = "too many prepared statements or portals on the console"
    sqlstate = "53400"


class PreparedStatementMissing(ConsoleError):
    """Bind or Describe of an unknown statement."""

    text = 'prepared statement "{name}" does not exist'
    sqlstate = "26000"


class PortalMissing(ConsoleError):
    """Execute or Describe of an unknown portal."""

    text = 'portal "{name}" does not exist'
    sqlstate = "34000"


class TooManyParameters(ConsoleError):
    """Bind with parameters; console statements have none."""

    text = "bind message supplies {count} parameters, but the statement requires 0"


class ReloadFailed(ConsoleError):
    """The new configuration is invalid; the old one stays in force."""

    text = "RELOAD failed, see logs for additional details"
    sqlstate = "F0000"
