"""A service that the console's tests can look at and command."""

# ruff: noqa: D102 - the methods do what the seams say

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from pgswitch.admin.commands import ShutdownMode
from pgswitch.admin.descriptors import Descriptor
from pgswitch.admin.view import ServiceView
from pgswitch.errors import (
    AlreadyPaused,
    ClientNotFound,
    ConsoleNoSuchDatabase,
    DatabaseNotPaused,
    PoolerNotPaused,
)

NOON = 1_795_348_800.0
"""2026-11-22 12:00:00 UTC."""

FDS = (
    Descriptor(fd=7, task="pooler", addr="127.0.0.1", port=6400),
    Descriptor(
        fd=8,
        task="client",
        user="postgres",
        database="bench",
        addr="unix",
        port=0,
        cancel_key=b"\1\0\0\0\0\0\0\0",
        peer_fd=9,
        parameters={"client_encoding": "UTF8", "TimeZone": "UTC"},
    ),
)


def fake_view(
    *, paused: bool = False, suspended: bool = False, shutting_down: bool = False
) -> ServiceView:
    """Return what SHOW STATE, FDS, DNS_ZONES and EXPLAIN ROUTE read."""
    zone = SimpleNamespace(zone="example", serial=7, names=2)
    parts: Any = SimpleNamespace(
        context=SimpleNamespace(paused=paused, suspended=suspended),
        login_service=SimpleNamespace(shutting_down=shutting_down),
        names=SimpleNamespace(zones=lambda: iter([zone])),
        rules=SimpleNamespace(rules_of=lambda _database: None),
        handover=SimpleNamespace(
            each_descriptor=lambda: iter([None, FDS[0], None, FDS[1], None]),
            rows=lambda: [replace(FDS[0], state="{}")],
        ),
    )
    view: ServiceView = parts
    return view


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
