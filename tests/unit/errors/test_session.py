"""Tests of pgswitch/errors/session.py."""

import pytest

from pgswitch.errors import session
from pgswitch.errors.base import MessageFields
from tests.unit.errors.families import check, classes_of


@pytest.mark.parametrize("kind", classes_of(session))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            session.ServerLoginFailing(reason="connect failed"),
            (
                "server login has been failing, cached error: connect failed "
                "(server_login_retry)"
            ),
        ),
        (session.ServerConnCrashed(), "server conn crashed?"),
    ],
)
def test_texts_are_those_of_the_reference(fault: MessageFields, text: str) -> None:
    """Tools match on these texts, so they are spelled out here once more."""
    assert fault.text == text
    assert str(fault) == text


@pytest.mark.parametrize(
    ("report", "severity", "sqlstate"),
    [
        (session.QueryWaitTimeout(), "FATAL", "08P01"),
        (session.ServerLoginRefused(message="no", sqlstate="3D000"), "FATAL", "3D000"),
        (session.ServerLoginRefused(message="no", sqlstate=""), "FATAL", "08P01"),
    ],
)
def test_severity_and_sqlstate(
    report: MessageFields, severity: str, sqlstate: str
) -> None:
    """Each family has its severity, some faults their own SQLSTATE."""
    assert (report.severity, report.sqlstate) == (severity, sqlstate)
