"""The loads: each does a fixed amount through a pooler and tells how much."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender
from bench.wire import log_in
from pgswitch.demo.installations import Installation

CLIENTS = 10
IDLE_CLIENTS = 2000
RESULT = "SELECT repeat('x', 100) FROM generate_series(1, 120000)"
RESULT_MB = 13
RUN_LIMIT_S = 300


class NotSupported(Exception):
    """The pooler cannot do this work; the text says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one run cost: CPU of the pooler and time, for each unit of work."""

    cpu_us: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's client programs, and a folder for files."""

    installation: Installation
    directory: Path

    def run(self, name: str, *options: str, stdin: Path | None = None) -> str:
        """Run one of them; return its output. Raises NotSupported if it failed."""
        source = stdin.open("rb") if stdin is not None else None
        try:
            done = subprocess.run(
                [str(self.installation.bindir / name), *options],
                env={**os.environ, "PGUSER": "bench", "PGHOST": "127.0.0.1"},
                stdin=source,
                capture_output=True,
                check=False,
                timeout=RUN_LIMIT_S,
            )
        finally:
            if source is not None:
                source.close()
        if done.returncode or b"aborted" in done.stderr:
            raise NotSupported(done.stderr.decode(errors="replace").strip()[:200])
        return done.stdout[:10_000].decode(errors="replace")


def measured(contender: Contender, work: Callable[[], float]) -> Figure:
    """Return what a work cost that returns its number of units."""
    cpu, began = contender.cpu_ns(), time.monotonic()
    units = work()
    seconds = time.monotonic() - began
    return Figure((contender.cpu_ns() - cpu) / 1000 / units, units / seconds)


def transactions_of(output: str) -> int:
    """Return how many transactions pgbench says it did."""
    found = re.search(r"actually processed: (\d+)", output)
    if found is None or "failed transactions: 0 " not in output:
        raise NotSupported("pgbench reports failures")
    return int(found[1])


def pgbench(programs: Programs, *options: str) -> Callable[[Contender], Figure]:
    """Return a work that runs pgbench with these options."""

    def run(contender: Contender) -> Figure:
        return measured(
            contender,
            lambda: transactions_of(
                programs.run(
                    "pgbench",
                    *("-n", "-p", str(contender.port), "-j", "2"),
                    *options,
                    "bench",
                )
            ),
        )

    return run


def psql(
    programs: Programs, times: int, sql: str, stdin: Path | None = None
) -> Callable[[Contender], Figure]:
    """Return a work that runs a statement of RESULT_MB megabytes some times."""

    def run(contender: Contender) -> Figure:
        def all_of_them() -> float:
            for _ in range(times):
                options = ("-X", "-q", "-A", "-t", "-o", "/dev/null")
                where = ("-p", str(contender.port), "-d", "bench")
                programs.run("psql", *options, *where, "-c", sql, stdin=stdin)
            return times * RESULT_MB

        return measured(contender, all_of_them)

    return run


def beside_idle(programs: Programs, count: int) -> Callable[[Contender], Figure]:
    """Return pgbench -S beside idle clients, its CPU relative to without them."""
    work = pgbench(programs, "-S", "-c", str(CLIENTS), "-t", str(count))

    def run(contender: Contender) -> Figure:
        alone = work(contender)
        idle = [log_in(contender.port) for _ in range(IDLE_CLIENTS)]
        try:
            beside = work(contender)
        finally:
            for connection in idle:
                connection.close()
        return Figure(beside.cpu_us / alone.cpu_us, beside.per_second)

    return run


def memory_of_idle(contender: Contender) -> float:
    """Return the kB that one more idle client costs."""
    before = contender.memory_kb()
    idle = [log_in(contender.port) for _ in range(IDLE_CLIENTS)]
    try:
        return (contender.memory_kb() - before) / IDLE_CLIENTS
    finally:
        for connection in idle:
            connection.close()
