"""A pool whose database is a cluster: held, moved, and warm elsewhere."""

from __future__ import annotations

from pgswitch.pool.site import Site
from pgswitch.topology.calling import Heard
from pgswitch.topology.events import Tally
from pgswitch.topology.nodes import Node
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import World, WorldOf

OTHER = Node("b", "10.0.0.2", 5432)


class NotedCluster:
    """Counts hints, and keeps who waits for a call on the writer."""

    why_searching = "a was lost, why not"

    def __init__(self) -> None:
        """Begin with none."""
        self.hints = 0
        self.tally = Tally()
        self.calls: list[Heard] = []

    def call(self, heard: Heard) -> None:
        """Keep it."""
        self.calls.append(heard)

    def served(self) -> None:
        """Take no notice."""

    def suspect(self) -> None:
        """Count."""
        self.hints += 1


def in_cluster(world: World) -> Site:
    """Make the world's pool one of a cluster."""
    pool = world.pool()
    site = Site(pool, NotedCluster())
    pool.settle_at(site)
    return site


def test_held_and_served(world: World) -> None:
    """While there is no writer clients wait; then they are served at its address."""
    client, server = world.pair()
    site = in_cluster(world)
    site.hold()
    world.turn()
    assert server.is_gone()
    client.say(query())
    assert client.state() == "waiting"
    assert world.attempts == []
    site.serve_from(OTHER, same=False)
    assert [attempt.host for attempt in world.attempts] == ["10.0.0.2"]
    other = world.server()
    assert other.answer() == query()
    assert client.hear() == ANSWER


def test_a_login_under_way(world: World) -> None:
    """What is being opened at the last writer is of no use, however it leaves."""
    client, _server = world.pair()
    site = in_cluster(world)
    busy = world.client()
    busy.hear()
    client.say(query())
    busy.say(query())
    assert len(world.attempts) == 1
    site.hold(is_leaving=True)
    assert world.attempts == []
    assert busy.state() == "waiting"


def test_the_same_under_another_name(world: World) -> None:
    """Nothing is closed."""
    _client, server = world.pair()
    site = in_cluster(world)
    site.serve_from(OTHER, same=True)
    assert not server.is_gone()
    assert site.place.host == "10.0.0.2"


def test_a_lost_server_is_a_hint(world: World) -> None:
    """Whatever it was lost for, the monitor looks; our own reasons are none."""
    _client, server = world.pair()
    site = in_cluster(world)
    server.drop()
    assert site.cluster.hints == 1  # type: ignore[attr-defined]
    site.hold()
    assert site.cluster.hints == 1  # type: ignore[attr-defined]


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
