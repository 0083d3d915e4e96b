"""What a connection costs, counted in calls, which are the same on every machine."""

from __future__ import annotations

from collections import Counter

import pytest

from pgswitch.net.sockets import tcp_options
from pgswitch.wire.encode import startup
from tests.counting import calls_in, only_interpreted
from tests.fakes.messages import ANSWER, message, query
from tests.fakes.transports import FakeSocket
from tests.fakes.world import World
from tests.unit.net.listen_settings import ListenValues

STARTUP = startup([("user", "app"), ("database", "db")])
MAX_CALLS = 195
"""Python calls from the connection to its end, those of the fakes among them."""


class Visit:
    """A client that comes, asks one query and leaves."""

    def __init__(self, world: World) -> None:
        """Have one server idle, and every cache filled."""
        self.world = world
        client = world.client()
        self.server = world.server()
        client.hear()
        client.drop()

    def run(self) -> None:
        """Come, ask, leave."""
        client = self.world.connect()
        client.transport.arrive(STARTUP)
        client.transport.arrive(query("SELECT 1"))
        self.server.transport.arrive(ANSWER)
        client.transport.arrive(message(b"X"))
        assert client.is_gone()


def test_system_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client: 3 reads, welcome and answer written; server: one of each."""
    visit = Visit(world)
    counts: Counter[tuple[str, bool]] = Counter()
    recv, send = FakeSocket.recv, FakeSocket.send
    servers_socket = visit.server.transport.socket

    def counted_recv(sock: FakeSocket, size: int, flags: int = 0) -> bytes:
        counts["read", sock is servers_socket] += 1
        return recv(sock, size, flags)

    def counted_send(sock: FakeSocket, data: bytes) -> int:
        counts["write", sock is servers_socket] += 1
        return send(sock, data)

    monkeypatch.setattr(FakeSocket, "recv", counted_recv)
    monkeypatch.setattr(FakeSocket, "send", counted_send)
    stream = visit.server.backend.stream
    stream.recv, stream.raw_send = servers_socket.recv, servers_socket.send
    visit.run()
    assert counts["read", False] == 3
    assert counts["write", False] == 2
    assert counts["read", True] == 1
    assert counts["write", True] == 1


def test_options_of_a_client() -> None:
    """As many setsockopt: small messages at once, silent peers probed."""
    assert len(tcp_options(ListenValues())) == 2


@only_interpreted
def test_python_calls(world: World) -> None:
    """A change that makes more calls for each connection has to say why."""
    visit = Visit(world)
    assert calls_in(visit.run) <= MAX_CALLS
