"""The SHOW STATS family, SHOW TOTALS and SHOW ERRORS."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.incremental import POOLS_PER_STEP
from pgswitch.admin.result_set import (
    END_OF_SLICE,
    INT8,
    NUMERIC,
    TEXT,
    Column,
    Columns,
    local_time,
)
from pgswitch.admin.show.sockets import NO_DATABASE
from pgswitch.admin.view import ServiceView, Show
from pgswitch.stats.counters import NAMES, ErrorCount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.admin.statistics import DatabaseStats


class _Counter(NamedTuple):
    """A counter, under the names that the different results give it."""

    counter: str
    """Its name in stats/counters.py."""
    meaning: str
    unit: str
    average_unit: str
    total: str
    """Its column in SHOW STATS, and that of its average."""
    average: str
    total_alone: str
    """Its column in SHOW STATS_TOTALS, and that in SHOW STATS_AVERAGES."""
    average_alone: str
    row: str
    """Its row in SHOW TOTALS, behind ``total_`` or ``avg_``."""

    @property
    def target(self) -> int:
        """Where it stands among the counters."""
        return NAMES.index(self.counter)


_COUNTERS: Final = (
    _Counter(
        "server_assignment_count",
        *("times that a client was given a server", "", "per second"),
        *("total_server_assignment_count", "avg_server_assignment_count"),
        *("server_assignment_count", "server_assignment_count"),
        "server_assignment_count",
    ),
    _Counter(
        *("xact_count", "transactions", "", "per second"),
        *("total_xact_count", "avg_xact_count", "xact_count", "xact_count"),
        "xact_count",
    ),
    _Counter(
        *("query_count", "queries", "", "per second"),
        *("total_query_count", "avg_query_count", "query_count", "query_count"),
        "query_count",
    ),
    _Counter(
        *("client_bytes", "messages received from clients", "bytes", "bytes/s"),
        *("total_received", "avg_recv", "bytes_received", "bytes_received"),
        "client_bytes",
    ),
    _Counter(
        *("server_bytes", "messages received from servers", "bytes", "bytes/s"),
        *("total_sent", "avg_sent", "bytes_sent", "bytes_sent", "server_bytes"),
    ),
    _Counter(
        *("xact_time", "time in transactions", "µs", "µs per transaction"),
        *("total_xact_time", "avg_xact_time", "xact_time", "xact_time", "xact_time"),
    ),
    _Counter(
        *("query_time", "time in queries", "µs", "µs per query"),
        *("total_query_time", "avg_query_time", "query_time", "query_time"),
        "query_time",
    ),
    _Counter(
        *("wait_time", "time that clients waited for a server", "µs"),
        "µs per assignment",
        *("total_wait_time", "avg_wait_time", "wait_time", "wait_time", "wait_time"),
    ),
    _Counter(
        *("client_parse_count", "Parse messages from clients", "", "per second"),
        *("total_client_parse_count", "avg_client_parse_count"),
        *("client_parse_count", "avg_client_parse_count", "ps_client_parse_count"),
    ),
    _Counter(
        *("server_parse_count", "Parse messages sent to servers", "", "per second"),
        *("total_server_parse_count", "avg_server_parse_count"),
        *("server_parse_count", "avg_server_parse_count", "ps_server_parse_count"),
    ),
    _Counter(
        *("bind_count", "Bind messages from clients", "", "per second"),
        *("total_bind_count", "avg_bind_count", "bind_count", "avg_bind_count"),
        "ps_bind_count",
    ),
    _Counter(
        *("client_login_count", "logins of clients", "", "per second"),
        *("total_client_login_count", "avg_client_login_count"),
        *("client_login_count", "avg_client_login_count", "client_login_count"),
    ),
)


def _total_at(place: int, row: DatabaseStats) -> int:
    return row.totals[place]


def _average_at(place: int, row: DatabaseStats) -> int:
    return row.averages[place]


def _total(name: str, one: _Counter) -> Column[DatabaseStats]:
    meaning = f"Total: {one.meaning}."
    return Column(name, NUMERIC, meaning, partial(_total_at, one.target), one.unit)


def _average(name: str, one: _Counter) -> Column[DatabaseStats]:
    meaning = f"Average over the last one to two periods: {one.meaning}."
    value = partial(_average_at, one.target)
    return Column(name, NUMERIC, meaning, value, one.average_unit)


_NAME: Final[Column[DatabaseStats]] = Column(
    "database", TEXT, "Database, by its name.", lambda d: d.name
)


def _databases(view: ServiceView) -> Iterator[DatabaseStats | None]:
    """Yield the counters of each database, by name."""
    report = yield from view.statistics.gather()
    yield from report.databases


STATS: Final = Show(
    meaning="The counters of each database since the start, then their averages.",
    find=_databases,
    columns=(
        _NAME,
        *(_total(one.total, one) for one in _COUNTERS),
        *(_average(one.average, one) for one in _COUNTERS),
    ),
)
STATS_TOTALS: Final = Show(
    meaning="The counters of each database since the start.",
    find=_databases,
    columns=(_NAME, *(_total(one.total_alone, one) for one in _COUNTERS)),
)
STATS_AVERAGES: Final = Show(
    meaning="The averages of each database over the last one to two periods"
    " (`stats_period`).",
    find=_databases,
    columns=(_NAME, *(_average(one.average_alone, one) for one in _COUNTERS)),
)


def _totals(view: ServiceView) -> Iterator[tuple[str, int] | None]:
    """Yield totals, then averages, of all databases together."""
    report = yield from view.statistics.gather()
    for prefix, counts in (("total", report.totals), ("avg", report.averages)):
        for one in _COUNTERS:
            yield f"{prefix}_{one.row}", counts[one.target]


TOTALS: Final = Show(
    meaning="The totals of all databases together, then their averages, one a row.",
    find=_totals,
    columns=(
        Column("name", TEXT, "Name of the number.", lambda t: t[0]),
        Column(
            "value", NUMERIC, "The number; units as in `SHOW STATS`.", lambda t: t[1]
        ),
    ),
)

# -------------------------------------------------------------------- percentiles

Percentiles = tuple[str, "Sequence[int]"]
"""A database, and p50, p95, p99 of queries, transactions and waits."""
_TIMED: Final = (
    ("query", "queries"),
    ("xact", "transactions"),
    ("wait", "waits for a server"),
)
_SHARES: Final = ("50", "95", "99")


def _percentile_at(place: int, row: Percentiles) -> int:
    return row[1][place]


def _percentile_columns() -> Iterator[Column[Percentiles]]:
    yield Column("database", TEXT, "Database, by its name.", lambda row: row[0])
    for at, (name, plural) in enumerate(_TIMED):
        for place, share in enumerate(_SHARES, at * len(_SHARES)):
            meaning = f"The {share}th percentile of {plural} of the last one to two"
            meaning += " periods (`stats_period`)."
            value = partial(_percentile_at, place)
            yield Column(f"{name}_p{share}", NUMERIC, meaning, value, "µs")


STATS_PERCENTILES: Final = Show(
    meaning="How long queries, transactions and waits took, by database.",
    find=lambda view: view.statistics.each_percentiles(),
    columns=tuple(_percentile_columns()),
)

# ------------------------------------------------------------------------- errors

SERVER: Final = "server"
"""The cause of an error that came from a server."""


def _errors(view: ServiceView) -> Iterator[ErrorCount | None]:
    """Yield the errors that clients got, from us and from servers."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for number, pool in enumerate(view.pools, 1):
        for sqlstate, count in pool.idle_pool.counters.errors.items():
            key = (pool.key.database, sqlstate.decode("latin-1"), SERVER)
            counts[key] += count
        if number % POOLS_PER_STEP == 0:
            yield None
    servers = [ErrorCount(*key, count, 0.0) for key, count in counts.items()]
    found = sorted([*view.context.failures, *servers])
    yield from END_OF_SLICE
    yield from found


_ERROR: Final[Columns[ErrorCount]] = (
    Column(
        *("database", TEXT, "Database, by its name; `(nodb)` if there is none."),
        lambda e: e.database or NO_DATABASE,
    ),
    Column("sqlstate", TEXT, "SQLSTATE that the client got.", lambda e: e.sqlstate),
    Column(
        "cause",
        TEXT,
        "`server` for an error of a server, otherwise the text of ours with `{}`"
        " around what varies.",
        lambda e: e.cause,
    ),
    Column("count", INT8, "How often clients got it.", lambda e: e.number),
    Column(
        *("last", TEXT, "When last; NULL for errors of servers."),
        lambda e: local_time(e.last_at) if e.last_at else None,
    ),
)
ERRORS: Final = Show(
    meaning="The errors that clients got since the start, counted.",
    find=_errors,
    columns=_ERROR,
)
