"""Tests of pgswitch/errors/login.py."""

import pytest

from pgswitch.errors import login
from pgswitch.errors.base import MessageFields
from tests.unit.errors.families import check, classes_of


@pytest.mark.parametrize("kind", classes_of(login))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (login.SslRequired(), "SSL required"),
        (login.NoUsername(), "no username supplied"),
        (
            login.UnsupportedStartupParameter(name="search_path", value="x"),
            "unsupported startup parameter: search_path",
        ),
        (
            login.UnsupportedOption(name="foo", value="1"),
            "unsupported startup parameter in options: foo",
        ),
        (
            login.UnsupportedOptionsForm(),
            (
                "unsupported options startup parameter: "
                "only '-c config=val' and '--config=val' are allowed"
            ),
        ),
        (login.TooManyClients(), "no more connections allowed (max_client_conn)"),
        (login.TooManyLogins(), "too many logins at once"),
        (login.PasswordFailed(), "password authentication failed"),
        (login.TrustFailed(), '"trust" authentication failed'),
        (login.NoSuchDatabase(database="a{b}"), "no such database: a{b}"),
        (login.DatabaseDisabled(database="shop"), 'database "shop" is disabled'),
        (
            login.AuthDatabaseDisabled(database="shop"),
            'authentication database "shop" is disabled',
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
        (login.SslRequired(), "FATAL", "08P01"),
    ],
)
def test_severity_and_sqlstate(
    report: MessageFields, severity: str, sqlstate: str
) -> None:
    """Each family has its severity, some faults their own SQLSTATE."""
    assert (report.severity, report.sqlstate) == (severity, sqlstate)
