"""Prepared statements of the extended protocol, when servers are shared.

A client names its statements as it likes; under transaction and statement pooling
its next server may not have them, or have another client's of the same name.  So
each distinct statement (query text and parameter types, byte for byte) gets one
name of ours, and Parse, Bind, Describe and Close are rewritten as they pass:

========================  =======================================================
client sends              server gets
========================  =======================================================
Parse, new to the server  Parse under our name
Parse, already there      nothing; we make the ParseComplete in its turn
Parse, name in use        Parse of a name in use, so that the server refuses it
Bind, Describe            the same under our name, a Parse first where it lacks
Close                     nothing; we make the CloseComplete in its turn
anything of no known      the message as it is, so that the server's own error
name, or unnamed          answers it and its transaction takes the right turn
========================  =======================================================

A server keeps at most ``max_prepared_statements``; the one unused for longest is
closed, its reply swallowed.  Where that was lowered, the next use of any statement
closes all that are too many (``ServerStatements.limit_to``).  With 0 nothing outlives
the client's hold on a server: messages pass as they are, and named statements are
dropped before the next client.

*Judged late.*  What a request does to a name is noted with it (:class:`Note`) and
undone, the last first, if the server fails or skips it.  Up to the next Sync that
cannot mislead, since the server skips whatever else was judged.  What comes behind a
Sync is judged when all notes of before have their answers, and anything that names a
statement when all SQL about statements has (:meth:`ClientStatements.must_wait`).
We make a ParseComplete only where it is certain that the server would not have refused:
not in a transaction that has failed, nor while that is unknown.

*Refuted.*  If a server lacks a statement that it should have, has one that it should
not, or cannot run it any more, the statement is prepared again (``doubt``); in the
first two cases the server is also closed when its client releases it.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

import re
from typing import Final

from pgswitch.errors import BrokenPacket
from pgswitch.stats.counters import Counters
from pgswitch.wire.constants import (
    BIND,
    CLOSE,
    CLOSE_COMPLETE_MESSAGE,
    DESCRIBE,
    EXECUTE,
    HEADER_SIZE,
    PARSE,
    PARSE_COMPLETE_MESSAGE,
    QUERY,
    STATUS_FAILED,
)
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BATCH,
    COMPACT_AFTER,
    FAKE,
    INTERNAL,
    NAMED,
    RESETS,
    SQL,
    SWALLOW,
    TYPE,
    Exchange,
)
from pgswitch.wire.sql_text import PREPARE, Action, SqlText
from pgswitch.wire.statements import (
    OURS,
    PREFIX,
    RUN_REQUESTS,
    ServerStatements,
    SqlStatements,
    Statement,
    StatementTable,
    run,
)

PARSED: Final = 1
"""The client's name was introduced, and the statement parsed."""
FOUND: Final = 2
"""The client's name was introduced, the server had the statement."""
SENT: Final = 3
"""The statement was parsed for a message that follows."""
EVICTED: Final = 4
"""The statement was closed on the server."""
CLOSED: Final = 5
"""The client's name was closed."""
USED: Final = 6
"""The statement is used; nothing is to be undone."""
OWN: Final = 7
"""The name was introduced on the server as the client has it."""
UNPREPARED: Final = 8
"""A name of SQL was closed."""
TAKEN: Final = 9
"""A name in use was parsed, for the server to refuse that."""

KEEPS: Final = (EVICTED, CLOSED)
"""Kinds of notes that hold a reference to their statement."""

REFUTED: Final = (b"26000", b"42P05")
"""SQLSTATEs: there is no such prepared statement; there is one already."""
OUTDATED: Final = b"0A000"
"""Among others: cached plan must not change result type."""

_INTERNAL = re.compile(PREFIX + rb'(\d+)"')
_NO_NAME_OF_OURS = re.compile(rb"(" + PREFIX + rb'[^"]*) "')


class Note:
    """Goes with a request in flight: what to undo if the server skips it."""

    def __init__(
        self,
        kind: int,
        statement: Statement | None,
        name: bytes = b"",
        *,
        was_own: bool = False,
        text: bytes = b"",
        home: str = "",
    ) -> None:
        """``kind`` is one of those above, ``name`` the client's, if it is about one.

        ``was_own``: the server had the name as the client has it.  ``text``: the
        PREPARE of a name of SQL.  ``home``: what :attr:`ClientStatements.homes` had.
        """
        self.kind = kind
        self.statement = statement
        self.name = name
        self.was_own = was_own
        self.text = text
        self.home = home


class ClientStatements:
    """One client's names, and the rewriting of its messages."""

    def __init__(
        self,
        table: StatementTable,
        exchange: Exchange,
        limit: int,
        counters: Counters,
    ) -> None:
        """``limit`` is max_prepared_statements; ``counters`` those of the pool."""
        self.table = table
        self.exchange = exchange
        self.limit = limit
        self.names: dict[bytes, Statement] = {}
        self.homes: dict[bytes, str] = {}
        """The databases that rules have routed statements to, by the client's names."""
        self.home = ""
        """The database that rules have routed the next Parse to, or empty."""
        self.notes: list[Note] = []
        """One for each request in the exchange that carries NAMED, in order."""
        self._over = 0
        """How many of the first are over: they are dropped many at a time."""
        self.sealed = False
        """A Sync has followed the requests of all notes."""
        self.counters = counters
        self.sql = SqlStatements(self.names)
        """The statements that the client has prepared by SQL."""
        self.last_bound = b""
        """The name in the last Bind that was sent as part of a whole query."""
        self.busy = False
        """A message of the client may need more than another name in it."""

    def limit_to(self, limit: int) -> None:
        """Take another max_prepared_statements, from the next use of a statement on."""
        self.limit = limit

    def must_wait(self) -> bool:
        """Tell whether only answers to come will show what names stand for.

        Of what the server skips that does not matter.
        """
        if not self.exchange.will_answer():
            return False
        return (self.sealed and len(self.notes) > 0) or len(self.sql.under_way) > 0

    def ended_segment(self) -> None:
        """Note a Sync or a Query: the server does not skip across it."""
        self.sealed = len(self.notes) > 0

    # The client's messages, as they pass.

    def parse(self, body: bytes, server: ServerStatements) -> bytes:
        """Note a named Parse by its body; return what the server gets for it."""
        split = body.find(b"\0")
        if split < 0 or body.find(b"\0", split + 1) < 0:
            raise BrokenPacket(message="Parse")
        name = body[:split]
        self.counters.client_parse_count += 1
        self.sql.remembers = self.limit > 0
        if not self.limit:
            return self._own_name(name, message(PARSE, body), server, PARSE)
        # The server knows the rules for a duplicate name best: send it one.
        if name in self.names:
            return self._duplicate(name, self.names[name], body[split:], server)
        if name in self.sql.texts:
            sent = self.ensure_own([name], server, may_fail=False)
            self.exchange.request(PARSE)
            return sent + message(PARSE, body)
        statement = self.table.hold(body[split + 1 :])
        if self.home:
            self.homes[name] = self.home
        self.names[name] = statement
        sent = self._trim(statement, server)
        if server.touch(statement):
            return sent + self._found(name, statement)
        return sent + self._parsed(name, statement, server)

    def _duplicate(
        self, name: bytes, statement: Statement, rest: bytes, server: ServerStatements
    ) -> bytes:
        """Return a Parse of the name that the server has for a statement."""
        sent = self._ensure(statement, server)
        self._note(Note(TAKEN, statement, name))
        self.exchange.request(PARSE | NAMED)
        return sent + message(PARSE, statement.name + rest)

    def _own_name(
        self, name: bytes, sent: bytes, server: ServerStatements, request: int
    ) -> bytes:
        """Return ``sent``, which introduces a name of the client's on the server."""
        if name in server.own:
            self.exchange.request(request)
            return sent
        self._note(Note(OWN, None, name))
        self.exchange.request(request | NAMED)
        server.own[name] = 1
        self.counters.server_parse_count += 1
        return sent

    def _found(self, name: bytes, statement: Statement) -> bytes:
        """Arrange a ParseComplete for a statement that the server has."""
        self._note(Note(FOUND, statement, name))
        exchange = self.exchange
        if exchange.status != STATUS_FAILED and not exchange.ends_are_outstanding():
            exchange.request(PARSE | FAKE | NAMED)
            return b""
        # The server decides whether it fails, and how.
        exchange.request(CLOSE | SWALLOW)
        exchange.request(PARSE | NAMED)
        self.counters.server_parse_count += 1
        return message(CLOSE, b"S" + OURS) + message(PARSE, OURS + statement.definition)

    def _parsed(
        self, name: bytes, statement: Statement, server: ServerStatements
    ) -> bytes:
        sent = self._undoubted(statement, server)
        self._note(Note(PARSED, statement, name))
        self.exchange.request(PARSE | NAMED)
        self.counters.server_parse_count += 1
        server.add(statement)
        return sent + statement.parse() + self._evict(server)

    def bind(self, names: bytes, remaining: int, server: ServerStatements) -> bytes:
        """Note ``portal NUL statement NUL`` of a Bind; ``remaining`` bytes follow it.

        Returns what the server gets in place of the header and the two names.
        """
        split = names.find(b"\0")
        self.counters.bind_count += 1
        sent, name = self._use(names[split + 1 : -1], server, BIND)
        names = names[: split + 1] + name + b"\0"
        return sent + b"B" + (len(names) + remaining + 4).to_bytes(4, "big") + names

    def describe(self, body: bytes, server: ServerStatements) -> bytes:
        """Note a named Describe by its body; return what the server gets."""
        if body.find(b"\0") != len(body) - 1:
            raise BrokenPacket(message="Describe")
        sent, name = self._use(body[1:-1], server, DESCRIBE)
        return sent + message(DESCRIBE, body[:1] + name + b"\0")

    def _use(
        self, name: bytes, server: ServerStatements, request: int
    ) -> tuple[bytes, bytes]:
        """Note the use of a name; return what goes before, and the server's name."""
        statement = self.names.get(name)
        if statement is not None:
            sent = self._ensure(statement, server)
            self._note(Note(USED, statement, name))
            self.exchange.request(request | NAMED)
            return sent, statement.name
        sent = b""
        if name in self.sql.texts:
            sent = self.ensure_own([name], server, may_fail=False)
        elif name.startswith(PREFIX):
            # One of our names: with a blank more it means nothing to the server.
            name += b" "
        self.exchange.request(request)
        return sent, name

    def close(self, body: bytes, server: ServerStatements | None) -> bytes:
        """Note a Close of a named statement by its body; return what the server gets.

        Without a server nothing is under names of the client's own.
        """
        if body.find(b"\0") != len(body) - 1:
            raise BrokenPacket(message="Close")
        name = body[1:-1]
        self.sql.parsed.pop(name, None)
        was_own = server is not None and server.own.pop(name, 0) != 0
        statement = self.names.pop(name, None)
        text = self.sql.texts.pop(name, b"")
        if statement is None and not text and not was_own:
            return self._close_nothing(CLOSE)
        home = self.homes.pop(name, "")
        kind = UNPREPARED if statement is None else CLOSED
        self._note(Note(kind, statement, name, was_own=was_own, text=text, home=home))
        if was_own:
            self.exchange.request(CLOSE | NAMED)
            return message(CLOSE, body)
        return self._close_nothing(CLOSE | NAMED)

    def _close_nothing(self, entry: int) -> bytes:
        """Arrange a CloseComplete in its turn; we make it where that is certain."""
        if not self.exchange.ends_are_outstanding():
            self.exchange.request(entry | FAKE)
            return b""
        self.exchange.request(entry)
        return message(CLOSE, b"S" + OURS)

    # Names, while the client has no server.

    def text_of(self, name: bytes) -> bytes | None:
        """Return the text of a statement, None if none of that name is known.

        Of one that was prepared by SQL it is the PREPARE.
        """
        statement = self.names.get(name)
        if statement is None:
            return self.sql.texts.get(name)
        definition = statement.definition
        return definition[: definition.find(b"\0")]

    def introduce(self, name: bytes, definition: bytes) -> bool:
        """Take a named statement that was parsed; False, if the name is in use."""
        if not self.limit:
            return True  # No server has it, so none would have to drop it.
        if name in self.names or name in self.sql.texts:
            return False
        self.names[name] = self.table.hold(definition)
        return True

    def forget(self, name: bytes) -> None:
        """Forget a statement that was closed, if there is one."""
        self.sql.parsed.pop(name, None)
        self.sql.texts.pop(name, None)
        self.homes.pop(name, "")
        statement = self.names.pop(name, None)
        if statement is not None:
            self.table.drop(statement)

    # Messages whose text is one of SQL about prepared statements.

    def parse_sql(self, name: bytes, text: SqlText, server: ServerStatements) -> bytes:
        """Note such a text of a Parse; return what goes before it."""
        if not name or (name not in self.names and name not in self.sql.texts):
            self.sql.parsed[name] = text
            self.busy = True
        return self._needed(text, server)

    def _needed(self, text: SqlText, server: ServerStatements) -> bytes:
        """Return what gives the server the statements that a text mentions."""
        if (
            self.exchange.status == STATUS_FAILED
            and not self.exchange.ends_are_outstanding()
        ):
            return b""  # The server refuses the text anyway.
        return self.ensure_own(self.sql.missing(text, server), server, may_fail=False)

    def bind_sql(self, portal: bytes, name: bytes, server: ServerStatements) -> bytes:
        """Note a Bind, of any statement; return what goes before it."""
        text = self.sql.parsed.get(name)
        if text is None:
            self.sql.portals.pop(portal, None)
            return b""
        self.sql.portals[portal] = text
        return self._needed(text, server)

    def execute(self, portal: bytes) -> None:
        """Note an Execute; what one of such a text does, its command tag shows."""
        text = self.sql.portals.get(portal)
        flags = RESETS if text is not None and text.resets else 0
        if text is None or not text.actions:
            self.exchange.request(EXECUTE | flags)
        else:
            self.exchange.request(EXECUTE | SQL | flags)
            self._begin(text)

    def query(self, text: SqlText, flags: int) -> None:
        """Note a Query with such a text; ``flags`` are more flags of the request."""
        if not text.actions:
            self.exchange.request(QUERY | flags)
            return
        self.exchange.request(QUERY | SQL | flags)
        self._begin(text)

    def _begin(self, text: SqlText) -> None:
        self.sql.remembers = self.limit > 0
        self.sql.begin(text)
        self.busy = True

    def ensure_own(
        self, names: list[bytes], server: ServerStatements, *, may_fail: bool
    ) -> bytes:
        """Return what gives the server these statements under the client's names.

        ``may_fail``: an internal query, whose error is the answer to what waits.
        """
        flags = SWALLOW | INTERNAL if may_fail else SWALLOW
        sent: list[bytes] = []
        for name in names:
            if name in server.own:
                continue
            text = self.sql.texts.get(name)
            if text is None:
                definition = self.names[name].definition
                before = message(PARSE, name + b"\0" + definition)
                sent.append(self._own_name(name, before, server, PARSE | flags))
                continue
            for request in RUN_REQUESTS:
                is_run = request == EXECUTE
                self.exchange.request(request | flags | (SQL if is_run else 0))
            prepare = Action(PREPARE, name, text)
            self._begin(SqlText(text, (prepare,), (), resets=False, restart=0))
            sent.append(run(text))
        return b"".join(sent)

    # What goes before a message.

    def _ensure(self, statement: Statement, server: ServerStatements) -> bytes:
        """Return what must be sent first so that the server has the statement."""
        sent = self._trim(statement, server)
        if server.touch(statement):
            return sent
        sent += self._undoubted(statement, server)
        server.add(statement)
        self._note(Note(SENT, statement))
        self.exchange.request(PARSE | SWALLOW | NAMED)
        self.counters.server_parse_count += 1
        return sent + statement.parse() + self._evict(server)

    def _undoubted(self, statement: Statement, server: ServerStatements) -> bytes:
        """Return the Close of what the server may have under the statement's name."""
        if statement.number not in server.doubtful:
            return b""
        del server.doubtful[statement.number]
        self.exchange.request(CLOSE | SWALLOW)
        return message(CLOSE, b"S" + statement.name + b"\0")

    def _trim(self, statement: Statement, server: ServerStatements) -> bytes:
        """Return the Close messages that a lowered limit asks for before this use."""
        if not server.is_over:
            return b""
        server.is_over = False
        server.touch(statement)
        return self._evict(server)

    def _evict(self, server: ServerStatements) -> bytes:
        """Return the Close messages that bring the server back to its limit."""
        sent: list[bytes] = []
        while len(server.by_number) > max(self.limit, 1):
            statement = server.oldest()
            statement.references += 1
            self._note(Note(EVICTED, statement))
            server.remove(statement)
            self.exchange.request(CLOSE | SWALLOW | NAMED)
            sent.append(message(CLOSE, b"S" + statement.name + b"\0"))
        return b"".join(sent)

    def _note(self, note: Note) -> None:
        self.notes.append(note)
        self.busy = True

    # Answers.

    def settled(self, entry: int) -> None:
        """Note that a request with NAMED or SQL succeeded, or ended."""
        if entry & SQL:
            self.sql.ended()
        if entry & NAMED:
            note = self._next_note()
            if note.statement is not None and note.kind in KEEPS:
                self.table.drop(note.statement)
        self._look_if_busy()

    def pending(self) -> list[Note]:
        """Return the notes that are not over, in order."""
        return self.notes[self._over :]

    def _next_note(self) -> Note:
        """Remove the first note, whose request is settled, and return it."""
        note = self.notes[self._over]
        self._over += 1
        if self._over == len(self.notes):
            self.notes.clear()
            self._over = 0
        elif self._over > COMPACT_AFTER and self._over > len(self.notes) >> 1:
            del self.notes[: self._over]
            self._over = 0
        return note

    def done(self, tag: bytes, server: ServerStatements) -> None:
        """Note what the SQL at the head of the exchange has done, by its tag."""
        dropped = self.sql.done(tag, server)
        if dropped is not None:
            self.table.drop(dropped)

    def undone(self, skipped: list[int], server: ServerStatements) -> None:
        """Note requests that failed or were skipped: the server did none of them."""
        count = 0
        for entry in skipped:
            if entry & NAMED:
                count += 1
            if entry & SQL:
                self.sql.ended()
        notes = [self._next_note() for _ in range(count)]
        # The last first: a statement may have been parsed and then evicted.
        while notes:
            self._undo(notes.pop(), server)
        self._look_if_busy()

    def _undo(self, note: Note, server: ServerStatements) -> None:
        kind, name, statement = note.kind, note.name, note.statement
        if kind == OWN:
            server.own.pop(name, None)
            return
        if kind == UNPREPARED or kind == CLOSED:
            if note.was_own:
                server.own[name] = 1
            if note.text:
                self.sql.texts[name] = note.text
        if statement is None or kind == USED or kind == TAKEN:
            return
        if kind == CLOSED:
            self.names[name] = statement
            if note.home:
                self.homes[name] = note.home
            return
        if kind == EVICTED:
            server.add(statement)
            server.limit_to(max(self.limit, 1))
            self.table.drop(statement)
            return
        if kind == PARSED or kind == SENT:
            server.remove(statement)
        if (kind == PARSED or kind == FOUND) and self.names.get(name) is statement:
            del self.names[name]
            self.homes.pop(name, "")
            self.sql.parsed.pop(name, None)
            self.table.drop(statement)

    def refuted(self, error: bytes, first: int, server: ServerStatements) -> bool:
        """Note an ErrorResponse; ``first`` is the request that failed.

        Called before :meth:`undone`.  Returns True if the server contradicts what was
        believed about it: it names a statement of ours that it has or lacks.
        """
        code = sqlstate(error)
        if code == OUTDATED:
            note = self.notes[self._over] if first & NAMED else None
            if note is not None and note.statement is not None:
                server.doubt(note.statement)
            elif first == BATCH and self.exchange.outstanding() == 1:
                server.doubt_last()
            elif first == BATCH:
                server.doubt_all()
            return False
        named = _INTERNAL.search(error) if code in REFUTED else None
        if named is None or (first & NAMED and self.notes[self._over].kind == TAKEN):
            return False
        server.doubt_number(int(named[1]))
        return True

    def translated(self, error: bytes, first: int) -> bytes:
        """Return an ErrorResponse with the client's names in place of ours.

        ``first`` is the request that failed; called before :meth:`undone`.
        """
        if PREFIX not in error:
            return error
        note = self.notes[self._over] if first & NAMED else None
        if note is not None and note.statement is not None and note.name:
            error = error.replace(note.statement.name + b'"', note.name + b'"')
        elif first == BATCH and self.last_bound in self.names:
            statement = self.names[self.last_bound]
            error = error.replace(statement.name + b'"', self.last_bound + b'"')
        for number in _INTERNAL.findall(error):
            for name, statement in self.names.items():
                if statement.number == int(number):
                    error = error.replace(statement.name + b'"', name + b'"')
                    break
        # A client's own name of that form was sent with a blank behind it.
        error = _NO_NAME_OF_OURS.sub(rb'\1"', error)
        return message(error[0], error[HEADER_SIZE:])

    # The end.

    def _look_if_busy(self) -> None:
        if not self.notes:
            self.sealed = False
            self.busy = not self.sql.is_idle()

    def forget_unnamed(self) -> None:
        """Note a Parse of the unnamed statement whose text is not about others."""
        if self.sql.parsed.pop(b"", None) is not None:
            self._look_if_busy()

    def clear(self, *, portals: bool = True) -> None:
        """Forget all names: the client ran DISCARD ALL or DEALLOCATE ALL.

        The latter leaves the unnamed statement and the portals.
        """
        for statement in self.names.values():
            self.table.drop(statement)
        self.names.clear()
        self.homes.clear()
        unnamed = self.sql.parsed.get(b"")
        self.sql.parsed.clear()
        self.sql.texts.clear()
        if portals:
            self.sql.portals.clear()
        elif unnamed is not None:
            self.sql.parsed[b""] = unnamed

    def leave(self) -> None:
        """Forget everything: the client has left, perhaps amid a request."""
        if not self.names and not self.notes:
            return  # Nothing is shared with others.
        self.clear()
        for note in self.pending():
            if note.statement is not None and note.kind in KEEPS:
                self.table.drop(note.statement)
        self.notes.clear()
        self._over = 0
        self.sql.under_way.clear()


def sqlstate(error: bytes) -> bytes:
    """Return the SQLSTATE of an ErrorResponse, empty if it has none."""
    at = error.find(b"\0C", HEADER_SIZE)
    return error[at + 2 : at + 7] if at >= 0 else b""


def fake_reply(entry: int) -> bytes:
    """Return the reply that we make for a FAKE request."""
    return PARSE_COMPLETE_MESSAGE if entry & TYPE == PARSE else CLOSE_COMPLETE_MESSAGE
