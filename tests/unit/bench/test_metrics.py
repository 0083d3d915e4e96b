"""The metrics, their goals, and what is read from the figures of rounds."""

from __future__ import annotations

import pytest

from bench.metrics import GOALS, METRICS, Goal, Metric, Samples, verdict
from tests.unit.bench.made_up import (
    EXTENDED,
    NO_PREPARED,
    PREPARED,
    SIMPLE,
    small_run,
)

LESS, MORE = Metric("a", "us"), Metric("a", "per second", more_is_better=True)


@pytest.mark.parametrize(
    ("metric", "must", "aim", "value", "expected"),
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
    metric: Metric, must: float, aim: float, value: float, expected: str
) -> None:
    """A bound that is just reached is met, whichever way is better."""
    assert verdict(metric, Goal("a", must, aim), value) == expected


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.pooler} {goal.metric}")
def test_goals_name_metrics(goal: Goal) -> None:
    """Each goal is of a metric, its aim is harder than its must."""
    metric = METRICS[goal.metric]
    assert (goal.aim > goal.must) == metric.more_is_better
    assert goal.absolute or not metric.is_ratio


@pytest.mark.parametrize(
    "metric", [metric for metric in METRICS.values() if metric.stand_in]
)
def test_stand_ins_are_alike(metric: Metric) -> None:
    """A stand-in measures the same quantity."""
    other = METRICS[metric.stand_in]
    assert (other.unit, other.more_is_better) == (metric.unit, metric.more_is_better)


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
    ("metric", "name", "expected"),
    [
        (SIMPLE, "pgswitch", 1.2),
        (SIMPLE, "pgbouncer", 1.0),
        (SIMPLE, "haproxy", 0.8),
        (EXTENDED, "haproxy", None),
        (PREPARED, "pgswitch", 1.5),  # 30 to the 20 of PgBouncer's extended queries
        ("memory", "pgswitch", None),
    ],
)
def test_ratio(metric: str, name: str, expected: float | None) -> None:
    """None without either figure; a stand-in where PgBouncer has none."""
    found = small_run().ratio(metric, name)
    assert found == (None if expected is None else pytest.approx(expected))


def test_what_is_a_ratio_gets_none() -> None:
    """Growth of one pooler is no measure for the growth of another."""
    samples = small_run()
    metric = "CPU among idle clients / without them"
    for name in ("pgswitch", "pgbouncer"):
        samples.add(0, name, {metric: 1.05})
    assert samples.ratio(metric, "pgswitch") is None


@pytest.mark.parametrize(
    ("metric", "name", "expected"),
    [
        (SIMPLE, "pgswitch", (1.2, "must")),
        (PREPARED, "pgswitch", (1.5, "missed")),
        ("memory", "pgswitch", (5.0, "aim")),
        (SIMPLE, "interpreted", None),
    ],
)
def test_judged(metric: str, name: str, expected: tuple[float, str] | None) -> None:
    """By ratio, or by the figure itself; None for what did not run."""
    goal = next(goal for goal in GOALS if (goal.metric, goal.pooler) == (metric, name))
    assert small_run().goal_of(metric, name) == goal
    found = small_run().assessed(goal)
    assert (found and (round(found[0], 6), found[1])) == expected


def test_order_and_what_is_left_out() -> None:
    """Metrics in the order of the tables, poolers in that of their first run."""
    samples = small_run()
    assert samples.metrics == [SIMPLE, EXTENDED, PREPARED, "memory"]
    assert samples.poolers == ["pgswitch", "pgbouncer", "haproxy"]
    samples.leave_out(PREPARED, "pgbouncer", "another")
    assert samples.reason_left_out(PREPARED, "pgbouncer") == NO_PREPARED
    assert not samples.reason_left_out(SIMPLE, "pgbouncer")
