"""A pool on one node: its readers move elsewhere when it is not fit."""

from __future__ import annotations

from dataclasses import replace

from pgswitch.cluster.node_checks import CheckCallback
from pgswitch.cluster.nodes import Node
from pgswitch.pool.pool import ServerPool, move_client
from pgswitch.pool.reader_route import ReaderRoute
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import Client, World

NODE = Node("b", "10.0.0.2", 5432)


class NotedCluster:
    """Notes hints."""

    def __init__(self) -> None:
        """Begin with none."""
        self.hints: list[Node | None] = []
        self.calls: list[CheckCallback] = []
        self.standby = True
        self.address = ""

    def suspect(self, node: Node | None = None) -> None:
        """Note."""
        self.hints.append(node)

    def address_of(self, _node: Node) -> str:
        """Return what the test says."""
        return self.address

    def check(self, heard: CheckCallback, node: Node | None = None) -> None:
        """Keep it."""
        assert node == NODE
        self.calls.append(heard)

    def is_standby(self, node: Node) -> bool:
        """Return what the test says."""
        assert node == NODE
        return self.standby


class Reading:
    """A client that was moved to the pool of a node."""

    def __init__(self, world: World) -> None:
        """Make all of it."""
        self.client: Client
        self.client, _server = world.pair()
        self.home = world.pool()
        self.goes_to: ServerPool | None = None
        self.cluster = NotedCluster()
        pools = world.service.pools
        self.pool = pools.pool(
            replace(self.home.spec, name="b", host="10.0.0.2"), "app"
        )
        self.pool.route = ReaderRoute(
            self.pool, NODE, self.cluster, lambda _pool: self.goes_to
        )
        move_client(self.client.frontend, self.pool)


def test_read_there(world: World) -> None:
    """Until the route changes."""
    reading = Reading(world)
    reading.client.say(query())
    server = world.server()
    assert world.service.pools.pool(reading.pool.spec, "app") is reading.pool
    assert server.answer() == query()
    reading.pool.route.refresh()  # type: ignore[union-attr]
    assert reading.client.frontend.pool is reading.pool
    server.drop()
    assert reading.cluster.hints == [NODE]


def test_leave(world: World) -> None:
    """Waiting and idle clients move; they are served there."""
    reading = Reading(world)
    idle = world.client()
    idle.hear()
    move_client(idle.frontend, reading.pool)
    reading.client.say(query())
    world.attempts[0].fail()
    reading.goes_to = reading.home
    world.wait(0.5)
    assert reading.client.hear() == b""
    assert reading.pool.clients == {}
    assert idle.frontend.pool is reading.home
    (backend,) = reading.home.backends()
    assert backend.stream.peer is reading.client.frontend.stream


def test_work_is_finished_first(world: World) -> None:
    """A client leaves only when its server is free."""
    reading = Reading(world)
    reading.client.say(query())
    server = world.server()
    reading.goes_to = reading.home
    world.wait(0.5)
    assert reading.client.frontend.pool is reading.pool
    server.say(ANSWER)
    world.wait(0.5)
    assert reading.client.hear() == ANSWER
    assert reading.client.frontend.pool is reading.home


def test_a_name_that_moves(world: World) -> None:
    """No client reads from a node not yet probed; the pool retries at once."""
    reading = Reading(world)
    reading.cluster.address = "10.0.0.9"
    reading.client.say(query())
    world.attempts[0].protocol.host = "pg.example"  # type: ignore[attr-defined]
    wrong = world.server()
    assert wrong.is_gone()
    reading.cluster.address = "10.0.0.2"
    right = world.server()
    assert right.answer() == query()
