"""Steps as bytes, messages as lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.wire import encode
from tests.fuzz.protocol import wire
from tests.fuzz.protocol.script import Group, Step
from tests.fuzz.protocol.wire import Message, Splitter, encoded, pieces, shown

SELECT = Step("Q", ("select 't1-0-1'",))
STEPS = (
    SELECT,
    Step("P", ("s1", "select $1")),
    Step("B", ("p", "s1", "a", "bc")),
    Step("E", ("p", "2")),
    Step("S"),
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("Q", ("ab",)), b"Q\0\0\0\7ab\0"),
        (Step("P", ("s", "ab")), b"P\0\0\0\x0bs\0ab\0\0\0"),
        (
            Step("B", ("p", "s", "xy")),
            b"B\0\0\0\x14p\0s\0\0\0\0\1\0\0\0\2xy\0\0",
        ),
        (Step("Bb", ("", "s")), b"B\0\0\0\x0f\0s\0\0\0\0\0\0\1\0\1"),
        (Step("D", ("S", "s")), b"D\0\0\0\7Ss\0"),
        (Step("C", ("P", "")), b"C\0\0\0\6P\0"),
        (Step("E", ("p", "2")), b"E\0\0\0\x0ap\0\0\0\0\2"),
        (
            Step("F", ("1282", "x")),
            b"F\0\0\0\x13\0\0\5\2\0\0\0\1\0\0\0\1x\0\0",
        ),
        (Step("d", ("1\n",)), b"d\0\0\0\x061\n"),
        (Step("f", ("no",)), b"f\0\0\0\7no\0"),
        (Step("S"), b"S\0\0\0\4"),
        (Step("X"), b"X\0\0\0\4"),
        (Step("!cancel"), b""),
    ],
)
def test_encoded(step: Step, expected: bytes) -> None:
    """As the manual's chapter "Message Formats" has them."""
    assert encoded(step) == expected


def test_padding() -> None:
    """Long texts are written short."""
    assert encoded(Step("d", ("a{pad:7}b",)))[5:] == b"axxxxxxxb"


@pytest.mark.parametrize("cuts", ["one", "steps", "slowly", "bytes", "random 3"])
def test_pieces_are_the_whole(cuts: str) -> None:
    """However it is cut, all of it is sent, and in order."""
    found = pieces(Group(STEPS, cuts))
    assert b"".join(one.data for one in found) == b"".join(map(encoded, STEPS))
    assert all(one.data for one in found)
    assert found == pieces(Group(STEPS, cuts))
    counts = {"one": 1, "steps": len(STEPS), "slowly": len(STEPS)}
    if cuts in counts:
        assert len(found) == counts[cuts]
    if cuts == "bytes":
        assert {len(one.data) for one in found} == {1}


@pytest.mark.parametrize("cuts", ["one", "steps", "random 3"])
def test_trouble_comes_between(cuts: str) -> None:
    """At its place, with what stands before it sent."""
    trouble = Step("!cancel")
    found = pieces(Group((SELECT, trouble, Step("S")), cuts))
    at = next(number for number, one in enumerate(found) if one.fault == trouble)
    assert b"".join(one.data for one in found[:at]) == encoded(SELECT)
    assert b"".join(one.data for one in found[at:]) == encoded(Step("S"))


@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_splitter(bodies: list[bytes], size: int) -> None:
    """Messages come out whole, wherever they were cut."""
    data = b"".join(encode.message(68, body) for body in bodies)
    splitter = Splitter()
    found = []
    for at in range(0, len(data), size):
        found += splitter.feed(data[at : at + size])
    assert found == [Message(b"D", body) for body in bodies]
    assert not splitter.rest


def message(data: bytes) -> Message:
    """Return the one message that these bytes are."""
    (found,) = Splitter().feed(data)
    return found


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (encode.ready_for_query(b"T"), "Z T"),
        (encode.command_complete("SELECT 1"), "C SELECT 1"),
        (encode.data_row(["a", None]), "D ['a', None]"),
        (encode.row_description([("one", 25, -1)]), "T one:25:0"),
        (
            encode.message(69, encode.error_fields("ERROR", "22012", "no", "why")),
            "E ERROR 22012 no",
        ),
        (encode.message(49), "1"),
    ],
)
def test_shown(data: bytes, line: str) -> None:
    """What is compared, on one line."""
    assert shown(message(data)) == line


def test_parameter() -> None:
    """Name and value."""
    found = message(encode.parameter_status("TimeZone", "UTC"))
    assert wire.parameter(found.body) == ("TimeZone", "UTC")


def test_a_fence_is_known_by_its_answers() -> None:
    """And by nothing that comes otherwise."""
    closed, ready = Message(b"3", b""), Message(b"Z", b"I")
    assert wire.fence().count(b"C\0") == wire.FENCES
    assert wire.is_fenced([ready, *[closed] * wire.FENCES, ready])
    assert not wire.is_fenced([closed] * wire.FENCES)
    assert not wire.is_fenced([*[closed] * (wire.FENCES - 1), ready])
