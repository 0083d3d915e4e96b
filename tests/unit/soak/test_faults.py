"""Which faults are injected, and that clients are not left paused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import pytest

from soak.faults import PAUSE_S, Fault, FaultInjector, fault_plan

CLIENTS = [
    {"id": 3, "database": "soak"},
    {"id": 4, "database": "pgbouncer"},
]


class FakeAdmins:
    """Administrators that only record their commands."""

    def __init__(self) -> None:
        self.commands: list[object] = []
        self.pids = [11]
        self.gone = False

    def console(self, command: str) -> list[dict[str, Any]]:
        """Note a command."""
        if command == "SHOW CLIENTS":
            return CLIENTS
        self.commands.append(command)
        if command.startswith("KILL_CLIENT") and self.gone:
            raise LookupError
        return []

    def server_pids(self) -> list[int]:
        """Return the given pids."""
        return self.pids

    def end_server(self, pid: int) -> None:
        """Record the pid."""
        self.commands.append(pid)


def injected(admins: FakeAdmins, *wanted: Fault) -> list[object]:
    """Return the commands, and the pauses, of some faults."""

    async def pause(seconds: float) -> None:
        if seconds:
            admins.commands.append(seconds)

    def plan() -> Iterator[tuple[float, Fault, Random]]:
        for fault in wanted:
            yield 0.0, fault, Random(1)

    faults = FaultInjector(admins, plan(), pause)
    asyncio.run(faults.run(lambda: False))
    assert not faults.paused
    assert faults.done.total() == len(wanted)
    return admins.commands


def test_the_same_again() -> None:
    """The seed decides what comes when, and all of it comes."""

    def first(seed: int) -> list[tuple[float, Fault]]:
        return [
            (pause, fault) for pause, fault, _ in islice(fault_plan(seed, 2.0), 200)
        ]

    assert first(1) == first(1) != first(2)
    assert {fault for _, fault in first(1)} == set(Fault)


@pytest.mark.parametrize(
    ("fault", "commands"),
    [
        (Fault.SERVER, [11]),
        (Fault.CLIENT, ["KILL_CLIENT 3"]),
        (Fault.RECONNECT, ["RECONNECT"]),
        (Fault.PAUSE, ["PAUSE", PAUSE_S, "RESUME"]),
    ],
)
def test_faults(fault: Fault, commands: list[object]) -> None:
    """Each is done; the console's own client is spared."""
    assert injected(FakeAdmins(), fault) == commands


def test_nothing_to_kill() -> None:
    """Neither that nor a client that has just disconnected is an error."""
    admins = FakeAdmins()
    admins.pids = []
    admins.gone = True
    assert injected(admins, Fault.SERVER, Fault.CLIENT) == ["KILL_CLIENT 3"]


def test_the_end() -> None:
    """Nothing is done after it."""
    admins = FakeAdmins()
    faults = FaultInjector(admins, iter([(0.0, Fault.SERVER, Random(1))]))
    asyncio.run(faults.run(lambda: True))
    assert admins.commands == []
