"""Accepting connections from one listening socket."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from pgswitch.net.accept import (
    ACCEPT_PAUSE_S,
    ACCEPTS_PER_TURN,
    Acceptor,
    peer_credentials,
)
from tests.unit.captured import CapturedLog, NotingReactor


class NotingFactory(Factory):
    """Keeps the addresses of its visitors; refuses or fails if told so."""

    noisy = False

    def __init__(self) -> None:
        """Have no visitor yet."""
        self.visitors: list[IAddress | None] = []
        self.answer: object = Protocol
        self.running = 0

    def doStart(self) -> None:
        """Count."""
        self.running += 1

    def doStop(self) -> None:
        """Count."""
        self.running -= 1

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Answer as told."""
        self.visitors.append(addr)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Protocol() if self.answer else None


class Scene:
    """A listening unix socket, its Acceptor, and what both are given."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path`` with fakes all around."""
        self.path = str(path)
        self.reactor = NotingReactor()
        self.captured = CapturedLog()
        self.factory = NotingFactory()
        self.tuned: list[socket.socket] = []
        self.made: list[tuple[object, ...]] = []
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(self.path)
        sock.listen(ACCEPTS_PER_TURN + 10)
        sock.setblocking(False)  # noqa: FBT003 - its only argument
        self.acceptor = self.over(sock)
        self.clients: list[socket.socket] = []

    def over(self, sock: socket.socket | FailingSocket) -> Acceptor:
        """Return an Acceptor over a socket or a fake of one."""
        return Acceptor(
            self.reactor,
            sock,  # type: ignore[arg-type] # fakes have what is used
            self.factory,
            log=self.captured.log,
            tune=self.tuned.append,
            transport=self.transport,
        )

    def transport(self, *args: object) -> SimpleNamespace:
        """Stand in for Twisted's transport."""
        self.made.append(args)
        return SimpleNamespace()

    def connect(self, count: int = 1) -> None:
        """Let clients queue up."""
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.path)
            self.clients.append(client)

    def end(self) -> None:
        """Close whatever is open."""
        self.acceptor.close()
        for sock in (*self.clients, *self.tuned):
            sock.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Give a scene whose Acceptor has started."""
    scene = Scene(tmp_path / "s")
    scene.acceptor.start()
    yield scene
    scene.end()


def test_each_client_is_tuned_and_served(scene: Scene) -> None:
    """One turn takes all who wait, each with its own number."""
    scene.connect(2)
    scene.acceptor.doRead()
    assert scene.factory.visitors == [UNIXAddress(None)] * 2
    assert [args[0] for args in scene.made] == scene.tuned
    assert [args[3:] for args in scene.made] == [
        (scene.acceptor, 1, scene.reactor),
        (scene.acceptor, 2, scene.reactor),
    ]
    assert scene.captured.lines == []


def test_a_turn_has_an_end(scene: Scene) -> None:
    """A flood of clients leaves the rest of the service its time."""
    scene.connect(ACCEPTS_PER_TURN + 3)
    scene.acceptor.doRead()
    assert len(scene.made) == ACCEPTS_PER_TURN
    scene.acceptor.doRead()
    assert len(scene.made) == ACCEPTS_PER_TURN + 3


def test_factory_may_refuse(scene: Scene) -> None:
    """No protocol means no connection."""
    scene.factory.answer = None
    scene.connect()
    scene.acceptor.doRead()
    assert scene.clients[0].recv(1) == b""
    assert not scene.made


def test_fault_with_one_client_is_its_own(scene: Scene) -> None:
    """The client is dropped, the fault told, and accepting goes on."""
    scene.factory.answer = ValueError("bad luck")
    scene.connect()
    scene.acceptor.doRead()
    assert scene.clients[0].recv(1) == b""
    expected = "ERROR cannot serve a new connection: ValueError('bad luck')"
    assert scene.captured.lines == [expected]
    assert scene.reactor.readers == [scene.acceptor]


class FailingSocket:
    """A TCP socket whose accept() fails as told, then has nobody waiting."""

    def __init__(self, *errors: int, family: int = socket.AF_INET) -> None:
        """Fail with each number once."""
        self.family = family
        self.errors = list(errors)
        self.closed = 0

    def accept(self) -> tuple[Any, Any]:
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
    acceptor.start()
    acceptor.doRead()
    assert scene.captured.lines == ["ERROR accept() failed: Too many open files"]
    assert acceptor not in scene.reactor.readers
    scene.reactor.advance(ACCEPT_PAUSE_S - 0.1)
    assert acceptor not in scene.reactor.readers
    scene.reactor.advance(0.1)
    assert acceptor in scene.reactor.readers


def test_client_gone_before_accept_is_no_fault(scene: Scene) -> None:
    """The next client is taken at once."""
    sock = FailingSocket(errno.ECONNABORTED, errno.ECONNABORTED)
    acceptor = scene.over(sock)
    acceptor.start()
    acceptor.doRead()
    assert not sock.errors
    assert scene.captured.lines == []
    assert acceptor in scene.reactor.readers


def test_closing_ends_a_pause_for_good(scene: Scene) -> None:
    """No timer of a closed socket is left."""
    sock = FailingSocket(errno.EMFILE)
    acceptor = scene.over(sock)
    acceptor.start()
    acceptor.doRead()
    acceptor.close()
    assert not scene.reactor.getDelayedCalls()
    acceptor.resume()
    assert acceptor not in scene.reactor.readers
    assert sock.closed == 1


def test_close_once(scene: Scene) -> None:
    """A second close, by the reactor's end, changes nothing."""
    assert scene.factory.running == 1
    scene.acceptor.close()
    scene.acceptor.connectionLost(Failure(ConnectionDone()))
    assert scene.factory.running == 0
    assert scene.reactor.readers == []
    assert scene.acceptor.fileno() == -1
    scene.acceptor.doRead()


def test_pause_and_resume(scene: Scene) -> None:
    """While paused, clients wait in the backlog."""
    scene.acceptor.pause()
    assert scene.reactor.readers == []
    scene.acceptor.resume()
    assert scene.reactor.readers == [scene.acceptor]


@pytest.mark.parametrize(
    ("family", "address", "name"),
    [
        (socket.AF_INET, ("1.2.3.4", 5), IPv4Address("TCP", "1.2.3.4", 5)),
        (socket.AF_INET6, ("::1", 5, 0, 0), IPv6Address("TCP", "::1", 5, 0, 0)),
    ],
)
def test_address_given_to_the_factory(
    scene: Scene, family: int, address: object, name: object
) -> None:
    """TCP clients come with their address, as with Twisted's own ports."""
    acceptor = scene.over(FailingSocket(family=family))
    here, there = socket.socketpair()
    acceptor._serve(here, address)
    assert scene.factory.visitors == [name]
    assert acceptor.logPrefix() == "Acceptor"
    assert acceptor.fileno() == 99
    there.close()


def test_peer_credentials_of_a_unix_socket() -> None:
    """The kernel names the process at the other end."""
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
