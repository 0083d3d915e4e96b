"""Rows of the SHOW STATS family, SHOW TOTALS and SHOW ERRORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgswitch.admin.rows import Rows, local_time

if TYPE_CHECKING:
    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import StatsSnapshot


def stats(view: View) -> Rows:
    """Return totals and averages of each database."""
    report = view.stats()
    return [
        (name, *totals.values(), *report.averages[name].values())
        for name, totals in sorted(report.totals.items())
    ]


def stats_totals(view: View) -> Rows:
    """Return the totals of each database."""
    return _by_database(view.stats().totals)


def stats_averages(view: View) -> Rows:
    """Return the averages of each database."""
    return _by_database(view.stats().averages)


def _by_database(counters: dict[str, StatsSnapshot]) -> Rows:
    return [(name, *values.values()) for name, values in sorted(counters.items())]


def totals(view: View) -> Rows:
    """Return totals and averages of all databases, one a row."""
    report = view.stats()
    return [
        (f"{prefix}_{name}", value)
        for prefix, counters in (
            ("total", report.total),
            ("avg", report.total_averages),
        )
        for name, value in zip(TOTALS_NAMES, counters.values(), strict=True)
    ]


TOTALS_NAMES: Final = (
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
    "client_login_count",
)
"""The counters under the names that SHOW TOTALS gives them."""


def percentiles(view: View) -> Rows:
    """Return the percentiles of each database."""
    return [(name, *values) for name, values in sorted(view.percentiles().items())]


def errors(view: View) -> Rows:
    """Return how often clients were told of which error."""
    return [
        (
            one.database or "(nodb)",
            *(one.sqlstate, one.cause, one.count),
            local_time(one.last_at) if one.last_at else None,
        )
        for one in view.errors()
    ]
