"""``python -m bench``: what pgswitch costs beside PgBouncer, on this machine, now."""

from __future__ import annotations

import os
import platform
import resource
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.chart import chart
from bench.contenders import Contender, ContenderFailed, contenders
from bench.document import Facts, as_json, as_section, with_section
from bench.encrypted import (
    MEMORY_LOAD,
    build_encrypted,
    encrypted,
    encrypted_loads,
)
from bench.loads import FULL, QUICK, Load, loads
from bench.options import PAGE, QUICK_ROUNDS, ROUNDS, chosen, parse
from bench.programs import LoadFailed
from bench.progress import Progress
from bench.race import MEMORY, START, Race
from bench.rows import IDLE_CLIENTS, INTERPRETED, OURS
from bench.samples import Samples
from bench.scram import by_scram, scram_loads
from bench.stage import Stage, build
from bench.table import figures_table, goals_table
from pgswitch.demo.account import Account, account_for_children
from pgswitch.demo.processes import FAILURES, ChildFailed, run

QUICK_LIMIT_S, QUICK_SCRAM_LIMIT_S, QUICK_TLS_LIMIT_S = 55.0, 5.0, 15.0
"""How long the rounds of a quick run may take: in clear, with passwords, by TLS.

What comes before takes some 15 s for the first and the last.
"""

FILES_NEEDED = 2 * IDLE_CLIENTS + 200
"""Descriptors of a pooler between idle clients: two each were they all at work."""

PICTURE = "performance.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 1 when something did not work, 130 after Ctrl-C."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    return run(
        "bench",
        lambda cleanup: _bench(options, cleanup),
        failures=(*FAILURES, ContenderFailed, LoadFailed, ValueError),
    )


def _bench(options: Namespace, cleanup: ExitStack) -> int:
    if options.publish:  # not known to fail only after all the work
        with_section(PAGE.read_text(), "")
    _allow_many_files()
    course = Course(options, cleanup)
    facts = course.run()
    _write(options, facts, course.samples)
    for line in course.failures:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if course.failures else 0


class Course:
    """All that is to be measured, one kind of contenders after the other."""

    def __init__(self, options: Namespace, cleanup: ExitStack) -> None:
        """Measure what ``options`` choose; ``cleanup`` gets what ends it all."""
        self.samples = Samples()
        self.failures: list[str] = []
        self._options = options
        self._cleanup = cleanup
        self._amounts = QUICK if options.quick else FULL
        self._rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        self._is_bounded = options.quick and options.rounds is None
        self._done = self._rounds

    def run(self) -> Facts:
        """Measure it all; return what the figures were made with."""
        options, amounts, only = self._options, self._amounts, self._options.only
        account = account_for_children()
        racers, missing = contenders(
            options.compiled.resolve(), account, options.other, options.pgbouncer
        )
        among = options.contenders or [racer.name for racer in racers]
        racers = [racer for racer in racers if racer.name in among]
        for line in [*missing, "starting PostgreSQL"]:
            print(line, file=sys.stderr)
        stage = build(account, self._cleanup)
        todo = loads(stage.programs, amounts, stage.lines, stage.empty_sink)
        self._heat(stage, racers, todo, QUICK_LIMIT_S, MEMORY, START)
        todo = scram_loads(stage.programs, amounts)
        self._heat(stage, by_scram(racers), todo, QUICK_SCRAM_LIMIT_S)
        if chosen([*encrypted_loads(stage.programs, amounts), MEMORY_LOAD], only):
            try:
                self._encrypted(account, encrypted(racers))
            except ChildFailed as error:
                missing.append(f"no figures with TLS: {error}")
        versions = _versions(racers, stage.server.installation.version)
        return Facts(options.command, machine(), versions, self._done, missing)

    def _encrypted(self, account: Account | None, racers: Sequence[Contender]) -> None:
        """Do the loads with TLS. Raises ChildFailed when no PostgreSQL has it."""
        stage = build_encrypted(account, self._cleanup)
        todo = encrypted_loads(stage.programs, self._amounts)
        self._heat(stage, racers, todo, QUICK_TLS_LIMIT_S, MEMORY_LOAD)

    def _heat(  # noqa: PLR0917 - of three callers
        self,
        stage: Stage,
        racers: Sequence[Contender],
        loads: Sequence[Load],
        quick_limit_s: float,
        memory: Load | None = None,
        start_row: str = "",
    ) -> None:
        """Have some contenders do those of the loads that are chosen.

        ``memory`` is done by each of them just started; ``start_row`` is where that
        start counts.
        """
        todo = chosen(loads, self._options.only)
        fresh = chosen([memory] if memory else [], self._options.only)
        times = (1 if self._is_bounded else self._rounds) if fresh else 0
        if not todo and not fresh:
            return
        for racer in racers:
            self._cleanup.callback(racer.stop)
        steps = len(racers) * (times + len(todo) * self._rounds)
        progress = Progress(steps, sys.stderr)
        race = Race(stage, racers, progress, self.samples)
        for load in fresh:
            race.run_fresh(times, load, start_row)
        if todo:
            limit_s = quick_limit_s if self._is_bounded else float("inf")
            done = race.run_loads(todo, self._rounds, limit_s)
            self._done = min(self._done, done)
        progress.end()
        for racer in racers:
            racer.stop()
        self.failures += race.failures


def _write(options: Namespace, facts: Facts, samples: Samples) -> None:
    """Write the files and print the tables."""
    drawn = chart(samples, facts.sentence())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(as_json(facts, samples))
    (options.out / "bench.svg").write_text(drawn)
    print(f"\n{facts.sentence()}\n\n{figures_table(samples)}\n")
    print(f"{goals_table(samples)}\n")
    print(f"written: {options.out}/bench.json, {options.out}/bench.svg")
    if options.publish:
        section = as_section(facts, samples, PICTURE)
        PAGE.write_text(with_section(PAGE.read_text(), section))
        PAGE.with_name(PICTURE).write_text(drawn)
        print(f"written: {PAGE}, {PAGE.with_name(PICTURE)}")


def _versions(racers: Sequence[Contender], postgres: str) -> dict[str, str]:
    """Return what ran, by name; pgswitch once, however many ways it ran in."""
    known = {racer.name: racer.version for racer in racers if racer.version}
    if OURS in known:
        known.pop(INTERPRETED, None)
    return {"PostgreSQL": postgres, **known}


def machine() -> dict[str, str | int]:
    """Return what kind of machine this is."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the processor's name, as /proc/cpuinfo has it on PCs."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _allow_many_files() -> None:
    """Raise the limit of open files for our children. Raises OSError if too low."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < FILES_NEEDED:
        raise OSError(
            f"{FILES_NEEDED} open files are needed, {hard} allowed: ulimit -n"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
