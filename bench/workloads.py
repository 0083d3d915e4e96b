"""The workloads: a fixed amount of work through a pooler, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.environment import DATABASE, MEGABYTES, RESULT, RULED, ClientPrograms
from bench.idle_clients import idle_clients
from bench.metrics import IDLE_CLIENTS
from bench.poolers import ComparedPooler
from testkit.procfs import cpu_ns, resident_kb, wait_until_idle

Figures = Mapping[str, float]
"""The figures of one run of a workload, by metric."""

CONNECT = "connect, query, disconnect"
FIRST_IDLE = 100
"""Idle clients before memory is first read: one-time allocations don't count."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """The amounts of work: transactions of each client, statements of 13 MB.

    ``proofs`` are logins by SCRAM, which costs clients far more than poolers.
    """

    queries: int
    transfers: int
    connections: int
    proofs: int
    statements: int
    idle_queries: int


FULL = Amounts(3000, 500, 300, 30, 20, 3000)
QUICK = Amounts(800, 80, 40, 8, 5, 800)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload: its word on the command line, its name, its metrics, its function."""

    word: str
    name: str
    metrics: tuple[str, ...]
    run: Callable[[ComparedPooler], Figures]


def workloads(
    programs: ClientPrograms,
    amounts: Amounts,
    lines: Path,
    empty_sink: Callable[[], object],
) -> list[Workload]:
    """Return the workloads for running poolers.

    ``lines`` is the file for COPY in; ``empty_sink`` empties the table ``sink`` that it
    is copied to.
    """

    def select(*options: str, by: str = DATABASE) -> Callable[[ComparedPooler], float]:
        return lambda pooler: programs.pgbench(
            pooler.port, "-S", "-t", str(amounts.queries), *options, database=by
        )

    def bulk(statement: str) -> Callable[[ComparedPooler], float]:
        def work(pooler: ComparedPooler) -> float:
            programs.psql(pooler.port, statement, amounts.statements)
            return amounts.statements * MEGABYTES

        return work

    def transfer(pooler: ComparedPooler) -> float:
        return programs.pgbench(pooler.port, "-t", str(amounts.transfers))

    return [
        measured("simple", "simple query", select()),
        measured("extended", "extended query", select("-M", "extended")),
        measured("prepared", "prepared query", select("-M", "prepared")),
        measured("simple-rules", "simple query with rules", select(by=RULED)),
        measured(
            "extended-rules",
            "extended query with rules",
            select("-M", "extended", by=RULED),
        ),
        measured("tpcb", "TPC-B", transfer),
        measured("result", "13 MB result", bulk(RESULT)),
        measured("copy-out", "COPY out", bulk(f"COPY ({RESULT}) TO STDOUT")),
        measured("copy-in", "COPY in", bulk(f"\\copy sink from '{lines}'"), empty_sink),
        measured("connect", CONNECT, connecting(programs, amounts.connections)),
        among_idle(programs, amounts.idle_queries),
    ]


def connecting(
    programs: ClientPrograms, times: int
) -> Callable[[ComparedPooler], float]:
    """Return work in which each client connects for each of ``times`` queries."""

    def work(pooler: ComparedPooler) -> float:
        return programs.pgbench(pooler.port, "-S", "-C", "-t", str(times))

    return work


def measured(
    word: str,
    name: str,
    work: Callable[[ComparedPooler], float],
    before: Callable[[], object] = lambda: None,
) -> Workload:
    """Return a workload from a function that returns how many units it did.

    ``before`` is called first and is not measured.
    """

    def run(pooler: ComparedPooler) -> Figures:
        before()
        return _cost(name, pooler, lambda: work(pooler))

    return Workload(word, name, (f"{name}, CPU", f"{name}, speed"), run)


def among_idle(programs: ClientPrograms, queries: int) -> Workload:
    """Return simple queries among idle clients, compared with those without.

    The latter run before and after, so that neither kind has the warmer caches.
    """
    name = f"simple query among {IDLE_CLIENTS} idle"
    growth = "CPU among idle clients / without them"
    metrics = (f"{name}, CPU", f"{name}, speed", growth)

    def run(pooler: ComparedPooler) -> Figures:
        def cost() -> Figures:
            return _cost(
                name,
                pooler,
                lambda: programs.pgbench(pooler.port, "-S", "-t", str(queries)),
            )

        before = cost()
        with idle_clients(pooler.port, IDLE_CLIENTS):
            wait_until_idle(pooler.pid)
            among = cost()
        wait_until_idle(pooler.pid)
        without_us = (before[metrics[0]] + cost()[metrics[0]]) / 2
        return {**among, growth: among[metrics[0]] / without_us}

    return Workload("idle", "idle clients", metrics, run)


def memory(pooler: ComparedPooler) -> Figures:
    """Return the memory of an idle client, of a pooler that has just started.

    Memory that clients leave is reused, so a second measurement would show less.
    """
    by_tls = pooler.is_encrypted
    with idle_clients(pooler.port, FIRST_IDLE, by_tls=by_tls):
        before = resident_kb(pooler.pid)
        with idle_clients(pooler.port, IDLE_CLIENTS, by_tls=by_tls):
            return {"memory": (resident_kb(pooler.pid) - before) / IDLE_CLIENTS}


def _cost(name: str, pooler: ComparedPooler, work: Callable[[], float]) -> Figures:
    """Run ``work``; return CPU microseconds per unit, and units per second."""
    pid = pooler.pid
    cpu, began = cpu_ns(pid), time.monotonic()
    units = work()
    seconds = time.monotonic() - began
    used_us = (cpu_ns(pid) - cpu) / 1000
    return {f"{name}, CPU": used_us / units, f"{name}, speed": units / seconds}


def scram_workloads(programs: ClientPrograms, amounts: Amounts) -> list[Workload]:
    """Return the workload of poolers with SCRAM."""
    return [
        measured("scram", "SCRAM login, query", connecting(programs, amounts.proofs))
    ]


def tls_workloads(programs: ClientPrograms, amounts: Amounts) -> list[Workload]:
    """Return the workloads of poolers with TLS, but for memory."""

    def query(pooler: ComparedPooler) -> float:
        return programs.pgbench(pooler.port, "-S", "-t", str(amounts.queries))

    return [
        measured("tls", "query by TLS", query),
        measured(
            "tls-connect",
            f"{CONNECT} by TLS",
            connecting(programs, amounts.connections),
        ),
    ]


MEMORY = Workload("memory", "memory", ("memory",), memory)
TLS_MEMORY = Workload(
    "tls-memory",
    "memory by TLS",
    ("memory by TLS",),
    lambda pooler: {"memory by TLS": memory(pooler)["memory"]},
)
