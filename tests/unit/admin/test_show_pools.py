"""Rows about pools, databases, users and peers."""

from __future__ import annotations

import pytest

from tests.unit.admin.reading import Cells, shown_rows

ROWS: dict[str, list[Cells]] = {
    "pools": [
        (
            *("bench", "postgres"),
            *("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"),
            *("transaction", "round-robin"),
        ),
        ("pgbouncer", "pgbouncer", "1", *("0",) * 12, "statement", None),
    ],
    "databases": [
        (
            *("bench", "127.0.0.1", "6000", "bench_real", None),
            *("3", "1", "2", "3600", None, None, "4", "5", "6", "7", "1", "0"),
        ),
        (
            *("pgbouncer", None, "6400", "pgbouncer", "pgbouncer"),
            *("2", "0", "0", "3600", "statement", None, "0", "0", "0", "0", "0", "1"),
        ),
    ],
    "users": [
        ("admin", "", "", None, "0", "0", "0", "1"),
        ("app", "        5", "        0", "session", "8", "3", "9", "0"),
    ],
    "peers": [
        ("1", "127.0.0.1", "6400", "3"),
        ("2", "10.0.0.2", "6401", "3"),
    ],
    "peer_pools": [("2", "1", "2", "3", "4")],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Each value stands in its column, and no row has a column too few."""
    assert shown_rows(name) == ROWS[name]
