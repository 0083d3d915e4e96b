"""Counts and averages of a running service."""

from __future__ import annotations

from tests.fakes.messages import ANSWER, query
from tests.fakes.world import WorldOf


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
