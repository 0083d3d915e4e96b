"""The counts of requests on their way; the rest is in test_cancelling.py."""

from __future__ import annotations

from pgswitch.pool.cancels import Cancels
from tests.fakes.world import World, WorldOf
from tests.unit.pool.test_cancelling import request, working


def counts(cancels: Cancels) -> tuple[int, int, int]:
    """Return how many wait, how many of these connect, how many are sent."""
    return cancels.waiting, cancels.connecting, cancels.active


def test_counts(world_of: WorldOf) -> None:
    """From the queue to the connection to the end."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    _client, _server, key = working(world)
    cancels = world.pool().cancels
    assert counts(cancels) == (0, 0, 0)
    for _ in range(2):
        request(world, key)
    assert counts(cancels) == (2, 1, 0)
    cancel = world.cancelling()
    assert counts(cancels) == (1, 0, 1)
    cancel.drop()
    assert counts(cancels) == (1, 1, 0)
    world.cancelling().drop()
    assert counts(cancels) == (0, 0, 0)


def test_no_limit(world_of: WorldOf) -> None:
    """With pool_size 0 all go at once."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=0")
    _client, _server, key = working(world)
    for _ in range(9):
        request(world, key)
    assert counts(world.pool().cancels) == (9, 9, 0)


def test_both_ends_leave(world: World) -> None:
    """Nothing is left over."""
    client, server, key = working(world)
    asking = request(world, key)
    cancel = world.cancelling()
    asking.drop()
    client.drop()
    cancel.drop()
    assert server.is_gone()
    assert counts(world.pool().cancels) == (0, 0, 0)
