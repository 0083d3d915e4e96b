"""Settings, state, counts and host names of a running service."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgswitch.admin.show.service import DNS_ZONES
from pgswitch.admin.statements import named_rows
from pgswitch.admin.view import ServiceView
from tests.fakes.world import World
from tests.unit.admin.fakes import fake_view
from tests.unit.admin.reading import rows_of

LISTS = [
    *("databases", "users", "peers", "pools", "peer_pools", "free_clients"),
    *("used_clients", "login_clients", "free_servers", "used_servers"),
    *("dns_names", "dns_zones", "dns_queries", "dns_pending"),
]


def lists(view: ServiceView) -> dict[str, int]:
    """Return the rows of SHOW LISTS."""
    return {row.list: row.items for row in named_rows("lists", view)}


def test_lists(world: World) -> None:
    """How many there are of each thing, in PgBouncer's order."""
    world.pair()
    world.connect()
    counts = lists(world.service.view)
    assert list(counts) == LISTS
    shown = {name: count for name, count in counts.items() if count}
    assert shown == {
        "databases": 2,
        "users": 4,
        "pools": 2,
        "used_clients": 1,
        "login_clients": 1,
        "used_servers": 1,
    }


def test_settings(world: World) -> None:
    """Each setting has a row."""
    rows = rows_of("config", world.service.view)
    assert ("pool_mode", "transaction", "session", "yes") in rows


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, ["yes", "no", "no"]),
        ({"paused": True}, ["no", "yes", "no"]),
        ({"suspended": True}, ["no", "no", "yes"]),
        ({"shutting_down": True}, ["yes", "no", "no"]),
    ],
)
def test_the_state_is_said_in_three_words(
    state: dict[str, bool], words: list[str]
) -> None:
    """Exactly one of active, paused and suspended is yes."""
    rows = rows_of("state", fake_view(**state))
    assert [row[0] for row in rows] == ["active", "paused", "suspended"]
    assert [row[1] for row in rows] == words


def test_the_state_of_a_service(world: World) -> None:
    """The state follows the commands."""
    assert rows_of("state", world.service.view)[1] == ("paused", "no")
    world.service.operations.pause(None)
    world.service.shutdown_wait_for_clients()
    assert rows_of("state", world.service.view)[1] == ("paused", "yes")
    assert world.service.view.login_service.shutting_down


def test_the_version(world: World) -> None:
    """The version is PgBouncer's, for tools that read it."""
    assert rows_of("version", world.service.view) == [("PgBouncer 1.25.2",)]


def test_zones_in_their_columns() -> None:
    """Name, serial number and names are in their columns."""
    assert len(DNS_ZONES.columns) == 3
    assert rows_of("dns_zones", fake_view()) == [("example", "7", "2")]


def test_nothing_looked_up(world: World) -> None:
    """Without lookups the table is empty."""
    view = world.service.view
    assert (rows_of("dns_hosts", view), rows_of("dns_zones", view)) == ([], [])
    assert lists(view)["dns_names"] == 0


def test_names_and_zones(world: World) -> None:
    """TTLs are whole seconds; SHOW LISTS counts names, zones and lookups."""
    names = world.service.names
    names._look_up = lambda _name: Deferred()
    for name in ("db.example", "none.example"):
        names.addresses(name).addErrback(lambda _failure: None)
    names._answered(("10.0.0.1", "::1"), "db.example")
    view = world.service.view
    counts = lists(view)
    assert [counts[f"dns_{name}"] for name in ("names", "zones", "queries")] == [1] * 3
    world.wait(0.5)
    (host,) = named_rows("dns_hosts", view)
    assert (host.hostname, host.ttl, host.addrs) == (
        "db.example",
        14,
        "10.0.0.1:0,[::1]:0",
    )
    (zone,) = named_rows("dns_zones", view)
    assert (zone.zonename, zone.serial, zone.count) == ("example", 0, 2)
