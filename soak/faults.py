"""Injects faults at times and targets determined by the seed.

PostgreSQL's administrator ends servers and the pooler's ends clients; now and then all
servers are replaced, or all clients are paused for a moment.
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


class Fault(Enum):
    """What an administrator does."""

    SERVER = "server ended"
    CLIENT = "client killed"
    RECONNECT = "RECONNECT"
    PAUSE = "PAUSE and RESUME"


_FAULTS = {Fault.SERVER: 20, Fault.CLIENT: 10, Fault.RECONNECT: 1, Fault.PAUSE: 1}
"""Relative frequencies."""


def fault_plan(seed: int, max_pause_s: float) -> Iterator[tuple[float, Fault, Random]]:
    """Yield a pause in seconds, the fault after it, and what chooses its target."""
    random = Random(f"{seed}/faults")  # noqa: S311 - repeatable is what it must be
    while True:
        (fault,) = random.choices(list(_FAULTS), list(_FAULTS.values()))
        yield random.uniform(0, max_pause_s), fault, random


class Admins(Protocol):
    """The administrators of the pooler and of PostgreSQL; see audit.py."""

    def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on the pooler's console."""

    def server_pids(self) -> list[int]:
        """Return the pids of the backends that serve the pooler."""

    def end_server(self, pid: int) -> None:
        """End one of them."""


class FaultInjector:
    """Injects faults one after the other."""

    def __init__(
        self,
        admins: Admins,
        plan: Iterator[tuple[float, Fault, Random]],
        pause: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        """``pause`` waits for some seconds."""
        self.done: Counter[str] = Counter()
        self.last = "nothing"
        """The last fault, for the report."""
        self.paused = False
        self._admins = admins
        self._plan = plan
        self._pause = pause

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Inject faults until ``is_over``; clients are never left paused."""
        for pause, fault, random in self._plan:
            await self._pause(pause)
            if is_over():
                return
            self.last = fault.value
            await self._inject(fault, random)
            self.done[fault.value] += 1

    async def _inject(self, fault: Fault, random: Random) -> None:
        admins = self._admins
        if fault is Fault.SERVER:
            pid = _one_of(random, await asyncio.to_thread(admins.server_pids))
            if pid is not None:
                await asyncio.to_thread(admins.end_server, pid)
        elif fault is Fault.CLIENT:
            rows = await asyncio.to_thread(admins.console, "SHOW CLIENTS")
            numbers = [row["id"] for row in rows if row["database"] != "pgbouncer"]
            number = _one_of(random, numbers)
            if number is not None:
                await asyncio.to_thread(self._kill_client, number)
        elif fault is Fault.RECONNECT:
            await asyncio.to_thread(admins.console, "RECONNECT")
        else:
            self.paused = True
            await asyncio.to_thread(admins.console, "PAUSE")
            await self._pause(PAUSE_S)
            await asyncio.to_thread(admins.console, "RESUME")
            self.paused = False

    def _kill_client(self, number: int) -> None:
        try:
            self._admins.console(f"KILL_CLIENT {number}")
        except LookupError:
            return  # It has disconnected meanwhile.


def _one_of(random: Random, candidates: Sequence[T]) -> T | None:
    """Return one of them, the same for the same state and number of candidates."""
    choice = random.random()
    return candidates[int(choice * len(candidates))] if candidates else None
