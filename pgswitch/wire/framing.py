"""Find message boundaries in a stream that arrives in arbitrary chunks.

Theory of operation (hot path).  Every message after start-up is one type byte, a
big-endian length that counts itself, and a body (PostgreSQL manual, "Message
Formats").  A pooler has to look into very few of them, so a chunk is walked header
by header and then passed on as the very same object; a message that only passes
never becomes an object of its own.

A 256-byte table says what to do with each type:

* ``PASS``: walk on,
* ``CALL``: call :meth:`Scanner.on_message` as soon as the header is there,
* ``WHOLE``: the same, but only once the body is there too,
* ``TAG``: ``WHOLE`` for some lengths, else ``PASS`` (passing.py).

What cannot be decided yet (a cut header, a cut body that is wanted whole) is held
back, in the pieces in which it came, and joined once there is enough of it; an
on_message that cannot say how much it needs gets twice as much each time.  So bytes
that are held are copied and searched a few times at most, however small the pieces.

A walk always starts either inside a body that only passes (:attr:`Scanner.skip`) or at
a whole header, however the stream was cut.  Nothing but a
:class:`~pgswitch.errors.Fault` escapes.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import BadPacketHeader
from pgswitch.wire.constants import HEADER_SIZE
from pgswitch.wire.passing import skip_messages

PASS: Final = 0
CALL: Final = 1
WHOLE: Final = 2
TAG: Final = 3

MAX_PIECES: Final = 64
SMALL_PIECE: Final = 4096
"""So many pieces, smaller than this on average, are joined: each object has a size."""

MAX_MESSAGE_SIZE: Final = 0x7FFFFFFF
"""Default of ``max_packet_size``: the longest message, its type byte included."""

LONG_MESSAGE: Final = 65536
"""Few types of messages are longer; ``check_long`` decides whether to hold one."""

_skip_messages: Final = skip_messages
"""Final names cost no look-up when compiled."""


def action_table(default: int, actions: dict[int, int]) -> bytes:
    """Return a 256-byte table: ``actions`` by type byte, ``default`` for the rest."""
    table = bytearray([default]) * 256
    for message_type, action in actions.items():
        table[message_type] = action
    return bytes(table)


class Scanner:
    """Walks the headers of one direction of one connection.

    A subclass says what it wants to see (:attr:`actions`) and implements
    :meth:`on_message`; during a walk it may cut bytes out or put bytes in by
    :meth:`replace`.  :meth:`walk` then returns what is to be passed on.
    """

    __slots__ = (
        "_copied",
        "_edits",
        "_held",
        "_held_size",
        "_packed",
        "actions",
        "held_back",
        "limit",
        "needed",
        "skip",
        "stopped",
        "stopped_at",
        "wanted",
    )

    def __init__(self, actions: bytes, limit: int) -> None:
        """Begin at a message boundary.

        ``actions`` is an :func:`action_table`; ``limit`` the longest message
        accepted, in bytes, its type byte included.
        """
        self.actions = actions
        self.limit = limit
        self.skip = 0
        """Bytes of a passing message that are still to come."""
        self.stopped = False
        """Set by on_message to end the walk behind the present message.

        Before it, if on_message returns False."""
        self.stopped_at = 0
        """Where in the chunk it ended then."""
        self.held_back = False
        """The walk ended by :meth:`hold_back`."""
        self.needed = 0
        """Set by on_message, if it returns False: bytes of the message to wait for.

        Not set, it gets twice as many as there are, or the whole message."""
        self.wanted = 0
        """Total of held bytes needed before the walk can go on; 0: nothing held."""
        self._held: list[bytes] = []
        self._held_size = 0
        self._packed = 0
        """How many of the pieces held :meth:`_pack` has dealt with."""
        self._edits: list[bytes] = []
        self._copied = 0

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Process a message in ``chunk[start:end]`` that the table names.

        With action CALL, ``end`` may lie beyond the chunk.  Return False to have
        the message held back until more of it has arrived.
        """
        raise AssertionError((message_type, start, end, len(chunk)))

    def wait_for(self, size: int) -> bool:
        """Hold the present message until ``size`` bytes of it are there.

        Called by on_message, which returns the result.
        """
        self.needed = size
        return False

    def hold_back(self) -> bool:
        """End the walk before the present message.

        Called by on_message, which returns the result.
        """
        self.held_back = True
        self.stopped = True
        return False

    def check_long(self, message_type: int, size: int) -> None:
        """Raise a Fault if a message of this size is not to be held until it is whole.

        Asked only of what is cut, and has more than LONG_MESSAGE bytes.
        """

    def at_boundary(self) -> bool:
        """Tell whether the last chunk ended where a message ended."""
        return self.skip == 0 and self.wanted == 0

    def missing(self) -> int:
        """Return how many bytes are to come at least before a boundary; 0: none."""
        return self.skip if self.wanted == 0 else self.wanted - self._held_size

    def rejoin(self, chunk: bytes) -> bytes | None:
        """Put what was held back in front of ``chunk``; None: still too short."""
        self._held.append(chunk)
        self._held_size += len(chunk)
        if self._held_size < self.wanted:
            if len(self._held) - self._packed >= MAX_PIECES:
                self._pack()
            return None
        joined = b"".join(self._held)
        self.let_go_of_held()
        return joined

    def let_go_of_held(self) -> None:
        """Drop what is held back."""
        self._held.clear()
        self._held_size = self._packed = self.wanted = 0

    def _pack(self) -> None:
        """Join many small pieces into one: each has 50 bytes of an object around it."""
        pieces = self._held[self._packed :]
        if sum(map(len, pieces)) < SMALL_PIECE * len(pieces):
            del self._held[self._packed :]
            packed = b"".join(pieces)
            # As a binary counter carries: each byte is copied a few times in all.
            while self._held and len(self._held[-1]) <= len(packed) < LONG_MESSAGE:
                packed = self._held.pop() + packed
            self._held.append(packed)
        self._packed = len(self._held)

    def replace(self, chunk: bytes, start: int, end: int, by: bytes) -> None:
        """Pass ``by`` on in place of ``chunk[start:end]`` (only while walking)."""
        if start > self._copied:
            self._edits.append(chunk[self._copied : start])
        if by:
            self._edits.append(by)
        self._copied = end

    def walk(self, chunk: bytes) -> bytes:
        """Walk ``chunk``; return the bytes to pass on, mostly ``chunk`` itself.

        The caller has called :meth:`rejoin` first when :attr:`wanted` is set.
        Raises BadPacketHeader for a length under 4 or a message over the limit,
        and whatever Fault :meth:`on_message` raises.
        """
        size = len(chunk)
        position = self.skip
        actions = self.actions
        limit = self.limit
        wanted = HEADER_SIZE
        while True:
            position = _skip_messages(chunk, position, actions, limit)
            if size - position < HEADER_SIZE:
                break
            length = (
                chunk[position + 1] << 24
                | chunk[position + 2] << 16
                | chunk[position + 3] << 8
                | chunk[position + 4]
            )
            if length < HEADER_SIZE - 1 or length >= limit:
                raise BadPacketHeader(header=chunk[position : position + HEADER_SIZE])
            end = position + 1 + length
            if end > size and actions[chunk[position]] != CALL:
                wanted = end - position
                if wanted > LONG_MESSAGE:
                    self.check_long(chunk[position], wanted)
                break
            if not self.on_message(chunk[position], chunk, position, end):
                if self.stopped:
                    self.stopped_at = position
                    break
                wanted = max(self.needed, size - position + 1)
                if not self.needed:
                    wanted = max(min(2 * (size - position), end - position), wanted)
                self.needed = 0
                break
            # on_message may have changed what we look for.
            actions = self.actions
            position = end
            if self.stopped:
                self.stopped_at = min(end, size)
                break
        if position >= size:
            self.skip = position - size
            if not self._edits and not self._copied:
                return chunk
            limit = size
        else:
            self.skip = 0
            limit = position
            if not self.stopped:
                self._held.append(chunk[position:])
                self._held_size = size - position
                self.wanted = wanted
        return self._passed(chunk, limit)

    def _passed(self, chunk: bytes, limit: int) -> bytes:
        """Return ``chunk[:limit]`` with the edits of this walk made."""
        if not self._edits and not self._copied:
            return chunk[:limit]
        if self._copied < limit:
            self._edits.append(chunk[self._copied : limit])
        passed = b"".join(self._edits)
        self._edits.clear()
        self._copied = 0
        return passed
