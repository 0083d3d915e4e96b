"""What clients do comes from the seed alone."""

from __future__ import annotations

from itertools import islice

from soak.client import STEPS
from soak.script import MOST_STEPS, Leave, Life, Step, lives


def first(count: int, seed: int = 1, number: int = 1) -> list[Life]:
    """Return the first lives of a client."""
    return list(islice(lives(seed, number, 2.0), count))


def test_the_same_again() -> None:
    """For the same seed and number; else something different."""
    assert first(50) == first(50)
    assert first(50) != first(50, seed=2)
    assert first(50) != first(50, number=2)


def test_everything_is_done() -> None:
    """Each step and each way to leave comes up, in lives of every length."""
    found = first(2000)
    assert {step for life in found for _, step in life.steps} == set(Step)
    assert {life.leave for life in found} == set(Leave)
    assert {len(life.steps) for life in found} == set(range(MOST_STEPS + 1))


def test_pauses() -> None:
    """None is longer than allowed."""
    pauses = [pause for life in first(500) for pause, _ in life.steps]
    assert 0 <= min(pauses) < 0.1
    assert 1.9 < max(pauses) <= 2.0


def test_each_step_is_carried_out() -> None:
    """The client knows how."""
    assert set(STEPS) == set(Step)
