"""Work on thousands of objects takes many short turns of the event loop."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from twisted.internet.task import Clock

from pgswitch.admin.console import Console, Reply
from pgswitch.admin.incremental import STEPS_PER_TURN, BackgroundTask, run_all
from pgswitch.stats.counters import NAMES
from tests.counting import calls_in, only_interpreted
from tests.fakes.messages import kinds
from tests.fakes.world import World, WorldOf

MANY = 400
MAX_CALLS = 4000
"""Function calls in a turn, for any number of pools: a few milliseconds."""


def counted(steps: int) -> Generator[None, None, int]:
    """Yield so many times, then return the number."""
    for _ in range(steps):
        yield
    return steps


def test_all_at_once() -> None:
    """All steps run in one call."""
    assert run_all(counted(0)) == 0
    assert run_all(counted(1000)) == 1000


def test_in_the_background() -> None:
    """Some steps run in each turn, the first at once; the result comes at the end."""
    clock, results = Clock(), list[int]()
    background: BackgroundTask[int] = BackgroundTask(clock.callLater)
    background.do(counted(STEPS_PER_TURN - 1), results.append)
    busy = [background.is_busy]
    assert results == [STEPS_PER_TURN - 1]
    background.do(counted(STEPS_PER_TURN * 2), results.append)
    busy.append(background.is_busy)
    assert results == [STEPS_PER_TURN - 1]
    clock.advance(0)
    busy.append(background.is_busy)
    assert results == [STEPS_PER_TURN - 1, STEPS_PER_TURN * 2]
    assert busy == [False, True, False]


def test_stopped() -> None:
    """A stopped task leaves no delayed call."""
    clock, results = Clock(), list[int]()
    background: BackgroundTask[int] = BackgroundTask(clock.callLater)
    background.stop()
    background.do(counted(STEPS_PER_TURN * 2), results.append)
    background.stop()
    assert not background.is_busy
    assert clock.getDelayedCalls() == []
    clock.advance(1)
    assert results == []


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
    """The work of one turn does not grow with the number of rows."""
    console = Console(
        world.service.view,
        world.service.operations,
        is_admin=True,
        log=world.context.log,
        counters=world.context.console_counters,
    )
    reply = console.query(f"SHOW {word}")
    assert isinstance(reply, Reply)
    answer = kinds(b"".join((reply.data, *(reply.rest or ()))))
    assert answer == f"T{'D' * rows}CZ"

    assert max(longest_turn(console, word, at) for at in (0, 1)) < MAX_CALLS


def longest_turn(console: Console, word: str, at: int) -> int:
    """Return the calls in the longest turn of an answer, after ``at`` first slices."""
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
    """It reads all pools, also in short turns."""
    statistics = world.service.statistics
    steps = statistics.gather_period(world.context.clock())
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        for _ in range(STEPS_PER_TURN):
            next(steps, None)

    longest = max(calls_in(turn) for _ in range(10))
    assert longest < MAX_CALLS
    (first, *_) = run_all(statistics.gather()).databases
    assert (first.name, first.averages[NAMES.index("query_count")]) == ("db0", 0)


def test_a_period_of_many_pools(world: World) -> None:
    """Its log line comes after the last step; a stop cancels the rest."""
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
