"""Lines to a syslog daemon, as it finds them, and one that takes none."""

from __future__ import annotations

import os
import socket
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgswitch.logs.sinks import MAX_LENGTH, SystemLog

MORE_THAN_A_QUEUE = 5_000


class Daemon:
    """What listens at a path."""

    def __init__(self, path: Path) -> None:
        """Listen."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)  # noqa: FBT003 - its only argument

    def read(self) -> list[bytes]:
        """Return all that has come."""
        lines = []
        while True:
            try:
                lines.append(self.socket.recv(1 << 16))
            except BlockingIOError:
                return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the daemon listens."""
    return tmp_path / "log"


@pytest.fixture
def log(path: Path) -> Iterator[SystemLog]:
    """Yield what writes there."""
    log = SystemLog(str(path), clock=lambda: 1_783_680_896.7)
    log.openlog("pgbouncer", syslog.LOG_PID, syslog.LOG_LOCAL0)
    yield log
    log._close()


def test_a_line(path: Path, log: SystemLog, other_zone: None) -> None:
    """Priority and facility, local time with a blank before a short day, who, what."""
    daemon = Daemon(path)
    log.syslog(syslog.LOG_INFO, "process up")
    head = f"<134>Jul 10 13:54:56 pgbouncer[{os.getpid()}]: ".encode()
    assert daemon.read() == [head + b"process up"]
    log.syslog(syslog.LOG_ERR, "é" * MAX_LENGTH)
    (line,) = daemon.read()
    assert line.startswith(b"<131>")
    assert len(line) == len(head) + MAX_LENGTH
    daemon.socket.close()


def test_a_daemon_that_hangs(path: Path, log: SystemLog) -> None:
    """Lines are dropped, logging never blocks; later a line says how many."""
    daemon = Daemon(path)
    for number in range(MORE_THAN_A_QUEUE):
        log.syslog(syslog.LOG_INFO, f"line {number}")
    taken = len(daemon.read())
    assert 0 < taken < MORE_THAN_A_QUEUE
    lost = MORE_THAN_A_QUEUE - taken
    assert log.dropped == lost
    log.syslog(syslog.LOG_INFO, "next")
    first, second = daemon.read()
    assert first.endswith(b": next")
    words = f"{lost} log lines could not be written: the reader has stopped reading"
    assert second.endswith(words.encode())
    assert log.dropped == 0
    daemon.socket.close()


def test_a_daemon_that_comes_and_goes(path: Path, log: SystemLog) -> None:
    """Without one lines are lost; another one at the same place gets the next."""
    log.syslog(syslog.LOG_INFO, "nobody there")
    assert log.dropped == 1
    daemon = Daemon(path)
    log.syslog(syslog.LOG_INFO, "first")
    assert len(daemon.read()) == 2
    daemon.socket.close()
    path.unlink()
    log.syslog(syslog.LOG_INFO, "gone")
    assert log.dropped == 1
    daemon = Daemon(path)
    log.syslog(syslog.LOG_INFO, "second")
    first, second = daemon.read()
    assert first.endswith(b": second")
    assert b"1 log lines could not be written" in second
    daemon.socket.close()
