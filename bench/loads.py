"""The loads: a fixed amount of work through a pooler, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender
from bench.idle import idle_clients
from bench.programs import Programs
from bench.rows import IDLE_CLIENTS
from bench.wire import DATABASE, RULED
from testkit.procfs import cpu_ns, resident_kb, wait_until_idle

Figures = Mapping[str, float]
"""What one run of a load measured, by row name."""

LINES = 130_000
LINE = "x" * 100
MEGABYTES = LINES * (len(LINE) + 1) / 1e6
"""Payload of one statement of the bulk loads, one byte for each line's end."""

RESULT = f"SELECT repeat('x', {len(LINE)}) FROM generate_series(1, {LINES})"  # noqa: S608 - constants
CONNECT = "connect, query, disconnect"
FIRST_IDLE = 100
"""Idle clients that are there before memory is read: they pay for what is made once."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much a load does: transactions of each client, statements of 13 MB.

    ``proofs`` are connections with SCRAM, which costs clients far more than poolers.
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
class Load:
    """One load: the word that chooses it, its name, its rows, and what runs it."""

    word: str
    name: str
    rows: tuple[str, ...]
    run: Callable[[Contender], Figures]


def loads(
    programs: Programs, amounts: Amounts, lines: Path, empty_sink: Callable[[], object]
) -> list[Load]:
    """Return the loads on running poolers.

    ``lines`` is a file to copy in (``write_lines``); ``empty_sink`` empties the table
    ``sink`` that it is copied to.
    """

    def select(*options: str, by: str = DATABASE) -> Callable[[Contender], float]:
        return lambda racer: programs.pgbench(
            racer.port, "-S", "-t", str(amounts.queries), *options, database=by
        )

    def bulk(statement: str) -> Callable[[Contender], float]:
        def work(racer: Contender) -> float:
            programs.psql(racer.port, statement, amounts.statements)
            return amounts.statements * MEGABYTES

        return work

    def transfer(racer: Contender) -> float:
        return programs.pgbench(racer.port, "-t", str(amounts.transfers))

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


def connecting(programs: Programs, times: int) -> Callable[[Contender], float]:
    """Return the work of logging in anew for each query, ``times`` by each client."""

    def work(racer: Contender) -> float:
        return programs.pgbench(racer.port, "-S", "-C", "-t", str(times))

    return work


def write_lines(path: Path) -> None:
    """Write the file that is copied in."""
    path.write_text(f"{LINE}\n" * LINES, encoding="ascii")


def measured(
    word: str,
    name: str,
    work: Callable[[Contender], float],
    before: Callable[[], object] = lambda: None,
) -> Load:
    """Return a load of ``work``, which returns how many units it did.

    ``before`` is called first, and not measured.
    """

    def run(racer: Contender) -> Figures:
        before()
        return _cost(name, racer, lambda: work(racer))

    return Load(word, name, (f"{name}, CPU", f"{name}, speed"), run)


def among_idle(programs: Programs, queries: int) -> Load:
    """Return simple queries among idle clients, related to those without.

    Those without run before and after, so that neither kind has the warmer caches.
    """
    name = f"simple query among {IDLE_CLIENTS} idle"
    growth = "CPU among idle clients / without them"
    rows = (f"{name}, CPU", f"{name}, speed", growth)

    def run(racer: Contender) -> Figures:
        def cost() -> Figures:
            return _cost(
                name,
                racer,
                lambda: programs.pgbench(racer.port, "-S", "-t", str(queries)),
            )

        before = cost()
        with idle_clients(racer.port, IDLE_CLIENTS):
            wait_until_idle(racer.pid)
            among = cost()
        wait_until_idle(racer.pid)
        without_us = (before[rows[0]] + cost()[rows[0]]) / 2
        return {**among, growth: among[rows[0]] / without_us}

    return Load("idle", "idle clients", rows, run)


def memory(racer: Contender) -> Figures:
    """Return what an idle client costs; the pooler must just have been started.

    Memory that clients have left is used again, so a second time would show less.
    """
    by_tls = racer.is_encrypted
    with idle_clients(racer.port, FIRST_IDLE, by_tls=by_tls):
        before = resident_kb(racer.pid)
        with idle_clients(racer.port, IDLE_CLIENTS, by_tls=by_tls):
            return {"memory": (resident_kb(racer.pid) - before) / IDLE_CLIENTS}


def _cost(name: str, racer: Contender, work: Callable[[], float]) -> Figures:
    """Do a work; return CPU in microseconds for each unit, and units a second."""
    pid = racer.pid
    cpu, began = cpu_ns(pid), time.monotonic()
    units = work()
    seconds = time.monotonic() - began
    used_us = (cpu_ns(pid) - cpu) / 1000
    return {f"{name}, CPU": used_us / units, f"{name}, speed": units / seconds}
