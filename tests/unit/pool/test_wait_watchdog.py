"""Whatever a client waits for has an end, or the log tells of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from pgswitch.pool.wait_watchdog import ANSWER as AN_ANSWER
from pgswitch.pool.wait_watchdog import PARAMETERS, RULE, SERVER, WELCOME, awaited_by
from tests.fakes.messages import ANSWER, IN_TRANSACTION, RESULT, query
from tests.fakes.world import Client, World, WorldOf
from tests.unit.pool.test_parameter_sync import parameter_sync
from tests.unit.rules.test_waiting import WAITING, with_pending
from tests.unit.rules.worlds import ROUTING, world_with

MORE = """
query_wait_timeout = {limit}
server_connect_timeout = 0
client_login_timeout = 0
rules_timeout = 0
server_login_retry = 10000
"""
SAID = "twice as long as it may"
Begin = Callable[[World], Client]


def for_a_server(world: World) -> Client:
    """Return a client whose query no server takes."""
    client, server = world.pair()
    world.service.pause_all()
    world.turn()
    assert server.is_gone()
    client.say(query())
    return client


def for_its_parameters(world: World) -> Client:
    """Return a client whose server is asked to SET."""
    return parameter_sync(world)[0]


def for_its_welcome(world: World) -> Client:
    """Return a client whose login no server answers."""
    return world.client()


def for_a_rule(world: World) -> Client:
    """Return a client whose query is being thought about."""
    client, _server = world.pair()
    with_pending(world).append(Deferred())
    client.say(query())
    return client


def for_a_rule_inside(world: World) -> Client:
    """Return the same in a transaction."""
    client, server = world.asking("BEGIN")
    server.say(RESULT + IN_TRANSACTION)
    with_pending(world).append(Deferred())
    client.say(query())
    return client


BEGUN: dict[str, tuple[Begin, str]] = {
    "server": (for_a_server, SERVER),
    "parameters": (for_its_parameters, PARAMETERS),
    "welcome": (for_its_welcome, WELCOME),
    "rule": (for_a_rule, RULE),
    "rule inside": (for_a_rule_inside, RULE),
}


@pytest.mark.parametrize(("begin", "awaited"), BEGUN.values(), ids=BEGUN)
def test_query_wait_timeout(
    world_of: WorldOf, tmp_path: Path, begin: Begin, awaited: str
) -> None:
    """It ends each wait, whatever other limits are switched off."""
    world = world_with(world_of, tmp_path, ROUTING, WAITING, MORE.format(limit=5))
    client = begin(world)
    assert awaited_by(client.frontend) == awaited
    client.hear()
    world.wait(4)
    assert not client.is_gone()
    world.wait(2)
    assert client.is_gone()
    assert client.fault == "query_wait_timeout"
    assert not world.logged(SAID)
    assert client.frontend.number not in world.pool().clients


@pytest.mark.parametrize("begun", BEGUN)
@pytest.mark.parametrize("limit", [0, 5])
def test_a_wait_without_an_end(
    world_of: WorldOf, tmp_path: Path, begun: str, limit: int
) -> None:
    """Twice the limit is a bug, logged once; without a limit all is well."""
    begin, awaited = BEGUN[begun]
    more = MORE.format(limit=limit)
    world = world_with(world_of, tmp_path, ROUTING, WAITING, more)
    client = begin(world)
    pool, now = world.pool(), world.reactor.seconds()
    # As if nothing else of the upkeep was done.
    for seconds in (0, 5, 9):
        pool.wait_watchdog.look(pool, now + seconds)
    assert not world.logged(SAID)
    for seconds in (12, 15, 30):
        pool.wait_watchdog.look(pool, now + seconds)
    assert not client.is_gone()
    lines = [line for line in world.log if SAID in line]
    assert len(lines) == (1 if limit else 0)
    if limit:
        assert lines[0].startswith("ERROR")
        assert f"has been waiting for {awaited} for 12 s" in lines[0]


def test_an_answer(world_of: WorldOf, tmp_path: Path) -> None:
    """A wait that rules add after a query has the limit of that query."""
    world = world_with(world_of, tmp_path, ROUTING, more="query_timeout = 5")
    client, _server = world.asking()
    client.say(query("SELECT 2"))
    assert awaited_by(client.frontend) == AN_ANSWER
    world.wait(4)
    assert not client.is_gone()
    world.wait(2)
    assert client.is_gone()
    assert not world.logged(SAID)


def test_many_short_waits(world_of: WorldOf) -> None:
    """They do not add up, though each is seen."""
    settings = "query_wait_timeout = 2"
    world = world_of(settings=settings, databases="db = host=10.0.0.1 pool_size=1")
    first, server = world.asking()
    second = world.client()
    for _ in range(10):
        for waiting in (second, first):
            waiting.say(query())
            assert awaited_by(waiting.frontend) == SERVER
            world.wait(1)
            server.say(ANSWER)
    assert not world.logged(SAID)
