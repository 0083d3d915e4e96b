"""What a transaction costs, counted in calls, which are the same on every machine."""

from __future__ import annotations

import pytest

from pgswitch.compiled import is_compiled
from tests.counting import calls_in, only_interpreted
from tests.fakes.messages import READY, RESULT, message, query
from tests.unit.relay.pair import Socket, Stage

EXTENDED = (
    message(b"P", b"\0SELECT $1\0\0\0")
    + message(b"B", b"\0\0\0\0\0\0\0\0")
    + message(b"D", b"P\0")
    + message(b"E", b"\0\0\0\0\0")
    + message(b"S")
)
EXTENDED_ANSWER = message(b"1") + message(b"2") + RESULT + READY


class CountingSocket(Socket):
    """Counts system calls; gives what it is fed."""

    reads = writes = 0
    incoming = b""

    def recv(self, size: int) -> bytes:
        """Count and read."""
        self.reads += 1
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def send(self, data: bytes) -> int:
        """Count and send."""
        self.writes += 1
        return super().send(data)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [(query(), RESULT + READY), (EXTENDED, EXTENDED_ANSWER)],
    ids=["simple", "extended"],
)
def test_two_reads_and_two_writes(request_: bytes, answer: bytes) -> None:
    """A chunk read is a chunk sent, on each of the two ways."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    to_server, to_client = CountingSocket(), CountingSocket()
    server.raw_send, client.raw_send = to_server.send, to_client.send
    server.recv, client.recv = to_server.recv, to_client.recv
    for _ in range(5):
        to_client.incoming = request_
        client.do_read()
        to_server.incoming = answer
        server.do_read()
    assert (to_client.reads, to_server.writes) == (5, 5)
    assert (to_server.reads, to_client.writes) == (5, 5)
    assert to_server.sent == request_ * 5
    assert to_client.sent == answer * 5


@pytest.mark.skipif(
    is_compiled(), reason="compiled classes have no dictionaries at all"
)
def test_links_have_no_dictionary() -> None:
    """Past thirty attributes an object's dictionary costs a search for each access."""
    stage = Stage()
    assert not hasattr(stage.server(), "__dict__")
    assert not hasattr(stage.client(), "__dict__")


@only_interpreted
@pytest.mark.parametrize(
    ("request_", "answer", "most"),
    [(query(), RESULT + READY, 23), (EXTENDED, EXTENDED_ANSWER, 23)],
    ids=["simple", "extended"],
)
def test_python_calls(request_: bytes, answer: bytes, most: int) -> None:
    """A change of the hot path that makes more calls has to say why."""
    stage = Stage()
    server, client = stage.server(), stage.client()

    def ask() -> None:
        client.take(request_)
        server.take(answer)

    assert calls_in(ask) <= most
