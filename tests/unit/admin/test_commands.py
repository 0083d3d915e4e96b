"""The verbs of the console, each with what it calls, logs and refuses."""

from __future__ import annotations

import pytest

from pgswitch.admin.commands import VERBS, Argument, ShutdownMode, run_verb
from pgswitch.admin.grammar import ConsoleCommand
from pgswitch.admin.statements import USAGE
from pgswitch.errors import (
    AdminDatabaseRefused,
    ConsoleError,
    DatabaseNeeded,
    DatabaseNotPaused,
    InvalidClientPointer,
    InvalidCommand,
    ReloadFailed,
)
from tests.unit.admin.fakes import FakeControl, FakeLog


@pytest.mark.parametrize(
    ("name", "argument", "call", "line"),
    [
        ("disable", "bench", ("disable", "bench"), "DISABLE 'bench' command issued"),
        ("enable", "bench", ("enable", "bench"), "ENABLE 'bench' command issued"),
        ("kill", None, ("kill", None), "KILL command issued"),
        ("kill", "bench", ("kill", "bench"), "KILL 'bench' command issued"),
        ("kill_client", "7", ("kill_client", 7), "KILL_CLIENT '7' command issued"),
        ("pause", None, ("pause", None), "PAUSE command issued"),
        ("pause", "bench", ("pause", "bench"), "PAUSE 'bench' command issued"),
        ("reconnect", None, ("reconnect", None), "RECONNECT command issued"),
        ("reconnect", "we-b", ("reconnect", "we-b"), "RECONNECT 'we-b' command issued"),
        ("reload", None, ("reload",), "RELOAD command issued"),
        ("resume", None, ("resume", None), "RESUME command issued"),
        ("resume", "bench", ("resume", "bench"), "RESUME 'bench' command issued"),
        (
            *("shutdown", None),
            *(("shutdown", ShutdownMode.NOW), "SHUTDOWN command issued"),
        ),
        (
            *("shutdown", "Wait_For_Servers"),
            ("shutdown", ShutdownMode.WAIT_FOR_SERVERS),
            "SHUTDOWN WAIT_FOR_SERVERS command issued",
        ),
        (
            *("shutdown", "wait_for_clients"),
            ("shutdown", ShutdownMode.WAIT_FOR_CLIENTS),
            "SHUTDOWN WAIT_FOR_CLIENTS command issued",
        ),
        ("wait_close", None, ("wait_close", None), "WAIT_CLOSE command issued"),
        (
            "wait_close",
            "we-b",
            ("wait_close", "we-b"),
            "WAIT_CLOSE 'we-b' command issued",
        ),
    ],
)
def test_a_verb_calls_the_service_and_is_logged(
    name: str, argument: str | None, call: tuple[object, ...], line: str
) -> None:
    """Each verb makes one call with its argument, and writes one line before it."""
    control, log = (
        FakeControl(paused={"bench"}, is_all_paused=name == "resume"),
        FakeLog(),
    )
    waiting = run_verb(ConsoleCommand(name, argument), "", control=control, log=log)
    assert control.calls == [call]
    assert log.lines == [("LOG", line)]
    assert waiting is (control.waits[0] if control.waits else None)


@pytest.mark.parametrize(
    ("name", "argument", "fault", "text"),
    [
        ("disable", None, DatabaseNeeded, "a database is required"),
        ("enable", None, DatabaseNeeded, "a database is required"),
        ("reload", "x", InvalidCommand, "invalid command 'typed', use SHOW HELP;"),
        ("shutdown", "foo", InvalidCommand, "invalid command 'typed', use SHOW HELP;"),
        ("shutdown", "now", InvalidCommand, "invalid command 'typed', use SHOW HELP;"),
        ("pause", "", InvalidCommand, "invalid command 'typed', use SHOW HELP;"),
        ("kill", "", InvalidCommand, "invalid command 'typed', use SHOW HELP;"),
        ("kill_client", None, InvalidClientPointer, "invalid client pointer supplied"),
        ("kill_client", "abc", InvalidClientPointer, "invalid client pointer supplied"),
        (
            "kill_client",
            "\u0661",
            InvalidClientPointer,
            "invalid client pointer supplied",
        ),
    ],
)
def test_a_verb_with_the_wrong_argument_calls_nothing(
    name: str, argument: str | None, fault: type[ConsoleError], text: str
) -> None:
    """An argument that is missing, too much or senseless is refused at once."""
    control = FakeControl()
    with pytest.raises(fault) as caught:
        run_verb(
            ConsoleCommand(name, argument), "typed", control=control, log=FakeLog()
        )
    assert caught.value.text == text
    assert control.calls == []


@pytest.mark.parametrize("database", ["pgbouncer", "pgswitch"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pause", "cannot pause admin db: {}"),
        ("kill", "cannot kill admin db: {}"),
        ("reconnect", "cannot reconnect admin db: {}"),
        ("disable", "cannot disable admin db: {}"),
        ("enable", "cannot enable admin db: {}"),
        ("wait_close", "cannot wait in admin db: {}"),
        ("resume", "database {} is not paused"),
    ],
)
def test_the_console_itself_is_left_alone(name: str, text: str, database: str) -> None:
    """No verb reaches the service for one of the console's own names."""
    control = FakeControl()
    with pytest.raises((AdminDatabaseRefused, DatabaseNotPaused)) as caught:
        run_verb(ConsoleCommand(name, database), "", control=control, log=FakeLog())
    assert caught.value.text == text.format(database)
    assert control.calls == []


def test_every_verb_for_databases_knows_its_refusal() -> None:
    """All but RESUME say what cannot be done to the console's own database."""
    silent = [
        name
        for name, verb in VERBS.items()
        if verb.argument in {Argument.DATABASE, Argument.OPTIONAL_DATABASE}
        and not verb.refusal
    ]
    assert silent == ["resume"]


def test_a_failed_reload_is_reported() -> None:
    """RELOAD of a bad configuration is an error with a code of its own."""
    control = FakeControl(is_reload_good=False)
    with pytest.raises(ReloadFailed) as caught:
        run_verb(ConsoleCommand("reload"), "", control=control, log=FakeLog())
    assert caught.value.sqlstate == "F0000"


def test_a_limit_in_time() -> None:
    """PAUSE takes one, other verbs do not."""
    control = FakeControl()
    run_verb(ConsoleCommand("pause", "bench", 5.0), "", control=control, log=FakeLog())
    assert control.calls == [("pause", "bench"), ("timeout", 5.0)]
    with pytest.raises(InvalidCommand):
        run_verb(
            ConsoleCommand("kill", "bench", 5.0), "", control=control, log=FakeLog()
        )


def test_help_knows_each_argument() -> None:
    """What the table says may follow a verb is what SHOW HELP says."""
    lines = [line.strip() for line in USAGE.split("\n")]
    for name, verb in VERBS.items():
        if verb.argument is not Argument.OPTIONAL_MODE:
            begin = f"{name.upper()} {verb.argument.value}".strip()
            assert any(line == begin or line.startswith(f"{begin} [") for line in lines)
