"""Host names on the console."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.fakes.world import World


def test_nothing_looked_up(world: World) -> None:
    """No rows."""
    view = world.service.view
    assert (view.dns_hosts(), view.dns_zones()) == ([], [])
    assert view.lists().dns_names == 0


def test_names_and_zones(world: World) -> None:
    """Whole seconds; a name that failed has no address; counts for SHOW LISTS."""
    names = world.service.names
    names._look_up = lambda _name: Deferred()
    for name in ("db.example", "none.example"):
        names.addresses(name).addErrback(lambda _failure: None)
    names._answered(("10.0.0.1", "::1"), "db.example")
    view = world.service.view
    lists = view.lists()
    assert (lists.dns_names, lists.dns_zones, lists.dns_queries) == (1, 1, 1)
    world.wait(0.5)
    (host,) = view.dns_hosts()
    assert (host.hostname, host.ttl, host.addrs) == (
        "db.example",
        14,
        ("10.0.0.1", "::1"),
    )
    (zone,) = view.dns_zones()
    assert (zone.zonename, zone.serial, zone.count) == ("example", 0, 2)
