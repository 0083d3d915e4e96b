"""One client's connection: writes a script piece by piece, gathers what comes back."""

from __future__ import annotations

import math
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol

from tests.fuzz.protocol import wire
from tests.fuzz.protocol.script import Script, Step
from tests.fuzz.protocol.wire import Message, Piece, Splitter

READ = 65536
LAST_TURN = 1_000_000_000


class Waiting(Protocol):
    """Tells when all answers to a group are there, and what is sent for that."""

    def ending(self, group: int) -> bytes:
        """Return what is sent after a group."""

    def is_answered(self, group: int, messages: list[Message]) -> bool:
        """Tell whether these are all its answers."""


class Fenced:
    """Waits for the answers to a fence, as one may who knows nothing of the script.

    After a Terminate it waits for the end of the connection.
    """

    def __init__(self, script: Script) -> None:
        """Take the script, for its Terminates."""
        self._ends = [
            any(step.kind == "X" for step in one.steps) for one in script.groups
        ]

    def ending(self, group: int) -> bytes:
        """Return the fence."""
        return b"" if self.terminates(group) else wire.fence()

    def is_answered(self, group: int, messages: list[Message]) -> bool:
        """Tell whether the last are those to the fence."""
        return not self.terminates(group) and wire.is_fenced(messages)

    def terminates(self, group: int) -> bool:
        """Tell whether there is a Terminate in a group."""
        return group < len(self._ends) and self._ends[group]


class Player:
    """A client at work; its owner calls ``act`` and ``read`` when it is time.

    ``answers`` are the messages by group, of a fence too; ``closed`` is the group in
    which the other side has ended the connection.
    """

    def __init__(
        self,
        script: Script,
        connection: socket.socket,
        waiting: Waiting,
        trouble: Callable[[Player, Step], None] | None = None,
    ) -> None:
        """Play a script on a connection that has logged in, without blocking.

        ``trouble`` is called for what is no message; without, such steps are skipped.
        """
        self.script = script
        self.waiting = waiting
        self.answers: list[list[Message]] = []
        self.parameters: dict[str, str] = {}
        self.asynchronous: list[Message] = []
        self.closed: int | None = None
        self.done = False
        self.hung = False
        self.key = b""
        self.progressed_at = 0.0
        """When something was last written or read."""
        self.paused_until = 0.0
        self.begun: list[float] = []
        """When the first bytes of each group were written."""
        self.connection = connection
        self._trouble = trouble
        self._splitter = Splitter()
        self._pieces: deque[Piece] = deque()
        self._unsent = b""
        self._begin_group()

    @property
    def group(self) -> int:
        """The number of the group that is being played."""
        return len(self.answers) - 1

    def fileno(self) -> int:
        """Return the socket's number, for select."""
        return self.connection.fileno()

    @property
    def has_more(self) -> bool:
        """Whether something is still to be written for this group."""
        return not self.done and bool(self._unsent or self._pieces)

    def terminates(self, group: int) -> bool:
        """Tell whether the client itself ends the connection in a group."""
        groups = self.script.groups
        return group < len(groups) and any(
            one.kind in ("X", "!vanish") for one in groups[group].steps
        )

    @property
    def turn(self) -> int:
        """The turn of the present group."""
        groups = self.script.groups
        return groups[self.group].turn if self.group < len(groups) else LAST_TURN

    @property
    def has_begun(self) -> bool:
        """Whether some of the present group is written."""
        return len(self.begun) == len(self.answers)

    def act(self, now: float) -> None:
        """Write the next piece, or make the next trouble."""
        if not self.has_begun:
            self.begun.append(now)
        if not self._unsent:
            piece = self._pieces.popleft()
            self.paused_until = now + piece.pause_s
            if piece.fault is not None:
                if piece.fault.kind == "!vanish":
                    self.leave()
                elif self._trouble is not None:
                    self.paused_until = math.inf
                    self._trouble(self, piece.fault)
                    self.paused_until = now
                self._go_on()
                return
            self._unsent = piece.data
        try:
            sent = self.connection.send(self._unsent)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._unsent = b""
            self._pieces.clear()  # What was said before the end is still read.
            return
        self._unsent = self._unsent[sent:]
        self.progressed_at = now
        self._go_on()  # For there may be nothing to wait for.

    def read(self, now: float) -> None:
        """Take what has come."""
        while not self.done:
            try:
                data = self.connection.recv(READ)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError:
                data = b""
            if not data:
                self.closed = self.group
                self.leave()
                return
            self.progressed_at = now
            for message in self._splitter.feed(data):
                self._take(message)
        self._go_on()

    def leave(self) -> None:
        """End it here."""
        self.done = True
        self.connection.close()

    def finish(self) -> None:
        """Read nothing more; what is unread is of no matter."""
        if not self.done:
            self.leave()

    def _take(self, message: Message) -> None:
        if message.kind in wire.ASYNCHRONOUS:
            self.asynchronous.append(message)
            if message.kind == b"S":
                name, value = wire.parameter(message.body)
                self.parameters[name] = value
            return
        self.answers[-1].append(message)

    def _go_on(self) -> None:
        if self.done or self.has_more:
            return
        if self.waiting.is_answered(self.group, self.answers[-1]):
            if len(self.answers) > len(self.script.groups):
                self.leave()
            else:
                self._begin_group()

    def _begin_group(self) -> None:
        """Begin the next group; a fence follows the last one."""
        number = len(self.answers)
        self.answers.append([])
        if number < len(self.script.groups):
            self._pieces.extend(wire.pieces(self.script.groups[number]))
        ending = self.waiting.ending(number)
        if ending:
            self._pieces.append(Piece(ending))
        if not self._pieces:
            self._go_on()
