"""What a server's shutdown notice says about its work."""

from __future__ import annotations

import pytest

from pgswitch.wire.loss import ShutdownNotice, notice_fields, shutdown_notice
from tests.fakes.messages import ANSWER, RESULT, message


def report(kind: bytes, severity: str, code: str) -> bytes:
    """Return an ErrorResponse or NoticeResponse; its severity is in two languages."""
    fields = f"SFATAL?\0V{severity}\0C{code}\0Mwords\0\0"
    return message(kind, fields.encode())


DIED = report(b"E", "FATAL", "57P01")


@pytest.mark.parametrize("code", ["57P01", "57P02", "57P03", "25P04", "40001"])
def test_undone(code: str) -> None:
    """Whatever stood before it in the same chunk."""
    word = report(b"E", "FATAL", code)
    assert shutdown_notice(word) == (ShutdownNotice.UNDONE, 0, False)
    row = message(b"D", b"\0\0")
    assert shutdown_notice(row + word) == (ShutdownNotice.UNDONE, len(row), False)


@pytest.mark.parametrize("answer", [RESULT, ANSWER])
def test_done_before(answer: bytes) -> None:
    """What was said to be done may be committed, with and without ReadyForQuery."""
    assert shutdown_notice(answer + DIED) == (ShutdownNotice.UNDONE, len(answer), True)


@pytest.mark.parametrize("code", ["57P01", "57P02"])
def test_unsure(code: str) -> None:
    """An immediate shutdown may come between a commit and its answer."""
    assert shutdown_notice(report(b"N", "WARNING", code)) == (
        ShutdownNotice.UNSURE,
        0,
        False,
    )


@pytest.mark.parametrize(
    ("severity", "code"),
    [("FATAL", "08P01"), ("FATAL", "XX000"), ("PANIC", "57P01"), ("PANIC", "XX000")],
)
def test_any_fatal_is_the_end(severity: str, code: str) -> None:
    """What it was doing may be done all the same."""
    row = message(b"D", b"\0\0")
    chunk = row + report(b"E", severity, code)
    assert shutdown_notice(chunk) == (ShutdownNotice.ENDS, len(row), False)
    assert notice_fields(chunk, len(row))["C"] == code


def test_behind_the_rest_of_a_message() -> None:
    """A chunk may begin inside of a row."""
    assert shutdown_notice(b"rest" + DIED, 4) == (ShutdownNotice.UNDONE, 4, False)


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        ANSWER,
        DIED[:-1],
        report(b"E", "ERROR", "57P01"),
        report(b"N", "WARNING", "57P04"),
        report(b"N", "NOTICE", "57P01"),
        message(b"E", b"C57P01"),
        message(b"D", DIED),
    ],
)
def test_none(chunk: bytes) -> None:
    """Half a message, other errors, and data that look so."""
    assert shutdown_notice(chunk)[:2] == (ShutdownNotice.NONE, len(chunk))
