"""The metrics, what pgswitch must reach in them, and the figures of all rounds.

A time on a shared machine says little. So a ratio is taken within a round, where both
poolers ran one after the other, and the median of these ratios is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

OURS = "pgswitch"
INTERPRETED = "interpreted"
REFERENCE = "pgbouncer"
FLOOR = "haproxy"

CLIENTS = 10
"""Active clients."""

IDLE_CLIENTS = 2000
"""Clients that are logged in and idle, in the workloads that have them."""


WORKLOADS = (
    *("simple", "extended", "prepared", "simple-rules", "extended-rules", "tpcb"),
    *("result", "copy-out", "copy-in", "connect", "idle", "scram"),
    *("memory", "tls", "tls-connect", "tls-memory"),
)
"""The workloads as words of the command line; ``memory`` includes the start."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One quantity of one workload.

    ``stand_in`` names the metric to compare with where PgBouncer has no figure.
    ``is_ratio`` marks a figure that is a ratio already and is not compared with another
    pooler's.
    """

    name: str
    unit: str
    more_is_better: bool = False
    stand_in: str = ""
    is_ratio: bool = False

    @property
    def label(self) -> str:
        """Name and unit as the tables show them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Goal:
    """What a pooler must reach in a metric, and what we aim for.

    The bounds apply to the ratio to PgBouncer in the same run, or to the figure itself
    if ``absolute``. They are inclusive.
    """

    metric: str
    must: float
    aim: float
    pooler: str = OURS
    absolute: bool = False


_CPU, _SPEED = "us/transaction", "transactions/s"

METRICS = {
    metric.name: metric
    for metric in (
        Metric("simple query, CPU", _CPU),
        Metric("simple query, speed", _SPEED, more_is_better=True),
        Metric("extended query, CPU", _CPU),
        Metric("extended query, speed", _SPEED, more_is_better=True),
        Metric("prepared query, CPU", _CPU, stand_in="extended query, CPU"),
        Metric(
            "prepared query, speed",
            _SPEED,
            more_is_better=True,
            stand_in="extended query, speed",
        ),
        Metric("simple query with rules, CPU", _CPU, stand_in="simple query, CPU"),
        Metric(
            "simple query with rules, speed",
            _SPEED,
            more_is_better=True,
            stand_in="simple query, speed",
        ),
        Metric("extended query with rules, CPU", _CPU, stand_in="extended query, CPU"),
        Metric(
            "extended query with rules, speed",
            _SPEED,
            more_is_better=True,
            stand_in="extended query, speed",
        ),
        Metric("TPC-B, CPU", _CPU),
        Metric("TPC-B, speed", _SPEED, more_is_better=True),
        Metric("13 MB result, CPU", "us/MB"),
        Metric("13 MB result, speed", "MB/s", more_is_better=True),
        Metric("COPY out, CPU", "us/MB"),
        Metric("COPY out, speed", "MB/s", more_is_better=True),
        Metric("COPY in, CPU", "us/MB"),
        Metric("COPY in, speed", "MB/s", more_is_better=True),
        Metric("connect, query, disconnect, CPU", "us/connection"),
        Metric(
            "connect, query, disconnect, speed", "connections/s", more_is_better=True
        ),
        Metric("SCRAM login, query, CPU", "us/connection"),
        Metric("SCRAM login, query, speed", "connections/s", more_is_better=True),
        Metric(f"simple query among {IDLE_CLIENTS} idle, CPU", _CPU),
        Metric(
            f"simple query among {IDLE_CLIENTS} idle, speed",
            _SPEED,
            more_is_better=True,
        ),
        Metric("CPU among idle clients / without them", "", is_ratio=True),
        Metric("query by TLS, CPU", _CPU),
        Metric("query by TLS, speed", _SPEED, more_is_better=True),
        Metric("connect, query, disconnect by TLS, CPU", "us/connection"),
        Metric(
            "connect, query, disconnect by TLS, speed",
            "connections/s",
            more_is_better=True,
        ),
        Metric("memory", "kB/idle client"),
        Metric("memory by TLS", "kB/idle client"),
        Metric("first query after start", "s"),
    )
}
"""All metrics by name, in the order of the tables."""

GOALS = (
    Goal("simple query, CPU", 1.35, 1.1),
    Goal("extended query, CPU", 1.35, 1.1),
    Goal("prepared query, CPU", 1.35, 1.1),
    Goal("simple query with rules, CPU", 1.65, 1.3),
    Goal("extended query with rules, CPU", 1.65, 1.3),
    Goal("simple query, speed", 0.85, 1.0),
    Goal("extended query, speed", 0.85, 1.0),
    Goal("prepared query, speed", 0.85, 1.0),
    Goal("13 MB result, CPU", 0.8, 0.5),
    Goal("COPY out, CPU", 0.8, 0.5),
    Goal("COPY in, CPU", 0.8, 0.5),
    Goal("connect, query, disconnect, CPU", 2.0, 1.2),
    Goal("SCRAM login, query, CPU", 1.5, 1.2),
    Goal("CPU among idle clients / without them", 1.1, 1.02, absolute=True),
    Goal("memory", 12.0, 6.0, absolute=True),
    Goal("query by TLS, CPU", 2.0, 1.4),
    Goal("connect, query, disconnect by TLS, CPU", 1.5, 1.2),
    Goal("memory by TLS", 30.0, 20.0, absolute=True),
    Goal("simple query, CPU", 1.9, 1.5, pooler=INTERPRETED),
    Goal("extended query, CPU", 1.9, 1.5, pooler=INTERPRETED),
    Goal("prepared query, CPU", 1.9, 1.5, pooler=INTERPRETED),
)
"""The goals of pgswitch, with ten clients in transaction pooling."""


def verdict(metric: Metric, goal: Goal, value: float) -> str:
    """Return ``aim``, ``must`` or ``missed``: the best bound that the value reaches."""
    for bound, word in ((goal.aim, "aim"), (goal.must, "must")):
        if value >= bound if metric.more_is_better else value <= bound:
            return word
    return "missed"


class Samples:
    """Figures by metric, pooler and round, and what could not be measured."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = {}
        self._missing: dict[tuple[str, str], str] = {}

    def add(self, number: int, pooler: str, figures: Mapping[str, float]) -> None:
        """Add a pooler's figures of round ``number``, by metric."""
        for metric, value in figures.items():
            self._values.setdefault((metric, pooler), {})[number] = value

    def leave_out(self, metric: str, pooler: str, reason: str) -> None:
        """Record why a pooler has no figure for a metric."""
        self._missing.setdefault((metric, pooler), reason)

    def of(self, metric: str, pooler: str) -> Mapping[int, float]:
        """Return the figures by round; empty when there are none."""
        return self._values.get((metric, pooler), {})

    def reason_left_out(self, metric: str, pooler: str) -> str:
        """Return why there is no figure; empty if no reason was recorded."""
        return self._missing.get((metric, pooler), "")

    @property
    def poolers(self) -> list[str]:
        """All poolers with a figure, in the order in which they first ran."""
        return list(dict.fromkeys(name for _, name in self._values))

    @property
    def metrics(self) -> list[str]:
        """All metrics with a figure, in the order of the tables."""
        present = {metric for metric, _ in self._values}
        return [metric for metric in METRICS if metric in present]

    def median(self, metric: str, pooler: str) -> float | None:
        """Return the median over the rounds, None without a figure."""
        values = self.of(metric, pooler).values()
        return median(values) if values else None

    def ratio(self, metric: str, pooler: str) -> float | None:
        """Return the figure relative to PgBouncer's, None if one of the two is missing.

        It is the median of the ratios of the rounds in which both were measured.
        """
        if METRICS[metric].is_ratio:
            return None
        ours = self.of(metric, pooler)
        theirs = self.of(self.reference_metric(metric), REFERENCE)
        ratios = [
            value / theirs[number]
            for number, value in ours.items()
            if theirs.get(number)
        ]
        return median(ratios) if ratios else None

    def reference_metric(self, metric: str) -> str:
        """Return the metric that PgBouncer's figure is from: this or its stand-in."""
        stand_in = METRICS[metric].stand_in
        return stand_in if stand_in and not self.of(metric, REFERENCE) else metric

    def assessed(self, goal: Goal) -> tuple[float, str] | None:
        """Return the value for a goal and the verdict; None if nothing was measured."""
        read = self.median if goal.absolute else self.ratio
        value = read(goal.metric, goal.pooler)
        if value is None:
            return None
        return value, verdict(METRICS[goal.metric], goal, value)

    def goal_of(self, metric: str, pooler: str) -> Goal | None:
        """Return the goal of a pooler in a metric, if it has one."""
        for goal in GOALS:
            if (goal.metric, goal.pooler) == (metric, pooler):
                return goal
        return None
