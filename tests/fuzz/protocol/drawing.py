"""Rounds at random: how many clients, in which turns, and what trouble they meet."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.fuzz.protocol.making import Maker
from tests.fuzz.protocol.script import Round, Script, Step, map_groups
from tests.fuzz.protocol.variants import Variant


def make_round(dice: Random, variant: Variant, number: int) -> Round:
    """Return what the clients of a variant do at a time."""
    clients = dice.randint(2, variant.clients)
    scripts: Sequence[Script] = [
        Maker(dice, variant, number, client).script() for client in range(clients)
    ]
    if variant.faults:
        scripts = [_with_trouble(dice, variant, script) for script in scripts]
    one = Round(dice.randrange(1_000_000), tuple(scripts))
    if dice.random() < 0.5:
        return one
    turns = [script.client for script in scripts for _ in script.groups]
    dice.shuffle(turns)
    places: dict[int, list[int]] = {}
    for turn, client in enumerate(turns):
        places.setdefault(client, []).append(turn + 1)
    return map_groups(
        one,
        lambda script, number, group: group._replace(
            turn=places[script.client][number]
        ),
    )


TROUBLE = (
    Step("!vanish"),
    Step("!vanish"),
    Step("!cancel"),
    Step("!cancel"),
    Step("!terminate"),
    Step("!reload"),
    Step("!set", ("max_prepared_statements", "1")),
    Step("!set", ("max_prepared_statements", "100")),
)


def _with_trouble(dice: Random, variant: Variant, script: Script) -> Script:
    """Return the script with something amiss at some place, or as it is."""
    if dice.random() < 0.5:
        return script
    at = dice.randrange(len(script.groups))
    trouble = dice.choice(TROUBLE)
    if variant.transactions and dice.random() < 0.1:
        mode = dice.choice(("session", "transaction"))
        trouble = Step("!set", ("pool_mode", mode))
    if not variant.tls and dice.random() < 0.02:
        trouble = Step("!takeover")
    group = script.groups[at]
    place = dice.randint(0, len(group.steps))
    steps = (*group.steps[:place], trouble, *group.steps[place:])
    groups = (
        *script.groups[:at],
        group._replace(steps=steps),
        *script.groups[at + 1 :],
    )
    return Script(script.client, groups)
