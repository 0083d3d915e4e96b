"""The counts of requests on their way; the rest is in test_cancelling.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.net.connection_states import CloseReason
from pgswitch.pool.outgoing_cancels import OutgoingCancels
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import Server, World, WorldOf
from tests.unit.pool.test_cancel_keys import request, working


def counts(cancels: OutgoingCancels) -> tuple[int, int, int]:
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


ENDS = {
    "lost": lambda _world, server: server.drop(),
    "RECONNECT": lambda world, _server: world.pool().expire_servers(),
    "closed": lambda _world, server: server.backend.close(CloseReason.LIFETIME_OVER),
}
"""How a server ends that waits for a cancel request to be over."""


@pytest.mark.parametrize("settings", ["", "server_reset_query_always = 1"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_server_that_ends_before_its_cancel_request(
    world_of: WorldOf, end: Callable[[World, Server], None], settings: str
) -> None:
    """It is not put back when the request is over: the next client gets another."""
    world = world_of(settings=settings)
    client, server, key = working(world)
    request(world, key)
    cancel = world.cancelling()
    server.say(ANSWER)
    assert server.state() == "being_canceled"
    end(world, server)
    cancel.drop()
    assert server.is_gone()
    assert list(world.pool().idle_pool.idle) == []
    client.hear()
    client.say(query("SELECT 2"))
    assert world.server().answer() == query("SELECT 2")
    assert client.hear() == ANSWER
