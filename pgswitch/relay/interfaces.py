"""What the hot path is told to use: a socket, and somebody for everything rare."""

from __future__ import annotations

from typing import Protocol

from pgswitch.errors import Fault


class LinkIO(Protocol):
    """A connection's socket; see net/transport.py."""

    def recv(self, size: int, /) -> bytes:
        """Return at most so many bytes; the socket's own, raises OSError."""

    def send(self, data: bytes, /) -> int:
        """Return how many bytes were taken; the socket's own, raises OSError."""

    def failed(self, error: OSError) -> object:
        """Return what a reactor takes for a lost connection."""

    def ended(self) -> object:
        """Return what a reactor takes for an orderly end."""

    def drain_later(self) -> None:
        """Write what the link has pending, and tell it when that is done."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class LinkControl(Protocol):
    """Decides what is rare in the life of any connection."""

    def message(self, message_type: int, body: bytes) -> None:
        """Deal with a whole message that is not relayed."""

    def faulted(self, fault: Fault) -> None:
        """Deal with a peer that broke the protocol."""


class ServerControl(LinkControl, Protocol):
    """The same for a server; see net/backend.py."""

    def parameter_status(self, body: bytes) -> None:
        """Note a parameter that the server reported."""

    def transaction_in_statement_mode(self) -> None:
        """Deal with a transaction that the pool mode forbids."""

    def without_last_word(self, chunk: bytes, *, unanswered: bool) -> bytes:
        """Return what of a chunk a client shall see, if the server says that it ends.

        ``unanswered``: no part of the present answer has reached the client.
        """

    def refused_to_write(self) -> None:
        """Take a server's word that it takes no writes."""

    def close(self, reason: str) -> None:
        """Close the connection."""


class ClientControl(LinkControl, Protocol):
    """The same for a client; see net/frontend.py."""

    def first_bytes(self, chunk: bytes) -> None:
        """Take what comes before the login: packets without a type."""

    def terminated(self) -> None:
        """Note that the client said Terminate."""

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Close the connection for a reason, which the client is told."""
