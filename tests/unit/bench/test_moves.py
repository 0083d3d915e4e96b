"""Figures of moved writers."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.moves import Samples, figures, percentile, table
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
