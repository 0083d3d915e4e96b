"""How a table makes rows of objects."""

from __future__ import annotations

from pgswitch.admin.result_set import INT4, TEXT, Column
from pgswitch.admin.view import Show
from tests.unit.admin.fakes import fake_view

NUMBERS = Show(
    meaning="Some numbers.",
    find=lambda _view: iter([None, 1, 2]),
    columns=(
        Column("number", INT4, "The number.", lambda number: number),
        Column("count", TEXT, "Its sign.", lambda number: "+" if number else ""),
    ),
)


def test_steps_without_a_row_are_empty_rows() -> None:
    """Time may pass after each of them."""
    assert [list(row) for row in NUMBERS.rows(fake_view())] == [[], [1, "+"], [2, "+"]]


def test_rows_are_read_one_by_one() -> None:
    """A value is that of the moment at which its row is asked for."""
    seen = [0]
    show = Show(
        meaning="What was seen.",
        find=lambda _view: iter([seen, seen]),
        columns=(Column("seen", INT4, "It.", lambda one: one[0]),),
    )
    rows = iter(show.rows(fake_view()))
    first = next(rows)
    seen[0] = 5
    assert (list(first), list(next(rows))) == ([0], [5])


def test_named_rows_have_columns_as_attributes() -> None:
    """Steps are left out; a column may be named like a method of tuples."""
    first, second = NUMBERS.named_rows(fake_view())
    assert (first.number, second.number, second.count) == (1, 2, "+")
