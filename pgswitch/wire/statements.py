"""The process's distinct prepared statements, and those that each server has.

It also tracks SQL's PREPARE, EXECUTE and DEALLOCATE on shared servers.  Such a
statement has the client's own name on the server.  The extended protocol and SQL
share one name space, as in PostgreSQL: EXECUTE can run a statement from Parse, and Bind
one from PREPARE.

* An action is recorded only when the server reports it by the tag of CommandComplete:
  a PREPARE may fail, by itself or because of the statement before it.  Until then all
  messages that name a statement are held back (``ClientStatements.must_wait``).
* Missing statements are sent before a text: for each of the client's statements that
  the text mentions and the server lacks, a PREPARE or Parse under the client's name.
  An error there is the answer to the text.
* When the client releases the server, all statements under its own names are dropped
  there (``ServerStatements.cleaning``).  So no text can use another client's statement.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pgswitch.wire.constants import BIND, CLOSE, EXECUTE, PARSE
from pgswitch.wire.encode import message
from pgswitch.wire.sql_text import DEALLOCATE, PREPARE, Action, SqlText

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


OURS: Final = b"PGBOUNCER_0\0"
"""Name of the statement and the portal that run a statement before the client's."""
RUN_REQUESTS: Final = (CLOSE, PARSE, BIND, EXECUTE, CLOSE)
"""The messages of :func:`run`."""


class SqlStatements:
    """One client's statements from SQL's PREPARE."""

    def __init__(self, names: dict[bytes, Statement]) -> None:
        """``names`` has the client's statements of the extended protocol."""
        self.names = names
        self.texts: dict[bytes, bytes] = {}
        """Texts of PREPARE, by name."""
        self.remembers = True
        """Statements survive a change of the server."""
        self.under_way: deque[deque[Action]] = deque()
        """Actions still to be reported, for each pending request with SQL, in order."""
        self.parsed: dict[bytes, SqlText] = {}
        """Texts about prepared statements, by the name of their Parse."""
        self.portals: dict[bytes, SqlText] = {}
        """Those of the texts that are bound, by portal."""

    def is_idle(self) -> bool:
        """Return whether the client has no such statements."""
        return not self.texts and not self.parsed and not self.under_way

    def begin(self, text: SqlText) -> None:
        """Record that a text was sent to the server."""
        self.under_way.append(deque(text.actions))

    def done(self, tag: bytes, server: ServerStatements) -> Statement | None:
        """Record the action of the first pending request that a command tag reports.

        Returns a statement of the extended protocol that this has deallocated.
        """
        kind = tag.decode("ascii", "replace")
        actions = self.under_way[0] if self.under_way else deque()
        passed = 0
        for action in actions:
            if action.kind == kind:
                break
            passed += 1
        if passed == len(actions):
            if kind == PREPARE:
                server.has_unknown = True
            return None
        action = actions.popleft()
        while action.kind != kind:
            action = actions.popleft()
        name = action.name
        if kind == PREPARE:
            server.own[name] = 1
            if self.remembers:
                self.texts[name] = action.text
        elif kind == DEALLOCATE:
            server.own.pop(name, None)
            self.texts.pop(name, None)
            return self.names.pop(name, None)
        return None

    def ended(self) -> None:
        """Record that the first pending request has ended."""
        self.under_way.popleft()

    def missing(self, text: SqlText, server: ServerStatements) -> list[bytes]:
        """Return the client's statements that a text needs and the server lacks."""
        return [
            name
            for name in text.mentioned
            if (name in self.texts or name in self.names) and name not in server.own
        ]


def run(text: bytes) -> bytes:
    """Return the messages that run a statement, even after one that has failed."""
    return (
        message(CLOSE, b"S" + OURS)
        + message(PARSE, OURS + text + b"\0\0\0")
        + message(BIND, OURS + OURS + bytes(6))
        + message(EXECUTE, OURS + bytes(4))
        + message(CLOSE, b"P" + OURS)
    )
