"""The order of things: every contender does one load, then the next load begins."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.contenders import Contender
from bench.idle import IdleFailed
from bench.loads import Figures, Load, memory
from bench.programs import LoadFailed
from bench.progress import Progress
from bench.samples import Samples
from bench.stage import Stage
from testkit.procfs import wait_until_idle

WARM_UP_TRANSACTIONS = 50
FAILED = "failed"
START = "first query after start"
MEMORY = Load("memory", "memory", ("memory",), memory)


class Race:
    """Rounds of loads on contenders, and what they measured."""

    def __init__(
        self,
        stage: Stage,
        racers: Sequence[Contender],
        progress: Progress,
        samples: Samples | None = None,
    ) -> None:
        """Have ``racers`` stand before the server of ``stage``.

        What they measure goes into ``samples``, if given, beside what is there.
        """
        self.samples = Samples() if samples is None else samples
        self.failures: list[str] = []
        self._stage = stage
        self._racers = racers
        self._progress = progress

    def run_fresh(self, rounds: int, load: Load, start_row: str) -> None:
        """Start each contender anew in each round; measure its start and memory.

        ``load`` is what measures memory; ``start_row`` is empty if the start does not
        count.
        """
        for number in range(rounds):
            for racer in self._racers:
                self._progress.step(f"start, {racer.name}")
                seconds = self._start(racer)
                if start_row:
                    self.samples.add(number, racer.name, {start_row: seconds})
                self._do(load, racer, number)
                racer.stop()

    def run_loads(self, loads: Sequence[Load], rounds: int, limit_s: float) -> int:
        """Do all loads, round by round; return how many rounds there were.

        After the first one, no round begins that would probably not end within
        ``limit_s`` seconds from now.
        """
        began = time.monotonic()
        for racer in self._racers:
            self._start(racer)
            self._stage.programs.pgbench(
                racer.port, "-S", "-t", str(WARM_UP_TRANSACTIONS)
            )
        for number in range(rounds):
            used = time.monotonic() - began
            if number and used + used / number > limit_s:
                self._progress.say(f"{number} of {rounds} rounds: time is up")
                return number
            for load in loads:
                for racer in self._racers:
                    self._progress.step(
                        f"round {number + 1}: {load.name}, {racer.name}"
                    )
                    self._do(load, racer, number)
        return rounds

    def _start(self, racer: Contender) -> float:
        stage = self._stage
        return racer.start(stage.directory, stage.server.port, stage.account)

    def _do(self, load: Load, racer: Contender, number: int) -> None:
        """Run a load, or note why not; a load that failed once is not tried again."""
        if any(self.samples.why_not(row, racer.name) for row in load.rows):
            return
        reason = racer.lacks.get(load.name, "")
        figures: Figures = {}
        if not reason:
            try:
                figures = load.run(racer)
                wait_until_idle(racer.pid)
            except (LoadFailed, IdleFailed) as error:
                reason = FAILED
                self.failures.append(f"{racer.name}, {load.name}: {error}")
                self._progress.say(self.failures[-1])
        self.samples.add(number, racer.name, figures)
        if reason:
            for row in load.rows:
                self.samples.leave_out(row, racer.name, reason)
