"""What must hold: while clients come and go, and once all is quiet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GROWTH = 1.10
"""Memory may be so many times what it was."""
LONGEST_WAIT_S = 60
SERVER_STATES = (
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_idle",
    "sv_used",
    "sv_tested",
    "sv_login",
)
_COMING = ("sv_tested", "sv_used", "sv_being_canceled", "sv_login")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are, as one side sees it; the console's own client left out."""

    clients: int
    servers: int


Row = Mapping[str, Any]


def total(rows: Iterable[Row], *columns: str) -> int:
    """Return the sum of some columns of the rows."""
    return sum(int(row[column]) for row in rows for column in columns)


def differences(shown: Mapping[str, Counts], real: Counts) -> list[str]:
    """Return in words where a command of the console does not tell what is open."""
    return [
        f"{command} tells of {count} {what}, {truth} are open"
        for command, counts in shown.items()
        for what, count, truth in (
            ("clients", counts.clients, real.clients),
            ("servers", counts.servers, real.servers),
        )
        if count != truth
    ]


class Waits:
    """Looks at SHOW POOLS again and again for clients that wait without cause."""

    def __init__(self, pool_size: int) -> None:
        """``pool_size`` is what each pool may have."""
        self._pool_size = pool_size
        self._suspected: set[tuple[str, str]] = set()

    def look(self, pools: Iterable[Row], *, paused: bool) -> list[str]:
        """Return in words what is wrong with the rows of one SHOW POOLS.

        A pool that could open a server and does not is wrong if the next look finds
        it so too.
        """
        found: list[str] = []
        suspected = set()
        for row in [] if paused else pools:
            name = f"{row['database']}/{row['user']}"
            waiting = int(row["cl_waiting"])
            if not waiting:
                continue
            if int(row["sv_idle"]):
                found.append(f"{name}: {waiting} wait while a server is idle")
            if int(row["maxwait"]) > LONGEST_WAIT_S:
                found.append(f"{name}: somebody waits for {row['maxwait']} s")
            servers = total([row], *SERVER_STATES)
            if servers < self._pool_size and not total([row], *_COMING):
                suspected.add((row["database"], row["user"]))
        found += [
            f"{database}/{user}: clients wait, and no server is opened"
            for database, user in suspected & self._suspected
        ]
        self._suspected = suspected
        return found


def growth(before_kb: int, after_kb: int) -> list[str]:
    """Return in words whether memory has not come back."""
    if after_kb <= before_kb * GROWTH:
        return []
    return [f"memory grew from {before_kb} to {after_kb} kB"]
