"""Runs the workloads on all poolers, round by round, and shows the progress.

All poolers run a workload before the next one begins, so that a slow minute of a shared
machine affects all poolers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from bench.environment import Environment, WorkloadFailed
from bench.idle_clients import IdleFailed
from bench.metrics import Samples
from bench.poolers import ComparedPooler
from bench.workloads import Figures, Workload
from testkit.procfs import wait_until_idle

BAR_CHARS = 30
LABEL_CHARS = 44
MAX_PLAIN_LINES = 20
"""Lines of a whole run when the output is not a terminal."""


class Progress:
    """A progress bar on a terminal, otherwise a line now and then."""

    def __init__(self, total: int, out: TextIO) -> None:
        """Expect ``total`` steps; write to ``out``."""
        self._total = max(total, 1)
        self._done = 0
        self._out = out
        self._live = out.isatty()
        self._every = -(-self._total // MAX_PLAIN_LINES)

    def step(self, what: str) -> None:
        """Show that ``what`` begins and that everything before it is done."""
        if self._live:
            self._draw(what)
        elif self._done % self._every == 0:
            self._out.write(f"{self._done}/{self._total} {what}\n")
            self._out.flush()
        self._done += 1

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._live:
            self._out.write("\r" + " " * (BAR_CHARS + LABEL_CHARS + 20) + "\r")
        self._out.write(line + "\n")
        self._out.flush()

    def end(self) -> None:
        """Show that everything is done, and end the line."""
        self._done = self._total
        if self._live:
            self._draw("done")
            self._out.write("\n")
        else:
            self._out.write(f"{self._total}/{self._total} done\n")
        self._out.flush()

    def _draw(self, what: str) -> None:
        filled = "#" * (BAR_CHARS * self._done // self._total)
        bar = filled.ljust(BAR_CHARS, ".")
        label = what[:LABEL_CHARS].ljust(LABEL_CHARS)
        self._out.write(f"\r[{bar}] {self._done}/{self._total} {label}")
        self._out.flush()


WARM_UP_TRANSACTIONS = 50
FAILED = "failed"
START = "first query after start"


class Runner:
    """Rounds of workloads on poolers, and their figures."""

    def __init__(
        self,
        environment: Environment,
        poolers: Sequence[ComparedPooler],
        progress: Progress,
        samples: Samples | None = None,
    ) -> None:
        """Run ``poolers`` in front of the server of ``environment``.

        Figures are added to ``samples``, if given.
        """
        self.samples = Samples() if samples is None else samples
        self.failures: list[str] = []
        self._environment = environment
        self._poolers = poolers
        self._progress = progress

    def run_fresh(self, rounds: int, workload: Workload, start_metric: str) -> None:
        """Restart each pooler in each round; measure its start and memory.

        ``workload`` measures memory; ``start_metric`` is empty if the start does not
        count.
        """
        for number in range(rounds):
            for pooler in self._poolers:
                self._progress.step(f"start, {pooler.name}")
                seconds = self._start(pooler)
                if start_metric:
                    self.samples.add(number, pooler.name, {start_metric: seconds})
                self._run(workload, pooler, number)
                pooler.stop()

    def run_workloads(
        self, workloads: Sequence[Workload], rounds: int, limit_s: float
    ) -> int:
        """Run all workloads, round by round; return the number of rounds.

        No round but the first begins if it would probably end more than ``limit_s``
        seconds from now.
        """
        began = time.monotonic()
        for pooler in self._poolers:
            self._start(pooler)
            self._environment.programs.pgbench(
                pooler.port, "-S", "-t", str(WARM_UP_TRANSACTIONS)
            )
        for number in range(rounds):
            used = time.monotonic() - began
            if number and used + used / number > limit_s:
                self._progress.say(f"{number} of {rounds} rounds: time is up")
                return number
            for workload in workloads:
                for pooler in self._poolers:
                    self._progress.step(
                        f"round {number + 1}: {workload.name}, {pooler.name}"
                    )
                    self._run(workload, pooler, number)
        return rounds

    def _start(self, pooler: ComparedPooler) -> float:
        environment = self._environment
        return pooler.start(
            environment.directory, environment.server.port, environment.account
        )

    def _run(self, workload: Workload, pooler: ComparedPooler, number: int) -> None:
        """Run a workload or record why not; one that failed is not tried again."""
        if any(
            self.samples.reason_left_out(metric, pooler.name)
            for metric in workload.metrics
        ):
            return
        reason = pooler.lacks.get(workload.name, "")
        figures: Figures = {}
        if not reason:
            try:
                figures = workload.run(pooler)
                wait_until_idle(pooler.pid)
            except (WorkloadFailed, IdleFailed) as error:
                reason = FAILED
                self.failures.append(f"{pooler.name}, {workload.name}: {error}")
                self._progress.say(self.failures[-1])
        self.samples.add(number, pooler.name, figures)
        if reason:
            for metric in workload.metrics:
                self.samples.leave_out(metric, pooler.name, reason)
