"""Column tables and rows of the console's results."""

from __future__ import annotations

import pytest

from pgswitch.admin.rows import (
    Cell,
    Column,
    as_binary,
    bytea,
    data_rows,
    int4,
    int8,
    numeric,
    result_set,
    shown,
    text,
)
from tests.unit.admin.reading import read


@pytest.mark.parametrize(
    ("cell", "as_text"),
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
def test_a_value_has_one_text(cell: Cell, as_text: str | None) -> None:
    """Truth values are 1 and 0, None is NULL, the empty text is not."""
    assert shown(cell) == as_text


def test_a_result_names_its_columns_before_its_rows() -> None:
    """RowDescription comes first, with the types' OIDs, then one DataRow a row."""
    columns = (*text("a"), *int4("b"), *int8("c"), *numeric("d"))
    answer = read(result_set(columns, [("x", 1, 2, 3), (None, True, 0, "4")]))
    assert answer.order == "TDD"
    assert answer.columns == [("a", 25), ("b", 23), ("c", 20), ("d", 1700)]
    assert answer.rows == [("x", "1", "2", "3"), (None, "1", "0", "4")]


@pytest.mark.parametrize(
    ("cell", "column", "raw"),
    [
        (None, int4("a"), None),
        (7, int4("a"), b"\0\0\0\7"),
        (True, int4("a"), b"\0\0\0\1"),
        (-2, int8("a"), b"\xff" * 7 + b"\xfe"),
        ("x", text("a"), "x"),
        (b"\1", bytea("a"), b"\1"),
        # As numeric_send writes them: digits, weight, sign, scale, then the digits.
        (0, numeric("a"), bytes(8)),
        (12_345, numeric("a"), bytes.fromhex("0002 0001 0000 0000 0001 0929")),
        (-10_000, numeric("a"), bytes.fromhex("0002 0001 4000 0000 0001 0000")),
    ],
)
def test_a_value_has_one_binary_form(
    cell: Cell, column: tuple[Column, ...], raw: str | bytes | None
) -> None:
    """That of its type, as PostgreSQL's own send functions write it."""
    assert as_binary(cell, column[0].oid) == raw


def test_formats_are_by_column() -> None:
    """One in text and one in binary."""
    columns = (*int4("a"), *int4("b"))
    (row,) = data_rows(columns, [(1, 2)], (0, 1))
    assert row[-9:] == b"1" + b"\0\0\0\4" + b"\0\0\0\2"
