"""Counts and averages of a running service."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from pgswitch.admin.incremental import run_all
from pgswitch.admin.show import stats
from pgswitch.admin.statements import named_rows
from pgswitch.admin.statistics import DatabaseStats, StatsReport
from pgswitch.admin.view import ServiceView
from pgswitch.stats.counters import NAMES, ErrorCount
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    error,
    message,
    query,
)
from tests.fakes.world import World, WorldOf
from tests.unit.admin.fakes import NOON
from tests.unit.admin.reading import Cells, cells, rows_of

QUERIES = NAMES.index("query_count")
BYTES = NAMES.index("client_bytes")


def report_of(world: World) -> tuple[StatsReport, dict[str, DatabaseStats]]:
    """Return the counters now, and those of each database by its name."""
    report = run_all(world.service.statistics.gather())
    return report, {one.name: one for one in report.databases}


def test_statistics(world_of: WorldOf) -> None:
    """Counters of each database, over all its users, and of all databases."""
    world = world_of(databases="a = host=10.0.0.1\nb = host=10.0.0.2")
    for database, user in (("a", "app"), ("a", "other"), ("b", "app")):
        client = world.client(database, user)
        server = world.server()
        for _ in range(3):
            client.say(query())
            server.say(ANSWER)
    world.wait(3)
    report, databases = report_of(world)
    assert list(databases) == ["a", "b", "pgbouncer"]
    assert databases["a"].totals[QUERIES] == 6
    assert databases["b"].totals[QUERIES] == 3
    assert report.totals[QUERIES] == 9
    assert report.totals[BYTES] == 9 * len(query())
    assert databases["a"].averages[QUERIES] == 2
    assert report.averages[QUERIES] == 3


def test_the_console_is_a_database(world: World) -> None:
    """Logins and statements of the console count, but not their bytes and times."""
    console = world.console()
    for _ in range(2):
        console.say(query("SHOW VERSION"))
    report, databases = report_of(world)
    for totals in (databases["pgbouncer"].totals, report.totals):
        counts = dict(zip(NAMES, totals, strict=True))
        assert counts["query_count"] == counts["xact_count"] == 2
        assert counts["client_login_count"] == 1
        assert counts["client_bytes"] == counts["server_bytes"] == 0
        assert counts["query_time"] == 0
    now = world.context.clock()
    averages = run_all(world.service.statistics.gather_period(now))
    assert averages[QUERIES] == 2


def test_percentiles(world: World) -> None:
    """Percentiles of queries, transactions and waits for a server."""
    client = world.client()
    world.wait(2)
    server = world.server()
    client.say(query("BEGIN"))
    world.wait(1)
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    world.wait(2)
    client.say(query("COMMIT"))
    server.say(ANSWER)
    ((_database, *found),) = named_rows("stats_percentiles", world.service.view)
    seconds = [round(value / 1e6) for value in found]
    assert seconds == [0, 1, 1, 3, 3, 3, 2, 2, 2]


def test_statements_without_a_transaction(world: World) -> None:
    """Each statement counts as a query and as a transaction."""
    _client, server = world.asking()
    world.wait(2)
    server.say(ANSWER)
    ((_database, *found),) = named_rows("stats_percentiles", world.service.view)
    assert [round(value / 1e6) for value in found] == [2] * 6 + [0] * 3


def test_errors(world: World) -> None:
    """Our errors are counted by cause, those of servers by SQLSTATE."""
    world.client("nowhere")
    world.client("elsewhere")
    client, server = world.asking()
    server.say(error("relation does not exist", "42P01") + READY)
    client.say(query())
    server.drop()
    rows = [
        (one.database, one.sqlstate, one.cause, one.count)
        for one in named_rows("errors", world.service.view)
    ]
    assert rows == [
        ("db", "08P01", "server conn crashed?", 1),
        ("db", "42P01", "server", 1),
        ("elsewhere", "08P01", "no such database: {database}", 1),
        ("nowhere", "08P01", "no such database: {database}", 1),
    ]


TOTALS: Cells = tuple(str(number) for number in range(1, 13))
AVERAGES: Cells = tuple(str(number) for number in range(21, 33))
NOTHING = ("0",) * 12
COUNTS = (tuple(range(1, 13)), tuple(range(21, 33)))
ZEROS = ((0,) * 12, (0,) * 12)

ROWS: dict[str, list[Cells]] = {
    "stats": [("bench", *TOTALS, *AVERAGES), ("shop", *NOTHING, *NOTHING)],
    "stats_totals": [("bench", *TOTALS), ("shop", *NOTHING)],
    "stats_averages": [("bench", *AVERAGES), ("shop", *NOTHING)],
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


def fake_view() -> ServiceView:
    """Return a view with the counters of two databases."""

    def gather() -> Generator[None, None, StatsReport]:
        yield
        return StatsReport(
            [DatabaseStats("bench", *COUNTS), DatabaseStats("shop", *ZEROS)], *COUNTS
        )

    parts: Any = SimpleNamespace(statistics=SimpleNamespace(gather=gather))
    view: ServiceView = parts
    return view


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Each value stands in its column, and no row has a column too few."""
    assert rows_of(name, fake_view()) == ROWS[name]


def test_percentiles_stand_in_their_columns() -> None:
    """All nine are in the order in which they are gathered."""
    assert cells(stats.STATS_PERCENTILES, ("bench", range(1, 10))) == [
        ("bench", *(str(number) for number in range(1, 10)))
    ]


def test_errors_stand_in_their_columns() -> None:
    """Our errors have a time, those of servers have none."""
    ours = ErrorCount("", "08P01", "not allowed", 2, NOON)
    assert cells(
        stats.ERRORS, ours, ErrorCount("bench", "42P01", "server", 1, 0.0)
    ) == [
        ("(nodb)", "08P01", "not allowed", "2", "2026-11-22 12:00:00 UTC"),
        ("bench", "42P01", "server", "1", None),
    ]


def test_each_counter_has_a_row_in_the_table() -> None:
    """The table has the order of the counters."""
    assert tuple(one.counter for one in stats._COUNTERS) == NAMES
