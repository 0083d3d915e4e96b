"""Several clients at a time, in one thread: whose turn it is, a seed says."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from random import Random

from tests.fuzz.protocol.player import Player

STEP_S = 0.001
STUCK_S = 0.05
"""So long after anything was last written or read the next one's turn comes anyway:
who is first waits for a server that another client has."""


def play(
    players: Sequence[Player], order: int, hang_s: float, most_s: float = 60.0
) -> None:
    """Have all play to their ends.

    Who waits for answers when for ``hang_s`` seconds nothing has come to anybody is
    marked as hung, and left.
    """
    dice = Random(order)
    begun = time.monotonic()
    for player in players:
        player.progressed_at = begun
    while True:
        alive = [one for one in players if not one.done]
        if not alive:
            return
        now = time.monotonic()
        turn = min(one.turn for one in alive)
        is_stuck = now - max(one.progressed_at for one in players) > STUCK_S
        ready = [
            one
            for one in alive
            if one.has_more
            and one.paused_until <= now
            and (is_stuck or one.turn in (0, turn))
        ]
        if ready:
            dice.choice(ready).act(now)
        alive = [one for one in alive if not one.done]
        wait_s = 0.0 if dice.random() < 0.8 else STEP_S
        if not ready:
            wait_s = STEP_S if any(one.has_more for one in alive) else hang_s / 10
        readable, _, _ = select.select(alive, [], [], wait_s)
        now = time.monotonic()
        for player in readable:
            player.read(now)
        latest = max(one.progressed_at for one in players)
        if now - latest > hang_s or now - begun > most_s:
            for player in alive:
                if not player.done:
                    player.hung = True
                    player.leave()
            return
