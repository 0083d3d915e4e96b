"""All pools: opened on demand, kept at min_pool_size, reloaded, paused, dropped."""

from __future__ import annotations

import pytest

from pgswitch.types import PoolKey
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import World, WorldOf

TWO = "a = host=10.0.0.1\nb = host=10.0.0.2"


def keys(world: World) -> list[PoolKey]:
    """Return which pools there are."""
    return [pool.key for pool in world.service.pools]


def test_a_pool_for_each_database_and_user(world_of: WorldOf) -> None:
    """Made by the first login, shared by those that follow."""
    world = world_of(databases=TWO)
    for _ in range(2):
        world.client("a")
        world.client("a", "other")
        world.client("b")
    assert keys(world) == [
        PoolKey("a", "app"),
        PoolKey("a", "other"),
        PoolKey("b", "app"),
    ]
    assert len(world.service.pools) == 3
    assert [pool.key.user for pool in world.service.pools.of_database("a")] == [
        "app",
        "other",
    ]
    assert len(list(world.service.pools.of_database(None))) == 3


def test_a_forced_user(world_of: WorldOf) -> None:
    """All clients of the database share one pool."""
    world = world_of(databases="db = host=10.0.0.1 user=owner")
    world.client()
    world.client(user="other")
    assert keys(world) == [PoolKey("db", "owner")]
    assert b"user\0owner\0" in world.accept().hear()


def test_automatic_databases(world_of: WorldOf) -> None:
    """Made from the template, said once."""
    world = world_of(databases="* = host=10.0.0.1")
    world.client("x")
    world.client("x", "other")
    assert keys(world) == [PoolKey("x", "app"), PoolKey("x", "other")]
    assert [line for line in world.log if "auto-database" in line] == [
        "LOG registered new auto-database: x"
    ]


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ("db = host=10.0.0.1 user=app min_pool_size=2", 2),
        ("db = host=10.0.0.1 user=app", 0),
        ("db = host=10.0.0.1 min_pool_size=2", 0),
        ("* = host=10.0.0.1 user=app min_pool_size=2", 0),
    ],
)
def test_min_pool_size(world_of: WorldOf, databases: str, expected: int) -> None:
    """At the start, without any client, if user and size are known."""
    assert len(world_of(databases=databases).attempts) == expected


def test_min_pool_size_again(world_of: WorldOf) -> None:
    """KILL drops the pool; after RESUME its servers come back without any client."""
    world = world_of(databases="db = host=10.0.0.1 user=app min_pool_size=1")
    server = world.server()
    world.service.operations.kill("db")
    assert server.backend.close_text == "pause mode"
    world.wait(1)
    assert world.attempts == []
    world.service.operations.resume("db")
    world.wait(1)
    assert len(world.attempts) == 1


@pytest.mark.parametrize("user", ["", " user=app min_pool_size=1"])
def test_an_ended_pool_opens_nothing(world_of: WorldOf, user: str) -> None:
    """Not even what min_pool_size would have it keep."""
    world = world_of(databases=f"db = host=10.0.0.1{user}")
    if not user:
        world.client()
    server = world.server()
    world.reload(databases="other = host=10.0.0.1")
    assert server.backend.close_text == "database removed"
    assert world.attempts == []
    assert world.service.pools.connection_limits.of_database == {}


# Forgetting.


def test_a_pool_is_forgotten(world_of: WorldOf) -> None:
    """When it has had neither clients nor servers for pool_idle_timeout."""
    world = world_of(settings="pool_idle_timeout = 20\nserver_idle_timeout = 0")
    client, server = world.pair()
    world.wait(60)
    world.leave(client)
    world.wait(19)
    assert len(world.service.pools) == 1
    server.drop()
    world.wait(19)
    assert len(world.service.pools) == 1
    world.wait(2)
    assert keys(world) == []
    assert (
        "LOG cleaning up idle pool for user app on db db because: pool idle timeout"
        " (age= 20s)"
    ) in world.log
    world.pair()
    assert len(world.service.pools) == 1


@pytest.mark.parametrize(
    ("settings", "databases"),
    [
        ("pool_idle_timeout = 0", "db = host=10.0.0.1"),
        ("pool_idle_timeout = 5", "db = host=10.0.0.1 user=app min_pool_size=1"),
        ("autodb_idle_timeout = 0", "* = host=10.0.0.1"),
        ("autodb_idle_timeout = 5", "db = host=10.0.0.1"),
    ],
)
def test_a_pool_that_is_not_forgotten(
    world_of: WorldOf, settings: str, databases: str
) -> None:
    """0 means never; pools with a minimum or an entry of their own stay."""
    world = world_of(settings=settings, databases=databases)
    world.leave(world.client())
    world.accept().drop()
    world.wait(100)
    assert len(world.service.pools) == 1


def test_an_automatic_database_is_forgotten(world_of: WorldOf) -> None:
    """With all its pools, once none of them is used; not while it is paused."""
    world = world_of(databases="* = host=10.0.0.1", settings="autodb_idle_timeout = 20")
    first, server = world.pair()
    second = world.client(user="other")
    world.leave(second)
    world.accept().drop()
    world.wait(30)
    assert len(world.service.pools) == 2
    world.leave(first)
    server.drop()
    world.service.pools.set_paused("db", paused=True)
    world.wait(30)
    assert len(world.service.pools) == 2
    world.service.pools.set_paused("db", paused=False)
    world.wait(1)
    assert keys(world) == []
    said = "dropping database 'db' as it does not exist anymore or inactive"
    assert sum(said in line for line in world.log) == 1
    world.client()
    said = "registered new auto-database: db"
    assert sum(said in line for line in world.log) == 2


# Reloading.


@pytest.mark.parametrize(
    ("settings", "databases", "recycled"),
    [
        ("", "db = host=10.0.0.1 pool_size=7", False),
        ("", "db = host=10.0.0.7", True),
        ("", "db = host=10.0.0.1 connect_query='SELECT 1'", True),
        ("server_tls_sslmode = require", "db = host=10.0.0.1", True),
        ("server_idle_timeout = 7", "db = host=10.0.0.1", False),
    ],
)
def test_a_changed_entry(
    world: World, settings: str, databases: str, *, recycled: bool
) -> None:
    """Present servers are closed if they would not be made like this any more."""
    client, idle = world.pair()
    client.say(query())
    other = world.client()
    other.say(query())
    busy = world.server()
    idle.answer()
    assert world.reload(settings=settings, databases=databases)
    world.wait(1)
    assert (idle.is_gone(), busy.is_gone()) == (recycled, False)
    busy.answer()
    assert busy.is_gone() is recycled
    assert other.hear().endswith(ANSWER)


def test_a_removed_database(world_of: WorldOf) -> None:
    """Its clients and servers end; the other's do not."""
    world = world_of(databases=TWO)
    client, other = world.client("a"), world.client("b")
    server = world.server()
    kept = world.server()
    client.hear()
    world.reload(databases="b = host=10.0.0.2")
    world.turn()
    assert client.fault == "database removed"
    assert (client.is_gone(), server.is_gone()) == (True, True)
    assert (other.is_gone(), kept.is_gone()) == (False, False)
    assert keys(world) == [PoolKey("b", "app")]
    assert world.logged("WARNING dropping database 'a' as it does not exist anymore")


def test_a_reload_changes_the_mode(world: World) -> None:
    """From the next time a server is taken."""
    client, server = world.pair()
    world.reload(databases="db = host=10.0.0.1 pool_mode=session")
    client.say(query())
    server.answer()
    assert server.state() == "active"


# Pauses.


def test_pausing_one_database(world_of: WorldOf) -> None:
    """Its clients wait and its idle servers end; the other goes on."""
    world = world_of(databases=TWO)
    client, other = world.client("a"), world.client("b")
    server, kept = world.server(), world.server()
    pools = world.service.pools
    pools.set_paused("a", paused=True)
    world.turn()
    assert (server.is_gone(), kept.is_gone()) == (True, False)
    client.say(query("SELECT 1"))
    other.say(query("SELECT 2"))
    world.wait(1)
    assert (client.state(), other.state()) == ("waiting", "active")
    assert world.attempts == []
    pools.set_paused("a", paused=False)
    assert world.server().hear() == query("SELECT 1")
    assert client.state() == "active"


def test_a_pool_that_is_made_in_a_pause(world_of: WorldOf) -> None:
    """It is paused too."""
    world = world_of(databases=TWO)
    world.service.pools.set_paused("a", paused=True)
    client = world.client("a")
    world.wait(1)
    assert world.attempts == []
    world.service.pools.set_paused("a", paused=False)
    world.server()
    assert client.state() == "idle"


def test_busy_servers_end_their_work(world: World) -> None:
    """A pause waits for the query, then closes the server."""
    client, server = world.asking()
    pools = world.service.pools
    pools.set_paused("db", paused=True)
    assert pools.busy_servers("db") == pools.busy_servers(None) == 1
    assert pools.busy_servers("another") == 0
    server.answer()
    assert client.hear() == ANSWER
    assert server.is_gone()
    assert pools.busy_servers("db") == 0


def test_a_login_in_a_pause(world: World) -> None:
    """The connection being opened is given up; after the pause comes another."""
    client = world.client()
    server = world.accept()
    pools = world.service.pools
    pools.set_paused("db", paused=True)
    world.turn()
    assert server.is_gone()
    assert world.pool().failing == ""
    pools.set_paused("db", paused=False)
    world.server()
    assert client.state() == "idle"


# RECONNECT.


def test_reconnecting(world: World) -> None:
    """Idle servers end at the next upkeep, busy ones when they are released."""
    client, server = world.asking()
    other = world.client()
    other.say(query())
    idle = world.server()
    idle.answer()
    world.pool().expire_servers()
    assert (server.backend.stream.close_needed, idle.is_gone(), server.is_gone()) == (
        True,
        False,
        False,
    )
    world.wait(1)
    assert (idle.is_gone(), server.is_gone()) == (True, False)
    server.answer()
    assert client.hear() == ANSWER
    assert server.is_gone()


def test_reconnecting_during_a_login(world: World) -> None:
    """The connection of before is given up for one of after."""
    client = world.client()
    server = world.accept()
    world.pool().expire_servers()
    world.turn()
    assert server.is_gone()
    world.server(TimeZone="Asia/Tokyo")
    assert b"Asia/Tokyo" in client.hear()


def test_after_reconnecting_a_login_asks_anew(world_of: WorldOf) -> None:
    """What servers report may have changed: even a full pool opens one more."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    world.asking()
    world.pool().expire_servers()
    client = world.client()
    assert client.hear() == b""
    world.server(server_version="99.0")
    assert b"99.0" in client.hear()


def test_an_address_that_a_name_has_lost(world_of: WorldOf) -> None:
    """Servers there are closed when they are free, unless several hosts are named."""
    world = world_of(
        databases="one = host=10.0.0.1\nmany = host=10.0.0.1,10.0.0.2\n"
        "other = host=10.0.0.1 port=5433"
    )
    servers = {}
    for database in ("one", "many"):
        client = world.client(database)
        servers[database] = world.server()
        client.hear()
    client = world.client("one")
    client.say(query())
    world.service.pools.close_at("10.0.0.9", frozenset({"10.0.0.1"}))
    assert servers["one"].state() == "active"
    assert not servers["one"].backend.stream.close_needed
    world.service.pools.close_at("10.0.0.1", frozenset({"10.0.0.1"}))
    assert servers["one"].state() == "active"
    servers["one"].say(ANSWER)
    assert client.hear().endswith(ANSWER)
    assert servers["one"].is_gone()
    assert servers["many"].state() == "idle"
