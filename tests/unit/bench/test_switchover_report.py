"""Figures of outages, their table, chart and page."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from bench.switchover_report import (
    BEGIN,
    CRASH,
    END,
    PLANNED,
    Samples,
    chart,
    figures,
    percentile,
    table,
    with_moves,
)
from pgswitch.demo.writers import WriteTally


@pytest.mark.parametrize(
    ("share", "expected"), [(50, 10.0), (95, 19.0), (99, 20.0), (100, 20.0)]
)
def test_percentile(share: int, expected: float) -> None:
    """Of 1 to 20, in any order."""
    assert percentile([float(value) for value in range(20, 0, -1)], share) == expected
    assert percentile([], share) == 0.0


def test_figures_and_table() -> None:
    """All that was seen is in the line."""
    seen = WriteTally(100, 2, 1, Counter({"57P01": 3}), 4)
    one = figures(Samples(2, 1, [1.0, 3.0], [0.5, -2.0], seen))
    (_, _, line) = table({"x, planned": one}).splitlines()
    assert line == (
        "| x, planned | 1 of 2 | 1.0 / 3.0 / 3.0 | -2.0 / 0.5 | 3 x 57P01 | 4 |"
        " 2 of 100 | 1 |"
    )
    assert one.as_dict()["errors"] == {"57P01": 3}


SVG = "{http://www.w3.org/2000/svg}"


def test_chart() -> None:
    """One dot for each sample."""
    samples = {
        "a & b": {PLANNED: Samples(2, 2, [-1.0, 50.0]), CRASH: Samples(1, 1, [500.0])}
    }
    dots = ET.fromstring(chart(samples)).findall(f"{SVG}circle")
    places = [float(dot.get("cx") or 0) for dot in dots]
    assert places == sorted(places)
    assert len(set(places)) == 3


def test_added_then_replaced() -> None:
    """What others wrote stays."""
    page = with_moves("# Page\n", "first")
    assert page.startswith("# Page\n")
    again = with_moves(page + "\nmore\n", "second")
    assert "first" not in again
    assert (again.count(BEGIN), again.count(END)) == (1, 1)
    assert again.endswith("\nmore\n")
