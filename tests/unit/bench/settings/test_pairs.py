"""All pairs of values are in some row, and the rows are few."""

from __future__ import annotations

from itertools import combinations

import pytest

from bench.settings.pairs import covering

FACTORS = {
    "a": ("0", "1", "2"),
    "b": ("", "x"),
    "c": ("only",),
    "d": ("p", "q", "r", "s"),
    "e": ("0", "1"),
}


@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_are_there(seed: int) -> None:
    """Of every two factors each value of the one meets each of the other."""
    rows = covering(FACTORS, seed)
    for one, other in combinations(FACTORS, 2):
        met = {(row[one], row[other]) for row in rows}
        assert met == {(x, y) for x in FACTORS[one] for y in FACTORS[other]}
    assert 12 <= len(rows) <= 18  # a times d at least; 48 rows are all there are


def test_the_same_seed_makes_the_same_rows() -> None:
    """A row that was bad can be tried again."""
    assert covering(FACTORS, 7) == covering(FACTORS, 7)
    assert covering(FACTORS, 7) != covering(FACTORS, 8)


@pytest.mark.parametrize("seed", range(5))
def test_what_does_not_go_together(seed: int) -> None:
    """Such a pair is in no row; all others are."""
    unfit = [(("d", "s"), ("a", "1")), (("a", "0"), ("e", "1"))]
    rows = covering(FACTORS, seed, unfit)
    for one, other in combinations(FACTORS, 2):
        met = {((one, row[one]), (other, row[other])) for row in rows}
        all_of_them = {
            ((one, x), (other, y)) for x in FACTORS[one] for y in FACTORS[other]
        }
        never = [set(pair) for pair in unfit]
        assert met == {pair for pair in all_of_them if set(pair) not in never}


def test_one_factor_has_no_pairs() -> None:
    """There is nothing to cover."""
    assert covering({"a": ("0", "1")}, 1) == []
