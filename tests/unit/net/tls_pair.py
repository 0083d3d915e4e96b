"""A pgswitch transport whose peer speaks TLS and cuts it wherever a test likes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import Protocol

from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.tls.contexts import TlsOptions
from pgswitch.tls.endpoints import ClientTls, ServerTls
from tests.tls_files import Authority

CHUNK = 65536
TURNS = 2000


def side_for_clients(folder: Path) -> ClientTls:
    """Return how clients are served, with a certificate of its own."""
    certificate, key = Authority(folder).issue("pooler", hosts=["localhost"])
    return ClientTls(
        TlsOptions(mode="require", cert_file=str(certificate), key_file=str(key))
    )


class Far:
    """The other end: OpenSSL in memory, and a socket that takes what it says."""

    def __init__(self, sock: socket.socket, connection: SSL.Connection) -> None:
        """Take both; ``turn`` must be called for anything to happen."""
        self.socket = sock
        self.socket.setblocking(False)  # noqa: FBT003 - its only argument
        self.connection = connection
        self.received = bytearray()
        self.is_over = False
        self.is_at_end = False
        """The other end has said goodbye as TLS does."""

    def turn(self, turn: Callable[[], object], cut: int = CHUNK) -> None:
        """Exchange pending data: pieces of ``cut`` bytes, with turns between."""
        with suppress(SSL.Error):
            self.connection.do_handshake()
        with suppress(SSL.WantReadError):
            data = self.connection.bio_read(CHUNK)
            for at in range(0, len(data), cut):
                with suppress(ConnectionError):
                    self.socket.send(data[at : at + cut])
                turn()
        turn()
        self.hear()

    def hear(self) -> None:
        """Read what has come."""
        with suppress(BlockingIOError, ConnectionError):
            data = self.socket.recv(CHUNK)
            if data:
                self.connection.bio_write(data)
            else:
                self.is_over = True
        try:
            while True:
                self.received += self.connection.recv(CHUNK)
        except SSL.ZeroReturnError:
            self.is_at_end = True
        except SSL.Error:
            pass


class Pair:
    """Our transport on one end of a pair of sockets, Far on the other."""

    def __init__(self, reactor: Any, protocol: Protocol, side: ClientTls) -> None:  # noqa: ANN401 - any reactor
        """Connect the two."""
        self.reactor = reactor
        self.side = side
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - its only argument
        self.transport: Any = TcpTransport(
            ours.detach(), protocol, ("127.0.0.1", 5), None, 1, reactor
        )
        protocol.makeConnection(self.transport)
        asking = ServerTls(TlsOptions(mode="require"))
        self.far = Far(theirs, asking.connection(None, "localhost"))

    def turn(self) -> None:
        """Let the reactor do what is ready."""
        self.reactor.runUntilCurrent()
        self.reactor.doPoll(0) if hasattr(self.reactor, "doPoll") else (
            self.reactor.doIteration(0)
        )

    def until(self, is_true: Callable[[], object], cut: int = CHUNK) -> None:
        """Take turns until something is true."""
        for _ in range(TURNS):
            if is_true():
                return
            self.far.turn(self.turn, cut)
        raise AssertionError("it does not become true")

    def close(self) -> None:
        """Let everything go."""
        self.far.socket.close()
        self.transport.abortConnection()
        for _ in range(5):
            self.turn()
