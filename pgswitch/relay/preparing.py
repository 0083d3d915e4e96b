"""The part of a client's link that knows of prepared statements.

Each message that names one is rewritten as it passes (wire/prepared.py), and texts of
SQL about them get in front what their server lacks (wire/sql_prepared.py).  Whether a
text is such a one is told by the first words of its statements (``suspect``).

What can only be judged when earlier answers are there is held back, with all that
comes behind it (:meth:`PreparingLink.hold_back`).

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import BrokenPacket
from pgswitch.relay.interfaces import StreamControl, StreamIO
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import Stream
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BIND,
    CLOSE,
    DESCRIBE,
    ERRAND,
    EXECUTE,
    FAILED,
    FUNCTION_CALL,
    IDLE,
    PARSE,
    QUERY,
    RESETS,
    SWALLOW,
    SYNC,
    Exchange,
)
from pgswitch.wire.fields import LONGEST_NAME, TO_COME, name_end, names_in
from pgswitch.wire.passing import bind_statement, classify_chunk, rename_bind, suspect
from pgswitch.wire.prepared import BODY, STATEMENT, ClientStatements
from pgswitch.wire.sql_text import SqlText, read

MAX_TEXT_LENGTH: Final = 65536
"""A longer text is not waited for whole: only its beginning is looked at."""
MAX_READ_LENGTH: Final = 262_144
"""A text that is longer is not read: what it prepares is dropped by its tag alone."""
ENOUGH_TO_TELL: Final = 1024
"""Bytes of such a message that show how its text begins."""

FLUSH_MESSAGE: Final = b"H\0\0\0\4"
SYNC_MESSAGE: Final = b"S\0\0\0\4"
_CLOSE_UNNAMED: Final = b"C\0\0\0\6S\0"
_STRINGS: Final = 3
"""Where standard_conforming_strings stands among the tracked parameters."""

OWNED: Final = 0
FOREIGN: Final = 1
UNKNOWN: Final = 2
"""Whose the unnamed statement of a server is."""

_classify_chunk: Final = classify_chunk
_bind_statement: Final = bind_statement
_rename_bind: Final = rename_bind


class PreparingLink(Stream):
    """Base of ClientLink."""

    __slots__ = (
        "exchange",
        "held_back",
        "parameters",
        "parsed_here",
        "rest",
        "server",
        "simple",
        "statements",
    )

    def __init__(
        self, actions: bytes, limit: int, io: StreamIO, control: StreamControl
    ) -> None:
        """Begin without server and statements."""
        super().__init__(actions, limit, io, control)
        self.exchange = Exchange()
        self.parameters: tuple[str | None, ...] = ()
        """Values of the tracked parameters, see wire/params.py."""
        self.statements: ClientStatements | None = None
        """There when servers are shared."""
        self.server: ServerStream | None = None
        self.simple = True
        """Simple queries are allowed (disable_pqexec)."""
        self.held_back = False
        """The walk has ended at a message that has to wait for answers."""
        self.rest = b""
        """What stands in for the rest of the chunk then, if anything."""
        self.parsed_here = False
        """The unnamed statement was parsed since the last Sync or Query."""

    def one_query(self, chunk: bytes) -> int:
        """Tell what a chunk asks, if it is one whole query, as ``asked`` does; else 0.

        A Bind of a named statement is still to be looked at by :meth:`bound`.
        """
        kind = _classify_chunk(chunk, self.limit)
        if kind == 0 or (kind == QUERY and not self.simple):
            return 0
        statements = self.statements
        if statements is not None and statements.busy:
            return 0
        return kind

    def bound(self, chunk: bytes, server: ServerStream) -> bytes:
        """Return a chunk that is one query, with the statement of its Bind renamed.

        Returns nothing when the messages must be looked at one by one: the client has
        no such statement, or the server is to be told of it first.
        """
        statements = self.statements
        if statements is None:
            return b""
        name = _bind_statement(chunk)
        statement = statements.names.get(name)
        if statement is None or not server.statements.touch(statement):
            return b""
        statements.counters.bind_count += 1
        statements.last_bound = name
        return _rename_bind(chunk, name, statement.name)

    def hold_back(self) -> bool:
        """End the walk before the present message; return what on_message returns.

        It goes on, from that message, when what is outstanding has been answered.
        """
        self.held_back = True
        self.stopped = True
        return False

    def _wait_for(self, size: int) -> bool:
        """Have so much of the present message held; return what on_message returns."""
        self.needed = size
        return False

    def ended_segment(self) -> None:
        """Note a message that ends a segment: a Sync, a Query, a FunctionCall."""
        self.parsed_here = False
        statements = self.statements
        if statements is not None and statements.busy:
            statements.ended_segment()

    def query(self, chunk: bytes, start: int, end: int) -> bool:
        """Note a Query, with what it needs in front; False to see more of it."""
        exchange = self.exchange
        statements = self.statements
        server = self.server
        flags = 0
        if statements is None:
            if end <= len(chunk) and suspect(chunk, start + BODY, end):
                text = self._read(chunk[start + BODY : end])
                flags = RESETS if text.resets else 0
        elif server is not None:
            size = len(chunk)
            if end > size and end - start <= MAX_TEXT_LENGTH:
                return self._wait_for(end - start)
            if end > size and size - start < ENOUGH_TO_TELL:
                return self._wait_for(ENOUGH_TO_TELL)
            if end - start <= MAX_READ_LENGTH and (
                len(statements.sql.texts) > 0 or suspect(chunk, start + BODY, end)
            ):
                if end > size:
                    return self._wait_for(end - start)
                return self._query_about(chunk, start, end, statements, server)
            self._before_query(statements, server)
        self.ended_segment()
        exchange.request(QUERY | flags)
        return True

    def _query_about(
        self,
        chunk: bytes,
        start: int,
        end: int,
        statements: ClientStatements,
        server: ServerStream,
    ) -> bool:
        """Note a Query that is about prepared statements, perhaps."""
        body = chunk[start + BODY : end]
        if statements.must_wait() or self._may_be_escaped(body):
            return self.hold_back()
        text = self._read(body)
        missing = statements.sql.missing(text, server.statements)
        exchange = self.exchange
        if missing and not exchange.skips():
            if exchange.will_answer() and exchange.ends_are_outstanding():
                return self.hold_back()
            if exchange.status != FAILED:
                self._go_before(missing, chunk, start, statements, server)
                return self.hold_back()
            if text.restart:
                # What ends the failed transaction goes first, and alone.
                exchange.request(QUERY | SWALLOW | ERRAND)
                first = message(QUERY, body[: text.restart] + b"\0")
                self.replace(chunk, start, start, first)
                self.rest = message(QUERY, body[text.restart :]) + chunk[end:]
                exchange.internal_query = True
                return self.hold_back()
        self._before_query(statements, server)
        statements.query(text, RESETS if text.resets else 0)
        self.ended_segment()
        return True

    def _before_query(self, statements: ClientStatements, server: ServerStream) -> None:
        """Note what a Query does to a server besides what it says."""
        exchange = self.exchange
        if not exchange.open:
            if not exchange.copying:
                server.owned = True
                statements.forget_unnamed()
        elif exchange.executes and exchange.status == IDLE and not exchange.skips():
            # PostgreSQL 18 leaves the transaction of such a pipeline open, tells it as
            # one, and fails what is asked first after its Sync (seen with 18.6).
            server.close_needed = server.needs_release_check = True

    def _go_before(
        self,
        missing: list[bytes],
        chunk: bytes,
        start: int,
        statements: ClientStatements,
        server: ServerStream,
    ) -> None:
        """Send what gives the server some statements, ahead of a Query."""
        exchange = self.exchange
        exchange.internal_query = True
        in_pipeline = exchange.is_in_pipeline()
        sent = statements.ensure_own(missing, server.statements, may_fail=True)
        if not in_pipeline:
            # A pipeline's transaction would be over with a Sync.
            exchange.request(SYNC | SWALLOW | ERRAND)
            sent += SYNC_MESSAGE
        self.replace(chunk, start, start, sent)

    def _may_be_escaped(self, text: bytes) -> bool:
        """Tell whether it is not known yet what a backslash in a text means."""
        exchange = self.exchange
        return (
            b"\\" in text and exchange.will_answer() and exchange.ends_are_outstanding()
        )

    def _read(self, text: bytes) -> SqlText:
        """Return what a text says about prepared statements."""
        strings = self.parameters[_STRINGS : _STRINGS + 1]
        return read(text, escapes=strings == ("off",))

    def prepared(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Rewrite one of Parse, Bind, Describe, Close; False to see more of it."""
        statements = self.statements
        server = self.server
        body = start + BODY
        if statements is None or server is None:
            if message_type == PARSE and end <= len(chunk):
                self._note_resets(chunk, body, end)
            self.exchange.request(message_type)
        elif message_type == FUNCTION_CALL:
            self.exchange.request(message_type)
            self.ended_segment()
        elif message_type == EXECUTE:
            return self._execute(chunk, start, end, statements)
        elif message_type == PARSE:
            return self._parse(chunk, start, end, statements, server)
        elif message_type == BIND:
            return self._bind(chunk, start, end, statements, server)
        elif end - body > LONGEST_NAME + 2:
            what = "Close" if message_type == CLOSE else "Describe"
            raise BrokenPacket(message=what)
        elif end > len(chunk):
            return self._wait_for(end - start)
        elif end <= body + 2 or chunk[body] != STATEMENT:
            if message_type == DESCRIBE and end == body + 2:
                if chunk[body] == STATEMENT:
                    return self._use_unnamed(DESCRIBE, b"", chunk, start, server)
            self.exchange.request(message_type)
        elif statements.must_wait():
            return self.hold_back()
        elif message_type == DESCRIBE:
            by = statements.describe(chunk[body:end], server.statements)
            self.replace(chunk, start, end, by)
        else:
            by = statements.close(chunk[body:end], server.statements)
            self.replace(chunk, start, end, by)
        return True

    def _note_resets(self, chunk: bytes, body: int, end: int) -> None:
        """Note a Parse that resets parameters, where nothing else matters of it."""
        text_at = chunk.find(b"\0", body, end) + 1
        if text_at and suspect(chunk, text_at, end):
            text = self._read(chunk[text_at : chunk.find(b"\0", text_at, end)])
            self.exchange.resets = self.exchange.resets or text.resets

    def _execute(
        self, chunk: bytes, start: int, end: int, statements: ClientStatements
    ) -> bool:
        if not statements.sql.portals:
            self.exchange.request(EXECUTE)
            return True
        body = start + BODY
        if end > len(chunk):
            if end - body > LONGEST_NAME + 5:
                raise BrokenPacket(message="Execute")
            return self._wait_for(end - start)
        portal = chunk[body : max(chunk.find(b"\0", body, end), body)]
        if portal in statements.sql.portals and statements.must_wait():
            return self.hold_back()
        statements.execute(portal)
        return True

    def _parse(
        self,
        chunk: bytes,
        start: int,
        end: int,
        statements: ClientStatements,
        server: ServerStream,
    ) -> bool:
        body = start + BODY
        size = len(chunk)
        if body >= size and end > body:
            return False
        is_named = end > body and chunk[body] != 0
        name_at = name_end(chunk, body, end) if is_named else body
        if name_at < TO_COME:
            raise BrokenPacket(message="Parse")
        if end > size:
            if name_at == TO_COME:
                return False
            if is_named or end - start <= MAX_TEXT_LENGTH:
                return self._wait_for(end - start)
            if size - start < ENOUGH_TO_TELL:
                return self._wait_for(ENOUGH_TO_TELL)
        text_at = name_at + 1
        name = chunk[body : max(name_at, body)]
        is_about = end - start <= MAX_READ_LENGTH and (
            suspect(chunk, text_at, end)
            or (
                len(statements.sql.texts) > 0
                and b"execute" in chunk[text_at:end].lower()
            )
        )
        if is_about and end > size:
            return self._wait_for(end - start)
        if (is_named or is_about) and statements.must_wait():
            return self.hold_back()
        if is_about and self._may_be_escaped(chunk[text_at:end]):
            return self.hold_back()
        before = b""
        if is_about:
            text = self._read(chunk[text_at : chunk.find(b"\0", text_at, end)])
            before = statements.parse_sql(name, text, server.statements)
        elif not is_named:
            statements.forget_unnamed()
        if is_named:
            by = statements.parse(chunk[body:end], server.statements)
            self.replace(chunk, start, end, before + by)
            return True
        if before:
            self.replace(chunk, start, start, before)
        if not self.exchange.copying and not self.exchange.is_in_pipeline():
            server.owned = True
        self.parsed_here = True
        self.exchange.request(PARSE)
        return True

    def _bind(
        self,
        chunk: bytes,
        start: int,
        end: int,
        statements: ClientStatements,
        server: ServerStream,
    ) -> bool:
        body = start + BODY
        portal, name = names_in(chunk, start, end)
        if name < 0:
            if name == TO_COME and end > len(chunk):
                return False
            raise BrokenPacket(message="Bind")
        statement = chunk[portal + 1 : name]
        if statements.busy and statements.must_wait():
            if statement or statements.sql.parsed:
                return self.hold_back()
        if not statement and self._whose_unnamed(server) == UNKNOWN:
            return self.hold_back()  # Before anything is noted of it.
        before = b""
        if statements.sql.parsed or statements.sql.portals:
            before = statements.bind_sql(
                chunk[body:portal], statement, server.statements
            )
        if not statement:
            return self._use_unnamed(BIND, before, chunk, start, server)
        by = statements.bind(chunk[body : name + 1], end - name - 1, server.statements)
        self.replace(chunk, start, name + 1, before + by)
        return True

    def _use_unnamed(
        self,
        message_type: int,
        before: bytes,
        chunk: bytes,
        start: int,
        server: ServerStream,
    ) -> bool:
        """Note a Bind or Describe of the unnamed statement, which must be the client's.

        What another has left there is closed first, so that the server itself says
        that there is none.
        """
        whose = self._whose_unnamed(server)
        if whose == UNKNOWN:
            return self.hold_back()
        if whose == FOREIGN:
            self.parsed_here = True  # as good as that, until the next Sync
            self.exchange.request(CLOSE | SWALLOW)
            before += _CLOSE_UNNAMED
        self.exchange.request(message_type)
        if before:
            self.replace(chunk, start, start, before)
        return True

    def _whose_unnamed(self, server: ServerStream) -> int:
        """Tell whose the unnamed statement is by the time that this is carried out.

        A Parse that is skipped leaves what was there before.
        """
        exchange = self.exchange
        if server.owned or self.parsed_here or exchange.skips():
            return OWNED
        if exchange.will_answer() and exchange.ends_are_outstanding():
            return UNKNOWN
        return FOREIGN
