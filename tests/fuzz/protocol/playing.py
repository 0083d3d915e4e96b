"""Several clients at a time, in one thread: whose turn it is, a seed says."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from random import Random

from tests.fuzz.protocol.player import Player

STEP_S = 0.001
STUCK_S = 0.015
"""So long after anything was last written or read the next one's turn comes anyway:
who is first waits for a server that another client has."""
MOST_S = 60.0


class Performance:
    """All players, until each has come to the end.

    Who waits for answers when for ``hang_s`` seconds nothing has come to anybody is
    marked as hung, and left.
    """

    def __init__(self, players: Sequence[Player], order: int, hang_s: float) -> None:
        """Begin now, in the order that is drawn by the seed ``order``."""
        self.players = players
        self._dice = Random(order)
        self._hang_s = hang_s
        self._begun = time.monotonic()
        for player in players:
            player.progressed_at = self._begun

    def run(self) -> None:
        """Play to the end."""
        while self._alive():
            self.go_on()
            self._leave_who_hangs()

    def go_on(self) -> None:
        """Let one write something, and all read what is there.

        Who makes trouble may call this meanwhile: only the others play then.
        """
        now = time.monotonic()
        ready = self._ready(now)
        if ready:
            self._dice.choice(ready).act(now)
        alive = self._alive()
        wait_s = 0.0 if self._dice.random() < 0.8 else STEP_S
        if not ready:
            is_busy = any(one.has_more for one in alive)
            wait_s = STEP_S if is_busy else self._hang_s / 10
        readable, _, _ = select.select(alive, [], [], wait_s)
        now = time.monotonic()
        for player in readable:
            player.read(now)

    def _alive(self) -> list[Player]:
        return [one for one in self.players if not one.done]

    def _ready(self, now: float) -> list[Player]:
        alive = self._alive()
        turn = min((one.turn for one in alive), default=0)
        is_stuck = self._is_stuck()
        return [
            one
            for one in alive
            if one.has_more
            and one.paused_until <= now
            and (is_stuck or one.has_begun or one.turn in (0, turn))
        ]

    def _is_stuck(self) -> bool:
        return time.monotonic() - self._last_progress() > STUCK_S

    def _last_progress(self) -> float:
        return max(one.progressed_at for one in self.players)

    def _leave_who_hangs(self) -> None:
        now = time.monotonic()
        is_over = now - self._begun > MOST_S
        if is_over or now - self._last_progress() > self._hang_s:
            for player in self._alive():
                player.hung = True
                player.leave()
