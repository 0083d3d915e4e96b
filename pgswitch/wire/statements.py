"""The process's distinct prepared statements, and those that each server has.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

from typing import Final

from pgswitch.wire.constants import BIND, CLOSE, EXECUTE, PARSE
from pgswitch.wire.encode import message

PREFIX: Final = b"PGBOUNCER_"
"""The prefix of names on servers, as documented by PgBouncer."""


class Statement:
    """A distinct statement, shared by all clients that prepare it."""

    def __init__(self, number: int, definition: bytes) -> None:
        """``definition`` is the part of a Parse body after the name."""
        self.number = number
        self.name = PREFIX + str(number).encode()
        self.definition = definition
        self.references = 0
        """The number of clients and servers that hold it; at 0 the table drops it."""

    def parse(self) -> bytes:
        """Return the Parse message for a server."""
        return message(PARSE, self.name + b"\0" + self.definition)


class StatementTable:
    """All statements that a client or server of the process holds."""

    def __init__(self) -> None:
        """Start empty; numbers increase for the life of the process."""
        self._by_definition: dict[bytes, Statement] = {}
        self._last = 0

    def __len__(self) -> int:
        """Return the number of distinct statements."""
        return len(self._by_definition)

    def hold(self, definition: bytes) -> Statement:
        """Return the statement with this definition, with one more reference."""
        statement = self._by_definition.get(definition)
        if statement is None:
            self._last += 1
            statement = Statement(self._last, definition)
            self._by_definition[definition] = statement
        statement.references += 1
        return statement

    def hold_as(self, number: int, definition: bytes) -> Statement:
        """Do the same for a statement that servers already have under this number."""
        if definition not in self._by_definition:
            self._by_definition[definition] = Statement(number, definition)
            self._last = max(self._last, number)
        return self.hold(definition)

    def drop(self, statement: Statement) -> None:
        """Drop one reference."""
        statement.references -= 1
        if statement.references == 0:
            self._by_definition.pop(statement.definition, None)


class ServerStatements:
    """The prepared statements of one server, least recently used first.

    Shared statements have our names, and any client may use them.  A client's own names
    (:attr:`own`) are dropped before the next client gets the server, which may use them
    for other statements.
    """

    def __init__(self, table: StatementTable) -> None:
        """Start with no statements."""
        self.table = table
        self.by_number: dict[int, Statement] = {}
        self._last: Statement | None = None
        """The most recently used statement, already at the end."""
        self.doubtful: dict[int, int] = {}
        """Numbers of statements that the server refused: closed before a new Parse."""
        self.own: dict[bytes, int] = {}
        """A set of the present client's own names; the values have no meaning."""
        self.has_unknown = False
        """The client has prepared a statement whose name we do not know."""
        self.is_over = False
        """There may be more statements than allowed: the next use evicts some."""

    def __len__(self) -> int:
        """Return the number of statements on the server."""
        return len(self.by_number) + len(self.own)

    def add(self, statement: Statement) -> None:
        """Record that the server has the statement, or will have it soon."""
        statement.references += 1
        self.by_number[statement.number] = statement
        self._last = statement

    def remove(self, statement: Statement) -> None:
        """Record that the server does not have the statement."""
        if self.by_number.pop(statement.number, None) is not None:
            self._last = None
            self.table.drop(statement)

    def touch(self, statement: Statement) -> bool:
        """Mark a statement as most recently used; return whether the server has it.

        Returns False as well while statements must be evicted first.
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
        """Set the limit; the next use of a statement evicts those beyond it."""
        self.is_over = len(self.by_number) > limit
        if self.is_over:
            self._last = None

    def oldest(self) -> Statement:
        """Return the least recently used statement."""
        for statement in self.by_number.values():
            return statement
        raise KeyError

    def doubt(self, statement: Statement) -> None:
        """Record that the server refused a statement: prepare it again before use."""
        self.remove(statement)
        self.doubtful[statement.number] = 1

    def doubt_number(self, number: int) -> None:
        """Do the same by a statement's number, even if the server does not have it."""
        statement = self.by_number.get(number)
        if statement is not None:
            self.remove(statement)
        self.doubtful[number] = 1

    def doubt_last(self) -> None:
        """Do the same for the most recently used one; for all if it is not known."""
        if self._last is None:
            self.doubt_all()
        else:
            self.doubt(self._last)

    def doubt_all(self) -> None:
        """Do the same for all statements."""
        for statement in [*self.by_number.values()]:
            self.doubt(statement)

    def clear(self) -> None:
        """Drop all: the server ran DISCARD ALL or DEALLOCATE ALL, or is closed."""
        for statement in self.by_number.values():
            self.table.drop(statement)
        self.by_number.clear()
        self._last = None
        self.doubtful.clear()
        self.own.clear()
        self.has_unknown = self.is_over = False

    # Statements under the previous client's own names.

    def needs_cleaning(self) -> bool:
        """Return whether statements must be dropped before the next client."""
        return self.has_unknown or len(self.own) > 0

    def cleaning(self) -> bytes:
        """Return the messages that drop them, without a Sync, and forget them.

        Close of a missing statement is not an error (manual, "Extended Query").
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
