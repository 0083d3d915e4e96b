"""The phases of a run: a crowd to warm up, the soak itself, the counts at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from soak.audit import Counts, Waits, differences, growth, total
from soak.client import Client, Notes
from soak.looking import CONSOLE, Observer
from soak.script import Leave, lives
from soak.trouble import Trouble, blows
from soak.wire import USERS, Connection, Gone

LOOK_EVERY_S = 1.0
SETTLE_S = 10.0
"""How long counts may take to become right, once nobody does anything."""
WARM_UP, WARM_UPS = 0.3, 3
"""Part of the whole time that goes before the memory is measured first, and in how
many crowds: the allocator keeps what it needed at the busiest moments."""
TROUBLE_S = 0.6
"""Longest time between two blows."""
LOGINS_AT_ONCE = 50

Say = Callable[[str], None]


@dataclass(slots=True)
class Size:
    """How large a run is."""

    clients: int
    servers: int
    seconds: float
    pause_s: float
    """Longest pause of a client between two steps."""
    calm: bool
    """Nobody is killed."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Run:
    """One run against a pooler that is up."""

    def __init__(
        self, size: Size, seed: int, port: int, observer: Observer, say: Say
    ) -> None:
        """``say`` shows a line of progress."""
        self._size = size
        self._seed = seed
        self._port = port
        self._observer = observer
        self._say = say
        self._waits = Waits(size.servers)
        self._outcome = Outcome()

    async def whole(self) -> Outcome:
        """Do all of it."""
        seconds = self._size.seconds
        for number in range(WARM_UPS):
            warm_s = seconds * WARM_UP / WARM_UPS
            await self._crowd(self._seed + number, warm_s, "warming up")
            await self._muster()
            before = await self._quiet()
        await self._crowd(self._seed + WARM_UPS, seconds * (1 - WARM_UP), "soaking")
        await self._muster()
        after = await self._quiet()
        self._outcome.notes.append(f"memory: {before} kB before, {after} kB after")
        self._outcome.wrong += growth(before, after)
        return self._outcome

    async def _crowd(self, seed: int, seconds: float, what: str) -> None:
        """Have all clients live for some time, and be killed."""
        size = self._size
        notes = Notes()
        end = time.monotonic() + seconds
        trouble = Trouble(self._observer, blows(seed, TROUBLE_S))

        def is_over() -> bool:
            return time.monotonic() >= end

        crowd = [
            Client(number, self._port, notes, lives(seed, number, size.pause_s))
            for number in range(size.clients)
        ]
        tasks = [asyncio.create_task(client.live(is_over)) for client in crowd]
        if not size.calm:
            tasks.append(asyncio.create_task(trouble.run(is_over)))
        watching = asyncio.create_task(self._watch(what, end, notes, trouble))
        try:
            await asyncio.gather(*tasks)
        finally:
            watching.cancel()
        if size.calm:
            lost = sum(notes.ends.values()) - self._left(notes)
            if lost:
                notes.wrong.append(f"{lost} connections were lost, nobody was killed")
        self._outcome.wrong += [f"{what}: {one}" for one in notes.wrong]
        self._outcome.notes += [
            f"{what}: {sum(notes.steps.values())} steps: {_told(notes.steps)}",
            f"{what}: ends of connections: {_told(notes.ends)}",
            f"{what}: trouble: {_told(trouble.done)}",
        ]

    @staticmethod
    def _left(notes: Notes) -> int:
        return sum(notes.ends[leave.value] for leave in Leave)

    async def _watch(
        self, what: str, end: float, notes: Notes, trouble: Trouble
    ) -> None:
        """Look at the pools once a second, and tell how things are."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            paused = trouble.paused
            rows = await asyncio.to_thread(self._observer.console, "SHOW POOLS")
            pools = [row for row in rows if row["database"] != CONSOLE]
            paused = paused or trouble.paused
            self._outcome.wrong += [
                f"{what}, {end - time.monotonic():.0f} s before the end, after"
                f" '{trouble.last}': {one}"
                for one in self._waits.look(pools, paused=paused)
            ]
            left = max(end - time.monotonic(), 0.0)
            longest = max((row["maxwait"] for row in pools), default=0)
            self._say(
                f"{what}, {left:3.0f} s left: {notes.open} clients,"
                f" {total(pools, 'cl_waiting')} waiting (longest {longest} s),"
                f" {total(pools, 'sv_active')} servers at work,"
                f" {sum(notes.steps.values())} steps, {len(notes.wrong)} wrong"
            )

    async def _muster(self) -> None:
        """Have everybody log in and stand still, and count."""
        gate = asyncio.Semaphore(LOGINS_AT_ONCE)

        async def come(number: int) -> Connection:
            async with gate:
                connection = await Connection.open(self._port)
                await connection.log_in(USERS[number % len(USERS)])
                return connection

        self._say("counting clients that stand still")
        try:
            present = await asyncio.gather(*map(come, range(self._size.clients)))
        except Gone as gone:
            self._outcome.wrong.append(f"muster: a client was turned away: {gone}")
            return
        await self._count("muster", len(present))
        for connection in present:
            await connection.close()

    async def _quiet(self) -> int:
        """Wait until nobody is there; count; return the memory."""
        await self._count("quiet", 0)
        return self._observer.memory_kb()

    async def _count(self, when: str, clients: int) -> None:
        """Compare all counts, again and again until they agree or time is up."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            found = await asyncio.to_thread(self._compare, clients)
            if not found:
                return
            if time.monotonic() > deadline:
                self._outcome.wrong += [f"{when}: {one}" for one in found]
                return
            await asyncio.sleep(LOOK_EVERY_S / 4)

    def _compare(self, clients: int) -> list[str]:
        observer = self._observer
        real = Counts(clients, len(observer.server_pids()))
        found = differences(observer.shown(), real)
        sockets = observer.open_sockets()
        if sockets != real.clients + real.servers:
            found.append(
                f"{sockets} sockets are open for {real.clients} clients and"
                f" {real.servers} servers"
            )
        return found


def _told(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"
