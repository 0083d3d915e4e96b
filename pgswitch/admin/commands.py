"""The verbs of the console besides SHOW and SET: one table, verb to action."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.interfaces import ShutdownMode
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
    from pgswitch.admin.interfaces import ConsoleLog, Control

    Result = Deferred[None] | None
    """What a verb gives: a Deferred if it takes its time."""


class Argument(Enum):
    """What may follow a verb."""

    NOTHING = auto()
    DATABASE = auto()
    DATABASE_OR_NOTHING = auto()
    CLIENT = auto()
    MODE_OR_NOTHING = auto()


class Verb(NamedTuple):
    """What may follow a verb, and what carries it out.

    ``refusal`` completes "cannot ... admin db" for the console's own database.
    """

    takes: Argument
    run: Callable[[Control, str], Result]
    """Called with the argument, empty where there is none."""
    refusal: str = ""
    run_with_timeout: Callable[[Control, str, float], Result] | None = None
    """Called instead where a TIMEOUT was given, with its seconds."""


def run_verb(
    command: ConsoleCommand, text: str, *, control: Control, log: ConsoleLog
) -> Result:
    """Carry out a command whose verb is in VERBS.

    ``text`` is what was typed, for the error message. Returns None when done, or a
    Deferred that fires when it is. Raises the faults of the console.
    """
    name, argument, timeout = command
    verb = VERBS[name]
    _check(verb, argument, text)
    if timeout is not None and verb.run_with_timeout is None:
        raise InvalidCommand(command=text)
    log.log(_issued(name, verb, argument))
    if verb.takes in _DATABASES and argument in CONSOLE_DATABASES:
        if not verb.refusal:
            raise DatabaseNotPaused(database=argument)
        raise AdminDatabaseRefused(verb=verb.refusal, database=argument)
    if timeout is not None and verb.run_with_timeout is not None:
        return verb.run_with_timeout(control, argument or "", timeout)
    return verb.run(control, argument or "")


_DATABASES: Final = (Argument.DATABASE, Argument.DATABASE_OR_NOTHING)


def _check(verb: Verb, argument: str | None, statement: str) -> None:
    """Raise the fault of an argument that does not fit the verb, or is missing."""
    match verb.takes:
        case Argument.NOTHING if argument is not None:
            raise InvalidCommand(command=statement)
        case Argument.MODE_OR_NOTHING if (argument or "").lower() not in SHUTDOWN_MODES:
            raise InvalidCommand(command=statement)
        case Argument.DATABASE if argument is None:
            raise DatabaseNeeded
        case Argument.DATABASE | Argument.DATABASE_OR_NOTHING if argument == "":
            # PAUSE "" must not be taken for PAUSE, which means all.
            raise InvalidCommand(command=statement)
        case _:
            return


def _issued(name: str, verb: Verb, argument: str | None) -> str:
    """Return the log line that says that somebody gave a command."""
    words = [name.upper()]
    if argument is not None:
        is_mode = verb.takes is Argument.MODE_OR_NOTHING
        words.append(argument.upper() if is_mode else f"'{argument}'")
    return " ".join([*words, "command issued"])


def _reload(control: Control, _: str) -> None:
    if not control.reload():
        raise ReloadFailed


def _kill_client(control: Control, argument: str) -> None:
    # isdecimal alone would let digits of other scripts through.
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
        lambda control, database: control.disable(database),
        refusal="disable",
    ),
    "drain": Verb(
        Argument.NOTHING,
        lambda control, _: control.shutdown(ShutdownMode.DRAIN),
        run_with_timeout=lambda control, _, seconds: control.shutdown(
            ShutdownMode.DRAIN, timeout=seconds
        ),
    ),
    "enable": Verb(
        Argument.DATABASE,
        lambda control, database: control.enable(database),
        refusal="enable",
    ),
    "kill": Verb(
        Argument.DATABASE_OR_NOTHING,
        lambda control, database: control.kill(database or None),
        refusal="kill",
    ),
    "kill_client": Verb(Argument.CLIENT, _kill_client),
    "pause": Verb(
        Argument.DATABASE_OR_NOTHING,
        lambda control, database: control.pause(database or None),
        refusal="pause",
        run_with_timeout=lambda control, database, seconds: control.pause(
            database or None, timeout=seconds
        ),
    ),
    "reconnect": Verb(
        Argument.DATABASE_OR_NOTHING,
        lambda control, database: control.reconnect(database or None),
        refusal="reconnect",
    ),
    "reload": Verb(Argument.NOTHING, _reload),
    "resume": Verb(
        Argument.DATABASE_OR_NOTHING,
        lambda control, database: control.resume(database or None),
    ),
    "shutdown": Verb(
        Argument.MODE_OR_NOTHING,
        lambda control, mode: control.shutdown(SHUTDOWN_MODES[mode.lower()]),
    ),
    "suspend": Verb(Argument.NOTHING, lambda control, _: control.suspend()),
    "wait_close": Verb(
        Argument.DATABASE_OR_NOTHING,
        lambda control, database: control.wait_close(database or None),
        refusal="wait in",
    ),
}
"""Every verb that needs an admin, by its name in lower case."""
