"""The extended query protocol on the console: prepared statements and portals.

Drivers without the simple protocol (asyncpg, pgx, Npgsql, JDBC) need it. Parse reads a
statement, Describe takes its columns from the tables in ``show``, Execute runs it.
Results are in text or binary, as Bind asks. No statement of the console takes
parameters.

Manual, "Extended Query": after an error everything up to Sync is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pgswitch.admin.grammar import ConsoleStatement, parse
from pgswitch.admin.result_set import BINARY, Columns, data_rows, description
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
"""The target of Describe and Close that is not a portal."""
MAX_PREPARED: Final = 1000
MAX_TEXT: Final = 1 << 20
"""Prepared statements of one client, and characters of all their texts."""
MAX_PORTALS: Final = 100
"""Portals of one client; each may hold a list of all connections."""
ONE_FOR_ALL: Final = 1
"""One format code in Bind applies to every column."""


@dataclass(slots=True)
class Prepared:
    """A prepared statement; ``columns`` is None if it gives no result."""

    statement: ConsoleStatement
    text: str
    columns: Columns[Any] | None


@dataclass(slots=True)
class Portal:
    """A bound statement, with the format codes of its columns."""

    prepared: Prepared
    formats: tuple[int, ...]
    outcome: StatementResult | None = None
    """None until it has run."""
    rows: Iterator[bytes] | None = None
    """The rows after ``ahead`` that are not fetched yet."""
    ahead: bytes = b""
    """The next row, if it is known already."""


class ExtendedQueries:
    """The prepared statements and portals of one console client."""

    def __init__(self, statements: ConsoleStatements) -> None:
        """Begin without statements and portals."""
        self._statements = statements
        self._prepared: dict[bytes, Prepared] = {}
        self._portals: dict[bytes, Portal] = {}
        self._size = 0
        """Characters of all texts together."""

    def parse(self, body: bytes) -> bytes:
        """Answer Parse; raises a ConsoleError for a text that is not a statement."""
        wanted = decode.parse(body)
        if wanted.name and wanted.name in self._prepared:
            raise PreparedStatementExists(name=decode.text(wanted.name))
        text = decode.text(wanted.sql)
        old = self._prepared.get(wanted.name)
        size = self._size + len(text) - (0 if old is None else len(old.text))
        if size > MAX_TEXT or (old is None and len(self._prepared) >= MAX_PREPARED):
            raise TooMuchPrepared
        statement = parse(text)
        columns = self._statements.columns(statement, text)
        self._prepared[wanted.name] = Prepared(statement, text, columns)
        self._size = size
        return encode.parse_complete()

    def bind(self, body: bytes) -> bytes:
        """Answer Bind."""
        wanted = decode.bind_prefix(body)
        prepared = self._find_prepared(wanted.statement)
        if wanted.portal not in self._portals and len(self._portals) >= MAX_PORTALS:
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
            prepared = self._find_prepared(target.name)
            return encode.parameter_description() + _described(prepared.columns, ())
        portal = self._find_portal(target.name)
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
        """Return the portal of Execute and the maximum number of rows; 0: all."""
        name, limit = decode.execute(body)
        return self._find_portal(name), limit

    def nothing(self, _body: bytes) -> bytes:
        """Answer Flush: the console buffers nothing."""
        return b""

    def sync(self, _body: bytes) -> bytes:
        """Answer Sync, which ends the implicit transaction and so all portals."""
        self._portals.clear()
        return encode.ready_for_query()

    def _find_prepared(self, name: bytes) -> Prepared:
        prepared = self._prepared.get(name)
        if prepared is None:
            raise PreparedStatementMissing(name=decode.text(name))
        return prepared

    def _find_portal(self, name: bytes) -> Portal:
        portal = self._portals.get(name)
        if portal is None:
            raise PortalMissing(name=decode.text(name))
        return portal


def fetch(portal: Portal, outcome: StatementResult, limit: int) -> Iterator[bytes]:
    """Yield the next rows of a portal and the message after them; b"" for NO_ROW."""
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


def _described(columns: Columns[Any] | None, formats: Sequence[int]) -> bytes:
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
