"""Rows of the SHOW STATS family, SHOW TOTALS and SHOW ERRORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgswitch.admin.rows import NOT_SHOWN, Cell, Rows, local_time, unseen

if TYPE_CHECKING:
    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import FailureSnapshot, StatsSnapshot


def stats(view: View) -> Rows:
    """Yield totals and averages of each database."""
    report = yield from unseen(view.gather_stats())
    for name, totals in sorted(report.totals.items()):
        yield (name, *totals.values(), *report.averages[name].values())


def stats_totals(view: View) -> Rows:
    """Yield the totals of each database."""
    report = yield from unseen(view.gather_stats())
    yield from _by_database(report.totals)


def stats_averages(view: View) -> Rows:
    """Yield the averages of each database."""
    report = yield from unseen(view.gather_stats())
    yield from _by_database(report.averages)


def _by_database(counters: dict[str, StatsSnapshot]) -> Rows:
    return ((name, *values.values()) for name, values in sorted(counters.items()))


def totals(view: View) -> Rows:
    """Yield totals and averages of all databases, one a row."""
    report = yield from unseen(view.gather_stats())
    for prefix, counters in (("total", report.total), ("avg", report.total_averages)):
        for name, value in zip(TOTALS_NAMES, counters.values(), strict=True):
            yield (f"{prefix}_{name}", value)


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
    """Yield the percentiles of each database."""
    for one in view.each_percentiles():
        if one is None:
            yield NOT_SHOWN
        else:
            name, values = one
            yield (name, *values)


def errors(view: View) -> Rows:
    """Yield how often clients were told of which error."""
    return (NOT_SHOWN if one is None else _error(one) for one in view.each_error())


def _error(one: FailureSnapshot) -> tuple[Cell, ...]:
    return (
        one.database or "(nodb)",
        *(one.sqlstate, one.cause, one.count),
        local_time(one.last_at) if one.last_at else None,
    )
