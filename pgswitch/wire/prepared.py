"""Prepared statements of the extended protocol, when servers are shared.

A client names its statements as it likes; under transaction and statement pooling
its next server may not have them, or have another client's of the same name.  So
each distinct statement (query text and parameter types, byte for byte) gets one
name of ours, and Parse, Bind, Describe and Close are rewritten as they pass:

========================  =======================================================
client sends              server gets
========================  =======================================================
Parse, new to the server  Parse under our name
Parse, already there      nothing; ParseComplete is made by us in its turn
Parse, name in use        Parse of a name in use, so that the server says so
Bind, Describe            the same under our name, a Parse first where it lacks
Close                     nothing; CloseComplete is made by us in its turn
anything of no known      the message as it is, so that the server's own error
name, or unnamed          answers it and its transaction takes the right turn
========================  =======================================================

A server keeps at most ``max_prepared_statements``; the one unused for longest is
closed, its reply swallowed.  Whatever the server skipped after an error is undone
in both maps, as it is in the server.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import BrokenPacket
from pgswitch.stats.counters import Counters
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BIND,
    CLOSE,
    DESCRIBE,
    FAKE,
    NAMED,
    PARSE,
    SWALLOW,
    TYPE,
    Exchange,
)

STATEMENT: Final = 0x53
"""The byte ``S`` that tells a statement from a portal in Describe and Close."""
BODY: Final = 5
"""Offset of a message's body behind its type and length."""
PREFIX: Final = b"PGBOUNCER_"
"""Server-side names begin as PgBouncer's documentation promises."""
PARSE_COMPLETE: Final = b"1\x00\x00\x00\x04"
CLOSE_COMPLETE: Final = b"3\x00\x00\x00\x04"


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
    """What one server connection has prepared, the longest unused first."""

    def __init__(self, table: StatementTable) -> None:
        """Begin with none."""
        self.table = table
        self.by_number: dict[int, Statement] = {}

    def __len__(self) -> int:
        """Return how many statements the server has."""
        return len(self.by_number)

    def add(self, statement: Statement) -> None:
        """Note that the server has the statement now, or will have had it parsed."""
        statement.references += 1
        self.by_number[statement.number] = statement

    def remove(self, statement: Statement) -> None:
        """Note that the server does not have it, or not any more."""
        if self.by_number.pop(statement.number, None) is not None:
            self.table.drop(statement)

    def touch(self, statement: Statement) -> bool:
        """Make it the last to be evicted; tell whether the server has it."""
        found = self.by_number.pop(statement.number, None)
        if found is None:
            return False
        self.by_number[statement.number] = found
        return True

    def oldest(self) -> Statement:
        """Return the one to be evicted next."""
        for statement in self.by_number.values():
            return statement
        raise KeyError

    def clear(self) -> None:
        """Forget all: the server ran DISCARD ALL or DEALLOCATE ALL, or is gone."""
        for statement in self.by_number.values():
            self.table.drop(statement)
        self.by_number.clear()


class Note:
    """Goes with a request in flight: what to undo should the server skip it."""

    def __init__(
        self,
        statement: Statement,
        client_name: bytes | None,
        *,
        closes: bool = False,
        parses: bool = True,
    ) -> None:
        """``client_name`` is the client's name that is introduced or closed, if any.

        What ``closes`` keeps one of the statement's references for the undoing; what
        does not either ``parses`` the statement or finds it there.
        """
        self.statement = statement
        self.client_name = client_name
        self.closes = closes
        self.parses = parses


class ClientStatements:
    """One client's names, and the rewriting of its messages."""

    def __init__(
        self,
        table: StatementTable,
        exchange: Exchange,
        most: int,
        counters: Counters,
    ) -> None:
        """``most`` is max_prepared_statements; ``counters`` those of the pool."""
        self.table = table
        self.exchange = exchange
        self.most = most
        self.names: dict[bytes, Statement] = {}
        self.notes: list[Note] = []
        """One for each request in the exchange that carries NAMED, in order."""
        self.counters = counters

    # The client's messages, as they pass.

    def parse(self, body: bytes, server: ServerStatements) -> bytes:
        """Take a named Parse's body; return what the server gets for it."""
        split = body.find(b"\0")
        if split < 0 or body.find(b"\0", split + 1) < 0:
            raise BrokenPacket(message="Parse")
        name = body[:split]
        self.counters.client_parse_count += 1
        if name in self.names:
            # The server knows the rules of a duplicate name best: let it see one.
            statement = self.names[name]
            sent = self._ensure(statement, server)
            self.exchange.request(PARSE)
            return sent + statement.parse()
        statement = self.table.hold(body[split + 1 :])
        self.names[name] = statement
        if server.touch(statement):
            self.notes.append(Note(statement, name, parses=False))
            self.exchange.request(PARSE | FAKE | NAMED)
            return b""
        self.notes.append(Note(statement, name))
        self.exchange.request(PARSE | NAMED)
        self.counters.server_parse_count += 1
        server.add(statement)
        return statement.parse() + self.evict(server)

    def bind(self, names: bytes, rest: int, server: ServerStatements) -> bytes:
        """Take ``portal NUL statement NUL`` of a Bind; ``rest`` bytes follow it.

        Returns what the server gets in place of the header and the two names.
        """
        split = names.find(b"\0")
        name = names[split + 1 : -1]
        self.counters.bind_count += 1
        statement = self.names.get(name)
        sent = b""
        if statement is not None:
            sent = self._ensure(statement, server)
            names = names[: split + 1] + statement.name + b"\0"
        self.exchange.request(BIND)
        return sent + b"B" + (len(names) + rest + 4).to_bytes(4, "big") + names

    def describe(self, body: bytes, server: ServerStatements) -> bytes:
        """Take the body of a Describe of a named statement."""
        if body.find(b"\0") != len(body) - 1:
            raise BrokenPacket(message="Describe")
        statement = self.names.get(body[1:-1])
        sent = b""
        if statement is not None:
            sent = self._ensure(statement, server)
            body = body[:1] + statement.name + b"\0"
        self.exchange.request(DESCRIBE)
        return sent + message(DESCRIBE, body)

    def close(self, body: bytes) -> None:
        """Take the body of a Close of a named statement; no server gets it."""
        if body.find(b"\0") != len(body) - 1:
            raise BrokenPacket(message="Close")
        name = body[1:-1]
        statement = self.names.pop(name, None)
        if statement is None:
            self.exchange.request(CLOSE | FAKE)
        else:
            self.notes.append(Note(statement, name, closes=True))
            self.exchange.request(CLOSE | FAKE | NAMED)

    def _ensure(self, statement: Statement, server: ServerStatements) -> bytes:
        """Return what must be sent first so that the server has the statement."""
        if server.touch(statement):
            return b""
        server.add(statement)
        self.exchange.request(PARSE | SWALLOW | NAMED)
        self.notes.append(Note(statement, None))
        self.counters.server_parse_count += 1
        return statement.parse() + self.evict(server)

    def evict(self, server: ServerStatements) -> bytes:
        """Return the Close messages that bring the server back to its limit."""
        sent = b""
        while len(server.by_number) > self.most:
            statement = server.oldest()
            statement.references += 1
            self.notes.append(Note(statement, None, closes=True))
            server.remove(statement)
            self.exchange.request(CLOSE | SWALLOW | NAMED)
            sent += message(CLOSE, b"S" + statement.name + b"\0")
        return sent

    # The server's answers.

    def settled(self) -> None:
        """Note that the next request with a note succeeded."""
        note = self.notes.pop(0)
        if note.closes:
            self.table.drop(note.statement)

    def undone(self, skipped: list[int], server: ServerStatements) -> None:
        """Note requests that failed or were skipped: the server did none of them."""
        count = 0
        for entry in skipped:
            if entry & NAMED:
                count += 1
        notes = self.notes[:count]
        del self.notes[:count]
        # The last first: a statement may have been parsed and then evicted.
        while notes:
            note = notes.pop()
            statement = note.statement
            name = note.client_name
            if note.closes:
                if name is None:
                    server.add(statement)
                elif name not in self.names:
                    self.names[name] = statement
                    continue
                self.table.drop(statement)
                continue
            if note.parses:
                server.remove(statement)
            if name is not None and self.names.get(name) is statement:
                del self.names[name]
                self.table.drop(statement)

    def clear(self) -> None:
        """Forget all names: the client ran DISCARD ALL or DEALLOCATE ALL."""
        for statement in self.names.values():
            self.table.drop(statement)
        self.names.clear()

    def leave(self) -> None:
        """Forget everything: the client has left, perhaps in the middle."""
        self.clear()
        for note in self.notes:
            if note.closes:
                self.table.drop(note.statement)
        self.notes.clear()


def fake_reply(entry: int) -> bytes:
    """Return the reply that we make for a FAKE request."""
    return PARSE_COMPLETE if entry & TYPE == PARSE else CLOSE_COMPLETE
