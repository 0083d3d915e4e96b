"""The servers of one pool: what is opened, what is counted, what is struck off."""

from __future__ import annotations

from pgswitch.net.connection_states import ServerState
from tests.fakes.messages import query
from tests.fakes.world import WorldOf


def test_the_reserve(world_of: WorldOf) -> None:
    """One for each client that has waited long, up to its size, and said so."""
    world = world_of(
        databases="db = host=10.0.0.1 pool_size=1 reserve_pool=2",
        settings="reserve_pool_timeout = 3",
    )
    world.asking()
    waiting = [world.client() for _ in range(3)]
    for client in waiting:
        client.say(query())
    world.wait(2.9)
    assert world.attempts == []
    world.wait(0.5)
    assert len(world.attempts) == 2
    words = "taking connection from reserve_pool"
    said = f"WARNING {waiting[0].frontend.prefix} {words}"
    assert [line for line in world.log if words in line] == [said] * 2
    for _ in range(2):
        world.server()
    assert [client.state() for client in waiting] == ["active", "active", "waiting"]
    world.wait(10)
    assert world.attempts == []


def test_no_reserve(world_of: WorldOf) -> None:
    """reserve_pool_timeout=0 takes it away."""
    world = world_of(
        databases="db = host=10.0.0.1 pool_size=1 reserve_pool=2",
        settings="reserve_pool_timeout = 0",
    )
    world.asking()
    world.client().say(query())
    world.wait(60)
    assert world.attempts == []


def test_exhausted(world_of: WorldOf) -> None:
    """No query that waits needs to look for a server then."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=2 reserve_pool=0")
    world.asking()
    server_connections = world.pool().server_connections
    assert not server_connections.is_exhausted()
    second = world.client()
    second.say(query())
    assert not server_connections.is_exhausted()
    server = world.server()
    assert server_connections.is_exhausted()
    waiting = world.client()
    waiting.say(query())
    assert waiting.state() == "waiting"
    server.drop()
    assert not server_connections.is_exhausted()
    world.server()
    assert waiting.state() == "active"


def test_what_expires(world_of: WorldOf) -> None:
    """Idle servers close now, active ones on release, logins at once."""
    world = world_of(databases="db = host=10.0.0.1")
    client, busy = world.asking()
    second = world.client()
    second.say(query())
    idle = world.server()
    idle.answer()
    third = world.client()
    third.say(query("next"))
    idle.answer()
    assert idle.state() == "idle"
    server_connections = world.pool().server_connections
    server_connections.expire({"10.0.0.9"})
    assert len(server_connections) == 2
    world.pool().expire_servers()
    assert idle.backend.close_text == "database configuration changed"
    assert [*server_connections] == [busy.backend]
    assert server_connections.count_in_use() == 1
    busy.answer()
    assert busy.backend.close_text == "close_needed"
    assert len(server_connections) == 0
    client.say(query())
    assert server_connections.count(ServerState.LOGIN) == 1
    attempt = world.attempts[0]
    world.pool().expire_servers()
    assert attempt.cancelled
    assert world.logged("closing because: connect string changed")
    assert len(world.attempts) == 1
    assert not server_connections.has_login()
    world.server()
    assert server_connections.has_login()
