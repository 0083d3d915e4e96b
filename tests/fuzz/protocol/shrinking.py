"""A finding made short: what it does not need is left out, while there is time."""

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
    often it is played is decided with the first.
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
        if not all(
            group.is_complete
            for one in case.rounds
            for script in one.scripts
            for group in script.groups
        ):
            return False
        return any(
            not self._is_over() and self._fails(case) for _ in range(self._tries)
        )

    def _last_rounds(self, cases: Sequence[Case]) -> Case:
        """Return as few of the last rounds as fail, having decided how often to try."""
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
        def fits(rounds: tuple[Round, ...]) -> bool:
            return self._still(case._replace(rounds=rounds))

        rounds = self._fewer(case.rounds, fits)
        return case._replace(rounds=self._each(rounds, self._round, fits))

    def _round(self, one: Round, fits: Callable[[Round], bool]) -> Round:
        def may_be(scripts: tuple[Script, ...]) -> bool:
            return fits(one._replace(scripts=scripts))

        scripts = self._fewer(one.scripts, may_be)
        return one._replace(scripts=self._each(scripts, self._script, may_be))

    def _script(self, script: Script, fits: Callable[[Script], bool]) -> Script:
        def may_be(groups: tuple[Group, ...]) -> bool:
            return fits(script._replace(groups=groups))

        groups = self._fewer(script.groups, may_be)
        return script._replace(groups=self._each(groups, self._group, may_be))

    def _group(self, group: Group, fits: Callable[[Group], bool]) -> Group:
        if group.cuts != "one" and fits(group._replace(cuts="one")):
            group = group._replace(cuts="one")

        def may_be(steps: tuple[Step, ...]) -> bool:
            return fits(group._replace(steps=steps))

        steps = self._fewer(group.steps, may_be)
        return group._replace(steps=self._each(steps, self._step, may_be))

    def _step(self, step: Step, fits: Callable[[Step], bool]) -> Step:
        return next(filter(fits, plainer_steps(step)), step)

    def _each(
        self,
        parts: tuple[T, ...],
        shorten: Callable[[T, Callable[[T], bool]], T],
        fits: Callable[[tuple[T, ...]], bool],
    ) -> tuple[T, ...]:
        """Shorten each of the parts."""
        for at in range(len(parts)):
            parts = _with(parts, at, shorten(parts[at], _fitting(parts, at, fits)))
        return parts

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


def _fitting(
    parts: tuple[T, ...], at: int, fits: Callable[[tuple[T, ...]], bool]
) -> Callable[[T], bool]:
    """Return what tells whether another part fits at a place."""
    return lambda one: fits(_with(parts, at, one))


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
    """Return the case without what the client did after a group."""
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
