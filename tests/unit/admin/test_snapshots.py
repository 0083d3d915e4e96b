"""The values that the service shows."""

from __future__ import annotations

from dataclasses import fields

from pgswitch.admin.snapshots import ListsSnapshot, StatsSnapshot


def test_counters_come_in_the_order_of_the_columns() -> None:
    """values() gives the twelve fields in the order in which they are written."""
    numbers = tuple(range(12))
    assert StatsSnapshot(*numbers).values() == numbers
    assert [one.name for one in fields(StatsSnapshot)][:5] == [
        *("server_assignment_count", "xact_count", "query_count"),
        *("client_bytes", "server_bytes"),
    ]


def test_lists_has_the_rows_of_show_lists() -> None:
    """Fourteen numbers, beginning with databases and ending with dns_pending."""
    names = [one.name for one in fields(ListsSnapshot)]
    assert (len(names), names[0], names[-1]) == (14, "databases", "dns_pending")
