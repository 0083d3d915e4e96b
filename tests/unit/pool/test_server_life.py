"""A server logs in, or is lost: what its pool and their clients make of it."""

from __future__ import annotations

import pytest

from pgswitch.errors import ServerConnCrashed
from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    READY,
    RESULT,
    error,
    query,
)
from tests.fakes.world import Client, Server, World, WorldOf

HALF = RESULT[:-3]


def lose(server: Server, client: Client, when: str) -> str:
    """Bring both to a state and end the server; return what the client is told."""
    if when != "idle":
        if when == "not taken":
            server.transport.socket.room = 3
        client.say(query())
    if when == "in a message":
        server.say(HALF)
        client.hear()
    server.drop()
    # Half a row was sent: an error would land inside it.
    return "" if when in ("idle", "in a message") else "server conn crashed?"


def test_connect_query(world_of: WorldOf) -> None:
    """It runs before the first client; its failure is logged and forgiven."""
    world = world_of(databases="db = host=10.0.0.1 connect_query='SET a=1'")
    client = world.client()
    server = world.server()
    assert server.hear() == query("SET a=1")
    assert client.state() == "waiting"
    server.say(error("no a"), READY)
    assert client.state() == "idle"
    assert world.logged("error while executing exec_on_query: ERROR: no a")


def test_one_login_fails_while_another_server_serves(world: World) -> None:
    """Whoever waits goes on waiting for the server that works."""
    _first, server = world.asking()
    second = world.client()
    second.say(query())
    world.accept().refuse("too many", "53300")
    assert second.state() == "waiting"
    server.say(ANSWER)
    assert second.frontend.link.server is server.backend.link


@pytest.mark.parametrize("when", ["idle", "serving", "in a message", "not taken"])
def test_a_server_is_lost(world: World, when: str) -> None:
    """Its client goes with it, and is told unless it is in a message."""
    client, server = world.pair()
    told = lose(server, client, when)
    assert world.pool().servers.keys() == {
        attempt.protocol.number  # type: ignore[attr-defined]
        for attempt in world.attempts
    }
    assert world.pool().rack.idle == []
    assert client.frontend.closed is (when != "idle")
    heard = client.hear()
    assert (
        heard.endswith(encode.error_response(ServerConnCrashed()))
        if told
        else heard == b""
    )


def test_a_server_is_lost_behind_a_slow_client(world: World) -> None:
    """What the client has not taken is dropped with it; nothing is mixed in."""
    client, server = world.asking()
    client.transport.socket.room = 5
    server.say(RESULT)
    server.backend.close("query timeout")
    assert client.hear() == RESULT[:5]
    assert client.transport.aborted


def test_a_server_is_lost_in_its_reset(world_of: WorldOf) -> None:
    """Nobody is told; the next client has another."""
    world = world_of(settings="pool_mode = session\ndefault_pool_size = 1")
    first, server = world.asking()
    server.answer()
    second = world.client()
    second.say(query("second"))
    world.leave(first)
    server.drop()
    assert world.server().hear() == query("second")
