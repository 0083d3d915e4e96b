"""How often a cell is measured, and when it is bad."""

from __future__ import annotations

import pytest

from bench.settings.client import PLAIN, IncorrectAnswer, Target
from bench.settings.run import MIN_CPU_S, ROUNDS, Cell, measure, shown, try_once
from bench.settings.workload import Cost


def cell(*times: tuple[float, float], cpu: tuple[float, float] = (0, 0)) -> Cell:
    """Return a cell with these times, ours and the others'; the CPU is in each."""
    rounds = [(Cost(ours, cpu[0]), Cost(theirs, cpu[1])) for ours, theirs in times]
    return Cell("verbose=2", "simple", 1.3, 1.5, rounds)


def test_the_median_of_the_ratios_counts() -> None:
    """One round that another process has spoilt does not."""
    made = cell((1.0, 1.0), (9.0, 1.0), (1.2, 1.0))
    assert made.time_ratio == pytest.approx(1.2)
    assert not made.is_bad


def test_too_slow() -> None:
    """It says how slow, and how slow it may be."""
    made = cell((1.4, 1.0), (2.8, 2.0))
    assert made.is_slow
    assert "verbose=2, simple: 1.40 times the time (at most 1.30)" in made.verdict()


def test_too_much_cpu() -> None:
    """Also where the time is hidden by what else takes time."""
    made = cell((1.0, 1.0), cpu=(0.008, 0.004))
    assert made.cpu_ratio == pytest.approx(2.0)
    assert made.is_slow


def test_too_little_cpu_to_tell() -> None:
    """One interrupt would make the difference."""
    made = cell((1.0, 1.0), cpu=(MIN_CPU_S / 2, MIN_CPU_S / 9))
    assert made.cpu_ratio is None
    assert not made.is_bad


def test_cpu_of_one_side_alone() -> None:
    """A server has none that counts."""
    assert cell((1.0, 1.0), cpu=(0.5, 0.0)).cpu_ratio is None


def test_wrong() -> None:
    """Whatever it took."""
    made = cell()
    made.wrong = "the connection was closed"
    assert made.time_ratio is None
    assert made.is_bad
    assert not cell().is_bad
    assert made.verdict() == "verbose=2, simple: the connection was closed"


def test_ratios_as_shown() -> None:
    """Two digits, a dash where there is none."""
    assert [shown(1.005), shown(12.0), shown(None)] == ["1.00", "12.00", "-"]


OURS, THEIRS = Target(1, PLAIN), Target(2, PLAIN)


class Doing:
    """Work that takes the given times for us, sequentially, and a second for others."""

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


def empty_cell() -> Cell:
    """Return a cell without rounds."""
    return Cell("a=1", "simple", 1.3, 1.5)


def test_a_good_cell_is_measured_shortly() -> None:
    """After one time that does not count, in turn, each first as often."""
    one, do = empty_cell(), Doing(9.0, 1.0)
    measure(one, do, OURS, THEIRS)
    assert len(one.rounds) == ROUNDS[0]
    assert do.order == [2, 1, 2, 1, 1, 2]
    assert not one.is_bad


def test_one_that_looks_bad_is_tried_again() -> None:
    """Until it looks good."""
    one = empty_cell()
    measure(one, Doing(1.0, 2.0, 2.0, 1.0), OURS, THEIRS)
    assert len(one.rounds) == ROUNDS[0] + ROUNDS[1]
    assert not one.is_bad


def test_one_that_is_bad() -> None:
    """It was tried as often as there are rounds."""
    one = empty_cell()
    measure(one, Doing(2.0), OURS, THEIRS)
    assert len(one.rounds) == sum(ROUNDS)
    assert one.is_slow


def test_a_wrong_answer_is_not_tried_again() -> None:
    """Once is once too often."""

    def do(kind: str, target: Target) -> Cost:
        raise IncorrectAnswer("an answer of 3 bytes")

    one = empty_cell()
    measure(one, do, OURS, THEIRS)
    assert one.wrong == "an answer of 3 bytes"
    assert not one.rounds
    other = empty_cell()
    try_once(other, do, OURS)
    assert other.wrong == one.wrong


def test_once() -> None:
    """Times do not count then."""
    one = empty_cell()
    do = Doing(50.0)
    try_once(one, do, OURS)
    assert do.order == [1]
    assert not one.is_bad
