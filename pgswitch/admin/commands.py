"""The commands of the console besides SHOW and SET: one table, verb to action.

:class:`Control` is the interface to the running service, with one method for each
command.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pgswitch.errors import (
    AdminDatabaseRefused,
    DatabaseNeeded,
    DatabaseNotPaused,
    InvalidClientPointer,
    InvalidCommand,
    ReloadFailed,
)
from pgswitch.types import CONSOLE_DATABASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from pgswitch.admin.grammar import ConsoleCommand

    Result = Deferred[None] | None
    """A Deferred if the command waits."""


class ShutdownMode(Enum):
    """How the console may end the process."""

    NOW = "now"
    WAIT_FOR_SERVERS = "wait_for_servers"
    WAIT_FOR_CLIENTS = "wait_for_clients"
    DRAIN = "drain"


class Control(Protocol):
    """The commands of the console, each for one database or, with None, for all.

    A command that fails raises a ConsoleError, whose text is the client's answer. A
    name that fits the ``*`` entry counts as a database, except for ``resume`` and
    ``enable``. The console refuses its own database, so no method is called with one of
    ``CONSOLE_DATABASES``.

    A console that gives up cancels its Deferred; the service continues the command.
    """

    def reload(self) -> bool:
        """Read the configuration again; return False if it has errors."""

    def set(self, key: str, value: str) -> bool:
        """Change a setting until the next reload; False for a bad key or value."""

    def tls_is_current(self) -> bool:
        """Return whether the TLS settings could be applied."""

    def pause(
        self, database: str | None, *, timeout: float | None = None
    ) -> Deferred[None]:
        """Give servers to no more clients; fires when no server is active or tested.

        Undoes the pause and fails with ``PauseTimedOut`` if that takes longer than
        ``timeout`` seconds. Raises ``AlreadyPaused``, ``ConsoleNoSuchDatabase``.
        """

    def resume(self, database: str | None) -> None:
        """End a pause; for all, that of PAUSE without a database, or of SUSPEND.

        Raises ``PoolerNotPaused`` or ``ConsoleShuttingDown``; for a database
        ``ConsoleNoSuchDatabase`` or ``DatabaseNotPaused``.
        """

    def suspend(self) -> Deferred[None]:
        """Stop all reading; fires when all buffers are empty.

        Raises ``AlreadyPaused`` or ``SuspendWithPausedDatabases``.
        """

    def disable(self, database: str) -> None:
        """Refuse new logins to a database; raises ``ConsoleNoSuchDatabase``."""

    def enable(self, database: str) -> None:
        """Accept new logins to a database; raises ``ConsoleNoSuchDatabase``."""

    def reconnect(self, database: str | None) -> None:
        """Close each server at its next release; raises ``ConsoleNoSuchDatabase``."""

    def kill(self, database: str | None) -> None:
        """Pause, then close all clients and servers.

        Raises ``ConsoleNoSuchDatabase``, or ``AlreadyPaused``.
        """

    def kill_client(self, client_id: int) -> None:
        """Close a client by its number; raises ``ClientNotFound``."""

    def wait_close(self, database: str | None) -> Deferred[None]:
        """Fire when no server is left to close; raises ``ConsoleNoSuchDatabase``."""

    def shutdown(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin to end the process; a second call replaces the mode.

        After ``timeout`` seconds a DRAIN disconnects all clients that are left.
        """


class ConsoleLog(Protocol):
    """The two levels at which the console writes log lines of its own."""

    def log(self, message: str) -> None:
        """Write a line of level LOG."""

    def error(self, message: str) -> None:
        """Write a line of level ERROR."""


class Argument(Enum):
    """What may follow a verb, as SHOW HELP writes it."""

    NONE = ""
    DATABASE = "<db>"
    OPTIONAL_DATABASE = "[<db>]"
    CLIENT_ID = "<client_id>"
    OPTIONAL_MODE = "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]"


_DATABASES: Final = (Argument.DATABASE, Argument.OPTIONAL_DATABASE)


class Verb(NamedTuple):
    """A command word: what may follow it, what it does, and the function for it."""

    argument: Argument
    meaning: str
    """For the reference page."""
    run: Callable[[Control, str], Result]
    """Called with the argument, empty where there is none."""
    refusal: str = ""
    """Completes "cannot ... admin db" for the console's own database."""
    run_with_timeout: Callable[[Control, str, float], Result] | None = None
    """Called instead where a TIMEOUT was given, with its seconds."""

    @property
    def syntax(self) -> str:
        """What may follow the verb."""
        timeout = "" if self.run_with_timeout is None else "[TIMEOUT <seconds>]"
        return " ".join(word for word in (self.argument.value, timeout) if word)


def run_verb(
    command: ConsoleCommand, text: str, *, control: Control, log: ConsoleLog
) -> Result:
    """Run a command whose verb is in VERBS.

    ``text`` is what the user typed, for the error message. Returns None when done, or
    a Deferred that fires then. Raises ConsoleError.
    """
    name, argument, timeout = command
    verb = VERBS[name]
    _check(verb, argument, text)
    if timeout is not None and verb.run_with_timeout is None:
        raise InvalidCommand(command=text)
    log.log(_issued(name, verb, argument))
    if verb.argument in _DATABASES and argument in CONSOLE_DATABASES:
        if not verb.refusal:
            raise DatabaseNotPaused(database=argument)
        raise AdminDatabaseRefused(verb=verb.refusal, database=argument)
    if timeout is not None and verb.run_with_timeout is not None:
        return verb.run_with_timeout(control, argument or "", timeout)
    return verb.run(control, argument or "")


def _check(verb: Verb, argument: str | None, statement: str) -> None:
    """Raise the error for an argument that is missing or does not fit the verb."""
    match verb.argument:
        case Argument.NONE if argument is not None:
            raise InvalidCommand(command=statement)
        case Argument.OPTIONAL_MODE if (argument or "").lower() not in SHUTDOWN_MODES:
            raise InvalidCommand(command=statement)
        case Argument.DATABASE if argument is None:
            raise DatabaseNeeded
        case Argument.DATABASE | Argument.OPTIONAL_DATABASE if argument == "":
            # PAUSE "" must not act as PAUSE, which means all.
            raise InvalidCommand(command=statement)
        case _:
            return


def _issued(name: str, verb: Verb, argument: str | None) -> str:
    """Return the log line of a command."""
    words = [name.upper()]
    if argument is not None:
        is_mode = verb.argument is Argument.OPTIONAL_MODE
        words.append(argument.upper() if is_mode else f"'{argument}'")
    return " ".join([*words, "command issued"])


def _reload(control: Control, _: str) -> None:
    if not control.reload():
        raise ReloadFailed


def _kill_client(control: Control, argument: str) -> None:
    # isdecimal alone would accept digits of other scripts.
    if not (argument.isascii() and argument.isdecimal()):
        raise InvalidClientPointer
    control.kill_client(int(argument))


SHUTDOWN_MODES: Final = {
    "": ShutdownMode.NOW,
    "wait_for_servers": ShutdownMode.WAIT_FOR_SERVERS,
    "wait_for_clients": ShutdownMode.WAIT_FOR_CLIENTS,
}

VERBS: Final[dict[str, Verb]] = {
    "disable": Verb(
        Argument.DATABASE,
        "Refuse new logins to a database; connected clients stay.",
        lambda control, database: control.disable(database),
        refusal="disable",
    ),
    "drain": Verb(
        Argument.NONE,
        "End the process: disconnect each client as soon as it has nothing in progress,"
        " and all that are left after the timeout.",
        lambda control, _: control.shutdown(ShutdownMode.DRAIN),
        run_with_timeout=lambda control, _, seconds: control.shutdown(
            ShutdownMode.DRAIN, timeout=seconds
        ),
    ),
    "enable": Verb(
        Argument.DATABASE,
        "Accept logins again after `DISABLE`.",
        lambda control, database: control.enable(database),
        refusal="enable",
    ),
    "kill": Verb(
        Argument.OPTIONAL_DATABASE,
        "Pause a database, or all, and close all of its clients and servers at once;"
        " `RESUME` each database to serve it again.",
        lambda control, database: control.kill(database or None),
        refusal="kill",
    ),
    "kill_client": Verb(
        Argument.CLIENT_ID,
        "Close the connection of a client.",
        _kill_client,
    ),
    "pause": Verb(
        Argument.OPTIONAL_DATABASE,
        "Give servers to no more clients, and wait until none is in use. With a"
        " timeout the pause is undone if that takes longer, and the command fails.",
        lambda control, database: control.pause(database or None),
        refusal="pause",
        run_with_timeout=lambda control, database, seconds: control.pause(
            database or None, timeout=seconds
        ),
    ),
    "reconnect": Verb(
        Argument.OPTIONAL_DATABASE,
        "Close each server when its client releases it, so that connections are made"
        " again. For a cluster without a writer, look for one again.",
        lambda control, database: control.reconnect(database or None),
        refusal="reconnect",
    ),
    "reload": Verb(
        Argument.NONE,
        "Read the configuration and the users again; nothing changes if there is an"
        " error.",
        _reload,
    ),
    "resume": Verb(
        Argument.OPTIONAL_DATABASE,
        "End `PAUSE` or `KILL` of a database; without one, end `PAUSE` or `SUSPEND`"
        " of all.",
        lambda control, database: control.resume(database or None),
    ),
    "shutdown": Verb(
        Argument.OPTIONAL_MODE,
        "End the process: at once, when no server is in use any more, or when the last"
        " client has left. Except at once, new logins are refused.",
        lambda control, mode: control.shutdown(SHUTDOWN_MODES[mode.lower()]),
    ),
    "suspend": Verb(
        Argument.NONE,
        "Read from no connection until `RESUME`, and wait until all buffers are empty"
        " (at most `suspend_timeout`).",
        lambda control, _: control.suspend(),
    ),
    "wait_close": Verb(
        Argument.OPTIONAL_DATABASE,
        "Wait until the servers that are to be closed, by `RECONNECT` or a reload, are"
        " closed.",
        lambda control, database: control.wait_close(database or None),
        refusal="wait in",
    ),
}
"""All verbs, by their names in lower case; each needs an admin."""
