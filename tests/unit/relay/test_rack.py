"""Checkout and release: who gets which server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.relay.client import ClientLink
from pgswitch.relay.server import ServerLink
from tests.fakes.messages import READY, message, query
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


SPOILT = {
    "lost": lambda server: setattr(server, "lost", True),
    "behind": lambda server: setattr(server, "backlogged", True),
    "amid a message": lambda server: setattr(server, "skip", 3),
    "amid a header": lambda server: setattr(server, "wanted", 5),
}
WAYS_BACK = {
    "put back": lambda stage, server: stage.rack.put_back(server),
    "handed on": lambda stage, server: stage.rack.hand_on(server),
    "kept": lambda stage, server: stage.rack.keep(server),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("bring", WAYS_BACK.values(), ids=WAYS_BACK)
@pytest.mark.parametrize("careful", [False, True])
def test_what_is_not_fit_to_be_used(
    spoil: Callable[[ServerLink], None],
    bring: Callable[[Stage, ServerLink], object],
    careful: bool,  # noqa: FBT001 - a parameter
) -> None:
    """No client gets it, and it is not kept, however it comes back."""
    stage = Stage()
    server = stage.server()
    stage.rack.idle.clear()
    stage.rack.careful = careful
    for wait in (False, True):
        if wait:
            stage.client().take(query())
        spoil(server)
        bring(stage, server)
        assert stage.steward.told.pop() == ("discard", server)
        assert not stage.steward.told
        assert list(stage.rack.idle) == []
        assert stage.sent(server) == b""


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_idle_server_that_is_not_fit(spoil: Callable[[ServerLink], None]) -> None:
    """It is discarded when its turn comes, and the next one taken."""
    stage = Stage()
    fit, spoilt = stage.server(), stage.server()
    spoil(spoilt)
    client = stage.client()
    client.take(query())
    assert stage.steward.told == [("discard", spoilt)]
    assert client.server is fit


def test_a_release_that_is_too_early() -> None:
    """A server that has still to answer, or skips, is nobody's any more."""
    for said in (b"", message(b"E", b"Mno\0\0")):
        stage = Stage()
        server, client = stage.server(), stage.client()
        client.take(message(b"P", b"\0\0\0\0"))
        server.take(said)
        stage.rack.release(server)
        assert stage.steward.told == [("discard", server)]
        assert client.server is None
        assert list(stage.rack.idle) == []


def test_a_release_before_all_is_sent() -> None:
    """As behind a COPY that failed early; what is left would reach the next client."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    server.backlogged = True
    server.take(READY)
    assert stage.steward.told == [("discard", server)]
    assert list(stage.rack.idle) == []


def test_a_turn_that_comes_at_once() -> None:
    """The steward may find a server for a client while it has it wait."""
    stage = Stage()
    server = stage.server()
    stage.rack.open = False

    def wait(client: ClientLink) -> None:
        stage.rack.open = True
        stage.rack.idle.clear()
        client.halt()
        stage.rack.serve(client, server)

    stage.steward.wait = wait  # type: ignore[method-assign]
    client = stage.client()
    client.take(query())
    assert stage.sent(server) == query()
    server.take(READY)
    assert stage.sent(client) == READY


def test_one_server_for_two_clients() -> None:
    """That is a fault of ours, and comes to light at once."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    for give in (stage.rack.serve, stage.rack.join):
        with pytest.raises(AssertionError):
            give(stage.client(), server)
