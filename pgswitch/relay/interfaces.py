"""What the hot path uses: a socket, and a partner for everything rare.

The partner of a client's stream is its frontend, that of a server's its backend; the
null objects at the end take their place once a connection is gone.
"""

from __future__ import annotations

from typing import Final, Protocol

from pgswitch.errors import Fault

UNCHANGED: Final = 0
CHANGED: Final = 1
"""``Router.data`` is the new text."""
REFUSED: Final = 2
"""``Router.refusal`` is the client's answer."""
LATER: Final = 3
"""The router will call ``QueryInterceptor.answered``."""


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
        """Write what the stream has pending, then call its ``drained``."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    def wake_for(self, least: int) -> bool:
        """Have the socket count as readable once so many bytes have come.

        False, with nothing done: its buffer is too small for that.
        """


class StreamControl(Protocol):
    """Processes what is rare in the life of any connection."""

    def message(self, message_type: int, body: bytes) -> None:
        """Process a whole message that is not relayed."""

    def faulted(self, fault: Fault) -> None:
        """Close the connection of a peer that broke the protocol."""


class ServerControl(StreamControl, Protocol):
    """The same for a server; see net/backend.py."""

    def chunk_processed(self) -> None:
        """Note the end of a chunk that came while no client was linked.

        Only now may one be linked.
        """

    def parameter_status(self, body: bytes) -> None:
        """Note a parameter that the server reported."""

    def was_reset(self, *, at_default: bool) -> None:
        """Note that parameters have been reset, all of them if ``at_default``."""

    def transaction_in_statement_mode(self) -> None:
        """Close a client with a transaction, which the pool mode forbids."""

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return a chunk without a notice that the server shuts down.

        The first message of the chunk begins at ``at``.  ``unanswered``: no part of
        the present answer has reached the client.
        """

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Note one that was reset; return the ParameterStatus that the client gets.

        None: it gets the server's.
        """

    def is_answering(self) -> bool:
        """Tell whether an unlinked server is to answer a request of ours."""

    def contradicted(self, what: str) -> None:
        """Note that the server contradicts what we track; it is not used again."""

    def refused_to_write(self) -> None:
        """Note that the server says it takes no writes."""


class ClientControl(StreamControl, Protocol):
    """The same for a client; see net/frontend.py."""

    def first_bytes(self, chunk: bytes) -> None:
        """Take what comes before the login: packets without a type."""

    def terminated(self) -> None:
        """Note the client's Terminate."""

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Close the connection; the client gets the reason unless ``quietly``."""


class Router(Protocol):
    """Decides what happens to a client's queries; see rules/router.py."""

    data: bytes
    """The new text after CHANGED."""
    refusal: bytes
    """The ErrorResponse after REFUSED."""
    failing_query: bytes
    """The text of a query that fails on any server and changes nothing."""
    database: str
    """Where the query was sent; empty: to the client's own pool."""

    def ask(
        self,
        message_type: int,
        text: bytes,
        statement: bytes,
        around: int,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
        /,
    ) -> int:
        """Return one of the four outcomes; may move the client to another pool.

        ``around``: how many bytes of the message are not its text.
        """

    def is_away(self, database: str, /) -> bool:
        """Tell whether the client's pool may be another than that of a database."""

    def route_to(self, database: str, /, *, is_inside: bool) -> int:
        """Move the client there; return UNCHANGED or REFUSED."""

    def give_up(self) -> None:
        """Stop working on the query whose outcome was LATER.

        Sets ``failing_query``, in case the query is refused for that.
        """


class NullClientControl:
    """The frontend of a client that is gone: does nothing."""

    def message(self, message_type: int, body: bytes) -> None:
        """Do nothing."""

    def faulted(self, fault: Fault) -> None:
        """Do nothing."""

    def first_bytes(self, chunk: bytes) -> None:
        """Do nothing."""

    def terminated(self) -> None:
        """Do nothing."""

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Do nothing."""


NULL_CLIENT_CONTROL: Final = NullClientControl()


class NullServerControl:
    """The backend of a server that is gone: does nothing."""

    def message(self, message_type: int, body: bytes) -> None:
        """Do nothing."""

    def faulted(self, fault: Fault) -> None:
        """Do nothing."""

    def chunk_processed(self) -> None:
        """Do nothing."""

    def parameter_status(self, body: bytes) -> None:
        """Do nothing."""

    def is_answering(self) -> bool:
        """Return False."""
        return False

    def was_reset(self, *, at_default: bool) -> None:
        """Do nothing."""

    def transaction_in_statement_mode(self) -> None:
        """Do nothing."""

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return all of it."""
        del at, unanswered
        return chunk

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Return None."""
        del body
        return None

    def contradicted(self, what: str) -> None:
        """Do nothing."""

    def refused_to_write(self) -> None:
        """Do nothing."""

    def close(self, reason: str) -> None:
        """Do nothing: it is closed already."""


NULL_SERVER_CONTROL: Final = NullServerControl()
