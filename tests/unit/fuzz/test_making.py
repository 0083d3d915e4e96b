"""Scripts at random keep to what PostgreSQL itself can play."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.protocol.drawing import make_round
from tests.fuzz.protocol.judging import TOKEN, token_prefix
from tests.fuzz.protocol.script import FAULTS, NAMES, Round, Script
from tests.fuzz.protocol.variants import VARIANTS, Variant
from tests.fuzz.protocol.wire import FENCES, encoded

ROUNDS = 60


def rounds(variant: Variant) -> list[Round]:
    """Return some."""
    return [
        make_round(Random(number), variant, number) for number in range(1, ROUNDS + 1)
    ]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one.name)
def test_rounds(variant: Variant) -> None:
    """Everything can be encoded, each client uses its own tokens, groups end."""
    for number, one in enumerate(rounds(variant), start=1):
        assert one == make_round(Random(number), variant, number)
        assert 2 <= len(one.scripts) <= variant.clients
        assert variant.faults or not one.faults
        for script in one.scripts:
            check(script, token_prefix(number, script.client))


def check(script: Script, prefix: str) -> None:
    """Look at one script."""
    for group in script.groups:
        kinds = [step.kind for step in group.steps if step.kind not in FAULTS]
        # Never left inside of a COPY or of what is skipped.
        assert group.is_complete
        assert "3" * FENCES not in "".join("3" if k == "C" else "-" for k in kinds)
        for step in group.steps:
            assert step.kind in NAMES
            for found in TOKEN.finditer(encoded(step)):
                assert found[0].decode().startswith(prefix)


def test_everything_comes_up() -> None:
    """Every kind of message and of trouble, in not too many rounds."""
    variants = [one for one in VARIANTS if one.faults or one.tls]
    kinds = {
        step.kind
        for variant in variants
        for number in range(300)
        for script in make_round(Random(number), variant, number).scripts
        for group in script.groups
        for step in group.steps
    }
    assert kinds == set(NAMES)


def test_no_transactions_in_statement_mode() -> None:
    """They are refused there."""
    texts = [
        step.words[-1]
        for variant in VARIANTS
        if variant.mode == "statement"
        for one in rounds(variant)
        for script in one.scripts
        for group in script.groups
        for step in group.steps
        if step.kind in ("Q", "P")
    ]
    assert texts
    assert not [text for text in texts if text.startswith(("begin", "start", "savep"))]


def test_some_rounds_take_turns() -> None:
    """With a turn for each group, in the order of each script."""
    some = rounds(VARIANTS[0])
    turns = [
        [group.turn for script in one.scripts for group in script.groups]
        for one in some
    ]
    assert 10 < sum(any(one) for one in turns) < ROUNDS - 10
    for one, numbers in zip(some, turns, strict=True):
        if any(numbers):
            assert sorted(numbers) == list(range(1, len(numbers) + 1))
            for script in one.scripts:
                own = [group.turn for group in script.groups]
                assert own == sorted(own)
