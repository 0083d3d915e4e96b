"""Errors of the console."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, LogLevelName, Severity


class ConsoleError(Fault):
    """Base of the errors of console statements; the connection stays open."""

    severity: ClassVar[Severity] = "ERROR"
    log_level: ClassVar[LogLevelName] = "info"
    text_limit: ClassVar[int | None] = None


class AdminAccessNeeded(ConsoleError):
    """A stats user gave a command that only admins may give."""

    text = "admin access needed"
    remedy = "Log in as one of admin_users."


class InvalidCommand(ConsoleError):
    """The text is not a statement of the console."""

    text = "invalid command '{command}', use SHOW HELP;"
    remedy = "Look the command up in SHOW HELP."


class BadArguments(ConsoleError):
    """A word of the command is too long."""

    text = "bad arguments"
    remedy = "Names have at most 63 bytes, values of SET 255."


class SetFailed(ConsoleError):
    """SET of an unknown setting, or to a value that it does not take."""

    text = "SET failed"
    remedy = "The log names the problem."


class AlreadyPaused(ConsoleError):
    """The command cannot run while PAUSE or SUSPEND is in force."""

    text = "already suspended/paused"
    remedy = "RESUME first."


class SuspendWithPausedDatabases(ConsoleError):
    """SUSPEND while single databases are paused."""

    text = "cannot suspend with paused databases"
    remedy = "RESUME those databases first; SHOW DATABASES lists them."


class PoolerNotPaused(ConsoleError):
    """RESUME while nothing is paused or suspended."""

    text = "pooler is not paused/suspended"
    remedy = "Nothing; SHOW STATE shows what is in force."


class ConsoleShuttingDown(ConsoleError):
    """RESUME during a shutdown."""

    text = "pooler is shutting down"
    remedy = "Nothing: the pooler ends."


class ConsoleNoSuchDatabase(ConsoleError):
    """The command names an unknown database."""

    text = "no such database: {database}"
    remedy = "Use a name of [databases]; SHOW DATABASES lists them."


class DatabaseNotPaused(ConsoleError):
    """RESUME of a database that is not paused."""

    text = "database {database} is not paused"
    remedy = "Nothing; SHOW DATABASES shows which are paused."


class DatabaseNeeded(ConsoleError):
    """The command needs the name of a database."""

    text = "a database is required"
    remedy = "Add the name."


class AdminDatabaseRefused(ConsoleError):
    """The command names the console's own database.

    ``verb`` is one of ``pause``, ``reconnect``, ``disable``, ``enable``, ``kill`` and
    ``wait in``.
    """

    text = "cannot {verb} admin db: {database}"
    remedy = "Name another database."


class InvalidClientPointer(ConsoleError):
    """KILL_CLIENT with something that is not a number."""

    text = "invalid client pointer supplied"
    remedy = "Take the number from the column id of SHOW CLIENTS."


class ClientNotFound(ConsoleError):
    """KILL_CLIENT for a client that has disconnected."""

    text = "client not found"
    remedy = "Nothing, or look for its new number in SHOW CLIENTS."


class ConsolePacketUnsupported(ConsoleError):
    """The client sent a message that the console does not know.

    Its connection is closed.
    """

    text = "unsupported packet type for admin console: {type}"
    remedy = "Use the simple or the extended query protocol."


class PauseTimedOut(ConsoleError):
    """Servers were still in use after the TIMEOUT of PAUSE. The pause was undone."""

    text = "PAUSE timed out after {seconds:g} s with {busy} servers in use, undone"
    sqlstate = "57014"
    remedy = "Look for long transactions in SHOW SERVERS, or allow more time."


class PauseEnded(ConsoleError):
    """Another console ended the pause that this PAUSE was still waiting for."""

    text = "the pause was ended by another command"
    sqlstate = "57014"
    remedy = "Give the command again."


class StatementCancelled(ConsoleError):
    """The client cancelled a statement that was waiting."""

    text = "canceling statement due to user request"
    sqlstate = "57014"
    remedy = "Nothing."


class PreparedStatementExists(ConsoleError):
    """Parse of a name that is in use."""

    text = 'prepared statement "{name}" already exists'
    sqlstate = "42P05"
    remedy = "Close the statement first, or use another name."


class TooMuchPrepared(ConsoleError):
    """A console client has too many prepared statements or portals.

    The size of their texts is limited too.
    """

    text = "too many prepared statements or portals on the console"
    sqlstate = "53400"
    remedy = "Close what is not needed any more."


class PreparedStatementMissing(ConsoleError):
    """Bind or Describe of an unknown prepared statement."""

    text = 'prepared statement "{name}" does not exist'
    sqlstate = "26000"
    remedy = "Prepare it first."


class PortalMissing(ConsoleError):
    """Execute or Describe of an unknown portal; Sync ends all portals."""

    text = 'portal "{name}" does not exist'
    sqlstate = "34000"
    remedy = "Bind before Execute."


class TooManyParameters(ConsoleError):
    """Bind with parameters; console statements have none."""

    text = "bind message supplies {count} parameters, but the statement requires 0"
    remedy = "Write the values into the statement."


class ReloadFailed(ConsoleError):
    """The new configuration is not acceptable; the old one stays in force."""

    text = "RELOAD failed, see logs for additional details"
    sqlstate = "F0000"
    remedy = "The log names each problem with its line."
