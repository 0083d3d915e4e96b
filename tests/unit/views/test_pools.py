"""Pools, databases, users and peers of a running service."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from pgswitch.admin.snapshots import PoolSnapshot
from pgswitch.types import PoolMode
from pgswitch.view import ServiceView
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, query, split
from tests.fakes.world import World, WorldOf
from tests.unit.pool.test_writer_route import OTHER, in_cluster


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


def pool(world: World, database: str = "db") -> PoolSnapshot:
    """Return the line of a pool."""
    pools = world.service.view.pools()
    return next(one for one in pools if one.database == database)


def counts(world: World) -> dict[str, int]:
    """Return how many clients and servers a pool has in which states, but zeros."""
    return {
        name: value
        for name, value in asdict(pool(world)).items()
        if name.startswith(("cl_", "sv_")) and value
    }


def test_the_states_of_a_pool(world_of: WorldOf) -> None:
    """A client and its server, from the login to the end."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    client = world.client()
    assert counts(world) == {"cl_waiting": 1, "sv_login": 1}
    server = world.server()
    key = dict(split(client.hear()))["K"]
    assert counts(world) == {"cl_active": 1, "sv_idle": 1}
    client.say(query())
    assert counts(world) == {"cl_active": 1, "sv_active": 1}
    other = world.client()
    other.say(query())
    world.wait(2)
    assert counts(world) == {"cl_active": 1, "cl_waiting": 1, "sv_active": 1}
    assert pool(world).maxwait_us == 2_000_000
    other.drop()
    request = world.connect()
    request.say(encode.cancel_request(key))
    connecting = {"cl_active": 1, "cl_waiting_cancel_req": 1, "sv_login": 1}
    assert counts(world) == connecting | {"sv_active": 1}
    cancel = world.cancelling()
    assert counts(world) == {
        "cl_active": 1,
        "cl_active_cancel_req": 1,
        "sv_active": 1,
        "sv_active_cancel": 1,
    }
    server.say(ANSWER)
    assert counts(world)["sv_being_canceled"] == 1
    cancel.drop()
    assert counts(world) == {"cl_active": 1, "sv_idle": 1}


def test_resets_and_checks(world_of: WorldOf) -> None:
    """Tested and used servers."""
    world = world_of(
        settings="pool_mode = session\nserver_check_delay = 5\n"
        "server_check_query = SELECT 1"
    )
    client, server = world.asking()
    server.answer()
    world.leave(client)
    assert counts(world) == {"sv_tested": 1}
    server.answer()
    world.wait(6)
    assert counts(world) == {"sv_used": 1}
    assert pool(world).pool_mode is PoolMode.SESSION


def test_the_consoles_own_pool(world: World, view: ServiceView) -> None:
    """Always there, with its clients."""
    assert pool(world, "pgbouncer").cl_active == 0
    world.console()
    world.console()
    assert pool(world, "pgbouncer").cl_active == 2
    assert [one.database for one in view.pools()] == ["pgbouncer"]


def test_the_order_of_pools(world_of: WorldOf) -> None:
    """By database and user, the console's own among them, and so on the console."""
    world = world_of(databases="z = host=10.0.0.1\na = host=10.0.0.1")
    for database, user in (("z", "app"), ("a", "other"), ("a", "app")):
        world.client(database, user)
    shown = [(one.database, one.user) for one in world.service.view.pools()]
    assert shown == [
        *(("a", "app"), ("a", "other"), ("pgbouncer", "pgbouncer"), ("z", "app")),
    ]


def test_databases(world_of: WorldOf) -> None:
    """Entries and automatic ones by name, the console's at the end."""
    world = world_of(
        databases="b = host=10.0.0.1 dbname=x pool_size=3 user=owner\n"
        "a = host=10.0.0.1,10.0.0.2 load_balance_hosts=disable\n"
        "* = host=10.0.0.3,10.0.0.4"
    )
    world.client("zed")
    world.client("a")
    operations = world.service.operations
    operations.pause("a")
    operations.disable("b")
    operations.disable("early")
    view = world.service.view
    names = [line.name for line in view.databases()]
    assert names == ["a", "b", "early", "pgbouncer", "zed"]
    a, b, early, _console, zed = view.databases()
    assert (a.paused, a.disabled, a.load_balance_hosts) == (True, False, "disable")
    assert (early.database, early.disabled) == ("early", True)
    assert (b.paused, b.disabled, b.load_balance_hosts) == (False, True, None)
    assert (b.database, b.pool_size, b.force_user) == ("x", 3, "owner")
    assert (zed.database, zed.host) == ("zed", "10.0.0.3,10.0.0.4")
    assert zed.load_balance_hosts == "round-robin"
    assert zed.current_connections == zed.current_client_connections == 1


def test_users(world_of: WorldOf) -> None:
    """Those of the file, of [users], and those that pools log in as."""
    world = world_of(
        databases="db = host=10.0.0.1 user=owner",
        users="app = pool_size=4 max_user_connections=9\nguest = pool_mode=session",
    )
    world.client()
    world.client(user="other")
    users = {user.name: user for user in world.service.view.users()}
    assert list(users) == ["admin", "app", "guest", "other", "owner", "pgbouncer"]
    assert (users["app"].pool_size, users["app"].max_user_connections) == (4, 9)
    assert users["guest"].pool_mode is PoolMode.SESSION
    assert users["owner"].current_connections == 1
    assert users["app"].current_client_connections == 1
    assert users["owner"].current_client_connections == 0


def test_peers(world: World, view: ServiceView) -> None:
    """By number, with the size of all where they have none of their own."""
    assert view.peers() == []
    path = world.folder / "pgswitch.ini"
    path.write_text(
        "[peers]\n2 = host=10.0.0.2\n1 = host=10.0.0.1 pool_size=5\n"
        + path.read_text().replace("[peers]", "")
    )
    assert world.service.reload()
    assert [(peer.peer_id, peer.host, peer.pool_size) for peer in view.peers()] == [
        (1, "10.0.0.1", 5),
        (2, "10.0.0.2", 20),
    ]


def test_lists(world: World, view: ServiceView) -> None:
    """How many there are of each thing."""
    world.pair()
    world.connect()
    lists = view.lists()
    assert (lists.databases, lists.users, lists.peers, lists.pools) == (2, 4, 0, 2)
    assert (lists.used_clients, lists.login_clients, lists.used_servers) == (1, 1, 1)


def test_connections_to_standbys(world: World) -> None:
    """They are shown as pools of their nodes, once, and counted at their databases."""
    world.pair()
    pools = world.service.pools
    route = in_cluster(world)
    spec = pools.context.configuration.databases["db"]
    pools.cluster_databases.set(spec, [OTHER], [OTHER], ["db"])
    route.standbys.set_nodes([OTHER])
    world.server()
    node = pool(world, OTHER.name)
    assert (node.user, node.sv_idle, node.sv_login) == ("app", 1, 1)
    databases = {one.name: one for one in world.service.view.databases()}
    assert databases[OTHER.name].host == OTHER.host
    assert databases[OTHER.name].current_connections == 2
    assert databases["db"].current_connections == 1
    servers = [one.database for one in world.service.view.servers()]
    assert servers == ["db", OTHER.name]
    reader = pools.pool_for_role(spec, "app", "reader")
    assert reader.key.database == OTHER.name
    reader.launch(at_least=1)
    shown = [one for one in world.service.view.pools() if one.database == OTHER.name]
    assert [(one.sv_idle, one.sv_login) for one in shown] == [(1, 2)]
    route.serve_from(OTHER, same=False)
    assert {one.database for one in world.service.view.servers()} == {"db"}
