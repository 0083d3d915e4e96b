"""A small made-up run."""

from __future__ import annotations

from bench.metrics import Samples
from bench.report import RunInfo

SIMPLE, EXTENDED, PREPARED = (
    f"{kind} query, CPU" for kind in ("simple", "extended", "prepared")
)
NO_PREPARED = "not supported by this PgBouncer"

FACTS = RunInfo(
    command="make bench",
    machine={"cores": 2, "processor": "Abacus", "system": "Linux 6", "python": "3.11"},
    versions={"PostgreSQL": "18.6", "pgbouncer": "1.18.0"},
    rounds=3,
)


def small_run() -> Samples:
    """Return three rounds of three poolers, the second round slow for all."""
    samples = Samples()
    pace = (1.0, 3.0, 1.0)
    for number, slow in enumerate(pace):
        for name, cost in (("pgswitch", 12.0), ("pgbouncer", 10.0)):
            samples.add(number, name, {SIMPLE: cost * slow, EXTENDED: 2 * cost * slow})
        samples.add(number, "pgswitch", {PREPARED: 30.0 * slow, "memory": 5.0})
        samples.add(number, "haproxy", {SIMPLE: 8.0 * slow})
        samples.leave_out(PREPARED, "pgbouncer", NO_PREPARED)
    return samples
