"""The shell inside the service: which users get in, what it offers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pgswitch.errors.base import FatalError
from pgswitch.manhole import shell, ssh
from pgswitch.manhole.shell import (
    Manhole,
    PeerCheck,
    ShellFactory,
    inspection_helpers,
    loopback,
)
from tests.unit.captured import CapturedLog


@dataclass(frozen=True)
class Opening:
    """The four settings."""

    manhole_socket: str = ""
    manhole_ssh: str = ""
    manhole_authorized_keys: str = ""
    manhole_host_key: str = ""


@dataclass
class ListeningReactor:
    """A reactor that keeps what is listened on, or refuses."""

    refuses: bool = False
    asked: list[tuple[object, ...]] = field(default_factory=list)
    stopped: int = 0

    def _listen(self, *what: object) -> SimpleNamespace:
        if self.refuses:
            raise CannotListenError(None, str(what[0]), OSError(98, "taken"))
        self.asked.append(what)
        return SimpleNamespace(stopListening=self._stop)

    def _stop(self) -> None:
        self.stopped += 1

    def listenUNIX(self, path: str, _factory: object, **options: object) -> object:
        """Keep it."""
        return self._listen(path, options)

    def listenTCP(self, port: int, _factory: object, **options: object) -> object:
        """Keep it."""
        return self._listen(port, options)


def open_manhole(
    settings: Opening, reactor: ListeningReactor
) -> tuple[Manhole, CapturedLog]:
    """Return an open manhole and its log."""
    captured = CapturedLog()
    made = Manhole({}, reactor=reactor, log=captured.log)
    made.open(settings)
    return made, captured


def test_shut_by_default() -> None:
    """Without settings nothing is opened."""
    reactor = ListeningReactor()
    _, captured = open_manhole(Opening(), reactor)
    assert reactor.asked == []
    assert captured.lines == []


def test_unix_socket_is_for_its_owner() -> None:
    """The socket's mode keeps all others out; closing stops it."""
    reactor = ListeningReactor()
    made, captured = open_manhole(Opening("/run/m"), reactor)
    assert reactor.asked == [("/run/m", {"mode": 0o600, "wantPID": True})]
    assert captured.lines == ["LOG manhole listening on unix:/run/m"]
    Deferred.fromCoroutine(made.close())
    assert reactor.stopped == 1


def test_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSH listens on the named loopback address alone."""
    given: list[dict[str, str]] = []
    monkeypatch.setattr(ssh, "make_factory", lambda _make, **files: given.append(files))
    reactor = ListeningReactor()
    settings = Opening("", "127.0.0.1:2222", "keys", "host")
    _, captured = open_manhole(settings, reactor)
    assert reactor.asked == [(2222, {"interface": "127.0.0.1"})]
    assert given == [{"authorized_keys": "keys", "host_key": "host"}]
    assert captured.lines == ["LOG manhole listening on ssh:127.0.0.1:2222"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (Opening("", "127.0.0.1:22"), "manhole_ssh needs manhole_authorized_keys"),
        (Opening("", "127.0.0.1:22", "k"), "manhole_ssh needs manhole_host_key"),
        (
            Opening("", "127.0.0.1:22", "/no/keys", "/no/host"),
            "manhole_ssh: /no/keys: No such file or directory",
        ),
    ],
)
def test_ssh_needs_its_files(settings: Opening, text: str) -> None:
    """SSH without keys to compare with would be open to all."""
    with pytest.raises(FatalError) as caught:
        open_manhole(settings, ListeningReactor())
    assert caught.value.text == text


def test_address_taken() -> None:
    """An address that cannot be used ends the start."""
    with pytest.raises(FatalError, match=r"cannot open the manhole: .*taken"):
        open_manhole(Opening("/run/m"), ListeningReactor(refuses=True))


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("127.0.0.1:2222", ("127.0.0.1", 2222)),
        ("127.9.9.9:1", ("127.9.9.9", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_loopback(text: str, pair: tuple[str, int]) -> None:
    """Any address of the loopback interface will do."""
    assert loopback(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:2222",
        "[::]:2222",
        "10.0.0.1:2222",
        "localhost:2222",
        "2222",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        ":2222",
    ],
)
def test_not_loopback(text: str) -> None:
    """Nothing else will, names included: they may change their meaning."""
    with pytest.raises(FatalError) as caught:
        loopback(text)
    expected = f"manhole_ssh must be a loopback address and a port, not '{text}'"
    assert caught.value.text == expected


def enter(
    monkeypatch: pytest.MonkeyPatch, credentials: tuple[int, int] | None
) -> tuple[PeerCheck, StringTransport, CapturedLog]:
    """Return a connection from a peer with the given credentials."""
    monkeypatch.setattr(shell, "peer_credentials", lambda _transport: credentials)
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    captured = CapturedLog()
    interceptor = ShellFactory({"answer": 42}, captured.log).buildProtocol(None)
    transport = StringTransport()
    connect: Callable[[StringTransport], None] = interceptor.makeConnection
    connect(transport)
    return interceptor, transport, captured


@pytest.mark.parametrize("uid", [0, 500])
def test_owner_and_root_get_in(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """They read the warning, and can look at what the shell was given."""
    interceptor, transport, captured = enter(monkeypatch, (4711, uid))
    assert captured.lines == [f"LOG manhole: opened by user id {uid}, process 4711"]
    assert b"a loop stops the pooler" in transport.value()
    transport.clear()
    interceptor.dataReceived(b"answer + 1\r")
    assert b"43" in transport.value()
    interceptor.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize("credentials", [(4711, 501), None])
def test_others_do_not(
    monkeypatch: pytest.MonkeyPatch, credentials: tuple[int, int] | None
) -> None:
    """Another user, or one the kernel does not name, reads and runs nothing."""
    interceptor, transport, captured = enter(monkeypatch, credentials)
    assert transport.disconnecting
    interceptor.dataReceived(b"answer + 1\r")
    assert transport.value() == b""
    assert captured.lines[0].startswith("WARNING manhole: refused user id ")
    interceptor.connectionLost(Failure(ConnectionDone()))


def test_inspection_helpers_return_copies() -> None:
    """A user who changes a result does not change the service."""
    pools = ["a"]
    rows = {"pools": pools, "clients": ["b"], "servers": ["c"]}
    found = inspection_helpers(rows.__getitem__)
    assert [found[name]() for name in ("pools", "clients", "servers")] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    assert found["pools"]() is not pools
