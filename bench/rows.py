"""What is measured, in the order of the tables, and what pgswitch must reach."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "pgswitch"
INTERPRETED = "interpreted"
REFERENCE = "pgbouncer"
FLOOR = "haproxy"

CLIENTS = 10
"""Clients at work at a time."""

IDLE_CLIENTS = 2000
"""Clients that are logged in and do nothing, where a load has such."""


LOADS = (
    *("simple", "extended", "prepared", "simple-rules", "extended-rules", "tpcb"),
    *("result", "copy-out", "copy-in", "connect", "idle", "scram"),
    *("memory", "tls", "tls-connect", "tls-memory"),
)
"""The words by which loads are chosen on the command line; memory is that and start."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of one load.

    ``stand_in`` names the row whose figure of PgBouncer is taken when PgBouncer has
    none here. ``is_ratio`` marks a figure that is a ratio already, so that one of
    another pooler is no measure for it.
    """

    name: str
    unit: str
    more_is_better: bool = False
    stand_in: str = ""
    is_ratio: bool = False

    @property
    def label(self) -> str:
        """Name and unit, as the tables show them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Goal:
    """What a contender must reach in a row, and what is aimed at.

    The bounds are of the ratio to PgBouncer in the same run, or of the figure itself
    when ``absolute``. A bound is met when it is reached exactly.
    """

    row: str
    must: float
    aim: float
    contender: str = OURS
    absolute: bool = False


_CPU, _SPEED = "us/transaction", "transactions/s"

ROWS = {
    row.name: row
    for row in (
        Row("simple query, CPU", _CPU),
        Row("simple query, speed", _SPEED, more_is_better=True),
        Row("extended query, CPU", _CPU),
        Row("extended query, speed", _SPEED, more_is_better=True),
        Row("prepared query, CPU", _CPU, stand_in="extended query, CPU"),
        Row(
            "prepared query, speed",
            _SPEED,
            more_is_better=True,
            stand_in="extended query, speed",
        ),
        Row("simple query with rules, CPU", _CPU, stand_in="simple query, CPU"),
        Row(
            "simple query with rules, speed",
            _SPEED,
            more_is_better=True,
            stand_in="simple query, speed",
        ),
        Row("extended query with rules, CPU", _CPU, stand_in="extended query, CPU"),
        Row(
            "extended query with rules, speed",
            _SPEED,
            more_is_better=True,
            stand_in="extended query, speed",
        ),
        Row("TPC-B, CPU", _CPU),
        Row("TPC-B, speed", _SPEED, more_is_better=True),
        Row("13 MB result, CPU", "us/MB"),
        Row("13 MB result, speed", "MB/s", more_is_better=True),
        Row("COPY out, CPU", "us/MB"),
        Row("COPY out, speed", "MB/s", more_is_better=True),
        Row("COPY in, CPU", "us/MB"),
        Row("COPY in, speed", "MB/s", more_is_better=True),
        Row("connect, query, disconnect, CPU", "us/connection"),
        Row("connect, query, disconnect, speed", "connections/s", more_is_better=True),
        Row("SCRAM login, query, CPU", "us/connection"),
        Row("SCRAM login, query, speed", "connections/s", more_is_better=True),
        Row(f"simple query among {IDLE_CLIENTS} idle, CPU", _CPU),
        Row(
            f"simple query among {IDLE_CLIENTS} idle, speed",
            _SPEED,
            more_is_better=True,
        ),
        Row("CPU among idle clients / without them", "", is_ratio=True),
        Row("query by TLS, CPU", _CPU),
        Row("query by TLS, speed", _SPEED, more_is_better=True),
        Row("connect, query, disconnect by TLS, CPU", "us/connection"),
        Row(
            "connect, query, disconnect by TLS, speed",
            "connections/s",
            more_is_better=True,
        ),
        Row("memory", "kB/idle client"),
        Row("memory by TLS", "kB/idle client"),
        Row("first query after start", "s"),
    )
}
"""Every row by its name."""

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
    Goal("simple query, CPU", 1.9, 1.5, contender=INTERPRETED),
    Goal("extended query, CPU", 1.9, 1.5, contender=INTERPRETED),
    Goal("prepared query, CPU", 1.9, 1.5, contender=INTERPRETED),
)
"""What pgswitch is held to, with ten clients in transaction pooling."""


def verdict(row: Row, goal: Goal, value: float) -> str:
    """Return ``aim``, ``must`` or ``missed``: the best bound that a value reaches."""
    for bound, word in ((goal.aim, "aim"), (goal.must, "must")):
        if value >= bound if row.more_is_better else value <= bound:
            return word
    return "missed"
