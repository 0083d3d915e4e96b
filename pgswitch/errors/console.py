"""What the console answers instead of what it was asked."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, LogLevelName, Severity


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


class TooMuchPrepared(ConsoleError):
    """Parse or Bind beyond what one console client may have us keep."""

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
    """Bind with parameters, which no statement of the console has."""

    text = "bind message supplies {count} parameters, but the statement requires 0"


class ReloadFailed(ConsoleError):
    """The new configuration is not acceptable, the old one stays in force."""

    text = "RELOAD failed, see logs for additional details"
    sqlstate = "F0000"
