"""One round before the pooler: played, troubled, judged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psycopg

from tests.fuzz.protocol import oracle, wire
from tests.fuzz.protocol.judging import (
    Expected,
    Finding,
    differing,
    foreign,
    parameters_differ,
    token_prefix,
)
from tests.fuzz.protocol.player import Player
from tests.fuzz.protocol.playing import Performance
from tests.fuzz.protocol.script import Group, Round, Script, Step, map_groups
from tests.fuzz.protocol.stage import Stage
from tests.fuzz.protocol.variants import Variant

NEVER = 1_000_000
OF_ALL = {"!terminate"}
"""Trouble after which no client's answers can be known."""
OF_ONE = {"!cancel"}
"""Trouble of the client that makes it."""


def own_prefix(script: Script) -> str:
    """Return what the tokens in a script begin with; nothing if there are none."""
    for group in script.groups:
        for step in group.steps:
            for word in step.words:
                at = word.find("t")
                while at >= 0:
                    parts = word[at + 1 :].split("-")
                    if (
                        len(parts) > 2
                        and parts[0].isdigit()
                        and parts[1] == str(script.client)
                    ):
                        return token_prefix(int(parts[0]), script.client)
                    at = word.find("t", at + 1)
    return "t-"


def relaxed_from(one: Round, script: Script) -> int:
    """Return from which group on a client's answers cannot be known."""
    if one.faults & OF_ALL:
        return 0
    for number, group in enumerate(script.groups):
        if group.faults & OF_ONE:
            return number
    return NEVER


def in_force(variant: Variant | None, one: Round) -> Variant:
    """Return the variant as a round is judged by it: its trouble may share servers."""
    assert variant is not None
    is_changed = any(
        step.kind == "!set" and step.words[0] == "pool_mode"
        for script in one.scripts
        for group in script.groups
        for step in group.steps
    )
    if is_changed and variant.mode == "session":
        return variant._replace(mode="transaction")
    return variant


class Played(NamedTuple):
    """What is wrong with a round, and the round with turns as they were taken."""

    findings: list[Finding]
    in_turns: Round


def play_round(stage: Stage, one: Round, hang_s: float) -> Played:
    """Play a round; Unplayable if PostgreSQL does not."""
    expected = oracle.ask(stage, one, 2 * hang_s)
    players: list[Player] = []
    limits: list[int] = []

    def trouble(player: Player, step: Step) -> None:
        _trouble(stage, player, step, performance.go_on)

    for script in one.scripts:
        limit = relaxed_from(one, script)
        try:
            connection, key, parameters = stage.connect_pooled()
        except OSError as error:
            for player in players:
                player.leave()
            return Played([Finding("login", f"refused: {error}", script.client)], one)
        waiting = oracle.Counted(expected[script.client], script, limit)
        player = Player(script, connection, waiting, trouble)
        player.key = key
        player.parameters.update(parameters)
        players.append(player)
        limits.append(limit)
    performance = Performance(players, one.order, hang_s)
    performance.run()
    variant = in_force(stage.variant, one)
    findings = []
    for player, limit in zip(players, limits, strict=True):
        found = _judged(player, expected[player.script.client], variant, limit)
        if found is not None:
            findings.append(found)
    if not stage.is_alive():
        findings.insert(0, Finding("dead", "the pooler has ended"))
    findings.sort(key=lambda found: found.kind in ("hang", "parameter"))
    return Played(findings, _in_turns(one, players))


def _in_turns(one: Round, players: list[Player]) -> Round:
    begun = {
        (player.script.client, number): at
        for player in players
        for number, at in enumerate(player.begun)
    }
    ranks = {key: rank for rank, key in enumerate(sorted(begun, key=begun.__getitem__))}
    never = len(ranks)

    def ranked(script: Script, number: int, group: Group) -> Group:
        return group._replace(turn=ranks.get((script.client, number), never) + 1)

    return map_groups(one, ranked)


def _judged(
    player: Player, expected: Expected, variant: Variant, limit: int
) -> Finding | None:
    found = foreign(player, own_prefix(player.script))
    if found is not None:
        return found
    parsed_startup = differing(player, expected, variant, limit)
    if parsed_startup.finding is not None:
        return parsed_startup.finding
    if player.hung:
        return Finding("hang", "gets no answer", player.script.client, player.group)
    is_over = player.closed is None and len(player.answers) > len(player.script.groups)
    if parsed_startup.is_whole and is_over:
        return parameters_differ(player, expected)
    return None


def _trouble(
    stage: Stage, player: Player, step: Step, meanwhile: Callable[[], None]
) -> None:
    if stage.is_taken_over:
        return
    if step.kind == "!cancel":
        stage.send_alone(wire.cancel(player.key))
    elif step.kind == "!terminate":
        stage.terminate_servers()
    elif step.kind == "!reload":
        stage.reload()
    elif step.kind == "!takeover":
        stage.take_over(meanwhile)
    elif step.kind == "!set":
        name, value = step.words
        with suppress(psycopg.Error):
            stage.console(f"SET {name} = '{value}'")
