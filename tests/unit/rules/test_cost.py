"""What a query costs more with rules, counted in calls of Python."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path

import pytest

from pgswitch.relay.client_stream import ClientStream
from pgswitch.rules.evaluate import RuleFunction, RuleInput, RuleSet
from pgswitch.rules.loader import REWRITING, ROUTING, load_module
from tests.counting import calls_in, only_interpreted
from tests.fakes.messages import READY, RESULT, query
from tests.unit.relay.pair import Stage
from tests.unit.relay.test_cost import EXTENDED, EXTENDED_ANSWER
from tests.unit.relay.test_interceptor import gated

pytestmark = only_interpreted

README = Path(__file__).parents[3] / "bench" / "rules.py"


def test_of_the_functions() -> None:
    """From the question to the answer, with the two functions of the seed's README."""
    module = load_module(str(README), fast_patterns=True)
    # The clock is frozen, or a busy machine would log a slow call, which is a call.
    clock = repeat(0.0).__next__
    rules = RuleSet(
        *(RuleFunction(module, name, clock) for name in (REWRITING, ROUTING))
    )
    text = "SELECT abalance FROM pgbench_accounts WHERE aid = 1"
    ours = calls_in(lambda: rules.begin(RuleInput("joe", text, in_transaction=False)))
    theirs = calls_in(lambda: module.module.routing_rules("joe", text, False))  # noqa: FBT003
    theirs += calls_in(lambda: module.module.rewrite_query("joe", text, False))  # noqa: FBT003
    assert ours - theirs <= 12
    assert theirs <= 18, "what their `re` calls is ours, too"


@pytest.mark.parametrize(
    ("asked", "answer", "most"),
    [(query(), RESULT + READY, 19), (EXTENDED, EXTENDED_ANSWER, 27)],
    ids=["simple", "extended"],
)
def test_of_the_interceptor(asked: bytes, answer: bytes, most: int) -> None:
    """The calls of the interceptor, next to those of the stream itself."""
    stage = Stage()
    server, plain = stage.server(), stage.client()
    client, _, _ = gated(stage)

    def ask(stream: ClientStream) -> None:
        stream.take(asked)
        server.take(answer)

    without = calls_in(lambda: ask(plain))
    assert calls_in(lambda: ask(client)) - without <= most
