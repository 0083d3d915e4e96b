"""What a server may answer to an SSLRequest, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from pgswitch.net.tls_negotiation import Encryption, TlsNegotiation
from pgswitch.net.tls_socket import HandshakeFailed
from pgswitch.tls.certificates import TlsFacts, WrongHost
from pgswitch.tls.endpoints import NoProtocol
from pgswitch.wire import encode
from tests.fakes.tls import FACTS, FakeSide


class Scene:
    """A connection to a server, and what came of it."""

    def __init__(self, side: FakeSide) -> None:
        """Begin."""
        self.side = side
        self.socket = object()
        self.written: list[bytes] = []
        self.secured: list[TlsFacts | None] = []
        self.failed: list[str] = []
        self.handshakes: list[Deferred[Any]] = []
        self.is_aborted = False
        encryption: Any = Encryption(side, "db.example.com")  # type: ignore[arg-type]
        self.negotiation = TlsNegotiation(encryption, self, self.start_tls)
        self.done = self.negotiation.begin()
        self.done.addCallbacks(
            self.secured.append, lambda failure: self.failed.append(str(failure.value))
        )

    def start_tls(self, encryption: Encryption) -> Deferred[Any]:
        """Begin a handshake that the test ends."""
        encryption.connection(self.socket)  # type: ignore[arg-type]
        self.handshakes.append(Deferred())
        return self.handshakes[-1]

    def abortConnection(self) -> None:
        """Note it."""
        self.is_aborted = True

    def write(self, data: bytes) -> None:
        """Record the bytes written."""
        self.written.append(data)


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-full"])
def test_accepted(mode: str) -> None:
    """A handshake follows, with the host as it was configured."""
    scene = Scene(FakeSide(mode))
    assert scene.written == [encode.ssl_request()]
    scene.negotiation.received(b"S")
    assert scene.side.hosts == ["db.example.com"]
    scene.handshakes[0].callback(None)
    assert (scene.secured, scene.failed) == ([FACTS], [])


@pytest.mark.parametrize(
    ("mode", "answer", "reason"),
    [
        ("require", b"N", "server refused SSL"),
        ("verify-ca", b"N", "server refused SSL"),
        ("prefer", b"SS", "received unencrypted data after SSL response"),
        ("require", b"S\x16\x03\x03", "received unencrypted data after SSL response"),
        ("prefer", b"NR\0\0\0\x08\0\0\0\0", "bad sslreq answer"),
        ("prefer", b"E", "bad sslreq answer"),
        ("prefer", b"\0", "bad sslreq answer"),
    ],
)
def test_refused(mode: str, answer: bytes, reason: str) -> None:
    """The connection is not used, with or without TLS."""
    scene = Scene(FakeSide(mode))
    scene.negotiation.received(answer)
    assert (scene.secured, scene.failed) == ([], [reason])
    assert scene.handshakes == []
    scene.negotiation.received(b"S")
    assert scene.handshakes == []


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_declined(mode: str) -> None:
    """A server without TLS is used unencrypted if the mode allows it."""
    scene = Scene(FakeSide(mode))
    scene.negotiation.received(b"N")
    assert (scene.secured, scene.failed) == ([None], [])


def test_direct() -> None:
    """Nothing is asked; nothing that comes is taken for an answer."""
    scene = Scene(FakeSide(is_direct=True))
    assert scene.written == []
    scene.negotiation.received(b"N")
    assert scene.secured == []
    scene.handshakes[0].callback(None)
    assert scene.secured == [FACTS]


@pytest.mark.parametrize("error", [WrongHost("another host"), NoProtocol("no ALPN")])
def test_another_server(error: Exception) -> None:
    """A successful handshake with the wrong server is a failure."""
    scene = Scene(FakeSide())
    scene.side.refusal = error
    scene.negotiation.received(b"S")
    scene.handshakes[0].callback(None)
    assert scene.secured == []
    assert scene.failed == [f"TLS handshake failed: {error}"]


def test_a_handshake_that_fails() -> None:
    """The reason is passed on; there is no second attempt without TLS."""
    scene = Scene(FakeSide("prefer"))
    scene.negotiation.received(b"S")
    scene.handshakes[0].errback(HandshakeFailed("certificate has expired"))
    assert scene.secured == []
    assert scene.failed == ["TLS handshake failed: certificate has expired"]


def test_a_fault_of_ours() -> None:
    """Whatever goes wrong after the handshake ends the negotiation."""
    scene = Scene(FakeSide())
    scene.side.refusal = ZeroDivisionError("ours")
    scene.negotiation.received(b"S")
    scene.handshakes[0].callback(None)
    assert scene.secured == []
    assert scene.failed == ["TLS handshake failed: ZeroDivisionError('ours')"]


def test_cancelling() -> None:
    """The connection is aborted, as with Twisted's own Deferreds of connections."""
    scene = Scene(FakeSide())
    scene.done.cancel()
    assert scene.is_aborted
    assert scene.failed == [str(CancelledError())]
