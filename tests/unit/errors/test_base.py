"""Tests of pgswitch/errors/base.py."""

import pytest

from pgswitch import errors
from pgswitch.errors import base
from pgswitch.errors.base import MessageFields
from tests.unit.errors.families import check, classes_of


def test_a_silent_close_has_its_reason() -> None:
    """The reason is for the log, so it is the text."""
    fault = errors.SilentClose("failed cancel request")
    assert fault.text == "failed cancel request"
    assert fault.is_silent


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
    """What the call passes replaces what the class has, and is not a template."""
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


def test_protocol_violations_share_a_base() -> None:
    """Callers catch a peer's violation by one class, and all faults by another."""
    assert issubclass(errors.BrokenPacket, errors.ProtocolViolation)
    assert issubclass(errors.ProtocolViolation, errors.Fault)
    assert not issubclass(errors.Notice, Exception)
    assert errors.SilentClose("x").is_silent
    assert not errors.UnknownPacket().is_silent


@pytest.mark.parametrize("kind", classes_of(base))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)


@pytest.mark.parametrize(
    ("report", "severity", "sqlstate"),
    [
        (base.ClientQueued(), "NOTICE", "00000"),
    ],
)
def test_severity_and_sqlstate(
    report: MessageFields, severity: str, sqlstate: str
) -> None:
    """Each family has its severity, some faults their own SQLSTATE."""
    assert (report.severity, report.sqlstate) == (severity, sqlstate)
