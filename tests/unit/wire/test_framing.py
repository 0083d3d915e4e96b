"""The header scanner, against a decoder that is too simple to be wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.compiled import is_compiled
from pgswitch.errors import BadPacketHeader, Fault
from pgswitch.wire.framing import CALL, PASS, WHOLE, Scanner, action_table
from tests.fakes.messages import message

pytestmark = pytest.mark.skipif(
    is_compiled(), reason="compiled classes take no interpreted subclasses"
)

ACTIONS = action_table(PASS, {ord("c"): CALL, ord("w"): WHOLE, ord("x"): WHOLE})
LIMIT = 10_000


class Recorder(Scanner):
    """Records what it is shown; drops ``x``, puts a mark behind each ``w``."""

    MARK: ClassVar[bytes] = message(b"m", b"")

    def __init__(self) -> None:
        """Begin with nothing seen."""
        super().__init__(ACTIONS, LIMIT)
        self.seen: list[tuple[str, bytes | None]] = []

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Record; bodies only of those that are whole."""
        kind = chr(message_type)
        body = chunk[start + 5 : end] if kind in "wx" else None
        assert body is None or len(body) == end - start - 5
        self.seen.append((kind, body))
        if kind == "x":
            self.replace(chunk, start, end, b"")
        elif kind == "w":
            self.replace(chunk, end, end, self.MARK)
        return True

    def take(self, chunk: bytes) -> bytes:
        """Walk a chunk as a stream does."""
        if self.wanted:
            joined = self.rejoin(chunk)
            if joined is None:
                return b""
            chunk = joined
        return self.walk(chunk)


messages = st.lists(
    st.tuples(st.sampled_from([b"c", b"w", b"x", b"D", b"z"]), st.binary(max_size=40)),
    max_size=12,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the data in pieces, cut at these places."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@given(messages, st.lists(st.integers(min_value=0), max_size=20))
def test_any_cutting(stream: list[tuple[bytes, bytes]], places: list[int]) -> None:
    """Whatever the cutting: the same seen, the same passed on, nothing buffered."""
    scanner = Recorder()
    data = b"".join(message(*one) for one in stream)
    passed = b"".join(scanner.take(piece) for piece in cut(data, places))
    expected = b"".join(
        message(kind, body) + (Recorder.MARK if kind == b"w" else b"")
        for kind, body in stream
        if kind != b"x"
    )
    assert passed == expected
    assert [kind for kind, _body in scanner.seen] == [
        kind.decode() for kind, _body in stream if kind in b"cwx"
    ]
    assert [body for kind, body in scanner.seen if kind in "wx"] == [
        body for kind, body in stream if kind in b"wx"
    ]
    assert scanner.at_boundary()


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_only_faults_escape(chunks: list[bytes]) -> None:
    """Random bytes are walked or refused, and at most one message is buffered."""
    scanner = Recorder()
    held = 0
    for chunk in chunks:
        held += len(chunk)
        try:
            held -= len(scanner.take(chunk))
        except Fault:
            return
        assert held <= LIMIT + 60


def test_a_plain_chunk_is_passed_as_it_is() -> None:
    """The very same object, so nothing is copied."""
    chunk = message(b"D", b"row") * 3
    assert Recorder().walk(chunk) is chunk


@pytest.mark.parametrize(
    ("length", "accepted"), [(3, False), (4, True), (LIMIT - 1, True), (LIMIT, False)]
)
def test_limits(length: int, *, accepted: bool) -> None:
    """A length under 4 or over the limit is refused with its header."""
    header = b"D" + length.to_bytes(4, "big")
    if accepted:
        Recorder().walk(header)
        return
    with pytest.raises(BadPacketHeader) as caught:
        Recorder().walk(header)
    assert header.hex() in caught.value.text


def test_stopping() -> None:
    """After a stop nothing more is passed on or buffered."""

    class Stopper(Recorder):
        def on_message(
            self, message_type: int, chunk: bytes, start: int, end: int
        ) -> bool:
            self.stopped = True
            return super().on_message(message_type, chunk, start, end)

    scanner = Stopper()
    first = message(b"c", b"")
    assert scanner.walk(first + message(b"D", b"after") + b"D\0") == first
    assert scanner.wanted == 0


def test_a_message_that_wants_to_be_seen_longer() -> None:
    """Until on_message is content, the message is buffered and shown again."""

    class Unhurried(Recorder):
        def on_message(
            self, message_type: int, chunk: bytes, start: int, end: int
        ) -> bool:
            del message_type, end
            return b"!" in chunk[start:]

    scanner = Unhurried()
    data = message(b"c", b"a long body with ! at last, and more")
    passed = [scanner.take(data[i : i + 1]) for i in range(len(data))]
    mark = data.index(b"!")
    assert not any(passed[:mark])
    assert b"".join(passed) == data
