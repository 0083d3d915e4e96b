"""Tests of pgswitch/errors.py."""

from collections.abc import Iterator

import pytest

from pgswitch import errors

VALUES: dict[str, object] = {
    "busy": 2,
    "command": "show x",
    "count": 1,
    "database": "shop",
    "here": "shop",
    "key": "shop.2",
    "digits": "00",
    "method": "7 (GSSAPI)",
    "message": "Parse",
    "name": "foo",
    "reason": "why",
    "seconds": 2.5,
    "text": "hello",
    "type": 80,
    "verb": "pause",
}
OWN_ARGUMENTS: dict[type, dict[str, object]] = {
    errors.BadPacketHeader: {"header": b"\0"},
    errors.SilentClose: {"reason": "unexpected eof"},
    errors.ServerLoginRefused: {"message": "no", "sqlstate": "3D000"},
}
WITHOUT_TEXT: set[type] = {errors.Fault, errors.ConsoleError}
"""Bases that are never raised themselves."""

TEXTS = [
    (errors.SslRequired(), "SSL required"),
    (errors.OldProtocol(), "old V2 protocol not supported"),
    (
        errors.BadPacketHeader(bytes.fromhex("0000000800040000ffff")),
        "bad packet header: '0000000800040000'",
    ),
    (errors.BadPacketHeader(header=b"\0\1\2"), "bad packet header: '000102'"),
    (errors.BrokenPacket(message="Bind"), "broken Bind packet"),
    (errors.UnknownPacket(), "unknown pkt"),
    (errors.ServerUnknownPacket(), "unknown pkt"),
    (errors.ServerBadHeader(), "bad pkt header"),
    (errors.NoUsername(), "no username supplied"),
    (
        errors.UnsupportedStartupParameter(name="search_path"),
        "unsupported startup parameter: search_path",
    ),
    (
        errors.UnsupportedOption(name="foo"),
        "unsupported startup parameter in options: foo",
    ),
    (
        errors.UnsupportedOptionsForm(),
        (
            "unsupported options startup parameter: "
            "only '-c config=val' and '--config=val' are allowed"
        ),
    ),
    (
        errors.StartupTerminatorMissing(),
        "invalid startup packet layout: expected terminator as last byte",
    ),
    (errors.TooManyClients(), "no more connections allowed (max_client_conn)"),
    (errors.PasswordFailed(), "password authentication failed"),
    (errors.TrustFailed(), '"trust" authentication failed'),
    (errors.NoSuchDatabase(database="a{b}"), "no such database: a{b}"),
    (errors.DatabaseDisabled(database="shop"), 'database "shop" is disabled'),
    (
        errors.AuthDatabaseDisabled(database="shop"),
        'authentication database "shop" is disabled',
    ),
    (
        errors.ServerLoginFailing(reason="connect failed"),
        (
            "server login has been failing, cached error: connect failed "
            "(server_login_retry)"
        ),
    ),
    (errors.ServerConnCrashed(), "server conn crashed?"),
    (
        errors.InvalidCommand(command="foo"),
        "invalid command 'foo', use SHOW HELP;",
    ),
    (
        errors.AdminDatabaseRefused(verb="pause", database="pgbouncer"),
        "cannot pause admin db: pgbouncer",
    ),
    (
        errors.ConsolePacketUnsupported(type=80),
        "unsupported packet type for admin console: 80",
    ),
    (errors.SilentClose("failed cancel request"), "failed cancel request"),
]


def all_reports(base: type[errors.Report] = errors.Report) -> Iterator[type]:
    """Yield every class below the base."""
    for found in base.__subclasses__():
        yield found
        yield from all_reports(found)


def make(kind: type) -> errors.Report:
    """Return an instance with every placeholder filled."""
    report: errors.Report = kind(**OWN_ARGUMENTS.get(kind, VALUES))
    return report


@pytest.mark.parametrize(
    "kind",
    sorted(set(all_reports()) - WITHOUT_TEXT, key=repr),
)
def test_every_report_can_be_made(kind: type) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    report = make(kind)
    assert kind.__doc__
    assert report.severity in ("FATAL", "ERROR", "NOTICE")
    assert len(report.sqlstate) == 5
    assert report.text
    assert "{" not in report.text + (report.detail or "") + (report.hint or "")


@pytest.mark.parametrize(("fault", "text"), TEXTS)
def test_texts_are_those_of_the_reference(fault: errors.Fault, text: str) -> None:
    """Tools match on these texts, so they are spelled out here once more."""
    assert fault.text == text
    assert str(fault) == text


@pytest.mark.parametrize(
    ("report", "severity", "sqlstate"),
    [
        (errors.SslRequired(), "FATAL", "08P01"),
        (errors.QueryWaitTimeout(), "FATAL", "08P01"),
        (errors.SetFailed(), "ERROR", "08P01"),
        (errors.ReloadFailed(), "ERROR", "F0000"),
        (errors.ClientQueued(), "NOTICE", "00000"),
        (errors.ServerLoginRefused(message="no", sqlstate="3D000"), "FATAL", "3D000"),
        (errors.ServerLoginRefused(message="no", sqlstate=""), "FATAL", "08P01"),
    ],
)
def test_severity_and_sqlstate(
    report: errors.Report, severity: str, sqlstate: str
) -> None:
    """Each family has its severity, some faults their own SQLSTATE."""
    assert (report.severity, report.sqlstate) == (severity, sqlstate)


def test_long_texts_are_cut_at_127_bytes() -> None:
    """A reason is cut without halving a character, a server's own text never is."""
    cut = errors.NoSuchDatabase(database="é" * 100).text
    assert len(cut.encode()) == 126
    assert errors.ServerLoginRefused(message="x" * 300).text == "x" * 300
    assert len(errors.InvalidCommand(command="x" * 300).text) > 300


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        ("aé", 2, "a"),
        ("aéx", 3, "aé"),
        ("\udcff\udcff", 1, "\udcff"),
        ("é", 0, ""),
    ],
)
def test_cut_text(text: str, limit: int, cut: str) -> None:
    """Cutting counts bytes and keeps characters whole."""
    assert errors.cut_text(text, limit) == cut


def test_detail_and_hint_may_be_given() -> None:
    """What the call site gives replaces what the class has, and is not a template."""
    fault = errors.SslRequired(detail="{as is}", hint="do")
    assert (fault.detail, fault.hint) == ("{as is}", "do")
    assert errors.SslRequired().hint != "do"


def test_missing_value_is_a_fault_of_the_caller() -> None:
    """A placeholder without a value raises KeyError."""
    with pytest.raises(KeyError):
        errors.NoSuchDatabase()


def test_repr_names_class_and_text() -> None:
    """A traceback shows which fault it was."""
    assert repr(errors.SetFailed()) == "SetFailed('SET failed')"


def test_protocol_violations_are_one_family() -> None:
    """Callers catch a peer's violation by one class, and all faults by another."""
    assert issubclass(errors.BrokenPacket, errors.ProtocolViolation)
    assert issubclass(errors.ProtocolViolation, errors.Fault)
    assert not issubclass(errors.Notice, Exception)
    assert errors.SilentClose("x").is_silent
    assert not errors.UnknownPacket().is_silent
