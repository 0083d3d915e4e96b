"""Sending at once, queueing what is refused, and standing still for it."""

from __future__ import annotations

from pgswitch.relay.stream import BIG_READ, PAUSED_HOLDING, PAUSED_PEER, SMALL_READ
from tests.fakes.messages import READY, RESULT, message, query
from tests.unit.relay.pair import Stage


def test_a_slow_client_stops_its_server() -> None:
    """What the kernel refuses is queued; until it is gone the server is not read."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    socket = stage.sockets[client]
    socket.room = 10
    server.take(RESULT)
    assert socket.done == ["drain"]
    assert stage.sockets[server].done == ["pause"]
    server.take(RESULT)
    assert socket.sent + client.take_pending() == RESULT + RESULT
    client.drained()
    assert stage.sockets[server].done == ["pause", "resume"]


def test_a_slow_server_stops_its_client() -> None:
    """The same the other way."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    stage.sockets[server].room = 0
    client.take(query("COPY"))
    assert stage.sockets[client].done == ["pause"]
    assert server.take_pending() == query("COPY")
    server.drained()
    assert stage.sockets[client].done == ["pause", "resume"]


def test_release_while_the_client_is_slow() -> None:
    """The server serves others; it does not stay paused."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    stage.sockets[client].room = 3
    server.take(RESULT + READY)
    assert client.server is None
    assert stage.sockets[server].done == ["pause", "resume"]
    assert stage.sockets[client].sent + client.take_pending() == RESULT + READY


def test_a_server_joined_to_a_slow_client() -> None:
    """It is not read before the client has taken what it has."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    stage.sockets[client].room = 0
    client.send(message(b"N"))
    client.take(query())
    assert stage.sockets[server].done == ["pause"]


def test_two_reasons_to_stand_still() -> None:
    """Reading goes on when the last reason is gone."""
    stage = Stage()
    client = stage.client()
    client.pause(PAUSED_HOLDING)
    client.pause(PAUSED_PEER)
    client.resume(PAUSED_HOLDING)
    client.resume(PAUSED_HOLDING)
    assert stage.sockets[client].done == ["pause"]
    client.resume(PAUSED_PEER)
    assert stage.sockets[client].done == ["pause", "resume"]


def test_reads_grow_and_shrink() -> None:
    """A read that fills its buffer is followed by larger ones, until they are small."""
    stage = Stage()
    server = stage.server()
    chunks = [b"", b"x" * SMALL_READ, b"x" * 300, b"x" * 100]
    asked: list[int] = []

    def recv(size: int) -> bytes:
        asked.append(size)
        return chunks.pop()

    server.recv = recv
    server.actions = b"\0" * 256
    server.skip = 1 << 30
    while server.do_read() is None:
        pass
    assert asked == [SMALL_READ, SMALL_READ, SMALL_READ, BIG_READ]
    assert chunks == []


def test_an_error_of_the_socket() -> None:
    """Reading tells the reactor; sending leaves it to the next read."""
    stage = Stage()
    client = stage.client()
    error = ConnectionResetError()

    def broken(_argument: object) -> bytes:
        raise error

    client.recv = broken
    assert client.do_read() is error
    client.raw_send = broken  # type: ignore[assignment]
    client.send(b"x")
    assert client.do_read_now() is error


def test_after_the_end_nothing_is_dealt_with() -> None:
    """Bytes of a connection that was closed are dropped."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.lost = True
    client.take(query())
    assert stage.sent(server) == b""
