"""What the kernel says about processes: CPU time, memory, sockets (proc(5))."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
IDLE_TIMEOUT_S, POLL_S = 5.0, 0.05
IDLE_NS = 1_000_000
"""A process tree that uses less CPU than this within POLL_S is idle: 2 % of a core."""


def process_tree(pid: int, proc: Path = PROC) -> list[int]:
    """Return the process, its children, their children and so on."""
    tree = [pid]
    for member in tree:
        for task in _tasks(member, proc):
            with suppress(FileNotFoundError, ProcessLookupError):
                tree += map(int, (task / "children").read_text().split())
    return tree


def cpu_ns(pid: int, proc: Path = PROC) -> int:
    """Return the CPU time that a process tree has used, in nanoseconds.

    It is the first number of each thread's ``schedstat``: time on a CPU, user and
    kernel mode together (Linux, Documentation/scheduler/sched-stats). Threads that have
    ended do not count; poolers keep theirs.
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


def open_sockets(pid: int) -> int:
    """Return how many sockets a process has open. Raises FileNotFoundError if gone."""
    count = 0
    for descriptor in (PROC / str(pid) / "fd").iterdir():
        try:
            count += descriptor.readlink().name.startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def wait_until_idle(pid: int, timeout_s: float = IDLE_TIMEOUT_S) -> None:
    """Wait until a process tree is idle, ``timeout_s`` seconds at most.

    A pooler that still closes the connections of the last load would disturb the next.
    """
    deadline = time.monotonic() + timeout_s
    used, before = cpu_ns(pid), -IDLE_NS
    while used - before >= IDLE_NS and time.monotonic() < deadline:
        time.sleep(POLL_S)  # noqa: TID251 - no reactor runs in this process
        used, before = cpu_ns(pid), used


def _tasks(pid: int, proc: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, ProcessLookupError):
        yield from sorted((proc / str(pid) / "task").iterdir())
