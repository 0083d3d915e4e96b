"""What the hot path is told to use: a socket, and somebody for everything rare."""

from __future__ import annotations

from typing import Final, Protocol

from pgswitch.errors import Fault

UNCHANGED: Final = 0
CHANGED: Final = 1
"""``Router.data`` is the new text."""
REFUSED: Final = 2
"""``Router.refusal`` is what the client is told."""
LATER: Final = 3
"""The advisor will call :meth:`Gate.answered`."""


class StreamIO(Protocol):
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

    def wake_for(self, least: int) -> bool:
        """Have the socket count as readable once so many bytes have come.

        False, with nothing done: its buffer is too small for that.
        """


class StreamControl(Protocol):
    """Decides what is rare in the life of any connection."""

    def message(self, message_type: int, body: bytes) -> None:
        """Deal with a whole message that is not relayed."""

    def faulted(self, fault: Fault) -> None:
        """Deal with a peer that broke the protocol."""


class ServerControl(StreamControl, Protocol):
    """The same for a server; see net/backend.py."""

    def walked(self) -> None:
        """Note that all messages of a chunk were dealt with, while no client is linked.

        Only now may one be linked.
        """

    def parameter_status(self, body: bytes) -> None:
        """Note a parameter that the server reported."""

    def was_reset(self, *, at_default: bool) -> None:
        """Note that parameters have been reset, all of them if ``at_default``."""

    def transaction_in_statement_mode(self) -> None:
        """Deal with a transaction that the pool mode forbids."""

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return what of a chunk a client shall see, if the server says that it ends.

        The first message of the chunk begins at ``at``.  ``unanswered``: no part of
        the present answer has reached the client.
        """

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Note one that was reset; return what the client is told instead, if else.

        None: it is told what the server has reported.
        """

    def is_answering(self) -> bool:
        """Tell whether an unlinked server was asked something by us."""

    def contradicted(self, what: str) -> None:
        """Note that the server is not as we believed; it is not used again."""

    def refused_to_write(self) -> None:
        """Take a server's word that it takes no writes."""


class ClientControl(StreamControl, Protocol):
    """The same for a client; see net/frontend.py."""

    def first_bytes(self, chunk: bytes) -> None:
        """Take what comes before the login: packets without a type."""

    def terminated(self) -> None:
        """Note that the client said Terminate."""

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Close the connection for a reason, which the client is told."""


class Router(Protocol):
    """Decides what becomes of a client's queries; see rules/router.py."""

    data: bytes
    """The new text after CHANGED."""
    refusal: bytes
    """The ErrorResponse after REFUSED."""
    failing_query: bytes
    """The text of a query that fails on any server and changes nothing."""
    database: str
    """Where the query was sent, empty for wherever the client is."""

    def ask(
        self,
        message_type: int,
        text: bytes,
        statement: bytes,
        around: int,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
        /,
    ) -> int:
        """Return one of the four outcomes; the client may be elsewhere then.

        ``around``: bytes of the message that are not of the text.
        """

    def is_away(self, database: str, /) -> bool:
        """Tell whether the client's pool may be another than that of ``home``."""

    def route_to(self, database: str, /, *, is_inside: bool) -> int:
        """Take the client there; return UNCHANGED or REFUSED."""

    def give_up(self) -> None:
        """Think no more about what was to be answered LATER.

        ``failing_query`` is set, should the query be refused for that.
        """
