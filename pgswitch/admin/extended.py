"""The extended query protocol on the console: prepared statements and portals.

Drivers that know no other protocol (asyncpg, pgx, Npgsql, JDBC) use the console by
it. A statement is read at Parse, described from the tables of ``show``, and carried
out at Execute. Results go out in text or binary, as Bind asks. There are no
parameters, because no statement of the console takes one.

Manual, "Extended Query": after an error everything up to Sync is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgswitch.admin.grammar import ConsoleStatement, parse
from pgswitch.admin.rows import BINARY, Column, data_rows, description
from pgswitch.errors import (
    BrokenPacket,
    PortalMissing,
    PreparedStatementExists,
    PreparedStatementMissing,
    TooManyParameters,
    TooMuchPrepared,
)
from pgswitch.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.admin.statements import ConsoleStatements, StatementResult

STATEMENT: Final = ord("S")
"""What Describe and Close name, if it is no portal."""
MOST_PREPARED: Final = 1000
MOST_TEXT: Final = 1 << 20
"""Statements that one client may have prepared, and characters of them together."""
MOST_PORTALS: Final = 100
"""Portals that it may have, each perhaps with a list of all connections under way."""
ONE_FOR_ALL: Final = 1
"""So many format codes in Bind are one code for every column."""


@dataclass(slots=True)
class Prepared:
    """A statement that was read; ``columns`` is None where it gives no result."""

    statement: ConsoleStatement
    text: str
    columns: tuple[Column, ...] | None


@dataclass(slots=True)
class Portal:
    """A statement that is to be carried out, and how its columns are to be sent."""

    prepared: Prepared
    formats: tuple[int, ...]
    outcome: StatementResult | None = None
    """What it gave, once it was carried out."""
    rows: Iterator[bytes] | None = None
    """Those not fetched yet, but for the next."""
    ahead: bytes = b""
    """That one, if it was looked for."""


class ExtendedQueries:
    """What one console client has prepared, by its names."""

    def __init__(self, statements: ConsoleStatements) -> None:
        """Begin with nothing prepared."""
        self._statements = statements
        self._prepared: dict[bytes, Prepared] = {}
        self._portals: dict[bytes, Portal] = {}
        self._size = 0
        """Characters of all texts."""

    def parse(self, body: bytes) -> bytes:
        """Answer Parse; raises a ConsoleError for what is no statement."""
        wanted = decode.parse(body)
        if wanted.name and wanted.name in self._prepared:
            raise PreparedStatementExists(name=decode.text(wanted.name))
        text = decode.text(wanted.sql)
        old = self._prepared.get(wanted.name)
        size = self._size + len(text) - (0 if old is None else len(old.text))
        if size > MOST_TEXT or (old is None and len(self._prepared) >= MOST_PREPARED):
            raise TooMuchPrepared
        statement = parse(text)
        columns = self._statements.columns(statement, text)
        self._prepared[wanted.name] = Prepared(statement, text, columns)
        self._size = size
        return encode.parse_complete()

    def bind(self, body: bytes) -> bytes:
        """Answer Bind."""
        wanted = decode.bind_prefix(body)
        prepared = self._prepared_as(wanted.statement)
        if wanted.portal not in self._portals and len(self._portals) >= MOST_PORTALS:
            raise TooMuchPrepared
        formats, at = _codes(body, wanted.end)
        parameters, at = _count(body, at)
        if parameters:
            raise TooManyParameters(count=parameters)
        formats, at = _codes(body, at)
        width = len(prepared.columns or ())
        if len(formats) == ONE_FOR_ALL:
            formats *= width
        if formats and len(formats) != width:
            raise BrokenPacket(message="Bind")
        self._portals[wanted.portal] = Portal(prepared, formats or (0,) * width)
        return encode.bind_complete()

    def describe(self, body: bytes) -> bytes:
        """Answer Describe of a statement or a portal."""
        target = decode.describe(body)
        if target.kind == STATEMENT:
            prepared = self._prepared_as(target.name)
            return encode.parameter_description() + _described(prepared.columns, ())
        portal = self._portal_as(target.name)
        return _described(portal.prepared.columns, portal.formats)

    def close(self, body: bytes) -> bytes:
        """Answer Close, which is no error for an unknown name."""
        target = decode.close(body)
        if target.kind == STATEMENT:
            gone = self._prepared.pop(target.name, None)
            self._size -= 0 if gone is None else len(gone.text)
            self._portals = {
                name: portal
                for name, portal in self._portals.items()
                if portal.prepared is not gone
            }
        else:
            self._portals.pop(target.name, None)
        return encode.close_complete()

    def execute(self, body: bytes) -> tuple[Portal, int]:
        """Return the portal that Execute names, and the most rows wanted; 0: all."""
        name, limit = decode.execute(body)
        return self._portal_as(name), limit

    def nothing(self, _body: bytes) -> bytes:
        """Answer Flush: nothing is ever held back."""
        return b""

    def sync(self, _body: bytes) -> bytes:
        """Answer Sync; the portals go with the implicit transaction."""
        self._portals.clear()
        return encode.ready_for_query()

    def _prepared_as(self, name: bytes) -> Prepared:
        prepared = self._prepared.get(name)
        if prepared is None:
            raise PreparedStatementMissing(name=decode.text(name))
        return prepared

    def _portal_as(self, name: bytes) -> Portal:
        portal = self._portals.get(name)
        if portal is None:
            raise PortalMissing(name=decode.text(name))
        return portal


def fetched(portal: Portal, outcome: StatementResult, limit: int) -> Iterator[bytes]:
    """Yield the next rows of a portal and what ends them; no bytes for no row."""
    if portal.rows is None:
        portal.outcome = outcome
        columns = outcome.columns or ()
        portal.rows = data_rows(columns, outcome.rows, portal.formats)
    if not outcome.tag:
        yield encode.empty_query_response()
        return
    if outcome.notice is not None:
        yield encode.notice_response(outcome.notice)
    ahead, portal.ahead = portal.ahead, b""
    count = 1 if ahead else 0
    yield ahead
    for message in portal.rows:
        if message and count == limit != 0:
            portal.ahead = message
            yield encode.portal_suspended()
            return
        count += 1 if message else 0
        yield message
    yield encode.command_complete(outcome.tag)


def _described(columns: Sequence[Column] | None, formats: Sequence[int]) -> bytes:
    return encode.no_data() if columns is None else description(columns, formats)


def _count(body: bytes, at: int) -> tuple[int, int]:
    """Return the two-byte number at ``at``, and where it ends."""
    if len(body) < at + 2:
        raise BrokenPacket(message="Bind")
    return int.from_bytes(body[at : at + 2], "big"), at + 2


def _codes(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Return a counted list of format codes, and where it ends."""
    count, at = _count(body, at)
    codes = []
    for _ in range(count):
        code, at = _count(body, at)
        if code > BINARY:
            raise BrokenPacket(message="Bind")
        codes.append(code)
    return tuple(codes), at
