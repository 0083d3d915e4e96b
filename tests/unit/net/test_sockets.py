"""Making listening sockets. TCP ones are fakes here, unix ones are real."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from pgswitch.errors.base import FatalError
from pgswitch.net.sockets import (
    SocketFile,
    StepFailedError,
    group_id,
    listen_tcp,
    listen_unix,
    name_of,
    resolve,
    unix_port,
    unix_socket_path,
)
from tests.unit.net.listen_settings import ListenValues

REUSE_ADDRESS = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
REUSE_PORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
ONLY_V6 = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
DEFER = (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 7)


class NotedSocket:
    """A TCP socket that keeps what is done to it and may refuse one step."""

    def __init__(self, family: int, refuses: str = "") -> None:
        """Keep nothing yet."""
        self.family = family
        self.refuses = refuses
        self.done: list[Any] = []

    def _do(self, step: str, *what: object) -> None:
        if step == self.refuses:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self.done.append((step, *what))

    def setsockopt(self, *option: int) -> None:
        """Keep it."""
        self._do("setsockopt", option)

    def bind(self, address: object) -> None:
        """Keep it."""
        self._do("bind", address)

    def listen(self, backlog: int) -> None:
        """Keep it."""
        self._do("listen", backlog)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as the real one
        """Keep it."""
        self._do("setblocking", flag)

    def close(self) -> None:
        """Keep it."""
        self.done.append(("close",))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[NotedSocket]:
    """Replace TCP sockets by noted ones; the list holds those made."""
    found: list[NotedSocket] = []

    def make(family: int, _kind: int) -> NotedSocket:
        found.append(NotedSocket(family))
        return found[-1]

    monkeypatch.setattr(socket, "socket", make)
    return found


@pytest.mark.parametrize(
    ("family", "values", "options"),
    [
        (socket.AF_INET, ListenValues(), [REUSE_ADDRESS]),
        (socket.AF_INET6, ListenValues(), [REUSE_ADDRESS, ONLY_V6]),
        (
            socket.AF_INET,
            ListenValues(so_reuseport=1, tcp_defer_accept=7),
            [REUSE_ADDRESS, REUSE_PORT, DEFER],
        ),
    ],
)
def test_listen_tcp(
    made: list[NotedSocket],
    family: int,
    values: ListenValues,
    options: list[tuple[int, int, int]],
) -> None:
    """Options come before bind, and the socket never blocks."""
    listen_tcp(family, ("host", 5), values)
    assert made[0].done == [
        *(("setsockopt", option) for option in options),
        ("bind", ("host", 5)),
        ("listen", 128),
        ("setblocking", False),
    ]


@pytest.mark.parametrize("step", ["setsockopt", "bind", "listen"])
def test_refused_step_is_named(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which call failed and why; the socket is closed."""
    sock = NotedSocket(socket.AF_INET, refuses=step)
    monkeypatch.setattr(socket, "socket", lambda *_: sock)
    with pytest.raises(StepFailedError) as caught:
        listen_tcp(socket.AF_INET, ("host", 5), ListenValues())
    assert str(caught.value) == f"{step}(): Address already in use"
    assert sock.done[-1] == ("close",)


def test_unix_socket_listens_with_mode_and_group(tmp_path: Path) -> None:
    """The mode and group decide who may connect, and a client can."""
    path = str(tmp_path / "s")
    values = ListenValues(unix_socket_mode=0o640, unix_socket_group=str(os.getgid()))
    with listen_unix(path, values) as sock, socket.socket(socket.AF_UNIX) as client:
        status = Path(path).stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert status.st_gid == os.getgid()
        assert not sock.getblocking()
        client.connect(path)


@pytest.mark.parametrize(("backlog", "waiting"), [(-1, 9), (-(2**31), 9), (3, 4)])
def test_a_backlog_below_nothing_is_no_limit_of_ours(
    tmp_path: Path, backlog: int, waiting: int
) -> None:
    """As for listen(2): so many may connect before any is accepted."""
    path = str(tmp_path / "socket")
    values = ListenValues(listen_backlog=backlog)
    with listen_unix(path, values), ExitStack() as clients:
        done = 0
        for _ in range(9):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            with suppress(BlockingIOError):
                client.connect(path)
                done += 1
        assert done == waiting


def test_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    """A socket file left by a killed process does not stop the next one."""
    path = str(tmp_path / "s")
    listen_unix(path, ListenValues()).close()
    assert Path(path).exists()
    listen_unix(path, ListenValues()).close()


def test_other_file_is_not_replaced(tmp_path: Path) -> None:
    """A file that is no socket got its name by a mistake, and is kept."""
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(StepFailedError, match=r"bind\(\): Address already in use"):
        listen_unix(str(path), ListenValues())
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("values", "path", "text"),
    [
        (ListenValues(), "no/such/s", "bind(): No such file or directory"),
        (ListenValues(), "x" * 200, "bind(): AF_UNIX path too long"),
        (
            ListenValues(unix_socket_group="no such group"),
            "s",
            "chown(): could not find group 'no such group'",
        ),
    ],
)
def test_unix_socket_refused(
    tmp_path: Path, values: ListenValues, path: str, text: str
) -> None:
    """Each failing step is named."""
    with pytest.raises(StepFailedError) as caught:
        listen_unix(str(tmp_path / path), values)
    assert str(caught.value) == text


def test_abstract_socket_has_no_file(tmp_path: Path) -> None:
    """The abstract namespace needs no removing and has no mode."""
    path = unix_socket_path(f"@{tmp_path}", 6432)
    with listen_unix(path, ListenValues()), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("directory", "path"),
    [("/tmp", "/tmp/.s.PGSQL.6432"), ("@dir", "\0dir/.s.PGSQL.6432")],
)
def test_unix_socket_path(directory: str, path: str) -> None:
    """The name is the one that PostgreSQL's clients look for."""
    assert unix_socket_path(directory, 6432) == path
    assert unix_port(path) == unix_port(path.encode()) == 6432


def test_unix_port_of_other_names() -> None:
    """A socket of the service manager may have any name."""
    assert unix_port("/run/pooler") == 0
    assert unix_port(b"", 5432) == 5432


@pytest.mark.parametrize(
    ("family", "address", "name"),
    [
        (socket.AF_INET, ("127.0.0.1", 6432), "127.0.0.1:6432"),
        (socket.AF_INET6, ("::1", 6432, 0, 0), "[::1]:6432"),
        (socket.AF_UNIX, "/tmp/.s.PGSQL.6432", "unix:/tmp/.s.PGSQL.6432"),
        (socket.AF_UNIX, "\0dir/.s.PGSQL.6432", "unix:@dir/.s.PGSQL.6432"),
        (socket.AF_UNIX, b"\0dir/.s.PGSQL.6432", "unix:@dir/.s.PGSQL.6432"),
    ],
)
def test_name_of(family: int, address: object, name: str) -> None:
    """Addresses read as in the reference's log."""
    assert name_of(family, address) == name


def test_group_by_name_or_number() -> None:
    """Both forms mean the same group."""
    group = grp.getgrgid(os.getgid())
    assert group_id(group.gr_name) == group_id(str(group.gr_gid)) == group.gr_gid


def test_resolve_asks_for_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """An asterisk means every interface; every answer is listened on."""
    asked = []
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", 5)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::", 5, 0, 0)),
    ]

    def look_up(*args: object, **options: object) -> list[Any]:
        asked.append((args, options))
        return answers

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    options = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
    assert resolve("*", 5) == [(row[0], row[4]) for row in answers]
    resolve("name", 5)
    assert asked == [((None, 5), options), (("name", 5), options)]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            "getaddrinfo('name', '5') = Name or service not known [-2]",
        ),
        (
            UnicodeError("label too long"),
            "getaddrinfo('name', '5') = label too long",
        ),
    ],
)
def test_unknown_name_is_fatal(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that cannot be resolved ends the start."""

    def look_up(*_args: object, **_options: object) -> list[Any]:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(FatalError) as caught:
        resolve("name", 5)
    assert caught.value.text == text


def test_socket_file_is_removed_only_if_it_is_ours(tmp_path: Path) -> None:
    """A successor may have put its own socket at the same path by then."""
    path = tmp_path / "s"
    path.touch()
    file = SocketFile(str(path))
    successor = tmp_path / "new"
    successor.touch()
    successor.replace(path)
    file.remove()
    assert path.exists()
    SocketFile(str(path)).remove()
    assert not path.exists()
    file.remove()
