"""Rows of the statistics."""

from __future__ import annotations

import pytest

from tests.unit.admin.reading import Cells, shown_rows

TOTALS = tuple(str(number) for number in range(1, 13))
AVERAGES = tuple(str(number) for number in range(21, 33))
NOTHING = ("0",) * 12

ROWS: dict[str, list[Cells]] = {
    "stats": [("bench", *TOTALS, *AVERAGES), ("shop", *NOTHING, *NOTHING)],
    "stats_totals": [("bench", *TOTALS), ("shop", *NOTHING)],
    "stats_averages": [("bench", *AVERAGES), ("shop", *NOTHING)],
    "stats_percentiles": [("bench", *(str(number) for number in range(1, 10)))],
    "errors": [
        ("(nodb)", "08P01", "not allowed", "2", "2026-11-22 12:00:00 UTC"),
        ("bench", "42P01", "server", "1", None),
    ],
    "totals": [
        *(("total_server_assignment_count", "1"), ("total_xact_count", "2")),
        *(("total_query_count", "3"), ("total_client_bytes", "4")),
        *(("total_server_bytes", "5"), ("total_xact_time", "6")),
        *(("total_query_time", "7"), ("total_wait_time", "8")),
        ("total_ps_client_parse_count", "9"),
        ("total_ps_server_parse_count", "10"),
        *(("total_ps_bind_count", "11"), ("total_client_login_count", "12")),
        *(("avg_server_assignment_count", "21"), ("avg_xact_count", "22")),
        *(("avg_query_count", "23"), ("avg_client_bytes", "24")),
        *(("avg_server_bytes", "25"), ("avg_xact_time", "26")),
        *(("avg_query_time", "27"), ("avg_wait_time", "28")),
        *(("avg_ps_client_parse_count", "29"), ("avg_ps_server_parse_count", "30")),
        *(("avg_ps_bind_count", "31"), ("avg_client_login_count", "32")),
    ],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Each value stands in its column, and no row has a column too few."""
    assert shown_rows(name) == ROWS[name]
