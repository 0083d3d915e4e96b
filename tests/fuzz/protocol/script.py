"""What clients do: steps, in groups, in scripts, in rounds; as JSON and as a list.

A step is one message of the protocol, or trouble (its kind begins with ``!``). What is
sent before answers are awaited is a group. A script is one client's connection; the
scripts of a round run at the same time. A case is all that is needed to see a finding
again: a variant of the pooler, and rounds one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

ENDS = "QFSXcf"
"""Kinds of messages that a group may end with: its answers are then complete."""
PIPELINED = ("P", "B", "Bb", "D", "E", "C")
"""Kinds of messages that a Sync must follow."""
FAULTS = {
    "!vanish": "the client's socket is closed",
    "!cancel": "a cancel request with the client's key",
    "!terminate": "pg_terminate_backend of all the pooler's servers",
    "!reload": "RELOAD",
    "!set": "SET on the console",
    "!takeover": "a new process takes over (-R)",
}
NAMES = {
    "Q": "Query",
    "P": "Parse",
    "B": "Bind",
    "Bb": "Bind (binary results)",
    "D": "Describe",
    "E": "Execute",
    "C": "Close",
    "H": "Flush",
    "S": "Sync",
    "F": "FunctionCall",
    "d": "CopyData",
    "c": "CopyDone",
    "f": "CopyFail",
    "X": "Terminate",
    **FAULTS,
}


class Step(NamedTuple):
    """A message, or trouble: its kind and the words that go with it (see wire.py)."""

    kind: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as people read it."""
        words = " ".join(map(repr, self.words))
        return f"{self.kind:2} {NAMES[self.kind]} {words}".rstrip()


class Group(NamedTuple):
    """Steps sent before answers are awaited, and how their bytes are cut.

    ``cuts`` is ``one`` (one write), ``steps`` (one for each), ``slowly`` (with a pause
    between), ``bytes`` (one each), or ``random N`` (at places drawn by the seed N).
    Of groups with a ``turn`` the lowest number goes first, and the next one when it is
    answered (or waits for a server that another client has); 0 is any time.
    """

    steps: tuple[Step, ...]
    cuts: str = "one"
    turn: int = 0

    @property
    def faults(self) -> set[str]:
        """The kinds of trouble in it."""
        return {one.kind for one in self.steps if one.kind in FAULTS}

    @property
    def is_complete(self) -> bool:
        """Whether it ends where answers can be awaited, as does each pipeline in it.

        PostgreSQL 18.6 does not take a Query before the Sync well (see making.py).
        """
        kinds = [one.kind for one in self.steps if one.kind not in FAULTS]
        is_open = False
        for kind in kinds:
            if is_open and kind in ("Q", "F"):
                return False
            is_open = kind in PIPELINED or (is_open and kind != "S")
        return not is_open and (not kinds or kinds[-1] in ENDS)


class Script(NamedTuple):
    """What one client does."""

    client: int
    groups: tuple[Group, ...]

    @property
    def faults(self) -> set[str]:
        """The kinds of trouble in it."""
        return set().union(*(one.faults for one in self.groups))


class Round(NamedTuple):
    """What several clients do at a time; ``order`` seeds whose turn it is."""

    order: int
    scripts: tuple[Script, ...]

    @property
    def faults(self) -> set[str]:
        """The kinds of trouble in it."""
        return set().union(*(one.faults for one in self.scripts))


class Case(NamedTuple):
    """Rounds before one variant of the pooler."""

    variant: str
    rounds: tuple[Round, ...]

    @property
    def size(self) -> int:
        """How many steps there are."""
        return sum(
            len(group.steps)
            for one in self.rounds
            for script in one.scripts
            for group in script.groups
        )


def map_groups(one: Round, change: Callable[[Script, int, Group], Group]) -> Round:
    """Return a round with each group changed; it comes with its script and number."""
    scripts = (
        script._replace(
            groups=tuple(
                change(script, number, group)
                for number, group in enumerate(script.groups)
            )
        )
        for script in one.scripts
    )
    return one._replace(scripts=tuple(scripts))


def to_json(case: Case) -> str:
    """Return a case as text that :func:`from_json` reads."""
    rounds = [
        {
            "order": one.order,
            "scripts": [
                {
                    "client": script.client,
                    "groups": [
                        {
                            "cuts": group.cuts,
                            "turn": group.turn,
                            "steps": [[s.kind, *s.words] for s in group.steps],
                        }
                        for group in script.groups
                    ],
                }
                for script in one.scripts
            ],
        }
        for one in case.rounds
    ]
    return json.dumps({"variant": case.variant, "rounds": rounds})


def from_json(text: str) -> Case:
    """Return the case; ValueError or KeyError for a text that is none."""
    data = json.loads(text)
    return Case(data["variant"], tuple(map(_round, data["rounds"])))


def _round(data: dict[str, Any]) -> Round:
    scripts = (
        Script(one["client"], tuple(map(_group, one["groups"])))
        for one in data["scripts"]
    )
    return Round(data["order"], tuple(scripts))


def _group(data: dict[str, Any]) -> Group:
    steps = (Step(kind, tuple(words)) for kind, *words in data["steps"])
    return Group(tuple(steps), data["cuts"], data["turn"])


def listing(script: Script, until: int | None = None) -> list[str]:
    """Return a script as lines, up to and with one group."""
    lines = []
    groups = script.groups if until is None else script.groups[: until + 1]
    for number, group in enumerate(groups):
        turn = f", turn {group.turn}" if group.turn else ""
        lines.append(f"client {script.client}, group {number}{turn}, cut: {group.cuts}")
        lines += [f"    {step}" for step in group.steps]
    return lines


def shape(case: Case, client: int) -> str:
    """Return the kinds of steps in a client's last script, such as ``Q d c | Q``."""
    for script in case.rounds[-1].scripts:
        if script.client == client:
            return " | ".join(
                " ".join(step.kind for step in group.steps) for group in script.groups
            )
    return ""
