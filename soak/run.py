"""The servers and the phases of a run: warm-up, soak, and the counts after each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import PostgresServer, best_for
from pgswitch.demo.processes import (
    PrivateDirectory,
    account_for_children,
    hand_over,
)
from soak.audit import CONSOLE, Counts, Observer, Waits, differences, growth, total
from soak.client import TIMEOUT_S, Client, Tally
from soak.faults import FaultInjector, fault_plan
from soak.script import DATABASE, USERS, Disconnect, sessions
from testkit.pgwire import HOST, AsyncConnection, Disconnected

ADMIN = "admin"
HBA = ("local all all trust", "host all all 127.0.0.1/32 trust")


@dataclass(frozen=True, slots=True)
class Environment:
    """The PostgreSQL server and the pooler in front of it."""

    server: PostgresServer
    pooler: Pooler


def start_environment(clients: int, servers: int, cleanup: ExitStack) -> Environment:
    """Start both for these numbers; ``cleanup`` receives what stops them.

    Raises ChildFailed when there is no PostgreSQL or one of them does not start.
    """
    account = account_for_children()
    folder = PrivateDirectory(account)
    cleanup.callback(folder.remove)
    programs, data, place = (folder.path / name for name in ("programs", "pg", "sw"))
    programs.mkdir()
    for one in (data, place):
        one.mkdir(mode=0o700)
        hand_over(one, account)
    server = PostgresServer(best_for(account, programs), data, account)
    server.create({"max_connections": str(2 * servers + 20)}, hba=HBA)
    server.start()
    cleanup.callback(server.stop, "immediate")
    for user in USERS:
        server.create_user(user)
    server.create_database(DATABASE)
    server.execute("CREATE UNLOGGED TABLE sink (line text)", database=DATABASE)
    server.execute("GRANT ALL ON TABLE sink TO PUBLIC", database=DATABASE)
    pooler = Pooler(place, account)
    pooler.write_users(dict.fromkeys((*USERS, ADMIN), ""))
    pooler.write_ini(
        {
            "databases": {DATABASE: f"host={HOST} port={server.port}"},
            "pgbouncer": {
                "auth_type": "trust",
                "admin_users": ADMIN,
                "pool_mode": "transaction",
                # Two users, hence two pools, that take servers from each other.
                "default_pool_size": servers,
                "max_db_connections": servers,
                # Cancel requests and clients that were reset count for a moment.
                "max_client_conn": 3 * clients + 100,
                "log_connections": 0,
                "log_disconnections": 0,
                "log_pooler_errors": 0,
            },
        }
    )
    pooler.start()
    cleanup.callback(pooler.stop)
    return Environment(server, pooler)


CHECK_INTERVAL_S = 1.0
SETTLE_S = 10.0
"""How long counts may take to become right once all clients are idle."""
WARM_UP, WARM_UPS = 0.3, 3
"""The share of the time before memory is first measured, and the number of phases in
it: the allocator keeps what it needed at the busiest moments."""
MAX_FAULT_PAUSE_S = 0.6
"""The longest time between two faults."""
LOGINS_AT_ONCE = 50

Say = Callable[[str], None]


@dataclass(slots=True)
class Size:
    """The size of a run."""

    clients: int
    servers: int
    seconds: float
    pause_s: float
    """The longest pause of a client between two steps."""
    calm: bool
    """Without faults."""


@dataclass(slots=True)
class Findings:
    """The results: what was wrong, and lines to print."""

    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class SoakRun:
    """One run against a running pooler."""

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
        self._findings = Findings()

    async def execute(self) -> Findings:
        """Run all phases."""
        seconds = self._size.seconds
        for number in range(WARM_UPS):
            warm_s = seconds * WARM_UP / WARM_UPS
            await self._soak(self._seed + number, warm_s, "warming up")
            await self._check_idle_clients()
            before = await self._check_no_clients()
        await self._soak(self._seed + WARM_UPS, seconds * (1 - WARM_UP), "soaking")
        await self._check_idle_clients()
        after = await self._check_no_clients()
        self._findings.notes.append(f"memory: {before} kB before, {after} kB after")
        self._findings.wrong += growth(before, after)
        return self._findings

    async def _soak(self, seed: int, seconds: float, what: str) -> None:
        """Run all clients for some time, with faults."""
        size = self._size
        tally = Tally()
        end = time.monotonic() + seconds
        faults = FaultInjector(self._observer, fault_plan(seed, MAX_FAULT_PAUSE_S))

        def is_over() -> bool:
            return time.monotonic() >= end

        clients = [
            Client(number, self._port, tally, sessions(seed, number, size.pause_s))
            for number in range(size.clients)
        ]
        tasks = [asyncio.create_task(client.run(is_over)) for client in clients]
        if not size.calm:
            tasks.append(asyncio.create_task(faults.run(is_over)))
        watching = asyncio.create_task(self._watch(what, end, tally, faults))
        try:
            await asyncio.gather(*tasks)
        finally:
            watching.cancel()
        if size.calm:
            lost = sum(tally.ends.values()) - self._left(tally)
            if lost:
                tally.wrong.append(f"{lost} connections were lost without a fault")
        self._findings.wrong += [f"{what}: {one}" for one in tally.wrong]
        self._findings.notes += [
            f"{what}: {sum(tally.steps.values())} steps: {_counts(tally.steps)}",
            f"{what}: ends of connections: {_counts(tally.ends)}",
            f"{what}: faults: {_counts(faults.done)}",
        ]

    @staticmethod
    def _left(tally: Tally) -> int:
        return sum(tally.ends[disconnect.value] for disconnect in Disconnect)

    async def _watch(
        self, what: str, end: float, tally: Tally, faults: FaultInjector
    ) -> None:
        """Check the pools once a second, and show the state."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            paused = faults.paused
            rows = await asyncio.to_thread(self._observer.console, "SHOW POOLS")
            pools = [row for row in rows if row["database"] != CONSOLE]
            paused = paused or faults.paused
            self._findings.wrong += [
                f"{what}, {end - time.monotonic():.0f} s before the end, after"
                f" '{faults.last}': {one}"
                for one in self._waits.look(pools, paused=paused)
            ]
            left = max(end - time.monotonic(), 0.0)
            longest = max((row["maxwait"] for row in pools), default=0)
            self._say(
                f"{what}, {left:3.0f} s left: {tally.open} clients,"
                f" {total(pools, 'cl_waiting')} waiting (longest {longest} s),"
                f" {total(pools, 'sv_active')} active servers,"
                f" {sum(tally.steps.values())} steps, {len(tally.wrong)} wrong"
            )

    async def _check_idle_clients(self) -> None:
        """Check the counts while all clients are logged in and idle."""
        semaphore = asyncio.Semaphore(LOGINS_AT_ONCE)

        async def log_in(number: int) -> AsyncConnection:
            async with semaphore:
                connection = await AsyncConnection.open(self._port, TIMEOUT_S)
                await connection.log_in(USERS[number % len(USERS)], DATABASE)
                return connection

        self._say("counting idle clients")
        try:
            present = await asyncio.gather(*map(log_in, range(self._size.clients)))
        except Disconnected as gone:
            self._findings.wrong.append(f"idle clients: one was refused: {gone}")
            return
        await self._count("idle clients", len(present))
        for connection in present:
            await connection.close()

    async def _check_no_clients(self) -> int:
        """Check the counts once all clients have disconnected; return the memory."""
        await self._count("no clients", 0)
        return self._observer.memory_kb()

    async def _count(self, when: str, clients: int) -> None:
        """Compare all counts until they agree or time is up."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            found = await asyncio.to_thread(self._compare, clients)
            if not found:
                return
            if time.monotonic() > deadline:
                self._findings.wrong += [f"{when}: {one}" for one in found]
                return
            await asyncio.sleep(CHECK_INTERVAL_S / 4)

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


def _counts(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"
