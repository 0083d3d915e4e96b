"""Connections to standbys: how many, when they are opened, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall

from pgswitch.cluster.nodes import Node
from pgswitch.pool.standbys import CHECK_S, MIN_PER_STANDBY, PROOF_S, REOPEN_S
from pgswitch.pool.writer_route import WriterRoute
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import STEP_S, Client, Server, World, WorldOf
from tests.unit.pool.test_writer_route import OTHER, in_cluster

THIRD = Node("c", "10.0.0.3", 5432)
CHECK = query("")


def hosts(world: World) -> list[str | None]:
    """Return where the attempts to connect go."""
    return [attempt.host for attempt in world.attempts]


def busy(world: World, count: int) -> tuple[WriterRoute, list[Client]]:
    """Return a cluster's pool with so many servers, and clients that use them."""
    clients = [world.pair()[0]]
    route = in_cluster(world)
    clients += [world.client() for _ in range(count - 1)]
    for client in clients:
        client.hear()
        client.say(query())
    while world.attempts:
        world.server()
    assert len(world.pool().servers) == count
    return route, clients


def kept(world: World, count: int = MIN_PER_STANDBY) -> list[Server]:
    """Return connections to a standby that have logged in."""
    servers = [world.server() for _ in range(count)]
    for server in servers:
        server.hear()
    return servers


def answering(world: World, servers: list[Server], seconds: float) -> None:
    """Let time pass, and answer every query."""
    for _ in range(round(seconds / STEP_S)):
        world.wait(STEP_S)
        for server in servers:
            if not server.is_gone() and server.hear():
                server.say(ANSWER)


def test_as_many_as_to_the_writer(world: World) -> None:
    """They are open before the move, and used with it, without a login."""
    route, clients = busy(world, 5)
    route.standbys.set_nodes([OTHER])
    opened = [world.server() for _ in range(5)]
    assert world.attempts == []
    route.wait_for_writer()
    route.refresh()
    assert len(list(route.standby_servers())) == 5
    for client in clients:
        client.hear()
        client.say(query())
    route.serve_from(OTHER, same=False)
    for server in opened:
        assert server.answer() == CHECK
        server.answer()
    assert all(client.hear().endswith(ANSWER) for client in clients)
    assert len(world.pool().servers) == 5
    assert world.attempts == []
    assert list(route.standby_servers()) == []


def test_the_least(world: World) -> None:
    """A pool that hardly has servers keeps some all the same."""
    world.pair()
    in_cluster(world).standbys.set_nodes([OTHER, THIRD])
    assert (
        hosts(world) == [OTHER.host] * MIN_PER_STANDBY + [THIRD.host] * MIN_PER_STANDBY
    )


def test_bounds(world_of: WorldOf) -> None:
    """The setting, the pool's size, and for each node what the writer is limited to."""
    for settings, expected in (
        ("standby_pool_size = 1", 1),
        ("standby_pool_size = 0", 0),
        ("standby_pool_size = -1", 0),
        ("default_pool_size = -1", MIN_PER_STANDBY),
        ("default_pool_size = 1", 1),
        ("max_db_connections = 1", 1),
        ("max_user_connections = 1", 1),
    ):
        world = world_of(settings=settings)
        world.pair()
        in_cluster(world).standbys.set_nodes([OTHER, THIRD])
        assert hosts(world) == [OTHER.host] * expected + [THIRD.host] * expected


def test_limits_hold_for_all_pools_of_a_database(world_of: WorldOf) -> None:
    """What one pool has on a node another may not have; what is closed is free."""
    world = world_of(settings="max_db_connections = 3")
    world.pair()
    world.client(user="other")
    world.server()
    first = in_cluster(world)
    pool = world.pool(user="other")
    second = pool.route = WriterRoute(pool, first.cluster)
    first.standbys.set_nodes([OTHER])
    second.standbys.set_nodes([OTHER])
    assert hosts(world) == [OTHER.host] * 3
    first.standbys.set_nodes([])
    second.standbys.refresh()
    assert len(list(second.standby_servers())) == MIN_PER_STANDBY


def test_fewer_after_a_while(world: World) -> None:
    """What the pool has not had for server_idle_timeout is closed here too."""
    route, clients = busy(world, 4)
    route.standbys.set_nodes([OTHER])
    opened = kept(world, 4)
    for client in clients[1:]:
        client.drop()
    while len(world.pool().servers) > 1:
        answering(world, opened, 30.0)
    assert len(list(route.standby_servers())) == 4
    answering(world, opened, 601.0)
    assert len(list(route.standby_servers())) == MIN_PER_STANDBY


def test_a_node_that_refuses(world: World) -> None:
    """It is tried again after server_failed_delay, and says nothing about the pool."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    for attempt in [*world.attempts]:
        attempt.fail()
    world.wait(29.0)
    assert world.attempts == []
    assert world.pool().failing == ""
    world.wait(2.0)
    assert len(world.attempts) == MIN_PER_STANDBY


def test_a_node_that_answers_again(world: World) -> None:
    """It is tried at once."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    for attempt in [*world.attempts]:
        attempt.fail()
    route.standbys.node_answers(OTHER)
    assert len(world.attempts) == MIN_PER_STANDBY


def test_one_that_is_ended(world: World) -> None:
    """It is opened again soon."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    ended = world.server()
    world.server()
    ended.drop()
    assert world.attempts == []
    world.wait(REOPEN_S + 0.5)
    assert len(world.attempts) == 1


def test_a_login_under_way(world: World) -> None:
    """When its node is promoted it goes on, as the pool's."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    half = world.accept()
    route.wait_for_writer()
    client.say(query())
    route.serve_from(OTHER, same=False)
    half.log_in()
    assert half.answer() == query()
    assert client.hear() == ANSWER


def test_nodes_go(world: World) -> None:
    """Connections to nodes that are none any more are closed; so at the end."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    opened = [world.server(), world.server()]
    route.standbys.set_nodes([])
    world.turn()
    assert all(one.is_gone() for one in opened)
    route.standbys.set_nodes([OTHER])
    last = world.server()
    route.close()
    world.turn()
    assert last.is_gone()


def test_a_new_password(world: World) -> None:
    """Connections from before RECONNECT are replaced, here as elsewhere."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    old = [world.server(), world.server()]
    world.pool().expire_servers()
    world.wait(0.5)
    assert all(one.is_gone() for one in old)
    assert len(world.attempts) >= MIN_PER_STANDBY


def test_idle_for_long(world: World) -> None:
    """All answer a query, in parallel; those that do not are opened again."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    first, second = kept(world)
    world.wait(CHECK_S + 0.5)
    assert (first.hear(), second.hear()) == (CHECK, CHECK)
    first.say(ANSWER)
    world.wait(1.5)
    assert second.is_gone()
    assert not first.is_gone()
    world.wait(REOPEN_S)
    assert hosts(world) == [OTHER.host]


def test_checks_without_a_query_of_the_settings(world_of: WorldOf) -> None:
    """They need none: those here have to be alive when their time comes."""
    world = world_of(settings="server_check_query =")
    world.pair()
    in_cluster(world).standbys.set_nodes([OTHER])
    first, second = kept(world)
    world.wait(CHECK_S + 0.5)
    assert (first.hear(), second.hear()) == (CHECK, CHECK)


def test_a_login_without_an_answer(world: World) -> None:
    """It has its time, as those of the writer."""
    world.pair()
    in_cluster(world).standbys.set_nodes([OTHER])
    silent = world.accept()
    world.wait(15.5)
    assert silent.is_gone()


def test_promoted_while_one_is_checked(world: World) -> None:
    """That is proof as well, whichever pool began the check."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    first, second = kept(world)
    world.wait(CHECK_S + 0.5)
    assert (first.hear(), second.hear()) == (CHECK, CHECK)
    route.wait_for_writer()
    client.say(query())
    route.serve_from(OTHER, same=False)
    assert (first.hear(), second.hear()) == (b"", b"")
    second.say(ANSWER)
    assert second.answer() == query()
    assert client.hear() == ANSWER
    world.wait(PROOF_S + 0.5)
    assert first.is_gone()
    assert not second.is_gone()


def test_the_first_that_answers_is_taken(world: World) -> None:
    """A client does not wait for one that is dead."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    first, second = kept(world)
    route.wait_for_writer()
    client.say(query())
    route.serve_from(OTHER, same=False)
    assert (first.hear(), second.answer()) == (CHECK, CHECK)
    assert second.answer() == query()
    assert client.hear() == ANSWER
    assert world.attempts == []


def test_all_are_dead(world: World) -> None:
    """Clients get new ones within the deadline; none is served from a dead one."""
    client, _server = world.pair()
    route = in_cluster(world)
    told: list[float] = []
    route.cluster.server_ready = lambda: told.append(0.0)  # type: ignore[method-assign]
    route.standbys.set_nodes([OTHER])
    dead = kept(world)
    route.wait_for_writer()
    client.say(query())
    route.serve_from(OTHER, same=False)
    assert world.attempts == []
    world.wait(PROOF_S)
    assert all(one.is_gone() for one in dead)
    assert hosts(world) == [OTHER.host]
    assert told == []
    server = world.server()
    assert server.answer() == query()
    assert client.hear() == ANSWER
    assert told != []
    assert world.pool().failing == ""


def test_a_silent_login_at_a_new_writer(world: World) -> None:
    """It has the same deadline; the next one has its full time."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    half = world.accept()
    route.wait_for_writer()
    client.say(query())
    route.serve_from(OTHER, same=False)
    world.wait(PROOF_S)
    assert half.is_gone()
    assert hosts(world) == [OTHER.host]
    assert world.pool().failing == ""


def test_an_answer_that_came_while_we_slept(world: World) -> None:
    """What has arrived counts, though the deadline is over."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    first, _second = kept(world)
    route.wait_for_writer()
    client.say(query())
    due: list[tuple[float, Callable[[], object]]] = []

    def later(seconds: float, call: Callable[[], object]) -> IDelayedCall:
        due.append((seconds, call))
        return world.reactor.callLater(1000.0, call)

    world.context.later = later
    route.serve_from(OTHER, same=False)
    seconds, time_is_up = due.pop()
    time_is_up()
    assert first.answer() == CHECK
    at_once, give_up = due.pop()
    assert (seconds, at_once, due) == (PROOF_S, 0, [])
    give_up()
    assert first.answer() == query()
    assert client.hear() == ANSWER


def test_a_node_that_gave_no_answer(world: World) -> None:
    """What was kept to it goes, and it is tried when it answers."""
    world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER, THIRD])
    servers = kept(world, 2 * MIN_PER_STANDBY)
    route.standbys.close_node(OTHER)
    world.turn()
    gone = [one.backend.host for one in servers if one.is_gone()]
    assert gone == [OTHER.host] * MIN_PER_STANDBY
    world.wait(5.0)
    assert world.attempts == []
    route.standbys.node_answers(OTHER)
    assert hosts(world) == [OTHER.host] * MIN_PER_STANDBY
    route.standbys.close_node(Node("d", "10.0.0.4", 5432))
