"""Cases are made as short as they can be."""

from __future__ import annotations

from itertools import count

from tests.fuzz.protocol.script import Case, Group, Round, Script, Step
from tests.fuzz.protocol.shrinking import Shrinker, plainer_steps

FILLER = Step("Q", ("select 1",))
BAD, WORSE = Step("Q", ("bad",)), Step("Q", ("worse",))


def case(*steps: Step) -> Case:
    """Return a case with these steps of client 1 in the last round, among fillers."""
    full = Group((FILLER,) * 3)
    of_other = Script(0, (full, full))
    own = Script(1, (full, Group((FILLER, *steps, FILLER), "bytes"), full))
    return Case("x", (Round(1, (of_other,)), Round(2, (of_other, own))))


def steps_of(one: Case) -> list[Step]:
    """Return all steps."""
    return [
        step
        for round_ in one.rounds
        for script in round_.scripts
        for group in script.groups
        for step in group.steps
    ]


def test_what_is_not_needed_goes() -> None:
    """Rounds, clients, groups, steps and cuts."""
    shrinker = Shrinker(lambda one: {BAD, WORSE} <= set(steps_of(one)), 60)
    short = shrinker.shrunk([case(BAD, FILLER, WORSE)], 1, 1)
    assert steps_of(short) == [BAD, WORSE]
    assert short.rounds[0].scripts == (Script(1, (Group((BAD, WORSE)),)),)


def test_an_earlier_round_that_is_needed_stays() -> None:
    """Some findings are made by what was before."""
    whole = case(BAD)
    shrinker = Shrinker(lambda one: len(one.rounds) == 2 and BAD in steps_of(one), 60)
    short = shrinker.shrunk([whole], 1, 1)
    assert [one.order for one in short.rounds] == [1, 2]
    assert steps_of(short) == [FILLER, BAD]


def test_nothing_is_lost_when_it_does_not_fail_again() -> None:
    """Then the case is what it was."""
    whole = case(BAD)
    assert Shrinker(lambda _: False, 60).shrunk([whole], 1, 1) == whole


def test_the_version_that_fails_is_taken() -> None:
    """The first that is easy to repeat, else the last."""
    easy, hard = case(BAD), case(WORSE)
    shrinker = Shrinker(lambda one: WORSE in steps_of(one), 60)
    assert steps_of(shrinker.shrunk([easy, hard], 1, 1)) == [WORSE]


def test_one_that_fails_now_and_then_is_tried_more_often() -> None:
    """As often as the first needed, and again."""
    numbers = count()
    shrinker = Shrinker(lambda one: BAD in steps_of(one) and next(numbers) % 3 == 2, 60)
    assert steps_of(shrinker.shrunk([case(BAD)], 1, 1)) == [BAD]


def test_time_is_limited() -> None:
    """With some of it left out, then."""
    clock = count()
    shrinker = Shrinker(
        lambda one: BAD in steps_of(one), 6, clock=lambda: float(next(clock))
    )
    short = shrinker.shrunk([case(BAD)], 1, 1)
    assert BAD in steps_of(short)
    assert next(clock) < 30


def test_plainer_texts() -> None:
    """The token stays, so that answers remain distinguishable."""
    step = Step("P", ("s1", "select 't1-2-3', now(); select 4 /* {pad:700} */"))
    assert [one.words for one in plainer_steps(step)] == [
        ("s1", "select 't1-2-3'"),
        ("s1", "select 't1-2-3', now()"),
        ("s1", "select 't1-2-3', now(); select 4 /*  */"),
    ]
    assert list(plainer_steps(Step("S"))) == []
