"""What the rules in force make of a query."""

from __future__ import annotations

import pytest

from pgswitch.view import ServiceView
from tests.fakes.world import World, WorldOf


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


RULES = """
def routing_rules(username, query, in_transaction):
    return username or None

async def rewrite_query(username, query, in_transaction):
    if "bad" in query:
        return 7
    return query.replace("old", "new")
"""


@pytest.mark.parametrize(
    ("query_", "user", "database", "expected"),
    [
        ("SELECT old", "", "db", ("SELECT new", "db", None, "10.0.0.1:5432")),
        ("SELECT 1", "db:reader", "", ("SELECT 1", "db", "reader", "10.0.0.1:5432")),
        ("SELECT 1", "none", "db", ("SELECT 1", "db", None, "10.0.0.1:5432")),
        ("SELECT bad", "", "db", ("SELECT bad", "db", None, "10.0.0.1:5432")),
    ],
)
def test_routes(
    world_of: WorldOf,
    query_: str,
    user: str,
    database: str,
    expected: tuple[object, ...],
) -> None:
    """What the rules in force make of a query, and why."""
    world = world_of()
    path = world.folder / "r.py"
    path.write_text(RULES)
    assert world.reload(
        settings=f"routing_rules_py_module_file = {path}\n"
        f"rewrite_query_py_module_file = {path}"
    )
    found = world.service.view.route(query_, user, database)
    assert (found.query, found.database, found.role, found.node) == expected
    assert ("no entry" in found.why) is (user == "none")
    assert ("rewrite_query failed" in found.why) is ("bad" in query_)
    world.reload(
        settings=f"rewrite_query_py_module_file = {path}\n"
        "rewrite_query_disconnect_on_failure = true"
    )
    found = world.service.view.route(query_, user, database)
    assert ("is disconnected" in found.why) is ("bad" in query_)


def test_a_route_without_rules(view: ServiceView) -> None:
    """The query goes as it is, where the client is."""
    found = view.route("SELECT 1", "joe", "db")
    assert (found.query, found.database, found.why) == ("SELECT 1", "db", "no rules")
