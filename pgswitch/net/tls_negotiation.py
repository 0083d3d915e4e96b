"""TLS on a new connection to a server: requested, or direct.

What a server may answer to an SSLRequest (manual, "SSL Session Encryption"):

====================== ==========================================================
answer                 what follows
====================== ==========================================================
``S`` alone            the handshake
``S`` and more         refused: sent in clear, perhaps by a man in the middle
``N``                  in clear if the mode allows it, else refused
anything else          refused
====================== ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from pgswitch.net.tls_socket import HandshakeFailed, aborting
from pgswitch.tls.certificates import WrongHost
from pgswitch.tls.endpoints import NoProtocol, PeerAlert
from pgswitch.wire import encode

if TYPE_CHECKING:
    import socket

    from twisted.protocols.tls import TLSMemoryBIOProtocol
    from twisted.python.failure import Failure

    from pgswitch.tls.certificates import TlsFacts
    from pgswitch.tls.endpoints import ServerTls

INJECTED = "received unencrypted data after SSL response"
REFUSED = "server refused SSL"
BAD_ANSWER = "bad sslreq answer"


class TlsRefused(Exception):
    """The connection must be closed; the text says why."""


@implementer(IOpenSSLClientConnectionCreator)
@dataclass(frozen=True, slots=True)
class Encryption:
    """How to encrypt a connection to one server; ``host`` is as it was configured."""

    side: ServerTls
    host: str

    def connection(self, sock: socket.socket | None) -> SSL.Connection:
        """Return a connection on a socket (None: in memory), handshake to come."""
        return self.side.connection(sock, self.host)

    def clientConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: ARG002 - verified by facts()
    ) -> SSL.Connection:
        """Return a connection for Twisted's own TLS, see ``transport.startTLS``."""
        return self.connection(None)

    def facts(self, connection: SSL.Connection) -> TlsFacts:
        """Return the outcome of a handshake; see ServerTls for what it raises."""
        return self.side.facts(connection, self.host)


StartTls = Callable[[Encryption], Deferred[SSL.Connection]]
"""Does a handshake on the transport; see tls_socket.start_tls."""


class TlsNegotiation:
    """Gets one connection encrypted, or finds out that it stays in clear."""

    def __init__(
        self,
        encryption: Encryption,
        transport: Any,  # noqa: ANN401 - of any reactor
        start_tls: StartTls,
    ) -> None:
        """Take the transport, and the function that does a handshake on it."""
        self._encryption = encryption
        self._transport = transport
        self._start_tls = start_tls
        self._is_asking = False
        self._done: Deferred[TlsFacts | None] = Deferred(aborting(transport))

    def begin(self) -> Deferred[TlsFacts | None]:
        """Request TLS, or begin a direct handshake.

        Fires with None if the connection stays in clear; fails with TlsRefused. Does
        neither if the connection is lost before the server has answered; cancelling it
        aborts the connection.
        """
        done = self._done
        if self._encryption.side.options.is_direct:
            self._handshake()
        else:
            self._is_asking = True
            self._transport.write(encode.ssl_request())
        return done

    def received(self, data: bytes) -> None:
        """Take the server's answer."""
        if not self._is_asking:
            return
        self._is_asking = False
        if data == b"S":
            self._handshake()
        elif data[:1] == b"S":
            self._refuse(INJECTED)
        elif data != b"N":
            self._refuse(BAD_ANSWER)
        elif self._encryption.side.options.is_required:
            self._refuse(REFUSED)
        else:
            self._done.callback(None)

    def _handshake(self) -> None:
        done = self._start_tls(self._encryption).addCallback(self._encrypted)
        # Of whatever fails, or nobody would learn that the connection is useless.
        done.addErrback(self._handshake_failed)

    def _encrypted(self, connection: SSL.Connection) -> None:
        try:
            facts = self._encryption.facts(connection)
        except (WrongHost, NoProtocol, PeerAlert) as error:
            self._refuse(f"TLS handshake failed: {error}")
        else:
            self._done.callback(facts)

    def _handshake_failed(self, failure: Failure) -> None:
        words = str if failure.check(HandshakeFailed) else repr
        self._refuse(f"TLS handshake failed: {words(failure.value)}")

    def _refuse(self, reason: str) -> None:
        self._done.errback(TlsRefused(reason))
