"""Result sets of the console: columns, values of a row, and their messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from pgswitch.wire import encode

T = TypeVar("T")
Cell = str | bytes | int | bool | None
"""A value of a row: a truth value is shown as 1 or 0, None as NULL."""
ResultRows: TypeAlias = Iterable[Sequence[Cell]]
NO_ROW: Final[tuple[Cell, ...]] = ()
"""Stands for a step that took time but gave no row."""

MICROSECONDS: Final = 1_000_000
"""In a second."""
MESSAGES_PER_SLICE: Final = 50
"""Messages of an answer to make in one turn of the loop; that takes 1 to 2 ms."""
END_OF_SLICE: Final[tuple[None, ...]] = (None,) * MESSAGES_PER_SLICE
"""As many steps without a row as end the slice, after one step that took long."""
MAX_CACHED: Final = 1000
"""Values to cache with their encoding."""


class PgType(NamedTuple):
    """A PostgreSQL type: its name, OID and size in bytes (pg_type; -1: varies)."""

    name: str
    oid: int
    size: int


TEXT: Final = PgType("text", 25, -1)
INT4: Final = PgType("int4", 23, 4)
INT8: Final = PgType("int8", 20, 8)
NUMERIC: Final = PgType("numeric", 1700, -1)
BYTEA: Final = PgType("bytea", 17, -1)


class Column(NamedTuple, Generic[T]):
    """A column of a result: what it is called, what it means, where it comes from."""

    name: str
    type: PgType
    meaning: str
    """One sentence, for the reference page."""
    value: Callable[[T], Cell]
    """Gets the value from what a row shows."""
    unit: str = ""
    """Of a number that is not just a count."""


Columns: TypeAlias = tuple[Column[T], ...]


def as_text(cell: Cell) -> str | None:
    """Return a value as the text of a DataRow, None for NULL."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return rf"\x{cell.hex()}"
    return str(int(cell))


BINARY: Final = 1
"""The format code of Bind and RowDescription that is not text."""

_BINARY_INTEGERS: Final = {INT4.oid: Struct("!i"), INT8.oid: Struct("!q")}
_NUMERIC_HEAD: Final = Struct("!HhHH")
_NUMERIC_DIGIT: Final = Struct("!H")
_NUMERIC_BASE: Final = 10_000
_NUMERIC_NEGATIVE: Final = 0x4000


def as_binary(cell: Cell, oid: int) -> str | bytes | None:
    """Return a value in the binary format of its type, None for NULL."""
    if cell is None or isinstance(cell, bytes):
        return cell
    if oid in _BINARY_INTEGERS:
        return _BINARY_INTEGERS[oid].pack(int(cell))
    if oid == NUMERIC.oid:
        return _binary_numeric(int(cell))
    return as_text(cell)


def _binary_numeric(value: int) -> bytes:
    """Return a whole number as PostgreSQL's numeric_send writes it (numeric.c).

    Digits to the base 10,000, the highest first, behind their count, the weight of
    the first, the sign and the scale.
    """
    digits: list[int] = []
    rest = abs(value)
    while rest:
        rest, digit = divmod(rest, _NUMERIC_BASE)
        digits.insert(0, digit)
    head = _NUMERIC_HEAD.pack(
        len(digits), max(len(digits) - 1, 0), _NUMERIC_NEGATIVE if value < 0 else 0, 0
    )
    return head + b"".join(map(_NUMERIC_DIGIT.pack, digits))


def description(columns: Columns[Any], formats: Sequence[int] = ()) -> bytes:
    """Return RowDescription."""
    fields = [(one.name, one.type.oid, one.type.size) for one in columns]
    return encode.row_description(fields, formats)


def data_rows(
    columns: Columns[Any], rows: ResultRows, formats: Sequence[int] = ()
) -> Iterator[bytes]:
    """Yield one DataRow for each row; ``formats`` are codes by column.

    NO_ROW gives no bytes.
    """
    if BINARY not in formats:
        return _text_rows(rows)
    kinds = list(zip((one.type.oid for one in columns), formats, strict=True))
    return (
        encode.data_row(
            [
                as_binary(cell, oid) if code == BINARY else as_text(cell)
                for cell, (oid, code) in zip(row, kinds, strict=True)
            ]
        )
        if row
        else b""
        for row in rows
    )


def slices(messages: Iterator[bytes]) -> Iterator[bytes]:
    """Join messages into slices of MESSAGES_PER_SLICE."""
    while some := list(islice(messages, MESSAGES_PER_SLICE)):
        yield b"".join(some)


def _text_rows(rows: ResultRows) -> Iterator[bytes]:
    """Yield DataRows in text, with a cache: most values of a result repeat."""
    cached: dict[Cell, bytes] = {}
    for row in rows:
        if not row:
            yield b""
            continue
        if len(cached) > MAX_CACHED:
            cached.clear()
        fields = []
        for cell in row:
            field = cached.get(cell)
            if field is None:
                # True == 1 and False == 0, and they are written alike.
                field = cached[cell] = encode.field(as_text(cell))
            fields.append(field)
        yield encode.data_row_of(fields)


def local_time(moment: float) -> str:
    """Return seconds since the epoch as local date, time and zone."""
    return _local_second(int(moment), time.tzname)


@lru_cache(maxsize=1024)
def _local_second(moment: int, _zone: tuple[str, str]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment))


def exact_time(moment: float | None) -> str | None:
    """Return seconds since the epoch as local time with milliseconds."""
    if moment is None:
        return None
    whole = int(moment)
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole))
    zone = time.strftime("%Z", time.localtime(whole))
    return f"{day}.{int((moment - whole) * 1000):03} {zone}"


def lsn_text(position: int | None) -> str | None:
    """Return a WAL position as PostgreSQL writes it."""
    return None if position is None else f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
