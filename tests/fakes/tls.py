"""TLS in a world of made-up connections: handshakes that a test has succeed or fail."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from pgswitch.tls.certificates import TlsFacts
from pgswitch.tls.contexts import TlsOptions
from tests.fakes.transports import FakeSocket

FACTS = TlsFacts(
    description="TLSv1.3/MADE_UP/ECDH=X25519", peer_names=("app",), end_point=b"hash"
)


class FakeConnection:
    """What would encrypt a fake socket; passes everything on as it is."""

    def __init__(self, sock: FakeSocket) -> None:
        """Begin with a handshake that waits."""
        self.outcome: Exception | None = SSL.WantReadError()
        self.is_shut_down = False
        self._socket = sock

    def do_handshake(self) -> None:
        """Come to the outcome."""
        if self.outcome is not None:
            # A new one, without a reference: the frames that it passes go with it.
            raise type(self.outcome)(*self.outcome.args)

    def get_app_data(self) -> None:
        """Know of no certificate that was refused."""

    def recv(self, size: int) -> bytes:
        """Read."""
        try:
            return self._socket.recv(size)
        except BlockingIOError:
            raise SSL.WantReadError from None

    def send(self, data: bytes) -> int:
        """Write."""
        return self._socket.send(data)

    def shutdown(self) -> None:
        """Note the goodbye."""
        self.is_shut_down = True


class FakeSide:
    """Either side of TLS; ``connections`` are those that were made."""

    def __init__(self, mode: str = "require", *, is_direct: bool = False) -> None:
        """Encrypt in one of the modes."""
        self.options = TlsOptions(mode=mode, is_direct=is_direct)
        self.connections: list[FakeConnection] = []
        self.hosts: list[str] = []
        self.refusal: Exception | None = None
        """What the outcome of handshakes is, apart from OpenSSL's own."""

    def connection(self, sock: Any, host: str = "") -> FakeConnection:  # noqa: ANN401 - a fake
        """Make a connection."""
        self.hosts.append(host)
        self.connections.append(FakeConnection(sock))
        return self.connections[-1]

    def facts(self, connection: object, host: str = "") -> TlsFacts:
        """Return the same always."""
        del connection, host
        if self.refusal is not None:
            raise self.refusal
        return FACTS


def finish(end: Any, side: FakeSide, error: Exception | None = None) -> None:  # noqa: ANN401 - of tests/fakes/world.py
    """Have the last handshake succeed, or fail by an error of OpenSSL."""
    side.connections[-1].outcome = error
    end.transport.doRead()
    end.world.turn()
