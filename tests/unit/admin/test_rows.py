"""Column tables and rows of the console's results."""

from __future__ import annotations

import pytest

from pgswitch.admin.rows import Cell, int4, int8, numeric, result_set, shown, text
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
