"""Under a parent that does what systemd does: passes sockets, reads notifications."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.processes import Account, hand_over
from tests.integration.test_process import COMMAND, TIMEOUT_S, Place
from tests.waiting import wait_until

AS_SYSTEMD = """
import os, sys
sockets = [int(word) for word in sys.argv[1].split(",")]
for number, fd in enumerate(sockets):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Puts sockets where sd_listen_fds(3) looks, and becomes the service."""


@pytest.fixture
def place(directory: Path, account: Account | None) -> Iterator[Place]:
    """Yield a place in a folder of its own."""
    place = Place(directory, account)
    yield place
    place.end()


def options(place: Place) -> list[str]:
    """Return what switches to the user that may run the service."""
    return [] if place.account is None else ["-u", place.account.name]


def test_service_manager_is_notified(place: Place) -> None:
    """Ready after the start, reloading and ready again, stopping."""
    path = place.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        hand_over(path, place.account)
        manager.settimeout(TIMEOUT_S)
        user = [] if place.account is None else ["-u", place.account.name]
        run = place.run(*COMMAND, *user, str(place.write()), NOTIFY_SOCKET=str(path))
        assert manager.recv(100) == b"READY=1"
        run.process.send_signal(signal.SIGHUP)
        assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(100) == b"READY=1"
        run.process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert run.end() == 0


def test_status_is_reported(place: Place) -> None:
    """The statistics of each period, for systemctl status."""
    path = place.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        hand_over(path, place.account)
        manager.settimeout(TIMEOUT_S)
        file = str(place.write(stats_period=1))
        run = place.run(*COMMAND, *options(place), file, NOTIFY_SOCKET=str(path))
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(500).startswith(b"STATUS=stats: 0 xacts/s, 0 queries/s,")
        run.await_text("LOG stats: 0 xacts/s, 0 queries/s, 0 client parses/s")


def test_sockets_are_passed(place: Place) -> None:
    """They replace the addresses of the file; -R is refused there."""
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        path = place.directory / ".s.PGSQL.1"
        unix.bind(str(path))
        unix.listen()
        hand_over(path, place.account)
        passed = [os.dup(one.fileno()) for one in (tcp, unix)]
        for fd in passed:
            os.set_inheritable(fd, True)  # noqa: FBT003 - its only argument
            stack.callback(os.close, fd)
        parent = [sys.executable, "-c", AS_SYSTEMD, ",".join(map(str, passed))]
        file = str(place.write(admin_users="admin"))
        run = place.start_passing(passed, *parent, *COMMAND, *options(place), file)
        run.await_text("LOG process up: PgBouncer 1.25.2, ")
        for line in (
            "WARNING sockets passed from service manager, cf_listen_addr ignored",
            "WARNING sockets passed from service manager, cf_unix_socket_dir ignored",
            "LOG socket passed from service manager (fd 3)",
            "LOG socket passed from service manager (fd 4)",
        ):
            assert line in run.text
        port = tcp.getsockname()[1]
        for host, number in (("127.0.0.1", port), (str(place.directory), 1)):
            where = f"host={host} port={number} user=admin dbname=pgbouncer"
            with psycopg.connect(where, autocommit=True) as console:
                assert console.execute("SHOW VERSION").fetchall()
        assert not place.unix_socket.exists()
        second = place.start_passing(
            passed, *parent, *COMMAND, *options(place), "-R", file
        )
        assert second.end() == 1
        assert "FATAL cannot reboot under service manager" in second.text
        run.signal(signal.SIGINT, "got SIGINT")
        assert run.end() == 0
        assert path.exists(), "the socket is the service manager's"


def test_one_process_after_the_other(place: Place) -> None:
    """With so_reuseport, a new process serves before the old one has ended."""
    files = []
    for name in ("first", "second"):
        file = place.write(
            so_reuseport=1, unix_socket_dir=f"@{place.directory}/{name}", pidfile=""
        )
        files.append(file.rename(place.directory / f"{name}.ini"))
    where = f"host=127.0.0.1 port={place.port} user=admin dbname=pgbouncer"
    runs = [place.run(*COMMAND, *options(place), str(file)) for file in files]
    for run in runs:
        run.await_text("process up")
    with psycopg.connect(where, autocommit=True) as old:
        runs[0].process.send_signal(signal.SIGINT)
        assert runs[0].end() == 0
        for _ in range(10):
            with psycopg.connect(where, autocommit=True) as new:
                assert new.execute("SHOW VERSION").fetchall()
        del old
    wait_until(lambda: runs[1].process.poll() is None, "the second process")
