"""``python -m bench``: what pgswitch costs compared with PgBouncer on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.environment import (
    Environment,
    WorkloadFailed,
    start_environment,
    start_tls_environment,
)
from bench.metrics import IDLE_CLIENTS, INTERPRETED, OURS, WORKLOADS, Samples
from bench.poolers import ComparedPooler, PoolerFailed, poolers, with_scram, with_tls
from bench.report import (
    RunInfo,
    as_json,
    as_section,
    chart,
    figures_table,
    goals_table,
    with_section,
)
from bench.runner import START, Progress, Runner
from bench.workloads import (
    FULL,
    MEMORY,
    QUICK,
    TLS_MEMORY,
    Workload,
    scram_workloads,
    tls_workloads,
    workloads,
)
from pgswitch.demo.processes import (
    FAILURES,
    Account,
    ChildFailed,
    account_for_children,
    run,
)

ROUNDS, QUICK_ROUNDS = 5, 3
PAGE = Path("docs/performance.md")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ``command`` among them is the equivalent call of make."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="CPU, speed and memory of pgswitch, PgBouncer and HAProxy.",
    )
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument("--rounds", type=int, help=f"how many (default {ROUNDS})")
    parser.add_argument(
        "--only",
        type=_words,
        default=WORKLOADS,
        metavar="WORKLOAD,...",
        help=f"only these workloads, of {', '.join(WORKLOADS)}",
    )
    parser.add_argument(
        "--poolers",
        type=_words,
        default=(),
        metavar="NAME,...",
        help="only these poolers, by their names in the tables",
    )
    parser.add_argument(
        "--pgbouncer",
        type=Path,
        metavar="FILE",
        help="the PgBouncer to compare with (default: the system's)",
    )
    parser.add_argument(
        "--compiled",
        type=Path,
        default=Path("build/compiled"),
        help="folder where pgswitch is installed (default build/compiled)",
    )
    add_common(parser, "bench")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least one")
    for word in options.only:
        if word not in WORKLOADS:
            parser.error(f"--only: no workload {word!r}; one of {', '.join(WORKLOADS)}")
    options.command = _command(arguments)
    return options


def add_common(parser: argparse.ArgumentParser, files: str) -> None:
    """Add the options that ``python -m bench.switchover`` shares.

    ``files`` is the name of the files that are written, without a suffix.
    """
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another pooler; {file} in the command is its pgbouncer.ini",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/bench"),
        help=f"folder for {files}.json and {files}.svg (default build/bench)",
    )
    parser.add_argument(
        "--publish", action="store_true", help=f"also write the figures into {PAGE}"
    )


def chosen(workloads: Sequence[Workload], only: Sequence[str]) -> list[Workload]:
    """Return the workloads whose words are among ``only``."""
    return [workload for workload in workloads if workload.word in only]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _command(arguments: Sequence[str]) -> str:
    """Return the call of make that a reader can repeat."""
    others = [part for part in arguments if part not in {"--quick", "--publish"}]
    words = ["make bench"]
    if "--quick" in arguments:
        words.append("QUICK=1")
    if others:
        text = shlex.join(others)
        words.append(f'ARGS="{text}"' if "'" in text else f"ARGS={shlex.quote(text)}")
    return " ".join(words)


QUICK_LIMIT_S, QUICK_SCRAM_LIMIT_S, QUICK_TLS_LIMIT_S = 55.0, 5.0, 15.0
"""Time limits of the rounds of a quick run: unencrypted, by SCRAM, by TLS.

Starting PostgreSQL takes another 15 s for the first and the last.
"""

FILES_NEEDED = 2 * IDLE_CLIENTS + 200
"""Descriptors of a pooler: two for each client, were they all active."""

CHART = "performance.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 1 after a failure, 130 after Ctrl-C."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    return run(
        "bench",
        lambda cleanup: _bench(options, cleanup),
        failures=(*FAILURES, PoolerFailed, WorkloadFailed, ValueError),
    )


def _bench(options: Namespace, cleanup: ExitStack) -> int:
    if options.publish:  # fail now rather than after all the work
        with_section(PAGE.read_text(), "")
    _allow_many_files()
    benchmark = Benchmark(options, cleanup)
    info = benchmark.run()
    _write(options, info, benchmark.samples)
    for line in benchmark.failures:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if benchmark.failures else 0


class Benchmark:
    """The whole benchmark: one kind of poolers after the other."""

    def __init__(self, options: Namespace, cleanup: ExitStack) -> None:
        """Measure what ``options`` choose; ``cleanup`` receives what stops it all."""
        self.samples = Samples()
        self.failures: list[str] = []
        self._options = options
        self._cleanup = cleanup
        self._amounts = QUICK if options.quick else FULL
        self._rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        self._is_bounded = options.quick and options.rounds is None
        self._done = self._rounds

    def run(self) -> RunInfo:
        """Measure everything; return what the figures were measured with."""
        options, amounts, only = self._options, self._amounts, self._options.only
        account = account_for_children()
        compared, missing = poolers(
            options.compiled.resolve(), account, options.other, options.pgbouncer
        )
        if options.poolers:
            compared = [one for one in compared if one.name in options.poolers]
        for line in [*missing, "starting PostgreSQL"]:
            print(line, file=sys.stderr)
        environment = start_environment(account, self._cleanup)
        todo = workloads(
            environment.programs, amounts, environment.lines, environment.empty_sink
        )
        self._compare(environment, compared, todo, QUICK_LIMIT_S, MEMORY, START)
        todo = scram_workloads(environment.programs, amounts)
        self._compare(environment, with_scram(compared), todo, QUICK_SCRAM_LIMIT_S)
        if chosen([*tls_workloads(environment.programs, amounts), TLS_MEMORY], only):
            try:
                self._compare_by_tls(account, with_tls(compared))
            except ChildFailed as error:
                missing.append(f"no figures with TLS: {error}")
        versions = _versions(compared, environment.server.installation.version)
        return RunInfo(options.command, machine(), versions, self._done, missing)

    def _compare_by_tls(
        self, account: Account | None, poolers: Sequence[ComparedPooler]
    ) -> None:
        """Run the workloads by TLS. Raises ChildFailed when no PostgreSQL has it."""
        environment = start_tls_environment(account, self._cleanup)
        todo = tls_workloads(environment.programs, self._amounts)
        self._compare(environment, poolers, todo, QUICK_TLS_LIMIT_S, TLS_MEMORY)

    def _compare(  # noqa: PLR0917 - of three callers
        self,
        environment: Environment,
        poolers: Sequence[ComparedPooler],
        workloads: Sequence[Workload],
        quick_limit_s: float,
        memory: Workload | None = None,
        start_metric: str = "",
    ) -> None:
        """Run the chosen ones of the workloads on some poolers.

        ``memory`` runs on a pooler that has just started; ``start_metric`` is the
        metric of that start.
        """
        todo = chosen(workloads, self._options.only)
        fresh = chosen([memory] if memory else [], self._options.only)
        times = (1 if self._is_bounded else self._rounds) if fresh else 0
        if not todo and not fresh:
            return
        for pooler in poolers:
            self._cleanup.callback(pooler.stop)
        steps = len(poolers) * (times + len(todo) * self._rounds)
        progress = Progress(steps, sys.stderr)
        runner = Runner(environment, poolers, progress, self.samples)
        for workload in fresh:
            runner.run_fresh(times, workload, start_metric)
        if todo:
            limit_s = quick_limit_s if self._is_bounded else float("inf")
            done = runner.run_workloads(todo, self._rounds, limit_s)
            self._done = min(self._done, done)
        progress.end()
        for pooler in poolers:
            pooler.stop()
        self.failures += runner.failures


def _write(options: Namespace, info: RunInfo, samples: Samples) -> None:
    """Write the files and print the tables."""
    drawn = chart(samples, info.sentence())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(as_json(info, samples))
    (options.out / "bench.svg").write_text(drawn)
    print(f"\n{info.sentence()}\n\n{figures_table(samples)}\n")
    print(f"{goals_table(samples)}\n")
    print(f"written: {options.out}/bench.json, {options.out}/bench.svg")
    if options.publish:
        section = as_section(info, samples, CHART)
        PAGE.write_text(with_section(PAGE.read_text(), section))
        PAGE.with_name(CHART).write_text(drawn)
        print(f"written: {PAGE}, {PAGE.with_name(CHART)}")


def _versions(poolers: Sequence[ComparedPooler], postgres: str) -> dict[str, str]:
    """Return the versions of what ran, by name; pgswitch only once."""
    known = {pooler.name: pooler.version for pooler in poolers if pooler.version}
    if OURS in known:
        known.pop(INTERPRETED, None)
    return {"PostgreSQL": postgres, **known}


def machine() -> dict[str, str | int]:
    """Return cores, processor, system and Python of this machine."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the processor's name as /proc/cpuinfo has it on PCs."""
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
