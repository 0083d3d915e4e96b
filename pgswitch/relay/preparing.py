"""The part of a client's link that knows of prepared statements.

Each message that names one is rewritten as it passes (wire/prepared.py), and texts of
SQL about them get in front what their server lacks (wire/sql_prepared.py).  Whether a
text is such a one is told by its first letter, for nearly all of them.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

import re
from typing import Final

from pgswitch.errors import BrokenPacket
from pgswitch.relay.interfaces import LinkControl, LinkIO
from pgswitch.relay.link import Link
from pgswitch.relay.server import ServerLink
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BIND,
    DESCRIBE,
    EXECUTE,
    FUNCTION_CALL,
    PARSE,
    QUERY,
    Exchange,
)
from pgswitch.wire.fields import names_in
from pgswitch.wire.framing import action_table
from pgswitch.wire.passing import asked, named, renamed
from pgswitch.wire.prepared import BODY, STATEMENT, ClientStatements

_BLANK: Final = action_table(0, dict.fromkeys(b" \t\r\n\f", 1))
_FIRST: Final = action_table(0, dict.fromkeys(b"pPeEdD", 1))
_KEYWORD: Final = re.compile(
    rb"(?:prepare|execute|deallocate|explain)\b", re.IGNORECASE
)
_LONGEST_KEYWORD: Final = 10
LONGEST_TEXT: Final = 65536
"""A longer text is not looked at: it would have to be held whole."""


_asked: Final = asked
_named: Final = named
_renamed: Final = renamed


class PreparingLink(Link):
    """Base of ClientLink."""

    __slots__ = (
        "exchange",
        "server",
        "simple",
        "statements",
    )

    def __init__(
        self, actions: bytes, limit: int, io: LinkIO, control: LinkControl
    ) -> None:
        """Begin without server and statements."""
        super().__init__(actions, limit, io, control)
        self.exchange = Exchange()
        self.statements: ClientStatements | None = None
        """There when servers are shared and max_prepared_statements is not 0."""
        self.server: ServerLink | None = None
        self.simple = True
        """Simple queries are allowed (disable_pqexec)."""

    def one_query(self, chunk: bytes) -> int:
        """Tell what a chunk asks, if it is one whole query, as ``asked`` does; else 0.

        A Bind of a named statement is still to be looked at by :meth:`bound`.
        """
        kind = _asked(chunk, self.limit)
        if kind == 0 or (kind == QUERY and not self.simple):
            return 0
        statements = self.statements
        if statements is not None and (statements.spoken or statements.sql.texts):
            return 0
        return kind

    def bound(self, chunk: bytes, server: ServerLink) -> bytes:
        """Return a chunk that is one query, with the statement of its Bind renamed.

        Returns nothing when the messages must be looked at one by one: the client has
        no such statement, or the server is to be told of it first.
        """
        statements = self.statements
        if statements is None:
            return b""
        name = _named(chunk)
        statement = statements.names.get(name)
        if statement is None or not server.statements.touch(statement):
            return b""
        statements.counters.bind_count += 1
        return _renamed(chunk, name, statement.name)

    def may_use_sql(self, chunk: bytes, start: int, end: int) -> bool:
        """Tell whether a Query may be about statements prepared by SQL."""
        statements = self.statements
        if statements is None:
            return False
        if statements.sql.texts and end - start <= LONGEST_TEXT:
            return True
        return _begins_like_it(chunk, start + BODY, end)

    def with_sql(self, chunk: bytes, start: int, end: int) -> bool:
        """Put in front of such a Query what it needs; False to see all of it."""
        statements = self.statements
        server = self.server
        if end > len(chunk):
            return False
        body = chunk[start + BODY : end]
        if statements is not None and server is not None:
            before = statements.sql.query(
                body, server.statements.by_sql, statements.names
            )
            if before:
                self.replace(chunk, start, end, message(QUERY, before + body))
        return True

    def prepared(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Rewrite one of Parse, Bind, Describe, Close; False to see more of it."""
        statements = self.statements
        server = self.server
        body = start + BODY
        if statements is None or server is None or message_type == FUNCTION_CALL:
            self.exchange.request(message_type)
        elif message_type == EXECUTE:
            if statements.bound:
                statements.executed(server.statements)
            else:
                self.exchange.request(EXECUTE)
        elif message_type == PARSE:
            return self._parse(chunk, start, end, statements, server)
        elif message_type == BIND:
            return self._bind(chunk, start, end, statements, server)
        elif end <= body + 2 or chunk[body] != STATEMENT:
            self.exchange.request(message_type)
        elif message_type == DESCRIBE:
            by = statements.describe(chunk[body:end], server.statements)
            self.replace(chunk, start, end, by)
        else:
            statements.close(chunk[body:end])
            self.replace(chunk, start, end, b"")
        return True

    def _parse(
        self,
        chunk: bytes,
        start: int,
        end: int,
        statements: ClientStatements,
        server: ServerLink,
    ) -> bool:
        body = start + BODY
        if body >= len(chunk) and end > body:
            return False
        if end == body or chunk[body] == 0:
            if end > body and _begins_like_it(chunk, body + 1, end):
                if end > len(chunk):
                    return False
                text = chunk[body + 1 : chunk.find(b"\0", body + 1, end)]
                before = statements.parsed(b"", text, server.statements)
                self.replace(chunk, start, start, before)
            elif statements.spoken:
                statements.spoken.pop(b"", None)
            self.exchange.request(PARSE)
            return True
        if end > len(chunk):
            return False
        before = b""
        text_at = chunk.find(b"\0", body, end) + 1
        if text_at and _begins_like_it(chunk, text_at, end):
            text = chunk[text_at : chunk.find(b"\0", text_at, end)]
            before = statements.parsed(
                chunk[body : text_at - 1], text, server.statements
            )
        by = statements.parse(chunk[body:end], server.statements)
        self.replace(chunk, start, end, before + by)
        return True

    def _bind(
        self,
        chunk: bytes,
        start: int,
        end: int,
        statements: ClientStatements,
        server: ServerLink,
    ) -> bool:
        body = start + BODY
        portal, name = names_in(chunk, start, end)
        if name < 0:
            if end > len(chunk):
                return False
            raise BrokenPacket(message="Bind")
        before = b""
        if statements.spoken:
            before = statements.binding(chunk[portal + 1 : name], server.statements)
        if name == portal + 1:
            self.exchange.request(BIND)
            if before:
                self.replace(chunk, start, start, before)
            return True
        by = statements.bind(chunk[body : name + 1], end - name - 1, server.statements)
        self.replace(chunk, start, name + 1, before + by)
        return True


def _begins_like_it(chunk: bytes, at: int, end: int) -> bool:
    """Tell whether a text may be about statements prepared by SQL.

    It begins ``at`` a place in the chunk and goes on to ``end``, perhaps behind it.
    """
    size = len(chunk)
    while at < size and _BLANK[chunk[at]]:
        at += 1
    if (at < size and not _FIRST[chunk[at]]) or end - at > LONGEST_TEXT:
        return False
    if end > size and at + _LONGEST_KEYWORD >= size:
        return True  # Too little of it is here to tell.
    return _KEYWORD.match(chunk, at) is not None
