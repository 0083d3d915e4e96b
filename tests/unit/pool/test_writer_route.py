"""A pool whose database is a cluster: paused, moved, with standby connections."""

from __future__ import annotations

import pytest

from pgswitch.cluster.cluster import LossCounts
from pgswitch.cluster.node_checks import CheckCallback
from pgswitch.cluster.nodes import Node
from pgswitch.pool.writer_route import WriterRoute
from tests.fakes.messages import ANSWER, READY, query
from tests.fakes.world import Server, World, WorldOf

OTHER = Node("b", "10.0.0.2", 5432)


class NotedCluster:
    """Counts hints, and keeps the callers that wait for a check of the writer."""

    no_writer_reason = "a was lost, why not"

    def __init__(self) -> None:
        """Begin with none."""
        self.hints = 0
        self.address = ""
        self.loss_counts = LossCounts()
        self.calls: list[CheckCallback] = []

    def check(self, heard: CheckCallback) -> None:
        """Keep it."""
        self.calls.append(heard)

    def server_ready(self) -> None:
        """Take no notice."""

    def suspect(self) -> None:
        """Count."""
        self.hints += 1

    def address_of(self, _node: Node) -> str:
        """Return what the test says."""
        return self.address


def in_cluster(world: World) -> WriterRoute:
    """Make the world's pool one of a cluster."""
    pool = world.pool()
    route = WriterRoute(pool, NotedCluster())
    pool.set_route(route)
    return route


def test_held_and_served(world: World) -> None:
    """Without a writer clients wait; then they are served at its address."""
    client, server = world.pair()
    route = in_cluster(world)
    route.wait_for_writer()
    world.turn()
    assert server.is_gone()
    client.say(query())
    assert client.state() == "waiting"
    assert world.attempts == []
    route.serve_from(OTHER, same=False)
    assert [attempt.host for attempt in world.attempts] == ["10.0.0.2"]
    other = world.server()
    assert other.answer() == query()
    assert client.hear() == ANSWER


def test_a_login_under_way(world: World) -> None:
    """What is being opened at the last writer is of no use, however it leaves."""
    client, _server = world.pair()
    route = in_cluster(world)
    busy = world.client()
    busy.hear()
    client.say(query())
    busy.say(query())
    assert len(world.attempts) == 1
    route.wait_for_writer(is_leaving=True)
    assert world.attempts == []
    assert busy.state() == "waiting"


def test_the_same_under_another_name(world: World) -> None:
    """Nothing is closed."""
    _client, server = world.pair()
    route = in_cluster(world)
    route.serve_from(OTHER, same=True)
    assert not server.is_gone()
    assert route.target.host == "10.0.0.2"


def test_a_lost_server_is_a_hint(world: World) -> None:
    """Whatever it was lost for, the monitor looks; our own reasons are none."""
    _client, server = world.pair()
    route = in_cluster(world)
    server.drop()
    assert route.cluster.hints == 1  # type: ignore[attr-defined]
    route.wait_for_writer()
    assert route.cluster.hints == 1  # type: ignore[attr-defined]


def test_no_cached_failure(world_of: WorldOf) -> None:
    """Between two writers a refused login is no reason to send clients away."""
    world = world_of()
    client, server = world.pair()
    in_cluster(world)
    server.drop()
    client.say(query())
    for attempt in [*world.attempts]:
        attempt.fail()
    assert client.state() == "waiting"
    late = world.client()
    late.hear()
    late.say(query())
    assert late.state() == "waiting"


FULL = ("sorry, too many clients already", "53300")
STRANGE = ("password authentication failed", "28P01")


def refused(world: World, words: str, sqlstate: str) -> None:
    """Have the next login refused."""
    world.accept().refuse(words, sqlstate)


@pytest.mark.parametrize(
    "refusal",
    [
        FULL,
        ("starting up", "57P03"),
        ("terminating connection due to administrator command", "57P01"),
        ("canceling authentication due to timeout", "57014"),
        STRANGE,
    ],
)
def test_a_new_writer_that_refuses(world: World, refusal: tuple[str, str]) -> None:
    """It may let us in later, as the last one did: clients wait."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.wait_for_writer()
    route.serve_from(OTHER, same=False)
    client.say(query())
    for _ in range(9):
        refused(world, *refusal)
        assert client.state() == "waiting"
        assert world.pool().failing == refusal[0]
        world.wait(0.5)
    server = world.server()
    assert server.answer() == query()
    assert client.hear() == ANSWER


def test_no_longer_than_query_wait_timeout(world_of: WorldOf) -> None:
    """Then the client gets the reason."""
    world = world_of(settings="query_wait_timeout = 2")
    client, _server = world.pair()
    route = in_cluster(world)
    route.wait_for_writer()
    route.serve_from(OTHER, same=False)
    client.say(query())
    for _ in range(4):
        refused(world, *FULL)
        world.wait(0.5)
    world.wait(1.0)
    assert client.is_gone()
    assert FULL[0].encode() in client.hear()


def test_a_full_writer(world: World) -> None:
    """Also without any move, and before the first login to it."""
    client = world.client()
    in_cluster(world)
    refused(world, *FULL)
    assert not client.is_gone()
    world.wait(0.5)
    world.server()
    assert client.hear().endswith(READY)


def test_a_wrong_secret(world: World) -> None:
    """The client gets the error at once if no node has accepted a better one."""
    client = world.client()
    in_cluster(world)
    refused(world, *STRANGE)
    assert client.fault == STRANGE[0]


def test_a_secret_that_was_changed(world: World) -> None:
    """The same writer has let us in before: nothing else is to be hoped for."""
    client, server = world.pair()
    route = in_cluster(world)
    route.wait_for_writer()
    route.serve_from(OTHER, same=False)
    client.say(query())
    server = world.server()
    server.answer()
    client.hear()
    server.drop()
    client.say(query())
    refused(world, *STRANGE)
    assert client.fault == STRANGE[0]


def test_a_secret_that_was_changed_before_the_move(world: World) -> None:
    """The last writer did not know it any more, so the new one is not to blame."""
    client, server = world.pair()
    other = world.client()
    other.hear()
    route = in_cluster(world)
    server.drop()
    client.say(query())
    refused(world, *STRANGE)
    assert client.fault == STRANGE[0]
    route.wait_for_writer()
    route.serve_from(OTHER, same=False)
    other.say(query())
    refused(world, *STRANGE)
    assert other.fault == STRANGE[0]


def test_other_refusals(world: World) -> None:
    """Clients get them as usual."""
    client = world.client()
    in_cluster(world)
    refused(world, "database does not exist", "3D000")
    assert client.fault == "database does not exist"


def test_back_at_another_address(world: World) -> None:
    """The writer's name leads elsewhere: what is left where it was is closed."""
    _client, server = world.pair()
    route = in_cluster(world)
    route.node = here = Node("a", "10.0.0.1", 5432)
    server.backend.host = "10.0.0.1"
    route.serve_from(here, same=True)
    assert not server.is_gone()
    node = Node("a", "pg.example", 5432)
    route.node, server.backend.host = node, "pg.example"
    cluster = route.cluster
    assert isinstance(cluster, NotedCluster)
    cluster.address = "10.0.0.1"
    route.serve_from(node, same=True)
    assert not server.is_gone()
    cluster.address = "10.0.0.2"
    route.serve_from(node, same=True)
    world.turn()
    assert server.is_gone()


def test_kept_for_later_at_another_address(world: World) -> None:
    """Closed when the name has moved, and at the latest when they would be used."""
    world.pair()
    route = in_cluster(world)
    cluster = route.cluster
    assert isinstance(cluster, NotedCluster)
    node = Node("b", "pg.example", 5432)

    def opened(address: str) -> list[Server]:
        made = []
        while world.attempts:
            world.attempts[0].host = address
            made.append(world.attempts[0].accept())
            made[-1].log_in()
        return made

    route.standbys.set_nodes([node])
    first = opened("10.0.0.2")
    route.standbys.close_at(node, {"10.0.0.3"})
    assert not any(server.is_gone() for server in first)
    route.standbys.close_at(node, {"10.0.0.2"})
    route.refresh()
    world.turn()
    assert all(server.is_gone() for server in first)
    second = opened("10.0.0.4")
    assert len(second) == len(first)
    cluster.address = "10.0.0.5"
    route.serve_from(node, same=False)
    world.turn()
    assert all(server.is_gone() for server in second)
