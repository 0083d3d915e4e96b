"""Answers are summed up as they come, however they are cut."""

from __future__ import annotations

import pytest

from bench.settings.client import Answer, IncorrectAnswer, bind_and_run
from testkit.pgwire import HEADER, SYNC, message, parse, query

ROW = message(b"D", b"\0\1\0\0\0\1x")
DONE = message(b"C", b"SELECT 1\0") + message(b"Z", b"I")
NOTICE = message(b"N", b"SNOTICE\0Mwait\0\0")


def answered(*chunks: bytes) -> Answer:
    """Return what becomes of these chunks."""
    answer = Answer()
    for chunk in chunks:
        answer.feed(chunk)
    return answer


def test_an_answer() -> None:
    """Its size, its tags, and that it is over."""
    answer = answered(ROW + DONE)
    assert answer.is_over
    assert (answer.size, answer.tags, answer.kinds) == (
        len(ROW + DONE),
        ["SELECT 1"],
        b"CZ",
    )


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_cut_anywhere(size: int) -> None:
    """It makes no difference."""
    data = ROW * 3 + DONE
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert answered(*pieces).sum == answered(data).sum
    assert not answered(*pieces[:-1]).is_over


def test_what_may_come_at_any_time_is_left_out() -> None:
    """A notice, or the report of a parameter, wherever it stands."""
    parameter = message(b"S", b"TimeZone\0UTC\0")
    mixed = answered(NOTICE + ROW + parameter + NOTICE + DONE)
    assert mixed.sum == answered(ROW + DONE).sum


def test_other_bytes_have_another_sum() -> None:
    """Of the same size."""
    other = ROW[:-1] + b"y"
    assert answered(other + DONE).sum != answered(ROW + DONE).sum
    assert answered(other + DONE).size == answered(ROW + DONE).size


def test_an_error() -> None:
    """Its text is kept."""
    answer = answered(message(b"E", b"SERROR\0Mno\0\0") + message(b"Z", b"I"))
    assert "Mno" in answer.error
    assert answer.is_over


def test_more_than_was_asked_for() -> None:
    """Nothing may come after the answer."""
    for more in (ROW, ROW[:3]):
        with pytest.raises(IncorrectAnswer, match="after ReadyForQuery"):
            answered(DONE + more)


def test_archives_of_a_backup() -> None:
    """What stands behind the byte that says so."""
    archives: list[bytes] = []
    answer = Answer(archives)
    answer.feed(message(b"d", b"nbase.tar\0\0") + message(b"d", b"dfirst"))
    answer.feed(message(b"d", b"p\0\0\0\0\0\0\0\1") + message(b"d", b"dsecond"))
    assert archives == [b"first", b"second"]


def test_requests() -> None:
    """Each is of whole messages."""
    made = query("SELECT 1") + parse("s", "SELECT $1") + bind_and_run("s", "12")
    kinds = b""
    while made:
        kind, length = HEADER.unpack_from(made)
        kinds += kind
        made = made[1 + length :]
    assert kinds == b"QPBDES"
    assert SYNC == b"S\0\0\0\4"
