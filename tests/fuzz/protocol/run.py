"""A whole run: variants in sequence, rounds until time is over, findings."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import psycopg

from tests.fuzz.protocol.drawing import make_round
from tests.fuzz.protocol.judging import Finding
from tests.fuzz.protocol.oracle import Unplayable
from tests.fuzz.protocol.rounds import play_round
from tests.fuzz.protocol.script import Case, Round, shape
from tests.fuzz.protocol.shrinking import Shrinker
from tests.fuzz.protocol.stage import Stage
from tests.fuzz.protocol.variants import BY_NAME, Variant

REMEMBERED = 16
"""Rounds before a finding that may have to do with it."""
LOOK_AFTER = 25
"""Rounds between two looks at the pools."""
LOG_LINES = 30
SHORT_HANG_S = 0.8
ALIKE = 3
"""So many findings with one signature are made short, as their shapes may differ."""


class Found(NamedTuple):
    """A finding, its case made short, and the end of the pooler's log."""

    finding: Finding
    case: Case
    log: str


class Limits(NamedTuple):
    """In seconds: for each variant, before a hang is one, for making a case short."""

    variant_s: float
    hang_s: float
    shrink_s: float


class Runner:
    """Runs variants on a stage; ``say`` takes lines of progress."""

    def __init__(
        self,
        stage: Stage,
        seed: int,
        limits: Limits,
        say: Callable[[str], None],
        keep: Callable[[Found], None],
    ) -> None:
        """Take what is needed; nothing is found yet. ``keep`` takes what is found."""
        self._stage = stage
        self._seed = seed
        self._limits = limits
        self._say = say
        self._keep = keep
        self.found: dict[str, Found] = {}
        """By signature and shape of the shortest case."""
        self._seen: Counter[str] = Counter()
        self._in_turns = Round(0, ())
        self.scripts = 0
        self.skipped = 0

    def run(self, variants: Sequence[Variant], *, goes_on: bool) -> None:
        """Run each for its time; ``goes_on``: also after a finding."""
        for variant in variants:
            self._run(variant, goes_on=goes_on)
            if self.found and not goes_on:
                return

    def replay(self, case: Case, times: int) -> Finding | None:
        """Play a case on fresh poolers so many times, or until something is found."""
        for _ in range(times):
            self._stage.start_pooler(BY_NAME[case.variant])
            findings = self._findings(case, self._limits.hang_s)
            if findings:
                return findings[0]
        return None

    def _run(self, variant: Variant, *, goes_on: bool) -> None:
        stage = self._stage
        stage.start_pooler(variant)
        end = time.monotonic() + self._limits.variant_s
        before: deque[Round] = deque(maxlen=REMEMBERED)
        number, scripts = 0, self.scripts
        while time.monotonic() < end or number == 0:
            number += 1
            one = make_round(
                Random(f"{self._seed} {variant.name} {number}"), variant, number
            )
            before.append(one)
            finding = self._play(one)
            if finding is None and (
                number % LOOK_AFTER == 0 or time.monotonic() >= end
            ):
                finding = self._look()
            if finding is None:
                continue
            begun = time.monotonic()
            if self._note(variant, tuple(before), finding) and not goes_on:
                break
            end += time.monotonic() - begun
            before.clear()
            stage.start_pooler(variant)
        self._say(
            f"{variant.name}: {number} rounds, {self.scripts - scripts} scripts, "
            f"{len(self.found)} findings so far"
        )

    def _play(self, one: Round) -> Finding | None:
        try:
            self._stage.clear_tables()
            played = play_round(self._stage, one, self._limits.hang_s)
        except Unplayable as why:
            self.skipped += 1
            self._say(f"round skipped, PostgreSQL does not play it: {why}")
            return None
        self.scripts += len(one.scripts)
        self._in_turns = played.in_turns
        if "!set" in one.faults and self._stage.is_alive():
            self._stage.restore()
        return played.findings[0] if played.findings else None

    def _look(self) -> Finding | None:
        """Look at what must be right between rounds."""
        wrong = self._stage.unsettled()
        if wrong:
            return Finding("pools", wrong)
        log = self._stage.log_text()
        at = log.find("Traceback")
        if at >= 0:
            last = log[at:].splitlines()
            return Finding("log", f"a traceback: {last[:1]}")
        return None

    def _note(
        self, variant: Variant, rounds: tuple[Round, ...], finding: Finding
    ) -> bool:
        """Keep a finding, made short, unless there is one like it."""
        signature = finding.signature
        self._seen[signature] += 1
        if self._seen[signature] > ALIKE:
            return False
        log = "\n".join(self._stage.log_text().splitlines()[-LOG_LINES:])
        case = Case(variant.name, rounds)
        self._say(f"{variant.name}: {signature}; making it short")
        last: list[Finding] = [finding]

        def fails(candidate: Case) -> bool:
            hang_s = min(SHORT_HANG_S, self._limits.hang_s)
            for one in self._findings(candidate, hang_s):
                if one.signature == signature:
                    last[0] = one
                    return True
            return False

        self._stage.start_pooler(variant)
        in_turns = case._replace(rounds=(*rounds[:-1], self._in_turns))
        case = Shrinker(fails, self._limits.shrink_s).shrunk(
            (in_turns, case), finding.client, finding.group
        )
        key = f"{signature} | {shape(case, last[0].client)}"
        if key not in self.found:
            self.found[key] = Found(last[0], case, log)
            self._keep(self.found[key])
        return True

    def _findings(self, case: Case, hang_s: float) -> list[Finding]:
        """Play a case with fresh servers; return what is found, by any round."""
        stage = self._stage
        try:
            if not stage.is_alive():
                stage.start_pooler(BY_NAME[case.variant])
            stage.refresh()
        except psycopg.Error:
            stage.start_pooler(BY_NAME[case.variant])
        for one in case.rounds:
            try:
                stage.clear_tables()
                findings = play_round(stage, one, hang_s).findings
            except Unplayable:
                return []
            if findings:
                return findings
        wrong = self._look()
        return [] if wrong is None else [wrong]
