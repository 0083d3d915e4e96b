"""A client that goes from one pool to another."""

from __future__ import annotations

from pgswitch.pool.pool import move_client
from tests.fakes.messages import ANSWER, message, query
from tests.fakes.world import WorldOf

TWO = "db = host=10.0.0.1\nnew = host=10.0.0.2 pool_size=1"


def test_moving(world_of: WorldOf) -> None:
    """It asks servers of the new pool, and counts there."""
    world = world_of(databases=TWO)
    client, old = world.pair()
    target = world.service.pools.pool(
        world.context.configuration.databases["new"], "app"
    )
    source = world.pool()
    move_client(client.frontend, target)
    assert list(source.clients) == []
    assert list(target.clients) == [client.frontend.number]
    client.say(query())
    assert client.state() == "waiting"
    new = world.server()
    assert new.answer() == query()
    assert client.hear() == ANSWER
    assert old.hear() == b""
    assert target.idle_pool.counters.query_count == 1
    assert source.idle_pool.counters.query_count == 0
    world.leave(client)
    assert list(target.clients) == []


def test_prepared_statements_follow(world_of: WorldOf) -> None:
    """They are prepared on the new server when they are used there."""
    world = world_of(databases=TWO)
    client, old = world.pair()
    client.say(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    old.say(message(b"1") + message(b"Z", b"I"))
    target = world.service.pools.pool(
        world.context.configuration.databases["new"], "app"
    )
    move_client(client.frontend, target)
    client.say(message(b"B", b"\0mine\0" + bytes(6)) + message(b"S"))
    asked = world.server().hear()
    assert b"SELECT 1" in asked
    assert asked.count(b"PGBOUNCER_1") == 2
    assert target.idle_pool.counters.bind_count == 1


def test_a_kept_server_goes_back(world_of: WorldOf) -> None:
    """In session pooling it is reset first, for the next client."""
    world = world_of(databases=TWO, settings="pool_mode = session")
    client, old = world.pair()
    client.say(query())
    old.answer()
    target = world.service.pools.pool(
        world.context.configuration.databases["new"], "app"
    )
    move_client(client.frontend, target)
    assert client.frontend.stream.server is None
    assert old.hear() == query("DISCARD ALL")
    old.say(ANSWER)
    assert old.state() == "idle"


def test_to_a_pool_of_another_mode(world_of: WorldOf) -> None:
    """What it prepares there is kept for it, or shared names would be its own."""
    world = world_of(
        databases="db = host=10.0.0.1 pool_mode=session\nnew = host=10.0.0.2"
    )
    client, old = world.pair()
    target = world.service.pools.pool(
        world.context.configuration.databases["new"], "app"
    )
    client.say(query())
    old.answer()
    move_client(client.frontend, target)
    assert old.answer() == query("DISCARD ALL")
    client.say(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    assert b"PGBOUNCER_" in world.server().hear()
