"""What clients do comes from the seed alone."""

from __future__ import annotations

from itertools import islice

from soak.client import STEPS
from soak.script import MAX_STEPS, Disconnect, Session, Step, sessions


def first(count: int, seed: int = 1, number: int = 1) -> list[Session]:
    """Return the first sessions of a client."""
    return list(islice(sessions(seed, number, 2.0), count))


def test_repeatable() -> None:
    """The same for the same seed and number, otherwise different."""
    assert first(50) == first(50)
    assert first(50) != first(50, seed=2)
    assert first(50) != first(50, number=2)


def test_everything_is_done() -> None:
    """Each step and each way to disconnect occurs, in sessions of every length."""
    found = first(2000)
    assert {step for session in found for _, step in session.steps} == set(Step)
    assert {session.disconnect for session in found} == set(Disconnect)
    assert {len(session.steps) for session in found} == set(range(MAX_STEPS + 1))


def test_pauses() -> None:
    """None is longer than allowed."""
    pauses = [pause for session in first(500) for pause, _ in session.steps]
    assert 0 <= min(pauses) < 0.1
    assert 1.9 < max(pauses) <= 2.0


def test_each_step_is_carried_out() -> None:
    """The client knows how."""
    assert set(STEPS) == set(Step)
