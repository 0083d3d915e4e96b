"""Expected against received: the first difference, foreign answers, hangs."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from tests.fuzz.protocol import wire
from tests.fuzz.protocol.differences import Segment, accepting
from tests.fuzz.protocol.player import Player
from tests.fuzz.protocol.script import Script, Step
from tests.fuzz.protocol.variants import Variant
from tests.fuzz.protocol.wire import Message

TOKEN = re.compile(rb"\bt(\d+)-(\d+)-(\d+)\b")
"""Stands in all that a client asks: number of the round, client, count."""

TRACKED = (
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "standard_conforming_strings",
    "TimeZone",
)


class Expected(NamedTuple):
    """What PostgreSQL says to a script."""

    groups: list[list[str]]
    """Lines by group; the last one is of the group in which it was ended, if so."""
    closed: int | None
    """In which group the server ended the connection."""
    parameters: dict[str, str]


class Finding(NamedTuple):
    """Something that must not be."""

    kind: str
    """``difference``, ``foreign``, ``hang``, ``closed``, ``pools``, ``log``, ..."""
    what: str
    client: int = -1
    group: int = -1
    direct: tuple[str, ...] = ()
    """Lines of that group from PostgreSQL, from the segment on that differs."""
    pooled: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """The same for what is probably the same bug."""
        if self.kind == "foreign":
            return "foreign"
        at = _common(self.direct, self.pooled)
        return " | ".join((self.kind, _gist(self.direct[at:]), _gist(self.pooled[at:])))


def lines(messages: list[Message]) -> list[str]:
    """Return messages as they are compared."""
    found = []
    for message in messages:
        try:
            found.append(wire.shown(message))
        except (struct.error, ValueError):
            found.append(f"broken {message.kind!r} {message.body!r}")
    return found


def token_prefix(number: int, client: int) -> str:
    """Return what the tokens of one client in one round begin with."""
    return f"t{number}-{client}-"


def foreign(player: Player, own: str) -> Finding | None:
    """Find another client's token in what a client got; ``own`` is its prefix."""
    for group, messages in enumerate([*player.answers, player.asynchronous]):
        for message in messages:
            for found in TOKEN.finditer(message.body):
                if not found[0].decode().startswith(own):
                    where = "" if group < len(player.answers) else " (asynchronous)"
                    return Finding(
                        "foreign",
                        f"client of {own}* was told {found[0].decode()}{where}",
                        player.script.client,
                        min(group, player.group),
                        (),
                        tuple(lines(messages)),
                    )
    return None


class ParsedStartup(NamedTuple):
    """The first difference that may not be, and whether all could be compared."""

    finding: Finding | None
    is_whole: bool = True


def differing(
    player: Player, expected: Expected, variant: Variant, relaxed_from: int
) -> ParsedStartup:
    """Compare the answers, those in the groups before ``relaxed_from``."""
    client = player.script.client
    gone = _vanishes(player.script)
    for group in range(min(len(expected.groups), relaxed_from)):
        if gone is not None and group >= gone:
            return ParsedStartup(None, is_whole=False)
        direct = expected.groups[group]
        messages = player.answers[group] if group < len(player.answers) else []
        pooled = lines(messages)
        if expected.closed == group:
            pooled, direct = _ended(pooled), _ended(direct)
        if group == len(player.script.groups) and wire.is_fenced(messages):
            pooled = pooled[: -wire.FENCES - 1]
        is_last = expected.closed == group
        steps = script_steps(player.script, group)
        rest = _beyond(direct, pooled, variant, steps, is_last=is_last)
        if rest.direct or rest.pooled:
            return ParsedStartup(_finding(player, group, rest))
        if rest.is_parted:
            return ParsedStartup(None, is_whole=False)
        if player.closed == group and expected.closed != group:
            what = "the connection was ended behind the answers"
            return ParsedStartup(Finding("closed", what, client, group))
    return ParsedStartup(None, is_whole=relaxed_from > len(expected.groups))


def parameters_differ(player: Player, expected: Expected) -> Finding | None:
    """Find a parameter that ends with another value than at PostgreSQL."""
    for name in TRACKED:
        ours, theirs = player.parameters.get(name), expected.parameters.get(name)
        if ours != theirs:
            return Finding(
                "parameter",
                f"{name} ends as {ours!r} instead of {theirs!r}",
                player.script.client,
                player.group,
                (f"S {name}",),
            )
    return None


class _Rest(NamedTuple):
    """What is left of two answers from the first segment on that may not differ."""

    direct: list[str]
    pooled: list[str]
    is_parted: bool = False
    """A segment differed as it may, so that what follows cannot be compared."""


def _finding(player: Player, group: int, rest: _Rest) -> Finding:
    kind, what = "difference", "answers differ"
    if rest.pooled == rest.direct[: len(rest.pooled)]:
        if player.hung:
            kind, what = "hang", "waits for the rest of the answers"
        elif player.closed == group:
            kind, what = "closed", "the connection was ended"
    client = player.script.client
    return Finding(kind, what, client, group, tuple(rest.direct), tuple(rest.pooled))


def _vanishes(script: Script) -> int | None:
    for number, group in enumerate(script.groups):
        if "!vanish" in group.faults:
            return number
    return None


def _ended(found: list[str]) -> list[str]:
    """Leave out what follows a FATAL: a pooler may word it differently."""
    for at, line in enumerate(found):
        if line.startswith("E FATAL"):
            return found[:at]
    return found


def _beyond(
    direct: list[str],
    pooled: list[str],
    variant: Variant,
    steps: Sequence[Step],
    *,
    is_last: bool,
) -> _Rest:
    """Compare two answers segment by segment."""
    theirs, ours = _segments(direct), _segments(pooled)
    parses = parses_unnamed(steps)
    if len(parses) != len(theirs):
        parses = [False] * len(theirs)  # COPY: who knows which is which.
    for number in range(max(len(theirs), len(ours))):
        one, other = _joined(theirs[number:][:1]), _joined(ours[number:][:1])
        segment = Segment(
            one,
            other,
            variant.shares_servers,
            variant.prepared,
            is_last and number >= len(ours) - 1,
            any(parses[number:][:1]),
            variant.faults and variant.mode == "session",
        )
        if one == other:
            continue
        rule = accepting(segment)
        if rule is None:
            return _Rest(_joined(theirs[number:]), _joined(ours[number:]))
        if rule.parts:
            return _Rest([], [], is_parted=True)
    return _Rest([], [])


def script_steps(script: Script, group: int) -> Sequence[Step]:
    """Return the steps of a group; none after the last group."""
    return script.groups[group].steps if group < len(script.groups) else ()


def parses_unnamed(steps: Sequence[Step]) -> list[bool]:
    """Tell of each segment whether it parses the unnamed statement before using it."""
    found = [False]
    is_used = False
    for step in steps:
        if step.kind == "P" and step.words[0] == "" and not is_used:
            found[-1] = True
        is_used |= step.kind in ("B", "Bb", "D") and step.words[1] == ""
        if step.kind in ("Q", "F", "S"):
            found.append(False)
            is_used = False
    return found[:-1]


def _joined(segments: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(segments))


def _segments(found: list[str]) -> list[list[str]]:
    segments: list[list[str]] = [[]]
    for line in found:
        segments[-1].append(line)
        if line.startswith("Z "):
            segments.append([])
    return [one for one in segments if one]


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    return at


def _gist(rest: tuple[str, ...]) -> str:
    """Return what kind of message a sequence goes on with."""
    if not rest:
        return "nothing"
    words = rest[0].split(" ", 3)
    if words[0] == "E":
        return " ".join(words[:3]) + " " + re.sub(r'"[^"]*"', '"_"', words[3])[:40]
    if words[0] == "S":
        return rest[0]
    return words[0]
