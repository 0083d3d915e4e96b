"""Tests of pgswitch/errors/switchover.py."""

import pytest

from pgswitch.errors import switchover
from pgswitch.errors.base import MessageFields
from tests.unit.errors.families import check, classes_of


@pytest.mark.parametrize("kind", classes_of(switchover))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)


@pytest.mark.parametrize(
    ("report", "severity", "sqlstate"),
    [
        (switchover.TransactionLost(), "ERROR", "40001"),
        (switchover.InFailedTransaction(), "ERROR", "25P02"),
        (switchover.OutcomeUnknown(), "ERROR", "08007"),
        (switchover.SessionLost(reason="gone"), "FATAL", "57P01"),
    ],
)
def test_severity_and_sqlstate(
    report: MessageFields, severity: str, sqlstate: str
) -> None:
    """Each family has its severity, some faults their own SQLSTATE."""
    assert (report.severity, report.sqlstate) == (severity, sqlstate)
