"""The rows and goals fit each other, and bounds are judged."""

from __future__ import annotations

import pytest

from bench.rows import GOALS, ROWS, Goal, Row, verdict

LESS, MORE = Row("a", "us"), Row("a", "per second", more_is_better=True)


@pytest.mark.parametrize(
    ("row", "must", "aim", "value", "expected"),
    [
        (LESS, 1.35, 1.1, 1.1, "aim"),
        (LESS, 1.35, 1.1, 1.11, "must"),
        (LESS, 1.35, 1.1, 1.35, "must"),
        (LESS, 1.35, 1.1, 1.36, "missed"),
        (MORE, 0.85, 1.0, 1.0, "aim"),
        (MORE, 0.85, 1.0, 0.99, "must"),
        (MORE, 0.85, 1.0, 0.85, "must"),
        (MORE, 0.85, 1.0, 0.84, "missed"),
    ],
)
def test_verdicts(
    row: Row, must: float, aim: float, value: float, expected: str
) -> None:
    """A bound that is just reached is met, whichever way is better."""
    assert verdict(row, Goal("a", must, aim), value) == expected


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.contender} {goal.row}")
def test_goals_name_rows(goal: Goal) -> None:
    """Each goal is of a row, its aim is harder than its must."""
    row = ROWS[goal.row]
    assert (goal.aim > goal.must) == row.more_is_better
    assert goal.absolute or not row.is_ratio


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.stand_in])
def test_stand_ins_are_alike(row: Row) -> None:
    """A stand-in measures the same quantity."""
    other = ROWS[row.stand_in]
    assert (other.unit, other.more_is_better) == (row.unit, row.more_is_better)
