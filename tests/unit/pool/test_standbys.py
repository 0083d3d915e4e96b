"""Connections to standbys: how many, when they are opened, and what becomes of them."""

from __future__ import annotations

from pgswitch.pool.site import Site
from pgswitch.pool.standbys import LEAST, REOPEN_S
from pgswitch.topology.nodes import Node
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import Client, World, WorldOf
from tests.unit.pool.test_site import OTHER, in_cluster

THIRD = Node("c", "10.0.0.3", 5432)


def hosts(world: World) -> list[str | None]:
    """Return where the attempts to connect go."""
    return [attempt.host for attempt in world.attempts]


def busy(world: World, count: int) -> tuple[Site, list[Client]]:
    """Return a cluster's pool with so many servers, and clients that use them."""
    clients = [world.pair()[0]]
    site = in_cluster(world)
    clients += [world.client() for _ in range(count - 1)]
    for client in clients:
        client.hear()
        client.say(query())
    while world.attempts:
        world.server()
    assert len(world.pool().servers) == count
    return site, clients


def test_as_many_as_to_the_writer(world: World) -> None:
    """They are open before the move, and used with it, without a login."""
    site, clients = busy(world, 5)
    site.standbys.keep([OTHER])
    warm = [world.server() for _ in range(5)]
    assert world.attempts == []
    site.hold()
    site.refresh()
    assert len(list(site.warm_servers())) == 5
    for client in clients:
        client.hear()
        client.say(query())
    site.serve_from(OTHER, same=False)
    for server in warm:
        server.answer()
    assert all(client.hear().endswith(ANSWER) for client in clients)
    assert len(world.pool().servers) == 5
    assert world.attempts == []
    assert list(site.warm_servers()) == []


def test_the_least(world: World) -> None:
    """A pool that hardly has servers keeps some all the same."""
    world.pair()
    in_cluster(world).standbys.keep([OTHER, THIRD])
    assert hosts(world) == [OTHER.host] * LEAST + [THIRD.host] * LEAST


def test_bounds(world_of: WorldOf) -> None:
    """The setting, the pool's size, and for each node what the writer is limited to."""
    for settings, expected in (
        ("standby_pool_size = 1", 1),
        ("standby_pool_size = 0", 0),
        ("standby_pool_size = -1", 0),
        ("default_pool_size = -1", LEAST),
        ("default_pool_size = 1", 1),
        ("max_db_connections = 1", 1),
        ("max_user_connections = 1", 1),
    ):
        world = world_of(settings=settings)
        world.pair()
        in_cluster(world).standbys.keep([OTHER, THIRD])
        assert hosts(world) == [OTHER.host] * expected + [THIRD.host] * expected


def test_limits_hold_for_all_pools_of_a_database(world_of: WorldOf) -> None:
    """What one pool has on a node another may not have; what is closed is free."""
    world = world_of(settings="max_db_connections = 3")
    world.pair()
    world.client(user="other")
    world.server()
    first = in_cluster(world)
    pool = world.pool(user="other")
    second = pool.site = Site(pool, first.cluster)
    first.standbys.keep([OTHER])
    second.standbys.keep([OTHER])
    assert hosts(world) == [OTHER.host] * 3
    first.standbys.keep([])
    second.standbys.refresh()
    assert len(list(second.warm_servers())) == LEAST


def test_fewer_after_a_while(world: World) -> None:
    """What the pool has not had for server_idle_timeout is closed here too."""
    site, clients = busy(world, 4)
    site.standbys.keep([OTHER])
    while world.attempts:
        world.server()
    for client in clients[1:]:
        client.drop()
    while len(world.pool().servers) > 1:
        world.wait(30.0)
    assert len(list(site.warm_servers())) == 4
    world.wait(601.0)
    assert len(list(site.warm_servers())) == LEAST


def test_a_node_that_refuses(world: World) -> None:
    """It is tried again after server_failed_delay, and says nothing about the pool."""
    world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    for attempt in [*world.attempts]:
        attempt.fail()
    world.wait(29.0)
    assert world.attempts == []
    assert world.pool().failing == ""
    world.wait(2.0)
    assert len(world.attempts) == LEAST


def test_a_node_that_answers_again(world: World) -> None:
    """It is tried at once."""
    world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    for attempt in [*world.attempts]:
        attempt.fail()
    site.standbys.answers(OTHER)
    assert len(world.attempts) == LEAST


def test_one_that_is_ended(world: World) -> None:
    """It is opened again soon."""
    world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    ended = world.server()
    world.server()
    ended.drop()
    assert world.attempts == []
    world.wait(REOPEN_S + 0.5)
    assert len(world.attempts) == 1


def test_a_login_under_way(world: World) -> None:
    """When its node is promoted it goes on, as the pool's."""
    client, _server = world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    half = world.accept()
    site.hold()
    client.say(query())
    site.serve_from(OTHER, same=False)
    half.log_in()
    assert half.answer() == query()
    assert client.hear() == ANSWER


def test_nodes_go(world: World) -> None:
    """Connections to nodes that are none any more are closed; so at the end."""
    world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    warm = [world.server(), world.server()]
    site.standbys.keep([])
    world.turn()
    assert all(one.is_gone() for one in warm)
    site.standbys.keep([OTHER])
    last = world.server()
    site.close()
    world.turn()
    assert last.is_gone()


def test_a_new_password(world: World) -> None:
    """What logged in before RECONNECT is opened anew, here as there."""
    world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    old = [world.server(), world.server()]
    world.pool().expire_servers()
    world.wait(0.5)
    assert all(one.is_gone() for one in old)
    assert len(world.attempts) >= LEAST


def test_idle_for_long(world: World) -> None:
    """One after the other answers a query; one that does not is opened anew."""
    world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    first, second = world.server(), world.server()
    for one in (first, second):
        one.hear()
    world.wait(30.5)
    assert (first.hear(), second.hear()) == (query(""), b"")
    first.say(ANSWER)
    world.wait(0.5)
    assert second.hear() == query("")
    world.wait(16.0)
    assert second.is_gone()
    assert not first.is_gone()
    world.wait(REOPEN_S)
    assert hosts(world) == [OTHER.host]


def test_promoted_while_one_is_checked(world: World) -> None:
    """The others are used; this one is at something else."""
    client, _server = world.pair()
    site = in_cluster(world)
    site.standbys.keep([OTHER])
    first, second = world.server(), world.server()
    second.hear()
    world.wait(30.5)
    site.hold()
    client.say(query())
    site.serve_from(OTHER, same=False)
    assert second.answer() == query()
    assert client.hear() == ANSWER
    world.turn()
    assert first.is_gone()
