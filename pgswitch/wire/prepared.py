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
    SQL,
    SWALLOW,
    TYPE,
    Exchange,
)
from pgswitch.wire.sql_prepared import SqlStatements
from pgswitch.wire.statements import ServerStatements, Statement, StatementTable

STATEMENT: Final = 0x53
"""The byte ``S`` that tells a statement from a portal in Describe and Close."""
BODY: Final = 5
"""Offset of a message's body behind its type and length."""
PARSE_COMPLETE: Final = b"1\x00\x00\x00\x04"
CLOSE_COMPLETE: Final = b"3\x00\x00\x00\x04"


class Note:
    """Goes with a request in flight: what to undo should the server skip it."""

    def __init__(
        self,
        statement: Statement,
        client_name: bytes | None,
        *,
        closes: bool = False,
        parses: bool = True,
        home: str = "",
    ) -> None:
        """``client_name`` is the client's name that is introduced or closed, if any.

        What ``closes`` keeps one of the statement's references for the undoing; what
        does not either ``parses`` the statement or finds it there.
        """
        self.statement = statement
        self.client_name = client_name
        self.closes = closes
        self.parses = parses
        self.home = home
        """What :attr:`ClientStatements.homes` had for a name that is closed."""


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
        self.homes: dict[bytes, str] = {}
        """Where rules have sent statements, by the client's names."""
        self.home = ""
        """Where rules have sent the Parse that comes next, empty for nowhere."""
        self.notes: list[Note] = []
        """One for each request in the exchange that carries NAMED, in order."""
        self.counters = counters
        self.sql = SqlStatements(exchange, most)
        """Those that the client has prepared by SQL."""
        self.spoken: dict[bytes, bytes] = {}
        """What of SQL about such ones was parsed, by the name of its Parse."""
        self.bound = b""
        """That of these which is bound, until it is executed."""

    def keep_at_most(self, most: int) -> None:
        """Take another max_prepared_statements, from what is prepared next on."""
        self.most = most
        self.sql.keep_at_most(most)

    def is_empty(self) -> bool:
        """Tell whether the client has no statement that could be lost."""
        return not self.names and not self.sql.texts

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
        if self.home:
            self.homes[name] = self.home
        if server.touch(statement):
            self.notes.append(Note(statement, name, parses=False))
            self.exchange.request(PARSE | FAKE | NAMED)
            return b""
        self.notes.append(Note(statement, name))
        self.exchange.request(PARSE | NAMED)
        self.counters.server_parse_count += 1
        server.add(statement)
        return statement.parse() + self._evict(server)

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
        self.spoken.pop(name, None)
        statement = self.names.pop(name, None)
        if statement is None:
            self.exchange.request(CLOSE | FAKE)
        else:
            home = self.homes.pop(name, "")
            self.notes.append(Note(statement, name, closes=True, home=home))
            self.exchange.request(CLOSE | FAKE | NAMED)

    # Messages whose text is one of SQL about prepared statements.

    def parsed(self, name: bytes, text: bytes, server: ServerStatements) -> bytes:
        """Note the text of a Parse; return what goes before it."""
        self.spoken[name] = text
        return self.sql.before_parse(text, server.by_sql)

    def binding(self, name: bytes, server: ServerStatements) -> bytes:
        """Note a Bind, of any statement; return what goes before it."""
        self.bound = self.spoken.get(name, b"")
        if not self.bound:
            return b""
        return self.sql.before_bind(self.bound, server.by_sql, self.names)

    def executed(self, server: ServerStatements) -> None:
        """Note the Execute of the statement that is bound."""
        text, self.bound = self.bound, b""
        self.sql.execute(text, server.by_sql, self.names)

    def _ensure(self, statement: Statement, server: ServerStatements) -> bytes:
        """Return what must be sent first so that the server has the statement."""
        if server.touch(statement):
            return b""
        server.add(statement)
        self.exchange.request(PARSE | SWALLOW | NAMED)
        self.notes.append(Note(statement, None))
        self.counters.server_parse_count += 1
        return statement.parse() + self._evict(server)

    def _evict(self, server: ServerStatements) -> bytes:
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

    def settled(self, entry: int) -> None:
        """Note that the next request with a note succeeded."""
        if entry & SQL:
            dropped = self.sql.settled()
            if dropped is not None:
                self.table.drop(dropped)
            return
        note = self.notes.pop(0)
        if note.closes:
            self.table.drop(note.statement)

    def undone(self, skipped: list[int], server: ServerStatements) -> None:
        """Note requests that failed or were skipped: the server did none of them."""
        notes = self._notes_of(skipped, server)
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
                    if note.home:
                        self.homes[name] = note.home
                    continue
                self.table.drop(statement)
                continue
            if note.parses:
                server.remove(statement)
            if name is not None and self.names.get(name) is statement:
                del self.names[name]
                self.homes.pop(name, "")
                self.table.drop(statement)

    def _notes_of(self, skipped: list[int], server: ServerStatements) -> list[Note]:
        """Remove and return the notes of requests; undo those of SQL at once."""
        count = by_sql = 0
        for entry in skipped:
            if entry & NAMED:
                count += 1
            elif entry & SQL:
                by_sql += 1
        if by_sql:
            self.sql.undone(by_sql, server.by_sql, self.names)
        notes = self.notes[:count]
        del self.notes[:count]
        return notes

    def clear(self) -> None:
        """Forget all names: the client ran DISCARD ALL or DEALLOCATE ALL."""
        for statement in self.names.values():
            self.table.drop(statement)
        self.names.clear()
        self.homes.clear()
        self.spoken.clear()
        self.sql.texts.clear()

    def leave(self) -> None:
        """Forget everything: the client has left, perhaps in the middle."""
        if not self.names and not self.sql.notes and not self.notes:
            return  # Nothing that anybody else knows of.
        self.clear()
        for note in self.notes:
            if note.closes:
                self.table.drop(note.statement)
        self.notes.clear()
        for dropped in self.sql.given_up():
            self.table.drop(dropped)


def fake_reply(entry: int) -> bytes:
    """Return the reply that we make for a FAKE request."""
    return PARSE_COMPLETE if entry & TYPE == PARSE else CLOSE_COMPLETE
