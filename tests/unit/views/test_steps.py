"""What looks at thousands of things does so a little in each turn of the loop."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from twisted.internet.task import Clock

from pgswitch.admin.console import Console, Reply
from pgswitch.views.steps import STEPS_A_TURN, Background, finished, shown
from tests.counting import calls_in, only_interpreted
from tests.fakes.messages import kinds
from tests.fakes.world import World, WorldOf

MANY = 400
MOST_CALLS = 4000
"""Calls of functions in a turn, however many pools there are: a few milliseconds."""


def counted(steps: int) -> Generator[None, None, int]:
    """Yield so many times, and return how often."""
    for _ in range(steps):
        yield
    return steps


def test_all_at_once() -> None:
    """Whoever has nobody to wait for takes all steps."""
    assert finished(counted(0)) == 0
    assert finished(counted(1000)) == 1000
    assert shown([None, 1, None, 0]) == [1, 0]


def test_in_the_background() -> None:
    """Some steps in each turn, the first at once; nothing is told before the last."""
    clock, told = Clock(), list[int]()
    background: Background[int] = Background(clock.callLater)
    background.do(counted(STEPS_A_TURN - 1), told.append)
    busy = [background.is_busy]
    assert told == [STEPS_A_TURN - 1]
    background.do(counted(STEPS_A_TURN * 2), told.append)
    busy.append(background.is_busy)
    assert told == [STEPS_A_TURN - 1]
    clock.advance(0)
    busy.append(background.is_busy)
    assert told == [STEPS_A_TURN - 1, STEPS_A_TURN * 2]
    assert busy == [False, True, False]


def test_given_up() -> None:
    """What is stopped leaves nothing behind."""
    clock, told = Clock(), list[int]()
    background: Background[int] = Background(clock.callLater)
    background.stop()
    background.do(counted(STEPS_A_TURN * 2), told.append)
    background.stop()
    assert not background.is_busy
    assert clock.getDelayedCalls() == []
    clock.advance(1)
    assert told == []


@pytest.fixture
def world(world_of: WorldOf) -> World:
    """Return a world with many databases, users and pools."""
    names = [f"db{number}" for number in range(MANY)]
    world = world_of(databases="\n".join(f"{name} = host=10.0.0.1" for name in names))
    for name in names:
        spec = world.context.configuration.databases[name]
        counters = world.service.pools.pool(spec, f"of {name}").idle_pool.counters
        counters.failed(b"42P01")
        counters.single_times.note(1)
    return world


@only_interpreted
@pytest.mark.parametrize(
    ("word", "rows"),
    [
        *(("POOLS", MANY + 1), ("DATABASES", MANY + 1), ("USERS", MANY + 4)),
        *(
            ("STATS", MANY + 1),
            ("STATS_TOTALS", MANY + 1),
            ("STATS_AVERAGES", MANY + 1),
        ),
        *(("STATS_PERCENTILES", MANY), ("TOTALS", 24), ("LISTS", 14), ("MEM", 12)),
        *(("ERRORS", MANY), ("SERVERS", 0), ("SOCKETS", 0), ("FDS", 0)),
        ("TOPOLOGY", 0),
    ],
)
def test_no_turn_is_long(world: World, word: str, rows: int) -> None:
    """The work of one turn does not grow with what there is to show."""
    console = Console(
        world.service.view,
        world.service.operations,
        is_admin=True,
        log=world.context.log,
        counters=world.context.console_counters,
    )
    reply = console.query(f"SHOW {word}")
    assert isinstance(reply, Reply)
    told = kinds(b"".join((reply.data, *(reply.rest or ()))))
    assert told == f"T{'D' * rows}CZ"

    assert max(longest_turn(console, word, at) for at in (0, 1)) < MOST_CALLS


def longest_turn(console: Console, word: str, at: int) -> int:
    """Return the calls in the longest turn of an answer, of every other from ``at``."""
    reply = Reply(b"")

    def begin() -> None:
        nonlocal reply
        said = console.query(f"SHOW {word}")
        assert isinstance(said, Reply)
        reply = said

    longest = calls_in(begin)
    rest = reply.rest or iter(())
    pieces = [next(rest, None) for _ in range(at)]

    def go_on() -> None:
        pieces.append(next(rest, None))

    while not pieces or pieces[-1] is not None:
        longest = max(longest, calls_in(go_on))
    return longest


@only_interpreted
def test_the_end_of_a_period(world: World) -> None:
    """It looks at all pools, too, and takes turns."""
    statistics = world.service.view.statistics
    steps = statistics.gather_period(world.context.clock())
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        for _ in range(STEPS_A_TURN):
            next(steps, None)

    longest = max(calls_in(turn) for _ in range(10))
    assert longest < MOST_CALLS
    assert statistics.stats().averages["db0"].query_count == 0


def test_a_period_of_many_pools(world: World) -> None:
    """Its line comes when all of them have been looked at; a stop waits for none."""
    service = world.service
    world.service._next_period = 0.0
    service._turn(world.context.clock())
    assert not world.logged("stats:")
    world.turn()
    assert world.logged("stats:")
    world.service._next_period = 0.0
    service._turn(world.context.clock())
    service.stopService()
    assert world.reactor.getDelayedCalls() == []
