"""What is read of processes, most of it from a made-up /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from testkit.procfs import cpu_ns, open_sockets, process_tree, resident_kb


def make_process(
    proc: Path, pid: int, threads: dict[int, tuple[int, str]], rss_kb: int
) -> None:
    """Write a process: (CPU time, children) by thread, and its memory."""
    for thread, (used_ns, children) in threads.items():
        task = proc / str(pid) / "task" / str(thread)
        task.mkdir(parents=True)
        (task / "schedstat").write_text(f"{used_ns} 77 5\n")
        (task / "children").write_text(children)
    (proc / str(pid) / "status").write_text(f"Name:\tx\nVmRSS:\t{rss_kb:8} kB\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a folder like /proc: 10 has 11 and 12, the latter 13, and 14 is apart."""
    make_process(tmp_path, 10, {10: (1000, "11 "), 20: (200, "12 ")}, rss_kb=64)
    make_process(tmp_path, 11, {11: (30, "")}, rss_kb=8)
    make_process(tmp_path, 12, {12: (4, "13 ")}, rss_kb=4)
    make_process(tmp_path, 13, {13: (5, "")}, rss_kb=2)
    make_process(tmp_path, 14, {14: (60_000, "")}, rss_kb=1000)
    return tmp_path


def test_tree(proc: Path) -> None:
    """Children of every thread, and theirs."""
    assert sorted(process_tree(10, proc)) == [10, 11, 12, 13]


def test_cpu(proc: Path) -> None:
    """All threads of the whole tree, and no others."""
    assert cpu_ns(10, proc) == 1239


def test_memory(proc: Path) -> None:
    """The sum over the tree."""
    assert resident_kb(10, proc) == 78


def test_a_child_that_is_gone(proc: Path) -> None:
    """Processes end between two reads; the others count."""
    (proc / "11" / "task" / "11" / "schedstat").unlink()
    (proc / "13" / "status").unlink()
    assert cpu_ns(10, proc) == 1209
    assert resident_kb(10, proc) == 76
    assert cpu_ns(99, proc) == 0


def test_sockets() -> None:
    """Each open socket counts."""
    before = open_sockets(os.getpid())
    with socket.socket(), socket.socket():
        assert open_sockets(os.getpid()) == before + 2
    assert open_sockets(os.getpid()) == before


def test_memory_of_this_process() -> None:
    """The real /proc: a Python process has some megabytes."""
    assert resident_kb(os.getpid()) > 5000
