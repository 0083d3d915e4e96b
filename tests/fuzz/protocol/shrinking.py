"""A finding made short: what is not needed for it is left out, as long as time allows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tests.fuzz.protocol.script import Case, Group, Round, Script, Step, map_groups
from tests.fuzz.protocol.wire import PAD

T = TypeVar("T")
Fails = Callable[[Case], bool]

MOST_TRIES = 3
TOKEN = re.compile(r"\bt\d+-\d+-\d+")


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

    def shrunk(self, cases: Sequence[Case], client: int, group: int) -> Case:
        """Return a shorter case that fails, or the last when none is found.

        ``cases`` are versions of one, those tried first that are easier to repeat. It
        was found in a group of a client in the last round; what they did behind that
        is left out first.
        """
        case = self._last_rounds(cases)
        for bold in (_all_at_once, _alone, _until):
            bolder = bold(case, client, group)
            if bolder != case and self._still(bolder):
                case = bolder
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

    def _last_rounds(self, cases: Sequence[Case]) -> Case:
        """Return as few of the last rounds as fail, having settled how often to try."""
        for tries in range(1, MOST_TRIES + 1):
            for case in cases:
                sizes = [size for size in (1, 2, 4, 8) if size < len(case.rounds)]
                for size in (*sizes, len(case.rounds)):
                    fewer = case._replace(rounds=case.rounds[-size:])
                    if not self._is_over() and self._fails(fewer):
                        self._tries = min(2 * tries - 1, MOST_TRIES)
                        return fewer
        return cases[-1]

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
        for at in range(len(steps)):
            for plainer in plainer_steps(steps[at]):
                some = _with(steps, at, plainer)
                if fits(group._replace(steps=some)):
                    steps = some
                    break
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


def plainer_steps(step: Step) -> Iterator[Step]:
    """Yield steps that do about the same, the plainest first."""
    words = step.words
    if step.kind in ("Q", "P"):
        token = TOKEN.search(words[-1])
        plain = f"select '{token[0]}'" if token is not None else "select 1"
        for text in (plain, words[-1].partition("; ")[0], PAD.sub("", words[-1])):
            if len(text) < len(words[-1]):
                yield step._replace(words=(*words[:-1], text))
    elif step.kind == "Bb":
        yield step._replace(kind="B")
    elif step.kind == "d" and len(words[0]) > 1:
        yield step._replace(words=("\n",))


def _all_at_once(case: Case, _client: int, _group: int) -> Case:
    """Return the case with nothing cut."""
    rounds = (
        map_groups(one, lambda _script, _at, group: group._replace(cuts="one"))
        for one in case.rounds
    )
    return case._replace(rounds=tuple(rounds))


def _alone(case: Case, client: int, _group: int) -> Case:
    """Return the case with one client only in the last round."""
    last = case.rounds[-1]
    scripts = tuple(one for one in last.scripts if one.client == client)
    if not scripts:
        return case
    return case._replace(rounds=(*case.rounds[:-1], last._replace(scripts=scripts)))


def _until(case: Case, client: int, group: int) -> Case:
    """Return the case without what the client did behind a group."""
    last = case.rounds[-1]
    scripts = tuple(
        one._replace(groups=one.groups[: group + 1])
        if one.client == client and group >= 0
        else one
        for one in last.scripts
    )
    return case._replace(rounds=(*case.rounds[:-1], last._replace(scripts=scripts)))


def _with(parts: tuple[T, ...], at: int, one: T) -> tuple[T, ...]:
    return (*parts[:at], one, *parts[at + 1 :])
