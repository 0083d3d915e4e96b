"""Medians, ratios and verdicts of a run."""

from __future__ import annotations

import pytest

from bench.rows import GOALS
from bench.samples import Samples
from tests.unit.bench.made_up import (
    EXTENDED,
    NO_PREPARED,
    PREPARED,
    SIMPLE,
    small_run,
)


def test_a_slow_round_changes_no_median() -> None:
    """The median bears an outlier."""
    assert small_run().median(SIMPLE, "pgswitch") == 12.0


def test_ratios_are_taken_within_a_round() -> None:
    """Both slow in different rounds: medians of ratios, not a ratio of medians."""
    samples = Samples()
    for number, (ours, theirs) in enumerate([(10, 10), (90, 30), (40, 20)]):
        samples.add(number, "pgswitch", {SIMPLE: ours})
        samples.add(number, "pgbouncer", {SIMPLE: theirs})
    assert samples.ratio(SIMPLE, "pgswitch") == 2.0
    samples.add(3, "pgswitch", {SIMPLE: 1000.0})
    assert samples.ratio(SIMPLE, "pgswitch") == 2.0, "a round of one alone counts not"


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        (SIMPLE, "pgswitch", 1.2),
        (SIMPLE, "pgbouncer", 1.0),
        (SIMPLE, "haproxy", 0.8),
        (EXTENDED, "haproxy", None),
        (PREPARED, "pgswitch", 1.5),  # 30 to the 20 of PgBouncer's extended queries
        ("memory", "pgswitch", None),
    ],
)
def test_ratio(row: str, name: str, expected: float | None) -> None:
    """None without either figure; a stand-in where PgBouncer has none."""
    found = small_run().ratio(row, name)
    assert found == (None if expected is None else pytest.approx(expected))


def test_what_is_a_ratio_gets_none() -> None:
    """Growth of one pooler is no measure for the growth of another."""
    samples = small_run()
    row = "CPU among idle clients / without them"
    for name in ("pgswitch", "pgbouncer"):
        samples.add(0, name, {row: 1.05})
    assert samples.ratio(row, "pgswitch") is None


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        (SIMPLE, "pgswitch", (1.2, "must")),
        (PREPARED, "pgswitch", (1.5, "missed")),
        ("memory", "pgswitch", (5.0, "aim")),
        (SIMPLE, "interpreted", None),
    ],
)
def test_judged(row: str, name: str, expected: tuple[float, str] | None) -> None:
    """By ratio, or by the figure itself; None for what did not run."""
    goal = next(goal for goal in GOALS if (goal.row, goal.contender) == (row, name))
    assert small_run().goal_of(row, name) == goal
    found = small_run().judged(goal)
    assert (found and (round(found[0], 6), found[1])) == expected


def test_order_and_what_is_left_out() -> None:
    """Rows stand as in the tables, contenders as they ran; reasons are kept."""
    samples = small_run()
    assert samples.rows == [SIMPLE, EXTENDED, PREPARED, "memory"]
    assert samples.contenders == ["pgswitch", "pgbouncer", "haproxy"]
    samples.leave_out(PREPARED, "pgbouncer", "another")
    assert samples.why_not(PREPARED, "pgbouncer") == NO_PREPARED
    assert not samples.why_not(SIMPLE, "pgbouncer")
