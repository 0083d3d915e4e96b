"""How often a cell is measured, and what makes it wrong."""

from __future__ import annotations

from bench.settings.client import Target, Wrong
from bench.settings.course import measure, try_once
from bench.settings.judging import ROUNDS, Cell, Cost
from bench.settings.manners import PLAIN

OURS, THEIRS = Target(1, PLAIN), Target(2, PLAIN)


class Doing:
    """Work that takes us as long as told, one after the other, the others a second."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)
        self.order: list[int] = []

    def __call__(self, _kind: str, target: Target) -> Cost:
        """Take that long; the last for all that follow."""
        self.order.append(target.port)
        if target is THEIRS:
            return Cost(1.0, 0.0)
        time = self.times.pop(0) if len(self.times) > 1 else self.times[0]
        return Cost(time, 0.0)


def cell() -> Cell:
    """Return a cell without rounds."""
    return Cell("a=1", "simple", 1.3, 1.5)


def test_a_good_cell_is_measured_shortly() -> None:
    """After one time that does not count, in turn, each first as often."""
    one, do = cell(), Doing(9.0, 1.0)
    measure(one, do, OURS, THEIRS)
    assert len(one.rounds) == ROUNDS[0]
    assert do.order == [2, 1, 2, 1, 1, 2]
    assert not one.is_bad


def test_one_that_looks_bad_is_tried_again() -> None:
    """Until it looks good."""
    one = cell()
    measure(one, Doing(1.0, 2.0, 2.0, 1.0), OURS, THEIRS)
    assert len(one.rounds) == ROUNDS[0] + ROUNDS[1]
    assert not one.is_bad


def test_one_that_is_bad() -> None:
    """It was tried as often as there are rounds."""
    one = cell()
    measure(one, Doing(2.0), OURS, THEIRS)
    assert len(one.rounds) == sum(ROUNDS)
    assert one.is_slow


def test_a_wrong_answer_is_not_tried_again() -> None:
    """Once is once too often."""

    def do(kind: str, target: Target) -> Cost:
        raise Wrong("an answer of 3 bytes")

    one = cell()
    measure(one, do, OURS, THEIRS)
    assert one.wrong == "an answer of 3 bytes"
    assert not one.rounds
    other = cell()
    try_once(other, do, OURS)
    assert other.wrong == one.wrong


def test_once() -> None:
    """Times do not count then."""
    one = cell()
    do = Doing(50.0)
    try_once(one, do, OURS)
    assert do.order == [1]
    assert not one.is_bad
