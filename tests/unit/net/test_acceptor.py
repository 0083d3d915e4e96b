"""Accepting connections from one listening socket."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from pgswitch.net import acceptor
from pgswitch.net.acceptor import (
    ACCEPT_PAUSE_S,
    Acceptor,
    peer_credentials,
)
from pgswitch.relay import syscalls
from pgswitch.types import Address
from tests.unit.captured import CapturedLog, NotingReactor
from tests.unit.net.call_factory import CallFactory
from tests.unit.net.listen_settings import ListenValues


class Scene:
    """A listening unix socket, its Acceptor, and what both are given."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path`` with fakes all around."""
        self.path = str(path)
        self.reactor = NotingReactor()
        self.captured = CapturedLog()
        self.visitors: list[Address] = []
        self.answer: object = Protocol
        self.made: list[tuple[object, ...]] = []
        self.taken: list[socket.socket] = []
        """The accepted sockets."""
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(self.path)
        sock.listen(10)
        sock.setblocking(False)  # noqa: FBT003 - its only argument
        self.acceptor = self.over(sock)
        self.clients: list[socket.socket] = []

    def over(self, sock: socket.socket | FailingSocket) -> Acceptor:
        """Return an Acceptor over a socket or a fake of one."""
        return Acceptor(
            self.reactor,
            sock,  # type: ignore[arg-type] # fakes have what is used
            CallFactory(self.build),
            log=self.captured.log,
            transport=self.transport,
        )

    def build(self, address: Address) -> Protocol | None:
        """Answer as the test wants."""
        self.visitors.append(address)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Protocol() if self.answer else None

    def transport(self, *args: object) -> SimpleNamespace:
        """Stand in for Twisted's transport."""
        self.made.append(args)
        end: Any = args[0]
        self.taken.append(socket.socket(fileno=end) if isinstance(end, int) else end)
        return SimpleNamespace()

    def connect(self, count: int = 1) -> None:
        """Let clients queue up."""
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.path)
            self.clients.append(client)

    def end(self) -> None:
        """Close everything that is open."""
        self.acceptor.stopListening()
        for sock in (*self.clients, *self.taken):
            sock.close()


def accept_one(sock: socket.socket | FailingSocket) -> tuple[Any, Any]:
    """Accept as the real function does, or fail as the test wants."""
    if isinstance(sock, FailingSocket):
        sock.fail()
    return syscalls.accept(sock)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Give a scene whose Acceptor has started."""
    monkeypatch.setattr(acceptor, "accept", accept_one)
    scene = Scene(tmp_path / ".s.PGSQL.6543")
    scene.acceptor.startListening()
    yield scene
    scene.end()


def test_one_client_a_turn(scene: Scene) -> None:
    """A flood leaves the others their time; each client has its own number."""
    scene.connect(2)
    scene.acceptor.doRead()
    assert len(scene.made) == 1
    scene.acceptor.doRead()
    assert scene.visitors == [Address("unix", 6543)] * 2
    assert [args[3:] for args in scene.made] == [
        (scene.acceptor, 1, scene.reactor),
        (scene.acceptor, 2, scene.reactor),
    ]
    assert scene.captured.lines == []


def test_those_who_wait_are_taken_before_a_close(scene: Scene) -> None:
    """All at once, also after one that has left; a closed socket accepts none."""
    scene.connect(3)
    scene.acceptor.take_waiting()
    scene.acceptor.stopListening()
    scene.acceptor.take_waiting()
    assert len(scene.made) == 3
    acceptor = scene.over(FailingSocket(errno.ECONNABORTED, errno.EMFILE, errno.EPERM))
    acceptor.take_waiting()
    assert scene.captured.lines == ["ERROR accept() failed: Too many open files"]


def test_nobody_there(scene: Scene) -> None:
    """Another process accepted the client, or it has left."""
    scene.acceptor.doRead()
    assert not scene.made
    assert scene.acceptor in scene.reactor.readers


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp_client_is_tuned_and_named(scene: Scene, host: str) -> None:
    """It has the options of the settings; the protocol factory gets its address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        sock.listen()
        acceptor = scene.over(sock)
        acceptor.tune(ListenValues(tcp_keepcnt=4))
        with socket.create_connection(sock.getsockname()[:2]) as client:
            acceptor.doRead()
            assert scene.visitors == [Address(*client.getsockname()[:2])]
        count = scene.taken[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert count == 4


def test_no_protocol_no_connection(scene: Scene) -> None:
    """The factory may refuse to build a protocol."""
    scene.answer = None
    scene.connect()
    scene.acceptor.doRead()
    assert scene.clients[0].recv(1) == b""
    assert not scene.made


def test_fault_with_one_client_is_its_own(scene: Scene) -> None:
    """The client is dropped, the fault is logged, and accepting goes on."""
    scene.answer = ValueError("bad luck")
    scene.connect()
    scene.acceptor.doRead()
    assert scene.clients[0].recv(1) == b""
    expected = "ERROR cannot serve a new connection: ValueError('bad luck')"
    assert scene.captured.lines == [expected]
    assert scene.reactor.readers == [scene.acceptor]


class FailingSocket:
    """A TCP socket whose accept() fails as given, then has no client waiting."""

    def __init__(self, *errors: int, family: int = socket.AF_INET) -> None:
        """Fail with each number once."""
        self.family = family
        self.type, self.proto = socket.SOCK_STREAM, 0
        self.errors = list(errors)
        self.closed = 0

    def fail(self) -> NoReturn:
        """Fail."""
        if not self.errors:
            raise BlockingIOError
        number = self.errors.pop(0)
        raise OSError(number, os.strerror(number))

    def getsockname(self) -> tuple[str, int]:
        """Return a made-up address."""
        return "127.0.0.1", 6432

    def fileno(self) -> int:
        """Return a made-up descriptor."""
        return 99

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_refused_accept_pauses(scene: Scene) -> None:
    """Out of descriptors: clients wait in the backlog for five seconds."""
    acceptor = scene.over(FailingSocket(errno.EMFILE))
    acceptor.startListening()
    acceptor.doRead()
    assert scene.captured.lines == ["ERROR accept() failed: Too many open files"]
    assert acceptor not in scene.reactor.readers
    scene.reactor.advance(ACCEPT_PAUSE_S - 0.1)
    assert acceptor not in scene.reactor.readers
    scene.reactor.advance(0.1)
    assert acceptor in scene.reactor.readers


def test_client_gone_before_accept_is_no_fault(scene: Scene) -> None:
    """The next client is taken as if nothing had been."""
    sock = FailingSocket(errno.ECONNABORTED)
    acceptor = scene.over(sock)
    acceptor.startListening()
    acceptor.doRead()
    assert not sock.errors
    assert scene.captured.lines == []
    assert acceptor in scene.reactor.readers


def test_closing_ends_a_pause_for_good(scene: Scene) -> None:
    """No timer of a closed socket is left."""
    sock = FailingSocket(errno.EMFILE)
    acceptor = scene.over(sock)
    acceptor.startListening()
    acceptor.doRead()
    acceptor.stopListening()
    assert not scene.reactor.getDelayedCalls()
    acceptor.resume()
    assert acceptor not in scene.reactor.readers
    assert sock.closed == 1


def test_close_once(scene: Scene) -> None:
    """A second close, by the reactor's end, changes nothing."""
    scene.acceptor.stopListening()
    scene.acceptor.connectionLost(Failure(ConnectionDone()))
    assert scene.reactor.readers == []
    assert scene.acceptor.fileno() == -1
    scene.acceptor.doRead()


def test_pause_and_resume(scene: Scene) -> None:
    """While paused, clients wait in the backlog."""
    scene.acceptor.pause()
    assert scene.reactor.readers == []
    scene.acceptor.resume()
    assert scene.reactor.readers == [scene.acceptor]


def test_peer_credentials_of_a_unix_socket() -> None:
    """The kernel names the peer process."""
    here, there = socket.socketpair(socket.AF_UNIX)
    transport = SimpleNamespace(getHandle=lambda: here)
    assert peer_credentials(transport) == (os.getpid(), os.geteuid())
    here.close()
    there.close()


def test_no_peer_credentials_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP, other transports, closed sockets and other systems have none."""
    with socket.socket() as tcp:
        assert peer_credentials(SimpleNamespace(getHandle=lambda: tcp)) is None
    assert peer_credentials(SimpleNamespace(getHandle=object)) is None
    assert peer_credentials(None) is None
    with socket.socket(socket.AF_UNIX) as closed:
        pass
    transport = SimpleNamespace(getHandle=lambda: closed)
    assert peer_credentials(transport) is None
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert peer_credentials(transport) is None
