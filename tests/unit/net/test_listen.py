"""Opening and closing all listening sockets of the service."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from pgswitch.errors.base import FatalError
from pgswitch.net import acceptor, listen
from pgswitch.net.acceptor import Acceptor
from pgswitch.net.listen import Listeners, UnixTransport
from pgswitch.net.sockets import SocketAddress, StepFailedError
from pgswitch.types import Address
from tests.unit.captured import CapturedLog, NotingReactor
from tests.unit.net.call_factory import CallFactory
from tests.unit.net.listen_settings import ListenValues

ADDRESSES = {
    "localhost": [
        (socket.AF_INET6, ("::1", 6432, 0, 0)),
        (socket.AF_INET, ("127.0.0.1", 6432)),
    ],
    "taken": [(socket.AF_INET, ("10.0.0.1", 6432))],
}


class NamedSocket:
    """An open TCP socket with a made-up address."""

    def __init__(self, family: int, address: SocketAddress) -> None:
        """Be open."""
        self.family = family
        self.type = socket.SOCK_STREAM
        self.address = address
        self.options: list[tuple[int, int, int]] = []
        self.is_open = True

    def getsockname(self) -> SocketAddress:
        """Return the made-up address."""
        return self.address

    def setsockopt(self, *option: int) -> None:
        """Keep it."""
        self.options.append(option)  # type: ignore[arg-type]

    def getsockopt(self, level: int, name: int) -> int:
        """Return the system's default."""
        with socket.socket() as fresh:
            return fresh.getsockopt(level, name)

    def close(self) -> None:
        """Keep it."""
        self.is_open = False


class Scene:
    """Listeners over a made-up network and a real folder for the unix socket."""

    def __init__(self, folder: Path) -> None:
        """Open nothing yet."""
        self.folder = folder
        self.reactor = NotingReactor()
        self.captured = CapturedLog()
        self.listeners = Listeners(self.reactor, self.captured.log)
        self.made: list[NamedSocket] = []

    def listen_tcp(
        self, family: int, address: SocketAddress, _settings: object
    ) -> NamedSocket:
        """Stand in for the real function."""
        if address[0] == "10.0.0.1":
            raise StepFailedError("bind", OSError(98, "Address already in use"))
        self.made.append(NamedSocket(family, address))
        return self.made[-1]

    def build(self, address: Address) -> Protocol:
        """Return a protocol for a client."""
        del address
        return Protocol()

    def open(self, values: ListenValues, *, inherited: tuple[int, ...] = ()) -> None:
        """Open what the given settings ask for."""
        self.listeners.open(values, CallFactory(self.build), inherited=inherited)

    @property
    def everywhere(self) -> ListenValues:
        """Settings with two TCP addresses and the unix socket."""
        folder = str(self.folder)
        return ListenValues(listen_addr=("localhost",), unix_socket_dir=folder)

    @property
    def path(self) -> Path:
        """Where the unix socket is."""
        return self.folder / ".s.PGSQL.6432"

    @property
    def needs_release_check(self) -> list[Acceptor]:
        """What the reactor watches."""
        found = self.reactor.readers
        return [reader for reader in found if isinstance(reader, Acceptor)]


def would_block(sock: object) -> NoReturn:
    """Stand in for the real function."""
    raise BlockingIOError(sock)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Give a scene and close its sockets at the end."""
    scene = Scene(tmp_path)
    monkeypatch.setattr(listen, "listen_tcp", scene.listen_tcp)
    monkeypatch.setattr(listen, "resolve", lambda host, _port: ADDRESSES[host])
    monkeypatch.setattr(acceptor, "accept", would_block)
    yield scene
    scene.listeners.close_all()


def test_all_addresses_and_the_unix_socket(scene: Scene) -> None:
    """Each opened socket is logged and watched, and tuned if it is TCP."""
    scene.open(scene.everywhere)
    names = ("[::1]:6432", "127.0.0.1:6432", f"unix:{scene.path}")
    assert scene.listeners.addresses == names
    assert scene.captured.lines == [f"LOG listening on {name}" for name in names]
    assert [bool(one.options) for one in scene.needs_release_check] == [
        True,
        True,
        False,
    ]


def test_one_address_that_fails_is_a_warning(scene: Scene) -> None:
    """The others are listened on."""
    scene.open(ListenValues(listen_addr=("taken", "localhost")))
    text = "WARNING cannot listen on 10.0.0.1:6432: bind(): Address already in use"
    assert scene.captured.lines[0] == text
    assert len(scene.listeners.addresses) == 2


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (ListenValues(), "nowhere to listen on"),
        (
            ListenValues(listen_addr=("taken", "taken")),
            "failed to listen on any address in listen_addr list: taken, taken",
        ),
        (
            ListenValues(unix_socket_dir="/nowhere/at/all"),
            "failed to create unix socket",
        ),
    ],
)
def test_fatal(scene: Scene, values: ListenValues, text: str) -> None:
    """Without a listening address the process exits."""
    with pytest.raises(FatalError) as caught:
        scene.open(values)
    assert caught.value.text == text
    assert scene.needs_release_check == []


def test_lock_of_a_server_is_respected(scene: Scene) -> None:
    """PostgreSQL itself may own this socket name; what was open is closed again."""
    scene.path.with_name(f"{scene.path.name}.lock").touch()
    with pytest.raises(FatalError) as caught:
        scene.open(scene.everywhere)
    assert caught.value.text == "unix port 6432 is in use"
    assert [sock.is_open for sock in scene.made] == [False, False]
    assert scene.needs_release_check == []
    assert not scene.path.exists()


def test_close_tcp_keeps_the_console_open(scene: Scene) -> None:
    """During a shutdown the unix socket still answers."""
    scene.open(scene.everywhere)
    scene.listeners.close_tcp()
    assert [one.options for one in scene.needs_release_check] == [()]
    assert scene.listeners.addresses == (f"unix:{scene.path}",)
    assert [sock.is_open for sock in scene.made] == [False, False]


@pytest.mark.parametrize("keep_file", [False, True])
def test_close_all(scene: Scene, keep_file: bool) -> None:  # noqa: FBT001
    """The socket's file goes as well, unless it is wanted."""
    scene.open(scene.everywhere)
    done: list[None] = []
    scene.listeners.close_all(keep_file=keep_file).addCallback(done.append)
    assert done == [None]
    assert scene.needs_release_check == []
    assert scene.path.exists() == keep_file


def test_pause_and_resume(scene: Scene) -> None:
    """SUSPEND accepts no client; RESUME does again."""
    scene.open(scene.everywhere)
    scene.listeners.pause()
    assert scene.needs_release_check == []
    scene.listeners.resume()
    assert len(scene.needs_release_check) == 3


def test_reload_changes_deferred_accepts(scene: Scene) -> None:
    """tcp_defer_accept takes effect on sockets that listen already."""
    values = ListenValues(listen_addr=("localhost",))
    scene.open(values)
    scene.listeners.reconfigure(replace(values, tcp_defer_accept=9))
    option = (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 9)
    assert all(option in sock.options for sock in scene.made)
    assert len(scene.made) == 2


def test_reload_changes_options_of_new_clients(scene: Scene) -> None:
    """Keepalive settings of a reload are those of the next client."""
    values = ListenValues(listen_addr=("localhost",))
    scene.open(values)
    scene.listeners.reconfigure(replace(values, tcp_keepcnt=4))
    sock = scene.made[0]
    option = socket.IPPROTO_TCP, socket.TCP_KEEPCNT
    assert [one[2] for one in sock.options if one[:2] == option][-1] == 4
    scene.listeners.reconfigure(values)
    with socket.socket() as fresh:
        default = fresh.getsockopt(*option)
    assert [one[2] for one in sock.options if one[:2] == option][-1] == default


def test_sockets_of_the_service_manager_replace_the_settings(scene: Scene) -> None:
    """Passed sockets are used; the log says which settings they replace."""
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(scene.folder / "passed"))
    passed.listen()
    fd = passed.detach()
    scene.open(scene.everywhere, inherited=(fd,))
    ignored = "WARNING sockets passed from service manager, cf_{} ignored"
    assert scene.captured.lines == [
        ignored.format("listen_addr"),
        ignored.format("unix_socket_dir"),
        f"LOG socket passed from service manager (fd {fd})",
    ]
    assert [one.options for one in scene.needs_release_check] == [()]
    assert scene.made == []
    scene.listeners.close_all()
    assert (scene.folder / "passed").exists()


def test_passed_descriptor_that_is_no_socket(scene: Scene) -> None:
    """A wrong unit file ends the start with the descriptor's number."""
    with (scene.folder / "file").open("w") as file, pytest.raises(FatalError) as caught:
        scene.open(ListenValues(), inherited=(file.fileno(),))
    assert caught.value.text.startswith("socket passed from service manager (fd ")


class LossRecorder(Protocol):
    """Records why it lost its connection."""

    why: BaseException | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Record the reason."""
        self.why = reason.value


def test_a_unix_client_closes() -> None:
    """The other end sees an end of file, the protocol learns of it."""
    reactor = EPollReactor()
    ours, theirs = socket.socketpair()
    with closing(theirs):
        protocol = LossRecorder()
        transport: Any = UnixTransport(ours, protocol, "", None, 7, reactor)  # type: ignore[no-untyped-call]
        protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.loseConnection()
        reactor.doPoll(1.0)
        theirs.settimeout(5)
        assert theirs.recv(1) == b""
        assert isinstance(protocol.why, ConnectionDone)
