"""Result sets of the console: column tables, values of a row, and their bytes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from pgswitch.wire import encode

Cell = str | int | bool | None
"""A value of a row: a truth value is shown as 1 or 0, None as NULL."""
Rows: TypeAlias = Iterable[Sequence[Cell]]

MICROSECONDS: Final = 1_000_000
"""In a second."""


class Column(NamedTuple):
    """Name of a column, the OID of its type and the type's size in bytes."""

    name: str
    oid: int
    size: int


TEXT: Final = (25, -1)
INT4: Final = (23, 4)
INT8: Final = (20, 8)
NUMERIC: Final = (1700, -1)
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


def shown(cell: Cell) -> str | None:
    """Return a value as the text of a DataRow, None for NULL."""
    if cell is None:
        return None
    return str(int(cell)) if isinstance(cell, bool) else str(cell)


def result_set(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return RowDescription and the DataRows; CommandComplete is the caller's."""
    parts = [encode.row_description(columns)]
    parts += [encode.data_row([shown(cell) for cell in row]) for row in rows]
    return b"".join(parts)


def local_time(moment: float) -> str:
    """Return seconds since the epoch as local date, time and zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment))
