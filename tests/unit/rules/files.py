"""Files of rules for tests."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

from pgswitch.rules.evaluate import RuleResult, RuleSet
from pgswitch.rules.loader import REWRITING, ROUTING, load_module
from pgswitch.rules.rule_function import RuleFunction, RuleInput

ROUTE = "def routing_rules(username, query, in_transaction): {}"
REWRITE = "def rewrite_query(username, query, in_transaction): {}"


def write(folder: Path, name: str, text: str) -> str:
    """Write a file, with a time stamp that no other had; return its path."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    later = path.stat().st_mtime_ns + 10**9 if path.exists() else 10**18
    path.write_text(dedent(text), encoding="utf-8")
    os.utime(path, ns=(later, later))
    return str(path)


class Ticking:
    """A clock that a called function sets."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def rule(
    folder: Path, body: str, name: str = REWRITING, *, before: str = ""
) -> RuleFunction:
    """Return a function with this body out of a file of its own.

    ``before``: what stands in the file before it.
    """
    head = f"def {name}(username, query, in_transaction):\n"
    lines = dedent(body).strip().split("\n")
    text = dedent(before) + head + "".join(f"    {line}\n" for line in lines)
    path = write(folder, f"{name}_of_mine.py", text)
    return RuleFunction(load_module(path), name, Ticking())


def rule_set(folder: Path, rewriting: str = "", routing: str = "") -> RuleSet:
    """Return the rules that two function bodies make."""
    return RuleSet(
        rule(folder, rewriting) if rewriting else None,
        rule(folder, routing, ROUTING) if routing else None,
    )


def answer(rules: RuleSet, text: str = "SELECT 1", user: str = "joe") -> RuleResult:
    """Return what the rules say at once."""
    found = rules.begin(RuleInput(user, text, in_transaction=False))
    assert found.awaited is None, "the rules want something to be waited for"
    return found
