"""Checkout and release: who gets which server."""

from __future__ import annotations

from tests.fakes.messages import READY, query
from tests.unit.relay.pair import Stage


def test_the_last_used_first() -> None:
    """Or the other way, if the setting says so."""
    stage = Stage()
    first, last = stage.server(), stage.server()
    stage.client().take(query())
    assert stage.sent(last) == query()
    stage.rack.idle.append(last)
    stage.rack.round_robin = True
    stage.client().take(query())
    assert stage.sent(first) == query()


def test_first_come_first_served() -> None:
    """A released server goes to the one that waits longest, not to the stack."""
    stage = Stage()
    server = stage.server()
    clients = [stage.client() for _ in range(3)]
    for client in clients:
        client.take(query())
    for client in clients:
        assert client.server is server
        assert stage.sent(server) == query()
        server.take(READY)
        assert stage.sent(client) == READY
    assert list(stage.rack.idle) == [server]
    assert stage.rack.counters.wait_time > 0


def test_nobody_passes_the_queue() -> None:
    """While somebody waits, an idle server is not given to a newcomer."""
    stage = Stage()
    early, late = stage.client(), stage.client()
    early.take(query())
    stage.server()
    late.take(query())
    assert list(stage.rack.waiters) == [early, late]


def test_a_closed_rack() -> None:
    """Under PAUSE clients wait, whatever there is."""
    stage = Stage()
    server = stage.server()
    stage.rack.open = False
    client = stage.client()
    client.take(query())
    assert list(stage.rack.waiters) == [client]
    stage.rack.put_back(server)
    assert client.server is None


def test_what_the_steward_looks_at() -> None:
    """A careful rack, and a watched server."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    for _ in range(2):
        client.take(query())
        stage.rack.careful, server.watched = server.watched, not server.watched
        server.take(READY)
        assert stage.steward.told.pop() == ("released", server)
        assert list(stage.rack.idle) == []
        stage.rack.idle.append(server)


def test_stale_servers_are_passed_over() -> None:
    """So is one in the middle of a message."""
    stage = Stage()
    good, dirty, stale = stage.server(), stage.server(), stage.server()
    stale.stale = True
    dirty.take(b"N\0\0")
    client = stage.client()
    client.take(query())
    assert client.server is good
    assert stage.steward.told == [("discard", stale), ("discard", dirty)]


def test_parameters_that_differ() -> None:
    """The steward makes them the client's first; the client is not joined before."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    server.parameters = ("UTC",)
    client.parameters = ("Europe/Oslo",)
    stage.steward.settles = True
    client.take(query())
    assert stage.steward.told == [("settle", (client, server))]
    assert client.server is None
    assert client.halted
    assert stage.sent(server) == b""
