"""Who is killed when: decided by the seed alone, as far as names allow, and done.

Servers are ended by PostgreSQL's administrator, clients by the pooler's; now and then
all servers are made anew, or everybody is paused for a moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from random import Random
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

PAUSE_S = 1.0


class Blow(Enum):
    """Something that an administrator does."""

    SERVER = "server ended"
    CLIENT = "client sent away"
    RECONNECT = "servers made anew"
    PAUSE = "everybody paused"


_BLOWS = {Blow.SERVER: 20, Blow.CLIENT: 10, Blow.RECONNECT: 1, Blow.PAUSE: 1}
"""How often, in proportion."""


def blows(seed: int, longest_pause_s: float) -> Iterator[tuple[float, Blow, Random]]:
    """Yield a pause in seconds, what comes after it, and what chooses the victim."""
    random = Random(f"{seed}/trouble")  # noqa: S311 - repeatable is what it must be
    while True:
        (blow,) = random.choices(list(_BLOWS), list(_BLOWS.values()))
        yield random.uniform(0, longest_pause_s), blow, random


class Rulers(Protocol):
    """Both administrators; see looking.py."""

    def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on the pooler's console."""

    def server_pids(self) -> list[int]:
        """Return the processes of PostgreSQL that serve the pooler."""

    def end_server(self, pid: int) -> None:
        """End one of them."""


class Trouble:
    """Does what comes, one after the other."""

    def __init__(
        self,
        rulers: Rulers,
        plan: Iterator[tuple[float, Blow, Random]],
        pause: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        """``pause`` waits for some seconds."""
        self.done: Counter[str] = Counter()
        self.last = "nothing"
        """What was done last, for the report."""
        self.paused = False
        self._rulers = rulers
        self._plan = plan
        self._pause = pause

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Go on until it is over; nobody is left paused."""
        for pause, blow, random in self._plan:
            await self._pause(pause)
            if is_over():
                return
            self.last = blow.value
            await self._strike(blow, random)
            self.done[blow.value] += 1

    async def _strike(self, blow: Blow, random: Random) -> None:
        rulers = self._rulers
        if blow is Blow.SERVER:
            pid = _one_of(random, await asyncio.to_thread(rulers.server_pids))
            if pid is not None:
                await asyncio.to_thread(rulers.end_server, pid)
        elif blow is Blow.CLIENT:
            rows = await asyncio.to_thread(rulers.console, "SHOW CLIENTS")
            numbers = [row["id"] for row in rows if row["database"] != "pgbouncer"]
            number = _one_of(random, numbers)
            if number is not None:
                await asyncio.to_thread(self._send_away, number)
        elif blow is Blow.RECONNECT:
            await asyncio.to_thread(rulers.console, "RECONNECT")
        else:
            self.paused = True
            await asyncio.to_thread(rulers.console, "PAUSE")
            await self._pause(PAUSE_S)
            await asyncio.to_thread(rulers.console, "RESUME")
            self.paused = False

    def _send_away(self, number: int) -> None:
        try:
            self._rulers.console(f"KILL_CLIENT {number}")
        except LookupError:
            return  # It has left by itself meanwhile.


def _one_of(random: Random, candidates: Sequence[T]) -> T | None:
    """Return one of them; the same for the same state and number of candidates."""
    choice = random.random()
    return candidates[int(choice * len(candidates))] if candidates else None
