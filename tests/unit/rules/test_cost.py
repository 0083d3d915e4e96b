"""What a query costs more with rules, counted in calls of Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from types import FrameType

import pytest

from pgswitch.hotpath import is_compiled
from pgswitch.relay.client import ClientLink
from pgswitch.rules.calling import Question, Rule
from pgswitch.rules.deciding import RuleSet
from pgswitch.rules.loading import REWRITING, ROUTING, load_module
from tests.fakes.messages import READY, RESULT, message, query
from tests.unit.relay.pair import Stage
from tests.unit.relay.test_gate import gated

pytestmark = pytest.mark.skipif(
    is_compiled(), reason="compiled code makes no calls to be counted"
)

README = Path(__file__).parents[3] / "bench" / "rules.py"
EXTENDED = (
    message(b"P", b"\0SELECT $1\0\0\0")
    + message(b"B", b"\0\0\0\0\0\0\0\0")
    + message(b"D", b"P\0")
    + message(b"E", b"\0\0\0\0\0")
    + message(b"S")
)
EXTENDED_ANSWER = message(b"1") + message(b"2") + RESULT + READY


def calls_in(work: Callable[[], object]) -> int:
    """Return how many functions in Python are called by a piece of work."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    work()
    sys.setprofile(count)
    work()
    sys.setprofile(None)
    return calls


def test_of_the_functions() -> None:
    """From the question to the answer, with the two functions of the seed's README."""
    module = load_module(str(README))
    # Time stands still, or a busy machine would have a slow call told, which is a call.
    clock = repeat(0.0).__next__
    rules = RuleSet(*(Rule(module, name, clock) for name in (REWRITING, ROUTING)))
    text = "SELECT abalance FROM pgbench_accounts WHERE aid = 1"
    ours = calls_in(lambda: rules.begin(Question("joe", text, in_transaction=False)))
    theirs = calls_in(lambda: module.module.routing_rules("joe", text, False))  # noqa: FBT003
    theirs += calls_in(lambda: module.module.rewrite_query("joe", text, False))  # noqa: FBT003
    assert ours - theirs <= 11
    assert theirs <= 20, "what their `re` calls is ours, too"


@pytest.mark.parametrize(
    ("asked", "answer", "most"),
    [(query(), RESULT + READY, 19), (EXTENDED, EXTENDED_ANSWER, 27)],
    ids=["simple", "extended"],
)
def test_of_the_gate(asked: bytes, answer: bytes, most: int) -> None:
    """What stands before the link, beside what the link does anyway."""
    stage = Stage()
    server, plain = stage.server(), stage.client()
    client, _, _ = gated(stage)

    def ask(link: ClientLink) -> None:
        link.take(asked)
        server.take(answer)

    without = calls_in(lambda: ask(plain))
    assert calls_in(lambda: ask(client)) - without <= most
