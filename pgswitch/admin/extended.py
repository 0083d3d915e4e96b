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

from pgswitch.admin.grammar import Statement, parse
from pgswitch.admin.rows import BINARY, Column, data_rows, description
from pgswitch.errors import (
    BrokenPacket,
    PortalMissing,
    PreparedStatementExists,
    PreparedStatementMissing,
    TooManyParameters,
)
from pgswitch.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.admin.statements import Outcome, Statements

STATEMENT: Final = ord("S")
"""What Describe and Close name, if it is no portal."""
ONE_FOR_ALL: Final = 1
"""So many format codes in Bind are one code for every column."""


@dataclass(slots=True)
class Prepared:
    """A statement that was read; ``columns`` is None where it gives no result."""

    statement: Statement
    text: str
    columns: tuple[Column, ...] | None


@dataclass(slots=True)
class Portal:
    """A statement that is to be carried out, and how its columns are to be sent."""

    prepared: Prepared
    formats: tuple[int, ...]
    outcome: Outcome | None = None
    """What it gave, once it was carried out."""
    rows: list[bytes] | None = None
    """All of them, then."""
    fetched: int = 0
    """How many of them the client has got."""


class ExtendedQueries:
    """What one console client has prepared, by its names."""

    def __init__(self, statements: Statements) -> None:
        """Begin with nothing prepared."""
        self._statements = statements
        self._prepared: dict[bytes, Prepared] = {}
        self._portals: dict[bytes, Portal] = {}

    def parse(self, body: bytes) -> bytes:
        """Answer Parse; raises a ConsoleError for what is no statement."""
        wanted = decode.parse(body)
        if wanted.name and wanted.name in self._prepared:
            raise PreparedStatementExists(name=decode.text(wanted.name))
        text = decode.text(wanted.sql)
        statement = parse(text)
        columns = self._statements.columns(statement, text)
        self._prepared[wanted.name] = Prepared(statement, text, columns)
        return encode.parse_complete()

    def bind(self, body: bytes) -> bytes:
        """Answer Bind."""
        wanted = decode.bind_prefix(body)
        prepared = self._prepared_as(wanted.statement)
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


def fetched(portal: Portal, outcome: Outcome, limit: int) -> bytes:
    """Return the next rows of a portal and what ends them."""
    if portal.rows is None:
        portal.outcome = outcome
        columns = outcome.columns or ()
        portal.rows = data_rows(columns, outcome.rows, portal.formats)
    begin = portal.fetched
    if limit and len(portal.rows) - begin > limit:
        portal.fetched += limit
        rows = portal.rows[begin : portal.fetched]
        return b"".join(rows) + encode.portal_suspended()
    rows = portal.rows[begin:]
    portal.rows, portal.fetched = [], 0
    if not outcome.tag:
        return encode.empty_query_response()
    notice = b"" if outcome.notice is None else encode.notice_response(outcome.notice)
    tag = f"{outcome.tag}"
    return notice + b"".join(rows) + encode.command_complete(tag)


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
