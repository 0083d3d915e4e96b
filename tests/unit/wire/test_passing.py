"""Walking over messages that only pass, compiled or not: the same answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.wire.framing import action_table
from pgswitch.wire.passing import pass_over

ACTIONS = action_table(0, {ord("Z"): 1, ord("S"): 2})
ROW = b"D\0\0\0\x06ab"
READY = b"Z\0\0\0\x05I"
LIMIT = 1000


@pytest.mark.parametrize(
    ("chunk", "position", "found"),
    [
        (b"", 0, 0),
        (ROW, 0, 7),
        (ROW * 3, 0, 21),
        (ROW * 3, 7, 21),
        (ROW * 3 + READY, 0, 21),
        (READY + ROW, 0, 0),
        (ROW + b"D\0\0\0", 0, 7),
        (ROW + b"D\0\0\0\x09a", 0, 17),
        (ROW + b"S\0\0\0\x04", 0, 7),
        (ROW, 9, 9),
        (ROW + b"D\0\0\0\x03", 0, 7),
        (ROW + b"D\0\0\x03\xe7", 0, 1007),
        (ROW + b"D\0\0\x03\xe8", 0, 7),
        (ROW + b"D\xff\xff\xff\xff", 0, 7),
    ],
)
def test_pass_over(chunk: bytes, position: int, found: int) -> None:
    """It stops at a cut header, a type with an action, a bad length, the end."""
    assert pass_over(chunk, position, ACTIONS, LIMIT) == found


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(0, 60))
def test_a_cut_stream(sizes: list[int], cut: int) -> None:
    """Wherever a stream is cut, the walk ends at the first message not whole."""
    chunk = b"".join(b"D" + (4 + n).to_bytes(4, "big") + b"x" * n for n in sizes)
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + 5 + size)
    cut = min(cut, len(chunk))
    wanted = next(end for end in ends if end + 5 > cut or end == ends[-1])
    assert pass_over(chunk[:cut], 0, ACTIONS, LIMIT) == wanted
