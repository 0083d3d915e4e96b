"""Tests of pgswitch/errors/console.py."""

import pytest

from pgswitch.errors import console
from pgswitch.errors.base import MessageFields
from tests.unit.errors.families import check, classes_of


@pytest.mark.parametrize("kind", classes_of(console))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            console.InvalidCommand(command="foo"),
            "invalid command 'foo', use SHOW HELP;",
        ),
        (
            console.AdminDatabaseRefused(verb="pause", database="pgbouncer"),
            "cannot pause admin db: pgbouncer",
        ),
        (
            console.ConsolePacketUnsupported(type=80),
            "unsupported packet type for admin console: 80",
        ),
    ],
)
def test_texts_are_those_of_the_reference(fault: MessageFields, text: str) -> None:
    """Tools match on these texts, so they are spelled out here once more."""
    assert fault.text == text
    assert str(fault) == text


@pytest.mark.parametrize(
    ("report", "severity", "sqlstate"),
    [
        (console.SetFailed(), "ERROR", "08P01"),
        (console.ReloadFailed(), "ERROR", "F0000"),
    ],
)
def test_severity_and_sqlstate(
    report: MessageFields, severity: str, sqlstate: str
) -> None:
    """Each family has its severity, some faults their own SQLSTATE."""
    assert (report.severity, report.sqlstate) == (severity, sqlstate)
