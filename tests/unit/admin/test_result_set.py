"""Column tables and rows of the console's results."""

from __future__ import annotations

import pytest

from pgswitch.admin.result_set import (
    BYTEA,
    INT4,
    INT8,
    NUMERIC,
    TEXT,
    Cell,
    Column,
    PgType,
    as_binary,
    as_text,
    data_rows,
    description,
)
from tests.unit.admin.reading import read


def columns(**types: PgType) -> tuple[Column[object], ...]:
    """Return columns of these names and types."""
    return tuple(Column(name, one, "", lambda _: None) for name, one in types.items())


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, None),
        ("", ""),
        ("a", "a"),
        (0, "0"),
        (-1, "-1"),
        (True, "1"),
        (False, "0"),
        (b"\1\xff", "\\x01ff"),
    ],
)
def test_a_value_has_one_text(cell: Cell, text: str | None) -> None:
    """Truth values are 1 and 0, None is NULL, the empty text is not."""
    assert as_text(cell) == text


def test_a_result_names_its_columns_before_its_rows() -> None:
    """RowDescription comes first, with the types' OIDs, then one DataRow a row."""
    four = columns(a=TEXT, b=INT4, c=INT8, d=NUMERIC)
    rows: list[tuple[Cell, ...]] = [("x", 1, 2, 3), (None, True, 0, "4")]
    answer = read(description(four) + b"".join(data_rows(four, rows)))
    assert answer.order == "TDD"
    assert answer.columns == [("a", 25), ("b", 23), ("c", 20), ("d", 1700)]
    assert answer.rows == [("x", "1", "2", "3"), (None, "1", "0", "4")]


@pytest.mark.parametrize(
    ("cell", "type_", "raw"),
    [
        (None, INT4, None),
        (7, INT4, b"\0\0\0\7"),
        (True, INT4, b"\0\0\0\1"),
        (-2, INT8, b"\xff" * 7 + b"\xfe"),
        ("x", TEXT, "x"),
        (b"\1", BYTEA, b"\1"),
        # As numeric_send writes them: digits, weight, sign, scale, then the digits.
        (0, NUMERIC, bytes(8)),
        (12_345, NUMERIC, bytes.fromhex("0002 0001 0000 0000 0001 0929")),
        (-10_000, NUMERIC, bytes.fromhex("0002 0001 4000 0000 0001 0000")),
    ],
)
def test_a_value_has_one_binary_form(
    cell: Cell, type_: PgType, raw: str | bytes | None
) -> None:
    """That of its type, as PostgreSQL's own send functions write it."""
    assert as_binary(cell, type_.oid) == raw


def test_formats_are_by_column() -> None:
    """One in text and one in binary."""
    (row,) = data_rows(columns(a=INT4, b=INT4), [(1, 2)], (0, 1))
    assert row[-9:] == b"1" + b"\0\0\0\4" + b"\0\0\0\2"
