"""What the rules in force make of a query."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pgswitch.admin.show.rules import RuleRow, explain_route
from pgswitch.admin.statements import SHOWS
from pgswitch.admin.view import ServiceView
from tests.fakes.world import World, WorldOf
from tests.unit.admin.fakes import NOON
from tests.unit.admin.reading import cells


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
    (found,) = explain_route(query_, user, database).named_rows(world.service.view)
    assert (found.query, found.database, found.role, found.node) == expected
    assert ("no entry" in found.why) is (user == "none")
    assert ("rewrite_query failed" in found.why) is ("bad" in query_)
    world.reload(
        settings=f"rewrite_query_py_module_file = {path}\n"
        "rewrite_query_disconnect_on_failure = true"
    )
    (found,) = explain_route(query_, user, database).named_rows(world.service.view)
    assert ("is disconnected" in found.why) is ("bad" in query_)


def test_a_route_without_rules(view: ServiceView) -> None:
    """Without rules, the query stays as it is and the client where it is."""
    (found,) = explain_route("SELECT 1", "joe", "db").named_rows(view)
    assert (found.query, found.database, found.why) == ("SELECT 1", "db", "no rules")


def test_values_stand_in_their_columns() -> None:
    """Each number of a function is in its own column."""
    times = SimpleNamespace(
        count=1, percentile=lambda share: 7 if share < 0.9 else 8, longest=9
    )
    rule: Any = SimpleNamespace(
        name="routing_rules",
        module=SimpleNamespace(path="/etc/r.py", written_at=NOON, digest="abc"),
        stats=SimpleNamespace(
            times=times,
            cache_hits=2,
            moves=3,
            rewrites=10,
            errors=4,
            refused=5,
            unknown=6,
            last_error="",
        ),
    )
    assert cells(SHOWS["rules"], RuleRow(rule, ["*"])) == [
        (
            *("routing_rules", "*", "/etc/r.py", "2026-11-22 12:00:00 UTC", "abc"),
            *("1", "2", "3", "10", "4", "5", "6", "7", "8", "9", None),
        )
    ]
