"""The rows of a run, and the covering array among them."""

from __future__ import annotations

from itertools import combinations
from math import inf

import pytest

from bench.settings.catalogue import KINDS, UNFIT, UNFIT_PAIRS, VALUES, WAITS
from bench.settings.client import BEHAVIOURS
from bench.settings.plan import (
    DIRECT_RATIOS,
    NO_TLS,
    NO_WAITS,
    PARTS,
    SIZES,
    Row,
    chosen,
    covering,
    planned,
)


@pytest.fixture(scope="module", name="rows")
def all_rows() -> list[Row]:
    """Return the rows of a whole run."""
    return planned(has_tls=True, is_quick=False)


def test_names_are_unique(rows: list[Row]) -> None:
    """Cells are found by them."""
    assert len({row.name for row in rows}) == len(rows)
    assert {row.part for row in rows} == set(PARTS)


def test_each_value_has_a_row(rows: list[Row]) -> None:
    """Each value has a row of its own, next to the defaults."""
    tried = [tuple(row.changes.items()) for row in rows if row.part == "settings"]
    assert tried == [((name, v),) for name, values in VALUES.items() for v in values]


def test_each_pair_has_a_row(rows: list[Row]) -> None:
    """Of settings, TLS and behaviours, as far as they admit each kind of work."""
    unfit = {(one.setting, value) for one in UNFIT for value in one.values}
    pairs = [row for row in rows if row.part == "pairs"]
    seen = set()
    for row in pairs:
        there = [
            *row.changes.items(),
            ("TLS", row.tls),
            ("behaviour", row.behaviour.name),
        ]
        seen |= set(combinations(sorted(there), 2))
    never = [set(pair) for pair in UNFIT_PAIRS]
    ends = {
        (name, value)
        for name, values in VALUES.items()
        for value in (values[0], values[-1])
        if "_tls_" not in name and (name, value) not in unfit
    }
    others = {("TLS", tls) for tls in DIRECT_RATIOS}
    others |= {("behaviour", row.behaviour.name) for row in pairs}
    for one, other in combinations(sorted(ends | others), 2):
        if one[0] != other[0]:
            assert ((one, other) in seen) != ({one, other} in never)
    assert {("behaviour", "slow reader"), ("behaviour", "1-byte writes")} <= others


def test_each_size_of_buffer_is_waited_for(rows: list[Row]) -> None:
    """In both directions, replication, TLS and every kind of sender."""
    waits = [row for row in rows if row.beside == NO_WAITS]
    assert (SIZES[0], SIZES[-1]) == ("2048", "4194304")
    tried = {
        (row.changes["tcp_socket_buffer"], row.tls, row.behaviour.name) for row in waits
    }
    assert {one[:2] for one in tried} >= {(size, NO_TLS) for size in SIZES}
    assert {one[1:] for one in tried} == {
        (tls, behaviour)
        for tls in (NO_TLS, "clients", "both")
        for behaviour in ("plain", "slow sender", "bursts")
    }
    assert all({"copy-in", "copy-out", "result"} <= set(row.kinds) for row in waits)
    backups = {
        (row.changes["tcp_socket_buffer"], row.behaviour.name)
        for row in waits
        if "backup" in row.kinds
    }
    assert backups >= {(SIZES[0], "plain"), (SIZES[-1], "slow sender")}
    assert all(row.allowed("result") == (WAITS, inf) for row in waits)


def test_a_quick_run_is_a_part(rows: list[Row]) -> None:
    """Of the settings the extremes; the rest thinned."""
    quick = planned(has_tls=True, is_quick=True)
    assert {row.part for row in quick} == set(PARTS)
    cells = sum(len(row.kinds) for row in quick)
    assert cells < sum(len(row.kinds) for row in rows) / 1.5
    assert {row.name for row in quick if row.part == "settings"} <= {
        row.name for row in rows
    }


def test_without_tls() -> None:
    """Nothing that needs it is left."""
    rows = planned(has_tls=False, is_quick=True)
    assert {row.tls for row in rows} == {NO_TLS}
    assert not [row for row in rows if any("_tls_" in name for name in row.changes)]
    assert {row.part for row in rows} == set(PARTS)


def test_choosing(rows: list[Row]) -> None:
    """By a part, or by a word of the name."""
    assert chosen(rows, ()) == rows
    assert {row.part for row in chosen(rows, ["waits"])} == {"waits"}
    assert [row.name for row in chosen(rows, ["verbose=2"])] == [
        "verbose=2",
        "verbose=2147483647",
    ]


def test_kinds_and_behaviours_are_known(rows: list[Row]) -> None:
    """Each row has work to do."""
    for row in rows:
        assert row.kinds
        assert set(row.kinds) <= set(KINDS)
        assert BEHAVIOURS[row.behaviour.name] is row.behaviour


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
