"""Rewrites a client's messages about prepared statements, when servers are shared.

A :class:`ClientStream` holds a rewriter while its servers are shared; without one it
passes these messages on as they are.  Each message that names a statement is rewritten
as it passes (wire/prepared.py), and SQL about prepared statements is preceded by what
its server lacks (wire/statements.py).  ``suspect`` recognises such SQL by the first
words of its statements.

A message that can only be judged once earlier answers have come is held back, with all
that comes behind it (``Scanner.hold_back``).

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import BrokenPacket
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import Stream
from pgswitch.wire.constants import (
    BIND,
    CLOSE,
    CLOSE_UNNAMED_MESSAGE,
    DESCRIBE,
    EXECUTE,
    FUNCTION_CALL,
    HEADER_SIZE,
    PARSE,
    PREPARED_STATEMENT,
    QUERY,
    STATUS_FAILED,
    STATUS_IDLE,
    SYNC,
    SYNC_MESSAGE,
)
from pgswitch.wire.decode import MAX_NAME_LENGTH, TO_COME, name_end, names_in
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import INTERNAL, RESETS, SWALLOW, Exchange
from pgswitch.wire.passing import bind_statement, rename_bind, suspect
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.sql_text import SqlText, read

MAX_TEXT_LENGTH: Final = 65536
"""A longer text is not held until it is whole: only its beginning is looked at."""
MAX_READ_LENGTH: Final = 262_144
"""A longer text is not read: what it prepares is dropped by its command tag alone."""
TEXT_BEGINNING: Final = 1024
"""Bytes of such a message that show how its text begins."""

_STRINGS: Final = 3
"""Where standard_conforming_strings stands among the tracked parameters."""

OWNED: Final = 0
FOREIGN: Final = 1
UNKNOWN: Final = 2
"""Whose the unnamed statement of a server is."""

_bind_statement: Final = bind_statement
_rename_bind: Final = rename_bind


def read_text(text: bytes, parameters: tuple[str | None, ...]) -> SqlText:
    """Return what a text says about prepared statements and resets.

    ``parameters`` are the client's tracked ones: they decide what a backslash means.
    """
    return read(text, escapes=parameters[_STRINGS : _STRINGS + 1] == ("off",))


class PreparedRewriter:
    """Rewrites the messages of one client, during the walks of its stream.

    Its methods that return a bool return what ``Scanner.on_message`` returns: False to
    have the message held until more of it, or an answer, has come.
    """

    def __init__(
        self, stream: Stream, exchange: Exchange, statements: ClientStatements
    ) -> None:
        """Rewrite for ``stream``, whose requests ``exchange`` notes."""
        self.stream = stream
        self.exchange = exchange
        self.statements = statements
        self.parsed_here = False
        """The unnamed statement was parsed since the last Sync or Query."""
        self.remainder = b""
        """What replaces the rest of the chunk after ``hold_back``, if anything."""

    def bind_renamed(self, chunk: bytes, server: ServerStream) -> bytes:
        """Return a chunk that is one query, with the statement of its Bind renamed.

        Returns nothing when the messages must be looked at one by one: the client has
        no such statement, or the server lacks it.
        """
        statements = self.statements
        name = _bind_statement(chunk)
        statement = statements.names.get(name)
        if statement is None or not server.statements.touch(statement):
            return b""
        statements.counters.bind_count += 1
        statements.last_bound = name
        return _rename_bind(chunk, name, statement.name)

    def end_segment(self) -> None:
        """Note a message that ends a segment: a Sync, a Query, a FunctionCall."""
        self.parsed_here = False
        if self.statements.busy:
            self.statements.ended_segment()

    # Query.

    def query(self, chunk: bytes, start: int, end: int, server: ServerStream) -> bool:
        """Note a Query, and put in front of it what it needs."""
        statements = self.statements
        size = len(chunk)
        if end > size and end - start <= MAX_TEXT_LENGTH:
            return self.stream.wait_for(end - start)
        if end > size and size - start < TEXT_BEGINNING:
            return self.stream.wait_for(TEXT_BEGINNING)
        if end - start <= MAX_READ_LENGTH and (
            len(statements.sql.texts) > 0 or suspect(chunk, start + HEADER_SIZE, end)
        ):
            if end > size:
                return self.stream.wait_for(end - start)
            return self._query_about_statements(chunk, start, end, server)
        self._before_query(server)
        self.end_segment()
        self.exchange.request(QUERY)
        return True

    def _query_about_statements(
        self, chunk: bytes, start: int, end: int, server: ServerStream
    ) -> bool:
        """Note a Query that may be about prepared statements."""
        statements = self.statements
        body = chunk[start + HEADER_SIZE : end]
        if statements.must_wait() or self._may_be_escaped(body):
            return self.stream.hold_back()
        text = read_text(body, self.stream.parameters)
        missing = statements.sql.missing(text, server.statements)
        exchange = self.exchange
        if missing and not exchange.skips():
            if exchange.will_answer() and exchange.ends_are_outstanding():
                return self.stream.hold_back()
            if exchange.status != STATUS_FAILED:
                self._send_before(missing, chunk, start, server)
                return self.stream.hold_back()
            if text.restart:
                # What ends the failed transaction goes first, and alone.
                exchange.request(QUERY | SWALLOW | INTERNAL)
                first = message(QUERY, body[: text.restart] + b"\0")
                self.stream.replace(chunk, start, start, first)
                self.remainder = message(QUERY, body[text.restart :]) + chunk[end:]
                exchange.internal_query = True
                return self.stream.hold_back()
        self._before_query(server)
        statements.query(text, RESETS if text.resets else 0)
        self.end_segment()
        return True

    def _before_query(self, server: ServerStream) -> None:
        """Note what any Query does to a server besides what it says."""
        exchange = self.exchange
        if not exchange.open:
            if not exchange.copying:
                server.unnamed_is_clients = True
                self.statements.forget_unnamed()
        elif (
            exchange.executes
            and exchange.status == STATUS_IDLE
            and not exchange.skips()
        ):
            # PostgreSQL 18 leaves the transaction of such a pipeline open, reports it
            # as one, and fails the first request after its Sync (seen with 18.6).
            server.close_needed = server.needs_release_check = True

    def _send_before(
        self, missing: list[bytes], chunk: bytes, start: int, server: ServerStream
    ) -> None:
        """Send what gives the server the missing statements, ahead of a Query."""
        exchange = self.exchange
        exchange.internal_query = True
        in_pipeline = exchange.is_in_pipeline()
        sent = self.statements.ensure_own(missing, server.statements, may_fail=True)
        if not in_pipeline:
            # A pipeline's transaction would be over with a Sync.
            exchange.request(SYNC | SWALLOW | INTERNAL)
            sent += SYNC_MESSAGE
        self.stream.replace(chunk, start, start, sent)

    def _may_be_escaped(self, text: bytes) -> bool:
        """Tell whether an answer may still change what a backslash in a text means."""
        exchange = self.exchange
        return (
            b"\\" in text and exchange.will_answer() and exchange.ends_are_outstanding()
        )

    # The extended protocol.

    def rewrite(
        self,
        message_type: int,
        chunk: bytes,
        start: int,
        end: int,
        server: ServerStream,
    ) -> bool:
        """Note any request but Sync and Query, and rewrite it if it names a statement.

        Raises BrokenPacket.
        """
        statements = self.statements
        body = start + HEADER_SIZE
        if message_type == FUNCTION_CALL:
            self.exchange.request(message_type)
            self.end_segment()
        elif message_type == EXECUTE:
            return self._execute(chunk, start, end)
        elif message_type == PARSE:
            return self._parse(chunk, start, end, server)
        elif message_type == BIND:
            return self._bind(chunk, start, end, server)
        elif end - body > MAX_NAME_LENGTH + 2:
            what = "Close" if message_type == CLOSE else "Describe"
            raise BrokenPacket(message=what)
        elif end > len(chunk):
            return self.stream.wait_for(end - start)
        elif end <= body + 2 or chunk[body] != PREPARED_STATEMENT:
            if message_type == DESCRIBE and end == body + 2:
                if chunk[body] == PREPARED_STATEMENT:
                    return self._use_unnamed(DESCRIBE, b"", chunk, start, server)
            self.exchange.request(message_type)
        elif statements.must_wait():
            return self.stream.hold_back()
        elif message_type == DESCRIBE:
            by = statements.describe(chunk[body:end], server.statements)
            self.stream.replace(chunk, start, end, by)
        else:
            by = statements.close(chunk[body:end], server.statements)
            self.stream.replace(chunk, start, end, by)
        return True

    def _execute(self, chunk: bytes, start: int, end: int) -> bool:
        statements = self.statements
        if not statements.sql.portals:
            self.exchange.request(EXECUTE)
            return True
        body = start + HEADER_SIZE
        if end > len(chunk):
            if end - body > MAX_NAME_LENGTH + 5:
                raise BrokenPacket(message="Execute")
            return self.stream.wait_for(end - start)
        portal = chunk[body : max(chunk.find(b"\0", body, end), body)]
        if portal in statements.sql.portals and statements.must_wait():
            return self.stream.hold_back()
        statements.execute(portal)
        return True

    def _parse(self, chunk: bytes, start: int, end: int, server: ServerStream) -> bool:
        statements = self.statements
        body = start + HEADER_SIZE
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
                return self.stream.wait_for(end - start)
            if size - start < TEXT_BEGINNING:
                return self.stream.wait_for(TEXT_BEGINNING)
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
            return self.stream.wait_for(end - start)
        if (is_named or is_about) and statements.must_wait():
            return self.stream.hold_back()
        if is_about and self._may_be_escaped(chunk[text_at:end]):
            return self.stream.hold_back()
        before = b""
        if is_about:
            raw = chunk[text_at : chunk.find(b"\0", text_at, end)]
            text = read_text(raw, self.stream.parameters)
            before = statements.parse_sql(name, text, server.statements)
        elif not is_named:
            statements.forget_unnamed()
        if is_named:
            by = statements.parse(chunk[body:end], server.statements)
            self.stream.replace(chunk, start, end, before + by)
            return True
        if before:
            self.stream.replace(chunk, start, start, before)
        if not self.exchange.copying and not self.exchange.is_in_pipeline():
            server.unnamed_is_clients = True
        self.parsed_here = True
        self.exchange.request(PARSE)
        return True

    def _bind(self, chunk: bytes, start: int, end: int, server: ServerStream) -> bool:
        statements = self.statements
        body = start + HEADER_SIZE
        portal, name = names_in(chunk, start, end)
        if name < 0:
            if name == TO_COME and end > len(chunk):
                return False
            raise BrokenPacket(message="Bind")
        statement = chunk[portal + 1 : name]
        if statements.busy and statements.must_wait():
            if statement or statements.sql.parsed:
                return self.stream.hold_back()
        if not statement and self._whose_unnamed(server) == UNKNOWN:
            return self.stream.hold_back()  # Before anything is noted of it.
        before = b""
        if statements.sql.parsed or statements.sql.portals:
            before = statements.bind_sql(
                chunk[body:portal], statement, server.statements
            )
        if not statement:
            return self._use_unnamed(BIND, before, chunk, start, server)
        by = statements.bind(chunk[body : name + 1], end - name - 1, server.statements)
        self.stream.replace(chunk, start, name + 1, before + by)
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

        One that another client has left there is closed first, so that the server
        itself reports that there is none.
        """
        whose = self._whose_unnamed(server)
        if whose == UNKNOWN:
            return self.stream.hold_back()
        if whose == FOREIGN:
            self.parsed_here = True  # as good as that, until the next Sync
            self.exchange.request(CLOSE | SWALLOW)
            before += CLOSE_UNNAMED_MESSAGE
        self.exchange.request(message_type)
        if before:
            self.stream.replace(chunk, start, start, before)
        return True

    def _whose_unnamed(self, server: ServerStream) -> int:
        """Tell whose the unnamed statement is by the time the server gets there.

        A Parse that is skipped leaves what was there before.
        """
        exchange = self.exchange
        if server.unnamed_is_clients or self.parsed_here or exchange.skips():
            return OWNED
        if exchange.will_answer() and exchange.ends_are_outstanding():
            return UNKNOWN
        return FOREIGN
