"""The rows of a run."""

from __future__ import annotations

from itertools import combinations
from math import inf

import pytest

from bench.settings.catalogue import KINDS, UNFIT, UNFIT_PAIRS, VALUES, WAITS
from bench.settings.manners import MANNERS
from bench.settings.plan import (
    BETWEEN,
    NO_TLS,
    NO_WAITS,
    PARTS,
    SIZES,
    Row,
    chosen,
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
    """Alone, beside the defaults."""
    tried = [tuple(row.changes.items()) for row in rows if row.part == "settings"]
    assert tried == [((name, v),) for name, values in VALUES.items() for v in values]


def test_each_pair_has_a_row(rows: list[Row]) -> None:
    """Of settings, TLS and manners, as far as they admit each kind of work."""
    unfit = {(one.setting, value) for one in UNFIT for value in one.values}
    pairs = [row for row in rows if row.part == "pairs"]
    seen = set()
    for row in pairs:
        there = [*row.changes.items(), ("TLS", row.tls), ("manner", row.manner.name)]
        seen |= set(combinations(sorted(there), 2))
    never = [set(pair) for pair in UNFIT_PAIRS]
    ends = {
        (name, value)
        for name, values in VALUES.items()
        for value in (values[0], values[-1])
        if "_tls_" not in name and (name, value) not in unfit
    }
    others = {("TLS", tls) for tls in BETWEEN}
    others |= {("manner", row.manner.name) for row in pairs}
    for one, other in combinations(sorted(ends | others), 2):
        if one[0] != other[0]:
            assert ((one, other) in seen) != ({one, other} in never)
    assert {("manner", "slow reader"), ("manner", "1-byte writes")} <= others


def test_each_size_of_buffer_is_waited_for(rows: list[Row]) -> None:
    """In both directions, replication, TLS and every kind of sender."""
    waits = [row for row in rows if row.beside == NO_WAITS]
    assert (SIZES[0], SIZES[-1]) == ("2048", "4194304")
    tried = {
        (row.changes["tcp_socket_buffer"], row.tls, row.manner.name) for row in waits
    }
    assert {one[:2] for one in tried} >= {(size, NO_TLS) for size in SIZES}
    assert {one[1:] for one in tried} == {
        (tls, manner)
        for tls in (NO_TLS, "clients", "both")
        for manner in ("plain", "slow sender", "bursts")
    }
    assert all({"copy-in", "copy-out", "result"} <= set(row.kinds) for row in waits)
    backups = {
        (row.changes["tcp_socket_buffer"], row.manner.name)
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


def test_kinds_and_manners_are_known(rows: list[Row]) -> None:
    """Each row has work to do."""
    for row in rows:
        assert row.kinds
        assert set(row.kinds) <= set(KINDS)
        assert MANNERS[row.manner.name] is row.manner
