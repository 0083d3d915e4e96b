"""A finding made short: what is not needed for it is left out, as long as time allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.fuzz.protocol.script import Case, Group, Round, Script

T = TypeVar("T")
Fails = Callable[[Case], bool]

MOST_TRIES = 4


class Shrinker:
    """Makes cases short. ``fails`` plays one and tells whether it is still found.

    Whose turn it is depends on time too, so a case may fail now and then only: how
    often it is played is settled with the first.
    """

    def __init__(
        self, fails: Fails, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what tells good from bad, and how long there is."""
        self._fails = fails
        self._clock = clock
        self._deadline = clock() + seconds
        self._tries = 1

    def shrunk(self, case: Case) -> Case:
        """Return a shorter case that fails, or the same when none is found."""
        case = self._last_rounds(case)
        before = None
        while case != before and not self._is_over():
            before = case
            case = self._pass(case)
        return case

    def _is_over(self) -> bool:
        return self._clock() > self._deadline

    def _still(self, case: Case) -> bool:
        return any(
            not self._is_over() and self._fails(case) for _ in range(self._tries)
        )

    def _last_rounds(self, case: Case) -> Case:
        """Return as few of the last rounds as fail, having settled how often to try."""
        sizes = [size for size in (1, 2, 4, 8) if size < len(case.rounds)]
        for size in (*sizes, len(case.rounds)):
            fewer = case._replace(rounds=case.rounds[-size:])
            for tries in range(1, MOST_TRIES + 1):
                if not self._is_over() and self._fails(fewer):
                    self._tries = min(2 * tries - 1, MOST_TRIES)
                    return fewer
        return case

    def _pass(self, case: Case) -> Case:
        rounds = self._fewer(
            case.rounds, lambda some: self._still(case._replace(rounds=some))
        )
        for at in range(len(rounds)):

            def fits(one: Round, at: int = at) -> bool:
                return self._still(case._replace(rounds=_with(rounds, at, one)))

            rounds = _with(rounds, at, self._round(rounds[at], fits))
        return case._replace(rounds=rounds)

    def _round(self, one: Round, fits: Callable[[Round], bool]) -> Round:
        scripts = self._fewer(
            one.scripts, lambda some: fits(one._replace(scripts=some))
        )
        for at in range(len(scripts)):

            def may_be(script: Script, at: int = at) -> bool:
                return fits(one._replace(scripts=_with(scripts, at, script)))

            scripts = _with(scripts, at, self._script(scripts[at], may_be))
        return one._replace(scripts=scripts)

    def _script(self, script: Script, fits: Callable[[Script], bool]) -> Script:
        groups = self._fewer(
            script.groups, lambda some: fits(script._replace(groups=some))
        )
        for at in range(len(groups)):

            def may_be(group: Group, at: int = at) -> bool:
                return fits(script._replace(groups=_with(groups, at, group)))

            groups = _with(groups, at, self._group(groups[at], may_be))
        return script._replace(groups=groups)

    def _group(self, group: Group, fits: Callable[[Group], bool]) -> Group:
        if group.cuts != "one" and fits(group._replace(cuts="one")):
            group = group._replace(cuts="one")
        steps = self._fewer(group.steps, lambda some: fits(group._replace(steps=some)))
        return group._replace(steps=steps)

    def _fewer(
        self, parts: tuple[T, ...], fits: Callable[[tuple[T, ...]], bool]
    ) -> tuple[T, ...]:
        """Leave out halves, then quarters, ... then single ones; one part stays."""
        size = len(parts) // 2
        while size and not self._is_over():
            at = 0
            while at < len(parts) and not self._is_over():
                less = parts[:at] + parts[at + size :]
                if less and fits(less):
                    parts = less
                else:
                    at += size
            size //= 2
        return parts


def _with(parts: tuple[T, ...], at: int, one: T) -> tuple[T, ...]:
    return (*parts[:at], one, *parts[at + 1 :])
