"""TLS on a fresh connection to a server: asked for, or begun at once.

What a server may answer to an SSLRequest (manual, "SSL Session Encryption"):

====================== ==========================================================
answer                 what follows
====================== ==========================================================
``S`` alone            the handshake
``S`` and more         refused: it was sent in clear, perhaps by somebody between
``N``                  in clear if the mode allows it, else refused
anything else          refused
====================== ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from pgswitch.tls.certificates import WrongHost
from pgswitch.tls.endpoints import NoProtocol, PeerAlert
from pgswitch.wire import encode

if TYPE_CHECKING:
    from pgswitch.tls.certificates import TlsFacts
    from pgswitch.tls.endpoints import ServerTls

INJECTED = "received unencrypted data after SSL response"
REFUSED = "server refused SSL"
BAD_ANSWER = "bad sslreq answer"

Encrypt = Callable[[SSL.Connection, Callable[[], None], Callable[[str], None]], None]
"""Does a handshake, then calls the first function; the second with what went wrong."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """How one server is to be connected to; ``host`` is as it was configured."""

    side: ServerTls
    host: str


class TlsNegotiation:
    """Gets one connection encrypted, or finds out that it does without."""

    def __init__(
        self,
        encryption: Encryption,
        transport: Any,  # noqa: ANN401 - of any reactor
        encrypt: Encrypt,
        secured: Callable[[TlsFacts | None], None],
        failed: Callable[[str], None],
    ) -> None:
        """Take the transport, and what does a handshake on it.

        One of the last two is called: ``secured`` with None for a connection in clear,
        ``failed`` with the reason to close it.
        """
        self._side, self._host = encryption.side, encryption.host
        self._transport = transport
        self._encrypt = encrypt
        self._secured = secured
        self._failed = failed
        self._is_asking = False

    def begin(self) -> None:
        """Ask for TLS, or begin with it."""
        if self._side.options.is_direct:
            self._shake_hands()
        else:
            self._is_asking = True
            self._transport.write(encode.ssl_request())

    def received(self, data: bytes) -> None:
        """Take the server's answer."""
        if not self._is_asking:
            return
        self._is_asking = False
        if data == b"S":
            self._shake_hands()
        elif data[:1] == b"S":
            self._failed(INJECTED)
        elif data != b"N":
            self._failed(BAD_ANSWER)
        elif self._side.options.is_required:
            self._failed(REFUSED)
        else:
            self._secured(None)

    def _shake_hands(self) -> None:
        connection = self._side.connection(self._transport.socket, self._host)

        def encrypted() -> None:
            try:
                facts = self._side.facts(connection, self._host)
            except (WrongHost, NoProtocol, PeerAlert) as error:
                self._failed(f"TLS handshake failed: {error}")
            else:
                self._secured(facts)

        self._encrypt(
            connection,
            encrypted,
            lambda reason: self._failed(f"TLS handshake failed: {reason}"),
        )
