"""A service that the console's tests can look at and command."""

# ruff: noqa: D102 - the methods do what the seams say

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from twisted.internet.defer import Deferred

from pgswitch.admin.interfaces import ShutdownMode
from pgswitch.admin.snapshots import (
    DatabaseSnapshot,
    DescriptorSnapshot,
    DnsHostSnapshot,
    DnsZoneSnapshot,
    FailureSnapshot,
    ListsSnapshot,
    MemorySnapshot,
    NodeSnapshot,
    PeerSnapshot,
    PoolSnapshot,
    RouteSnapshot,
    RuleSnapshot,
    SocketSnapshot,
    StateSnapshot,
    StatsReport,
    StatsSnapshot,
    SwitchoverSnapshot,
    UserSnapshot,
)
from pgswitch.errors import (
    AlreadyPaused,
    ClientNotFound,
    ConsoleNoSuchDatabase,
    DatabaseNotPaused,
    PoolerNotPaused,
)
from pgswitch.types import PoolMode

T = TypeVar("T")
NOON = 1_795_348_800.0
"""2026-11-22 12:00:00 UTC."""

CLIENT = SocketSnapshot(
    kind="C",
    id=2,
    user="postgres",
    database="bench",
    state="active",
    addr="127.0.0.1",
    port=56540,
    local_addr="127.0.0.1",
    local_port=6400,
    connect_time=NOON,
    request_time=NOON + 1.5,
    ptr=0x5566BB02BDC8,
    link=0x5566BB055BF0,
    wait_us=2_000_003,
    recv_pos=7,
)
LOGIN = SocketSnapshot(
    kind="C",
    id=4,
    user=None,
    database=None,
    state="login",
    addr="unix",
    port=6400,
    local_addr="unix",
    local_port=6400,
    connect_time=NOON,
    request_time=NOON,
    ptr=0x10,
)
SERVER = SocketSnapshot(
    kind="S",
    id=3,
    user="postgres",
    database="bench",
    state="new",
    socket_state="sv_login",
    addr="127.0.0.1",
    port=6000,
    local_addr="127.0.0.1",
    local_port=41140,
    connect_time=NOON,
    request_time=NOON,
    ptr=0x5566BB055BF0,
    close_needed=True,
    remote_pid=24610,
    tls="TLSv1.3/TLS_AES_256_GCM_SHA384",
    application_name="shop",
    prepared_statements=5,
)
TOTALS = StatsSnapshot(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
AVERAGES = StatsSnapshot(21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)


def among_pauses(found: Iterable[T]) -> Iterator[T | None]:
    """Yield what there is to show, and what is not shown before and behind it."""
    yield None
    for one in found:
        yield one
        yield None


@dataclass
class FakeView:
    """Shows one of each thing; implements View."""

    shown_state: StateSnapshot = field(default_factory=StateSnapshot)

    def clients(self) -> Sequence[SocketSnapshot]:
        return [CLIENT]

    def servers(self) -> Sequence[SocketSnapshot]:
        return [SERVER]

    def sockets(self) -> Sequence[SocketSnapshot]:
        return [CLIENT, LOGIN, SERVER]

    def each_client(self) -> Iterator[SocketSnapshot]:
        return iter(self.clients())

    def each_server(self) -> Iterator[SocketSnapshot | None]:
        return among_pauses(self.servers())

    def each_socket(self) -> Iterator[SocketSnapshot | None]:
        return among_pauses(self.sockets())

    def each_descriptor(self) -> Iterator[DescriptorSnapshot | None]:
        return among_pauses(self.descriptors())

    def descriptors(self) -> Sequence[DescriptorSnapshot]:
        return [
            DescriptorSnapshot(fd=7, task="pooler", addr="127.0.0.1", port=6400),
            DescriptorSnapshot(
                fd=8,
                task="client",
                user="postgres",
                database="bench",
                addr="unix",
                port=0,
                cancel_key=b"\1\0\0\0\0\0\0\0",
                link=9,
                parameters={"client_encoding": "UTF8", "TimeZone": "UTC"},
                scram_client_key=b"\1\xff",
            ),
        ]

    def handover(self) -> Sequence[DescriptorSnapshot]:
        return [replace(self.descriptors()[0], state="{}")]

    def pools(self) -> Sequence[PoolSnapshot]:
        return [
            PoolSnapshot(
                database="bench",
                user="postgres",
                pool_mode=PoolMode.TRANSACTION,
                cl_active=1,
                cl_waiting=2,
                cl_active_cancel_req=3,
                cl_waiting_cancel_req=4,
                sv_active=5,
                sv_active_cancel=6,
                sv_being_canceled=7,
                sv_idle=8,
                sv_used=9,
                sv_tested=10,
                sv_login=11,
                maxwait_us=12_000_013,
                load_balance_hosts="round-robin",
            ),
            PoolSnapshot(
                database="pgbouncer",
                user="pgbouncer",
                pool_mode=PoolMode.STATEMENT,
                cl_active=1,
            ),
        ]

    def each_pool(self) -> Iterator[PoolSnapshot | None]:
        return among_pauses(self.pools())

    def each_database(self) -> Iterator[DatabaseSnapshot | None]:
        return among_pauses(self.databases())

    def each_user(self) -> Iterator[UserSnapshot | None]:
        return among_pauses(self.users())

    def databases(self) -> Sequence[DatabaseSnapshot]:
        return [
            DatabaseSnapshot(
                name="bench",
                host="127.0.0.1",
                port=6000,
                database="bench_real",
                pool_size=3,
                min_pool_size=1,
                reserve_pool_size=2,
                server_lifetime=3600,
                max_connections=4,
                current_connections=5,
                max_client_connections=6,
                current_client_connections=7,
                paused=True,
            ),
            DatabaseSnapshot(
                name="pgbouncer",
                host=None,
                port=6400,
                database="pgbouncer",
                force_user="pgbouncer",
                pool_size=2,
                server_lifetime=3600,
                pool_mode=PoolMode.STATEMENT,
                disabled=True,
            ),
        ]

    def users(self) -> Sequence[UserSnapshot]:
        return [
            UserSnapshot(name="admin", current_client_connections=1),
            UserSnapshot(
                name="app",
                pool_size=5,
                reserve_pool_size=0,
                pool_mode=PoolMode.SESSION,
                max_user_connections=8,
                current_connections=3,
                max_user_client_connections=9,
            ),
        ]

    def peers(self) -> Sequence[PeerSnapshot]:
        return [
            PeerSnapshot(peer_id=1, host="127.0.0.1", port=6400, pool_size=3),
            PeerSnapshot(
                peer_id=2,
                host="10.0.0.2",
                port=6401,
                pool_size=3,
                has_pool=True,
                cl_active_cancel_req=1,
                cl_waiting_cancel_req=2,
                sv_active_cancel=3,
                sv_login=4,
            ),
        ]

    def gather_stats(self) -> Generator[None, None, StatsReport]:
        yield
        return StatsReport(
            totals={"shop": StatsSnapshot(), "bench": TOTALS},
            averages={"shop": StatsSnapshot(), "bench": AVERAGES},
            total=TOTALS,
            total_averages=AVERAGES,
        )

    def each_percentiles(self) -> Iterator[tuple[str, Sequence[int]] | None]:
        return among_pauses([("bench", tuple(range(1, 10)))])

    def each_error(self) -> Iterator[FailureSnapshot | None]:
        return among_pauses(
            [
                FailureSnapshot("", "08P01", "not allowed", 2, NOON),
                FailureSnapshot("bench", "42P01", "server", 1),
            ]
        )

    def state(self) -> StateSnapshot:
        return self.shown_state

    def gather_lists(self) -> Generator[None, None, ListsSnapshot]:
        yield
        return ListsSnapshot(databases=5, used_clients=2)

    def each_memory(self) -> Iterator[MemorySnapshot | None]:
        return among_pauses(
            [MemorySnapshot(name="user_cache", size=10, used=5, free=1)]
        )

    def dns_hosts(self) -> Sequence[DnsHostSnapshot]:
        return [DnsHostSnapshot(hostname="db", ttl=15, addrs=("10.0.0.1", "::1"))]

    def dns_zones(self) -> Sequence[DnsZoneSnapshot]:
        return [DnsZoneSnapshot(zonename="example", serial=7, count=2)]

    def each_node(self) -> Iterator[NodeSnapshot | None]:
        """Yield one node."""
        return among_pauses(
            [
                NodeSnapshot(
                    database="db",
                    node="a",
                    host="a.example",
                    port=5432,
                    role="writer",
                    state="known",
                    timeline=2,
                    lsn=(1 << 32) + 0xAB,
                    lag_bytes=None,
                    probe_age_ms=100,
                    probe_us=400,
                    servers=3,
                    why="",
                )
            ]
        )

    def switchovers(self) -> Sequence[SwitchoverSnapshot]:
        """Return one that is not over."""
        return [
            SwitchoverSnapshot(
                database="db",
                cause="no answer in time",
                old_writer="a",
                new_writer=None,
                timeline=2,
                suspected=NOON,
                confirmed=NOON + 0.25,
                found=None,
                served=None,
                held=1,
                retried=2,
                lost=3,
                errors="08007:1",
                longest_wait_ms=4,
            )
        ]

    def rules(self) -> Sequence[RuleSnapshot]:
        return [
            RuleSnapshot(
                rule="routing_rules",
                database="*",
                file="/etc/r.py",
                written_at=NOON,
                digest="abc",
                calls=1,
                kept=2,
                moves=3,
                rewrites=10,
                errors=4,
                refused=5,
                unknown=6,
                p50_us=7,
                p99_us=8,
                max_us=9,
            )
        ]

    def route(self, query: str, user: str, database: str) -> RouteSnapshot:
        return RouteSnapshot(
            query=query, database=f"{user}/{database}", why="test", microseconds=3
        )

    def config_rows(self) -> Sequence[tuple[str, str | None, str | None, str]]:
        return [("admin_users", "admin", None, "yes")]


@dataclass
class FakeControl:
    """Knows the databases bench and we-b; remembers its calls; implements Control."""

    paused: set[str] = field(default_factory=set)
    is_all_paused: bool = False
    is_reload_good: bool = True
    has_tls: bool = True
    calls: list[tuple[object, ...]] = field(default_factory=list)
    waits: list[Deferred[None]] = field(default_factory=list)

    def _database(self, verb: str, database: str | None) -> None:
        self.calls.append((verb, database))
        if database not in {None, "bench", "we-b"}:
            raise ConsoleNoSuchDatabase(database=database)

    def _wait(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.waits.append(waiting)
        return waiting

    def reload(self) -> bool:
        self.calls.append(("reload",))
        return self.is_reload_good

    def set(self, key: str, value: str) -> bool:
        self.calls.append(("set", key, value))
        known = {"default_pool_size", "listen_port", "client_tls_dheparams"}
        return key in known and value.isdecimal()

    def tls_is_current(self) -> bool:
        return self.has_tls

    def pause(
        self, database: str | None, *, timeout: float | None = None
    ) -> Deferred[None]:
        self._database("pause", database)
        if timeout is not None:
            self.calls.append(("timeout", timeout))
        if database is None and self.is_all_paused:
            raise AlreadyPaused
        return self._wait()

    def resume(self, database: str | None) -> None:
        self._database("resume", database)
        if database is None and not self.is_all_paused:
            raise PoolerNotPaused
        if database is not None and database not in self.paused:
            raise DatabaseNotPaused(database=database)

    def suspend(self) -> Deferred[None]:
        self.calls.append(("suspend",))
        return self._wait()

    def disable(self, database: str) -> None:
        self._database("disable", database)

    def enable(self, database: str) -> None:
        self._database("enable", database)

    def reconnect(self, database: str | None) -> None:
        self._database("reconnect", database)

    def kill(self, database: str | None) -> None:
        self._database("kill", database)

    def kill_client(self, client_id: int) -> None:
        self.calls.append(("kill_client", client_id))
        if client_id != 7:
            raise ClientNotFound

    def wait_close(self, database: str | None) -> Deferred[None]:
        self._database("wait_close", database)
        return self._wait()

    def shutdown(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        self.calls.append(("shutdown", mode))
        if timeout is not None:
            self.calls.append(("timeout", timeout))


@dataclass
class FakeLog:
    """Keeps level and text of each line; implements ConsoleLog."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def log(self, message: str) -> None:
        self.lines.append(("LOG", message))

    def error(self, message: str) -> None:
        self.lines.append(("ERROR", message))
