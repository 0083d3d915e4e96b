"""What the kernel says about a process and all its descendants."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
SETTLE_LIMIT_S, SETTLE_POLL_S = 5.0, 0.05
SETTLED_NS = 1_000_000
"""A process that uses less CPU between two looks is at rest: 2 % of a core."""


def process_tree(pid: int, proc: Path = PROC) -> list[int]:
    """Return the process, its children, theirs, and so on (proc_pid_task(5))."""
    tree = [pid]
    for member in tree:
        for task in _tasks(member, proc):
            with suppress(FileNotFoundError, ProcessLookupError):
                tree += map(int, (task / "children").read_text().split())
    return tree


def cpu_ns(pid: int, proc: Path = PROC) -> int:
    """Return the CPU time that a process tree has used, in nanoseconds.

    It is the first number of each thread's ``schedstat``: time on a processor, in user
    and kernel mode together (Linux, Documentation/scheduler/sched-stats). Threads that
    have ended are not in it; poolers keep theirs.
    """
    total = 0
    for member in process_tree(pid, proc):
        for task in _tasks(member, proc):
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def resident_kb(pid: int, proc: Path = PROC) -> int:
    """Return the resident memory of a process tree, in kB of 1024 bytes."""
    total = 0
    for member in process_tree(pid, proc):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = (proc / str(member) / "status").read_text()
            found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
            total += int(found[1]) if found else 0
    return total


def settle(pid: int, limit_s: float = SETTLE_LIMIT_S) -> None:
    """Wait until a process tree rests, ``limit_s`` seconds at most.

    A pooler that still takes leave of its clients would disturb the next one.
    """
    deadline = time.monotonic() + limit_s
    used, before = cpu_ns(pid), -SETTLED_NS
    while used - before >= SETTLED_NS and time.monotonic() < deadline:
        time.sleep(SETTLE_POLL_S)  # noqa: TID251 - no reactor runs in this process
        used, before = cpu_ns(pid), used


def _tasks(pid: int, proc: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, ProcessLookupError):
        yield from sorted((proc / str(pid) / "task").iterdir())
