"""Limits over all pools: which pool is evicted for which, and who waits."""

from __future__ import annotations

import pytest

from tests.fakes.messages import ANSWER, RESULT, query
from tests.fakes.world import Client, Server, World, WorldOf

TWO = "a = host=10.0.0.1\nb = host=10.0.0.1"
PER_DATABASE = ("max_db_connections", ("db", "app"), ("db", "other"))
PER_USER = ("max_user_connections", ("a", "app"), ("b", "app"))
LIMITS = pytest.mark.parametrize(("limit", "one", "other"), [PER_DATABASE, PER_USER])
"""Which setting; two pools, as database and user, that share it."""

Pool = tuple[str, str]


def build(world_of: WorldOf, limit: str, most: int = 1, more: str = "") -> World:
    """Return a world with a limit for all."""
    return world_of(
        settings=f"{limit} = {most}\n{more}", databases=f"{TWO}\ndb = host=10.0.0.1"
    )


def served(world: World, pool: Pool) -> tuple[Client, Server]:
    """Return a client of a pool, and an idle server that answered it."""
    client = world.client(*pool)
    server = world.server()
    client.hear()
    return client, server


@LIMITS
def test_an_idle_server_is_evicted(
    world_of: WorldOf, limit: str, one: Pool, other: Pool
) -> None:
    """The other pool's first client is welcomed by a server that takes its place."""
    world = build(world_of, limit)
    _client, server = served(world, one)
    _second, _ = served(world, other)
    assert server.backend.close_text == "evicted"
    assert world.logged("closing because: evicted (age=0s)")
    connection_limits = world.service.pools.connection_limits
    assert (
        connection_limits.of_database.total() == connection_limits.of_user.total() == 1
    )


@LIMITS
def test_the_one_unused_for_longest_goes(
    world_of: WorldOf, limit: str, one: Pool, other: Pool
) -> None:
    """Of all pools that share the limit."""
    world = build(world_of, limit, most=3)
    clients = [world.client(*one) for _ in range(2)]
    servers = [world.server()]
    for client in clients:
        client.say(query())
    servers.append(world.server())
    world.wait(1)
    servers[1].answer()
    world.wait(1)
    servers[0].answer()
    _, third = served(world, other)
    busy = [world.client(*other) for _ in range(2)]
    for client in busy:
        client.say(query())
    assert servers[1].backend.close_text == "evicted"
    assert not servers[0].is_gone()
    assert third.state() == "active"


@LIMITS
def test_a_starving_pool_gets_the_next_server_that_comes_free(
    world_of: WorldOf, limit: str, one: Pool, other: Pool
) -> None:
    """At once, not with the next upkeep; afterwards releases cost nothing again."""
    world = build(world_of, limit)
    client, server = served(world, one)
    client.say(query())
    second = world.client(*other)
    assert world.attempts == []
    assert world.pool(*one).idle_pool.checks_releases
    server.say(ANSWER)
    assert server.backend.close_text == "evicted"
    world.server()
    assert second.state() == "idle"
    assert not world.pool(*one).idle_pool.checks_releases


@LIMITS
def test_the_own_clients_come_first(
    world_of: WorldOf, limit: str, one: Pool, other: Pool
) -> None:
    """A server stays where clients wait for it."""
    world = build(world_of, limit, more="pool_mode = transaction")
    client, server = served(world, one)
    client.say(query())
    starving = world.client(*other)
    next_ = world.client(*one)
    next_.say(query("next"))
    server.answer()
    assert server.answer() == query("next")
    assert server.backend.close_text == "evicted"
    world.server()
    assert starving.state() == "idle"


@LIMITS
def test_a_busy_pool_cannot_keep_all(
    world_of: WorldOf, limit: str, one: Pool, other: Pool
) -> None:
    """Clients that have waited for much longer come first, one server at a time."""
    world = build(world_of, limit, most=2, more="pool_mode = transaction")
    clients = [world.client(*one) for _ in range(4)]
    servers = [world.server()]
    for client in clients:
        client.say(query())
    servers.append(world.server())
    starving = [world.client(*other) for _ in range(2)]
    servers[0].answer()
    assert not servers[0].is_gone()
    world.wait(3)
    clients[0].say(query())
    servers[0].answer()
    assert not servers[0].is_gone()
    world.wait(3)
    servers[1].answer()
    assert servers[1].backend.close_text == "evicted"
    clients[2].say(query())
    servers[0].answer()
    assert not servers[0].is_gone()
    world.server()
    assert [client.state() for client in starving] == ["idle"] * 2


def evicting_pair(world_of: WorldOf, most: int) -> tuple[World, list[Client]]:
    """Return a world in which ``other`` has had its servers evicted by ``app``.

    Its two clients are welcome and ask now; ``app`` has all servers there may be.
    """
    world = build(world_of, "max_db_connections", most=most)
    clients = [world.client("db", "other") for _ in range(2)]
    world.server()
    for _ in range(most):
        busy = world.client("db", "app")
        if world.attempts:
            world.server()
        busy.say(query())
        if world.attempts:
            world.server()
    for client in clients:
        client.hear()
        client.say(query("starving"))
    assert world.attempts == []
    return world, clients


def test_one_server_at_a_time_is_handed_over(world_of: WorldOf) -> None:
    """While the starving pool logs in, the busy one goes on with what it has."""
    world, clients = evicting_pair(world_of, 2)
    world.wait(3)
    own = [world.client("db", "app") for _ in range(2)]
    for client in own:
        client.say(query("own"))
    first, second = world.pool("db", "app").backends()
    first.stream.take(ANSWER)
    assert first.close_text == "evicted"
    second.stream.take(ANSWER)
    assert second.close_text == ""
    assert own[0].state() == "active"
    world.server()
    assert [client.state() for client in clients] == ["active", "waiting"]


def test_an_idle_server_goes_over_at_any_time(world_of: WorldOf) -> None:
    """Also while the starving pool logs in; no more than the limit are opened."""
    world, clients = evicting_pair(world_of, 2)
    for backend in world.pool("db", "app").backends():
        backend.stream.take(ANSWER)
        assert backend.close_text == "evicted"
    assert len(world.attempts) == 2
    assert world.service.pools.connection_limits.of_database["db"] == 2
    for _ in clients:
        world.server()
    assert [client.state() for client in clients] == ["active"] * 2


def test_no_server_is_evicted_without_use(world_of: WorldOf) -> None:
    """Beyond a limit that was lowered, the end of one makes no room yet."""
    world, clients = evicting_pair(world_of, 3)
    world.reload(
        settings="max_db_connections = 1", databases=f"{TWO}\ndb = host=10.0.0.1"
    )
    world.wait(3)
    own = world.client("db", "app")
    own.say(query("own"))
    first, *_ = world.pool("db", "app").backends()
    first.stream.take(ANSWER)
    assert first.close_text == ""
    assert own.state() == "active"
    assert [client.state() for client in clients] == ["waiting"] * 2


@LIMITS
def test_a_lost_server_makes_room(
    world_of: WorldOf, limit: str, one: Pool, other: Pool
) -> None:
    """The starving client gets it."""
    world = build(world_of, limit)
    client, server = served(world, one)
    client.say(query())
    starving = world.client(*other)
    server.drop()
    world.server()
    assert starving.state() == "idle"


def test_eviction_needs_every_limit_met(world_of: WorldOf) -> None:
    """If another limit is in the way, closing a server would help no client."""
    world = world_of(
        settings="max_db_connections = 2",
        users="other = max_user_connections = 1",
        databases="a = host=10.0.0.1\nb = host=10.0.0.1 max_db_connections=1",
    )
    _idle, server = served(world, ("a", "app"))
    busy, _ = served(world, ("b", "other"))
    busy.say(query())
    _second, _ = served(world, ("a", "app")) if world.attempts else (None, None)
    world.client("a", "other")
    assert not server.is_gone()
    assert world.attempts == []


def test_the_starving_client_leaves(world_of: WorldOf) -> None:
    """The watch for it ends."""
    world = build(world_of, "max_db_connections")
    client, server = served(world, ("db", "app"))
    client.say(query())
    starving = world.client("db", "other")
    starving.drop()
    world.wait(1)
    assert not world.pool("db", "app").idle_pool.checks_releases
    server.say(RESULT, ANSWER)
    assert not server.is_gone()


def test_min_pool_size_takes_nothing_from_others(world_of: WorldOf) -> None:
    """It is kept as far as there is room."""
    world = world_of(
        settings="max_db_connections = 3\nmin_pool_size = 2", databases=TWO
    )
    world.client("a", "app")
    servers = [world.server() for _ in range(2)]
    world.client("a", "other")
    servers.append(world.server())
    world.wait(2)
    assert world.attempts == []
    assert not any(server.is_gone() for server in servers)


def test_no_other_client_takes_the_freed_slot(world_of: WorldOf) -> None:
    """Not even a pool that wants its min_pool_size back."""
    world = build(world_of, "max_db_connections", more="min_pool_size = 1")
    served(world, ("db", "app"))
    other = world.client("db", "other")
    assert len(world.attempts) == 1
    assert world.service.pools.connection_limits.of_database == {"db": 1}
    world.server()
    assert other.state() == "idle"
    world.wait(1)
    assert world.attempts == []


def test_a_lower_limit(world_of: WorldOf) -> None:
    """After a reload as many are evicted as the limit asks for, once one is wanted."""
    world = world_of(databases="db = host=10.0.0.1")
    clients = [world.client() for _ in range(2)]
    servers = [world.server()]
    for client in clients:
        client.say(query())
    servers.append(world.server())
    for server in servers:
        server.answer()
    world.reload(settings="max_db_connections = 1", databases="db = host=10.0.0.1")
    assert not servers[0].is_gone()
    served(world, ("db", "other"))
    assert [server.backend.close_text for server in servers] == ["evicted"] * 2


def test_a_higher_limit(world_of: WorldOf) -> None:
    """A starving pool gets its server with the next upkeep."""
    world = world_of(settings="max_db_connections = 1")
    world.asking()
    starving = world.client(user="other")
    starving.drop()
    starving = world.client(user="other")
    assert world.attempts == []
    world.reload(settings="max_db_connections = 2")
    world.wait(1)
    world.server()
    assert starving.state() == "idle"


def test_a_dropped_pool_starves_no_more(world_of: WorldOf) -> None:
    """Its database has been removed."""
    world = build(world_of, "max_user_connections")
    client, _ = served(world, ("a", "app"))
    client.say(query())
    world.client("b", "app")
    assert world.pool("a").idle_pool.checks_releases
    world.reload(settings="max_user_connections = 1", databases="a = host=10.0.0.1")
    assert not world.pool("a").idle_pool.checks_releases
