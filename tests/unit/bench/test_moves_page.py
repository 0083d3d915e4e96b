"""The section of switchovers in the page of figures."""

from __future__ import annotations

from bench.moves_page import BEGIN, END, with_moves


def test_added_then_replaced() -> None:
    """What others wrote stays."""
    page = with_moves("# Page\n", "first")
    assert page.startswith("# Page\n")
    again = with_moves(page + "\nmore\n", "second")
    assert "first" not in again
    assert (again.count(BEGIN), again.count(END)) == (1, 1)
    assert again.endswith("\nmore\n")
