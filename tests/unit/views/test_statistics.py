"""Counts and averages of a running service."""

from __future__ import annotations

from pgswitch.stats.counters import NAMES
from pgswitch.views.steps import finished
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    error,
    message,
    query,
)
from tests.fakes.world import World, WorldOf


def test_statistics(world_of: WorldOf) -> None:
    """Of each database over all its users, and of all databases."""
    world = world_of(databases="a = host=10.0.0.1\nb = host=10.0.0.2")
    for database, user in (("a", "app"), ("a", "other"), ("b", "app")):
        client = world.client(database, user)
        server = world.server()
        for _ in range(3):
            client.say(query())
            server.say(ANSWER)
    world.wait(3)
    report = world.service.view.stats()
    assert list(report.totals) == ["a", "b", "pgbouncer"]
    assert report.totals["a"].query_count == 6
    assert report.totals["b"].query_count == 3
    assert report.total.query_count == 9
    assert report.total.client_bytes == 9 * len(query())
    assert report.averages["a"].query_count == 2
    assert report.total_averages.query_count == 3


def test_the_console_is_a_database(world: World) -> None:
    """Its logins and statements count, in the totals too, but not as bytes or time."""
    console = world.console()
    for _ in range(2):
        console.say(query("SHOW VERSION"))
    report = world.service.view.stats()
    for counts in (report.totals["pgbouncer"], report.total):
        assert counts.query_count == counts.xact_count == 2
        assert counts.client_login_count == 1
        assert counts.client_bytes == counts.server_bytes == counts.query_time == 0
    averages = finished(
        world.service.view.statistics.gather_period(world.context.clock())
    )
    assert averages[NAMES.index("query_count")] == 2


def test_percentiles(world: World) -> None:
    """Of queries, of transactions, of waits for a server."""
    client = world.client()
    world.wait(2)
    server = world.server()
    client.say(query("BEGIN"))
    world.wait(1)
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    world.wait(2)
    client.say(query("COMMIT"))
    server.say(ANSWER)
    found = world.service.view.percentiles()["db"]
    seconds = [round(value / 1e6) for value in found]
    assert seconds == [0, 1, 1, 3, 3, 3, 2, 2, 2]


def test_statements_without_a_transaction(world: World) -> None:
    """Each is a query and a transaction."""
    _client, server = world.asking()
    world.wait(2)
    server.say(ANSWER)
    found = world.service.view.percentiles()["db"]
    assert [round(value / 1e6) for value in found] == [2] * 6 + [0] * 3


def test_errors(world: World) -> None:
    """What we told clients, by cause; what servers told them, by code."""
    world.client("nowhere")
    world.client("elsewhere")
    client, server = world.asking()
    server.say(error("relation does not exist", "42P01") + READY)
    client.say(query())
    server.drop()
    rows = [
        (one.database, one.sqlstate, one.cause, one.count)
        for one in world.service.view.errors()
    ]
    assert rows == [
        ("db", "08P01", "server conn crashed?", 1),
        ("db", "42P01", "server", 1),
        ("elsewhere", "08P01", "no such database: {database}", 1),
        ("nowhere", "08P01", "no such database: {database}", 1),
    ]
