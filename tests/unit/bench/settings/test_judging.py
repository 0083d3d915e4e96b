"""When a cell is bad."""

from __future__ import annotations

import pytest

from bench.settings.judging import LEAST_CPU_S, Cell, Cost, shown


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
    made = cell((1.0, 1.0), cpu=(LEAST_CPU_S / 2, LEAST_CPU_S / 9))
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
