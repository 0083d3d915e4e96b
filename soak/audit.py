"""What must hold: while clients come and go, and once all is quiet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GROWTH, SLACK_KB = 1.10, 8192
"""Memory may be so many times what it was, and in a small run so much more."""
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

    def __init__(self, servers: int) -> None:
        """``servers`` is how many all pools together may have, and each of them."""
        self._servers = servers
        self._is_suspected = False

    def look(self, pools: Sequence[Row], *, paused: bool) -> list[str]:
        """Return in words what is wrong with the rows of one SHOW POOLS.

        That a server could be opened and is not is wrong if the next look finds it so
        too.
        """
        waiting = total(pools, "cl_waiting")
        was_suspected, self._is_suspected = self._is_suspected, False
        if paused or not waiting:
            return []
        servers = total(pools, *SERVER_STATES)
        is_full = servers >= self._servers
        idle = total(pools, "sv_idle")
        found = [
            f"{waiting} wait while a server is idle{_states(pools)}"
            for row in pools
            if int(row["cl_waiting"])
            and (int(row["sv_idle"]) or (is_full and idle and _is_short(row)))
        ]
        longest = max(int(row["maxwait"]) for row in pools)
        if longest > LONGEST_WAIT_S:
            found.append(f"somebody waits for {longest} s")
        self._is_suspected = not is_full and not total(pools, *_COMING)
        if self._is_suspected and was_suspected:
            found.append(f"{waiting} wait, and no server is opened")
        return found


def _is_short(row: Row) -> bool:
    """Tell whether more clients of a pool wait than servers are about to be there."""
    return int(row["cl_waiting"]) > total([row], *_COMING)


def _states(pools: Iterable[Row]) -> str:
    """Return what is not 0 in the rows."""
    return "".join(
        f"; {row['database']}/{row['user']}: "
        + ", ".join(
            f"{row[name]} {name}"
            for name in ("cl_waiting", *SERVER_STATES)
            if int(row[name])
        )
        for row in pools
    )


def growth(before_kb: int, after_kb: int) -> list[str]:
    """Return in words whether memory has not come back."""
    if after_kb <= max(before_kb * GROWTH, before_kb + SLACK_KB):
        return []
    return [f"memory grew from {before_kb} to {after_kb} kB"]
