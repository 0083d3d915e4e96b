"""Who is killed, and that nobody is left paused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import pytest

from soak.trouble import PAUSE_S, Blow, Trouble, blows

CLIENTS = [
    {"id": 3, "database": "soak"},
    {"id": 4, "database": "pgbouncer"},
]


class MadeUp:
    """Administrators of nothing, who note what they are told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.pids = [11]
        self.gone = False

    def console(self, command: str) -> list[dict[str, Any]]:
        """Note a command."""
        if command == "SHOW CLIENTS":
            return CLIENTS
        self.told.append(command)
        if command.startswith("KILL_CLIENT") and self.gone:
            raise LookupError
        return []

    def server_pids(self) -> list[int]:
        """Return what is said to be there."""
        return self.pids

    def end_server(self, pid: int) -> None:
        """Note who is ended."""
        self.told.append(pid)


def struck(rulers: MadeUp, *wanted: Blow) -> list[object]:
    """Return what the rulers and the clock were told for some blows."""

    async def pause(seconds: float) -> None:
        if seconds:
            rulers.told.append(seconds)

    def plan() -> Iterator[tuple[float, Blow, Random]]:
        for blow in wanted:
            yield 0.0, blow, Random(1)

    trouble = Trouble(rulers, plan(), pause)
    asyncio.run(trouble.run(lambda: False))
    assert not trouble.paused
    assert trouble.done.total() == len(wanted)
    return rulers.told


def test_the_same_again() -> None:
    """The seed decides what comes when, and all of it comes."""

    def first(seed: int) -> list[tuple[float, Blow]]:
        return [(pause, blow) for pause, blow, _ in islice(blows(seed, 2.0), 200)]

    assert first(1) == first(1) != first(2)
    assert {blow for _, blow in first(1)} == set(Blow)


@pytest.mark.parametrize(
    ("blow", "told"),
    [
        (Blow.SERVER, [11]),
        (Blow.CLIENT, ["KILL_CLIENT 3"]),
        (Blow.RECONNECT, ["RECONNECT"]),
        (Blow.PAUSE, ["PAUSE", PAUSE_S, "RESUME"]),
    ],
)
def test_blows(blow: Blow, told: list[object]) -> None:
    """Each is done; the console's own client is spared."""
    assert struck(MadeUp(), blow) == told


def test_nobody_to_kill() -> None:
    """Is no error, nor is somebody who has left meanwhile."""
    rulers = MadeUp()
    rulers.pids = []
    rulers.gone = True
    assert struck(rulers, Blow.SERVER, Blow.CLIENT) == ["KILL_CLIENT 3"]


def test_the_end() -> None:
    """Nothing is done after it."""
    rulers = MadeUp()
    trouble = Trouble(rulers, iter([(0.0, Blow.SERVER, Random(1))]))
    asyncio.run(trouble.run(lambda: True))
    assert rulers.told == []
