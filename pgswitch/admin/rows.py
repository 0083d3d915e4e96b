"""Result sets of the console: column tables, values of a row, and their bytes."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Final, NamedTuple, TypeAlias, TypeVar

from pgswitch.wire import encode

T = TypeVar("T")
Cell = str | bytes | int | bool | None
"""A value of a row: a truth value is shown as 1 or 0, None as NULL."""
Rows: TypeAlias = Iterable[Sequence[Cell]]
NOT_SHOWN: Final[tuple[Cell, ...]] = ()
"""A row for what was looked at and is not shown, which took time all the same."""

MICROSECONDS: Final = 1_000_000
"""In a second."""
MESSAGES_A_SLICE: Final = 50
"""Of an answer: what is looked at and encoded without a pause, in 1 to 2 ms."""
PAUSE: Final[tuple[None, ...]] = (None,) * MESSAGES_A_SLICE
"""Nothing, as often as ends a slice for certain, after what took long as a whole."""
MAX_CACHED_PATTERNS: Final = 1000
"""Values that are remembered with their encoding."""


class Column(NamedTuple):
    """Name of a column, the OID of its type and the type's size in bytes."""

    name: str
    oid: int
    size: int


TEXT: Final = (25, -1)
INT4: Final = (23, 4)
INT8: Final = (20, 8)
NUMERIC: Final = (1700, -1)
BYTEA: Final = (17, -1)
"""OID and size of the types that the console uses (PostgreSQL's pg_type)."""


def text(*names: str) -> tuple[Column, ...]:
    """Return columns of type text."""
    return tuple(Column(name, *TEXT) for name in names)


def int4(*names: str) -> tuple[Column, ...]:
    """Return columns of type int4."""
    return tuple(Column(name, *INT4) for name in names)


def int8(*names: str) -> tuple[Column, ...]:
    """Return columns of type int8."""
    return tuple(Column(name, *INT8) for name in names)


def numeric(*names: str) -> tuple[Column, ...]:
    """Return columns of type numeric."""
    return tuple(Column(name, *NUMERIC) for name in names)


def bytea(*names: str) -> tuple[Column, ...]:
    """Return columns of type bytea."""
    return tuple(Column(name, *BYTEA) for name in names)


def shown(cell: Cell) -> str | None:
    """Return a value as the text of a DataRow, None for NULL."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return rf"\x{cell.hex()}"
    return str(int(cell))


TEXT_FORMAT: Final = 0
BINARY: Final = 1
"""Format codes of Bind and RowDescription."""

_BINARY_INTEGERS: Final = {INT4[0]: Struct("!i"), INT8[0]: Struct("!q")}
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
    if oid == NUMERIC[0]:
        return _binary_numeric(int(cell))
    return shown(cell)


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


def description(columns: Sequence[Column], formats: Sequence[int] = ()) -> bytes:
    """Return RowDescription."""
    return encode.row_description(columns, formats)


def data_rows(
    columns: Sequence[Column], rows: Rows, formats: Sequence[int] = ()
) -> Iterator[bytes]:
    """Yield one DataRow for each row; ``formats`` are codes by column.

    A row without columns stands for something looked at and not shown: no bytes.
    """
    if BINARY not in formats:
        return _text_rows(rows)
    kinds = list(zip((column.oid for column in columns), formats, strict=True))
    return (
        encode.data_row(
            [
                as_binary(cell, oid) if code == BINARY else shown(cell)
                for cell, (oid, code) in zip(row, kinds, strict=True)
            ]
        )
        if row
        else b""
        for row in rows
    )


def unseen(steps: Generator[None, None, T]) -> Generator[Sequence[Cell], None, T]:
    """Yield a row that is not shown for each step; return what comes of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield NOT_SHOWN


def sliced(messages: Iterator[bytes]) -> Iterator[bytes]:
    """Yield messages joined, as many at a time as take about a millisecond."""
    while some := list(islice(messages, MESSAGES_A_SLICE)):
        yield b"".join(some)


def _text_rows(rows: Rows) -> Iterator[bytes]:
    """Yield DataRows in text; of thousands of rows, most values are the same."""
    known: dict[Cell, bytes] = {}
    for row in rows:
        if not row:
            yield b""
            continue
        if len(known) > MAX_CACHED_PATTERNS:
            known.clear()
        fields = []
        for cell in row:
            field = known.get(cell)
            if field is None:
                # A truth value and its number are equal, and are shown alike.
                field = known[cell] = encode.field(shown(cell))
            fields.append(field)
        yield encode.data_row_of(fields)


def result_set(columns: Sequence[Column], rows: Rows) -> bytes:
    """Return RowDescription and the DataRows in text; CommandComplete is not in it."""
    return description(columns) + b"".join(data_rows(columns, rows))


def local_time(moment: float) -> str:
    """Return seconds since the epoch as local date, time and zone."""
    return _local_second(int(moment), time.tzname)


@lru_cache(maxsize=1024)
def _local_second(moment: int, _zone: tuple[str, str]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment))


def exact_time(moment: float | None) -> str | None:
    """Return the same with milliseconds; None for None."""
    if moment is None:
        return None
    whole = int(moment)
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole))
    zone = time.strftime("%Z", time.localtime(whole))
    return f"{day}.{int((moment - whole) * 1000):03} {zone}"


def lsn_text(position: int | None) -> str | None:
    """Return a position in the log as PostgreSQL writes it; None for None."""
    return None if position is None else f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
