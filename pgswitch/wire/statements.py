"""The distinct prepared statements of the process, and which of them a server has.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.wire.constants import BIND, CLOSE, EXECUTE, PARSE
from pgswitch.wire.encode import message

PREFIX: Final = b"PGBOUNCER_"
"""Server-side names begin as PgBouncer's documentation promises."""


class Statement:
    """One distinct statement, shared by every client that prepares it."""

    def __init__(self, number: int, definition: bytes) -> None:
        """Take the part of a Parse body behind the name."""
        self.number = number
        self.name = PREFIX + str(number).encode()
        self.definition = definition
        self.references = 0
        """How many clients and servers hold it; the table forgets it at 0."""

    def parse(self) -> bytes:
        """Return the Parse message for a server."""
        return message(PARSE, self.name + b"\0" + self.definition)


class StatementTable:
    """All statements that some client or server of the process knows."""

    def __init__(self) -> None:
        """Begin empty; numbers count up for the life of the process."""
        self._by_definition: dict[bytes, Statement] = {}
        self._last = 0

    def __len__(self) -> int:
        """Return how many distinct statements are held."""
        return len(self._by_definition)

    def hold(self, definition: bytes) -> Statement:
        """Return the statement of this definition, with one more reference."""
        statement = self._by_definition.get(definition)
        if statement is None:
            self._last += 1
            statement = Statement(self._last, definition)
            self._by_definition[definition] = statement
        statement.references += 1
        return statement

    def hold_as(self, number: int, definition: bytes) -> Statement:
        """Do the same for a statement that servers know under this number already."""
        if definition not in self._by_definition:
            self._by_definition[definition] = Statement(number, definition)
            self._last = max(self._last, number)
        return self.hold(definition)

    def drop(self, statement: Statement) -> None:
        """Take one reference back."""
        statement.references -= 1
        if statement.references == 0:
            self._by_definition.pop(statement.definition, None)


class ServerStatements:
    """What one server connection has prepared, the longest unused first.

    Shared statements stand under names of ours, and any client may use them.  What a
    client has prepared under a name of its own (:attr:`own`) is dropped before another
    client gets the server, which may mean something else by that name.
    """

    def __init__(self, table: StatementTable) -> None:
        """Begin with none."""
        self.table = table
        self.by_number: dict[int, Statement] = {}
        self._last: Statement | None = None
        """What was used last stands at the end already."""
        self.doubtful: dict[int, int] = {}
        """Numbers of statements that the server refused: closed before a new Parse."""
        self.own: dict[bytes, int] = {}
        """Names of the present client's; the values mean nothing."""
        self.has_unknown = False
        """The client prepared something under a name that we have not seen."""
        self.is_over = False
        """There may be more than the limit: the next use of one looks, and evicts."""

    def __len__(self) -> int:
        """Return how many statements the server has."""
        return len(self.by_number) + len(self.own)

    def add(self, statement: Statement) -> None:
        """Note that the server has the statement now, or will have had it parsed."""
        statement.references += 1
        self.by_number[statement.number] = statement
        self._last = statement

    def remove(self, statement: Statement) -> None:
        """Note that the server does not have it, or not any more."""
        if self.by_number.pop(statement.number, None) is not None:
            self._last = None
            self.table.drop(statement)

    def touch(self, statement: Statement) -> bool:
        """Make it the last to be evicted; tell whether the server has it.

        False as well while some are to be evicted first.
        """
        if statement is self._last:
            return True
        if self.is_over:
            return False
        found = self.by_number.pop(statement.number, None)
        if found is None:
            return False
        self.by_number[statement.number] = found
        self._last = found
        return True

    def limit_to(self, limit: int) -> None:
        """Have the next use of a statement evict what is more than the limit."""
        self.is_over = len(self.by_number) > limit
        if self.is_over:
            self._last = None

    def oldest(self) -> Statement:
        """Return the one to be evicted next."""
        for statement in self.by_number.values():
            return statement
        raise KeyError

    def doubt(self, statement: Statement) -> None:
        """Note that the server refused it: it is prepared again before its next use."""
        self.remove(statement)
        self.doubtful[statement.number] = 1

    def doubt_number(self, number: int) -> None:
        """Do so for a statement of this number, if the server has one."""
        statement = self.by_number.get(number)
        if statement is not None:
            self.remove(statement)
        self.doubtful[number] = 1

    def doubt_last(self) -> None:
        """Do so for the one used last; for all, if that is not known."""
        if self._last is None:
            self.doubt_all()
        else:
            self.doubt(self._last)

    def doubt_all(self) -> None:
        """Do so for all."""
        for statement in [*self.by_number.values()]:
            self.doubt(statement)

    def clear(self) -> None:
        """Forget all: the server ran DISCARD ALL or DEALLOCATE ALL, or is gone."""
        for statement in self.by_number.values():
            self.table.drop(statement)
        self.by_number.clear()
        self._last = None
        self.doubtful.clear()
        self.own.clear()
        self.has_unknown = self.is_over = False

    # What the client before has prepared under names of its own.

    def needs_cleaning(self) -> bool:
        """Tell whether something is to be dropped before the next client."""
        return self.has_unknown or len(self.own) > 0

    def cleaning(self) -> bytes:
        """Return the messages that drop it, but for the Sync, and forget it.

        Close is no error where there is nothing (manual, "Extended Query").
        """
        closes = b"".join(message(CLOSE, b"S" + name + b"\0") for name in self.own)
        if self.has_unknown:
            self.clear()
            return (
                message(PARSE, b"\0DEALLOCATE ALL\0\0\0")
                + message(BIND, b"\0\0" + bytes(6))
                + message(EXECUTE, bytes(5))
            )
        self.own.clear()
        return closes
