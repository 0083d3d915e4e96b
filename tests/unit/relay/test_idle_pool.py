"""Checkout and release: which client gets which server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import ServerStream
from tests.fakes.messages import READY, message, query
from tests.unit.relay.pair import Stage


def test_the_last_used_first() -> None:
    """Or the other way, by the setting."""
    stage = Stage()
    first, last = stage.server(), stage.server()
    stage.client().take(query())
    assert stage.sent(last) == query()
    stage.idle_pool.idle.append(last)
    stage.idle_pool.round_robin = True
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
    assert list(stage.idle_pool.idle) == [server]
    assert stage.idle_pool.counters.wait_time > 0


def test_no_client_jumps_the_queue() -> None:
    """While a client waits, an idle server is not given to a newcomer."""
    stage = Stage()
    early, late = stage.client(), stage.client()
    early.take(query())
    stage.server()
    late.take(query())
    assert list(stage.idle_pool.waiters) == [early, late]


def test_a_closed_idle_pool() -> None:
    """Under PAUSE clients wait, even if servers are idle."""
    stage = Stage()
    server = stage.server()
    stage.idle_pool.open = False
    client = stage.client()
    client.take(query())
    assert list(stage.idle_pool.waiters) == [client]
    stage.idle_pool.put_back(server)
    assert client.server is None


def test_what_the_policy_looks_at() -> None:
    """A pool that checks releases, and a server that needs a check."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    for _ in range(2):
        client.take(query())
        stage.idle_pool.checks_releases, server.needs_release_check = (
            server.needs_release_check,
            not server.needs_release_check,
        )
        server.take(READY)
        assert stage.policy.calls.pop() == ("released", server)
        assert list(stage.idle_pool.idle) == []
        stage.idle_pool.idle.append(server)


def test_stale_servers_are_passed_over() -> None:
    """So is one in the middle of a message."""
    stage = Stage()
    good, dirty, close_needed = stage.server(), stage.server(), stage.server()
    close_needed.close_needed = True
    dirty.take(b"N\0\0")
    client = stage.client()
    client.take(query())
    assert client.server is good
    assert stage.policy.calls == [("discard", close_needed), ("discard", dirty)]


def test_parameters_that_differ() -> None:
    """The policy sets the client's first; the two are not linked before."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    server.parameters = ("UTC",)
    client.parameters = ("Europe/Oslo",)
    stage.policy.syncs_parameters = True
    client.take(query())
    assert stage.policy.calls == [("sync_parameters", (client, server))]
    assert client.server is None
    assert client.suspended
    assert stage.sent(server) == b""


SPOILT = {
    "lost": lambda server: setattr(server, "lost", True),
    "behind": lambda server: setattr(server, "backlogged", True),
    "amid a message": lambda server: setattr(server, "skip", 3),
    "amid a header": lambda server: setattr(server, "wanted", 5),
}
WAYS_BACK = {
    "put back": lambda stage, server: stage.idle_pool.put_back(server),
    "handed on": lambda stage, server: stage.idle_pool.reuse(server),
    "kept": lambda stage, server: stage.idle_pool.push_idle(server),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("route_to", WAYS_BACK.values(), ids=WAYS_BACK)
@pytest.mark.parametrize("checks_releases", [False, True])
def test_what_is_not_fit_to_be_used(
    spoil: Callable[[ServerStream], None],
    route_to: Callable[[Stage, ServerStream], object],
    checks_releases: bool,  # noqa: FBT001 - a parameter
) -> None:
    """No client gets it, and it is not kept, however it comes back."""
    stage = Stage()
    server = stage.server()
    stage.idle_pool.idle.clear()
    stage.idle_pool.checks_releases = checks_releases
    for wait in (False, True):
        if wait:
            stage.client().take(query())
        spoil(server)
        route_to(stage, server)
        assert stage.policy.calls.pop() == ("discard", server)
        assert not stage.policy.calls
        assert list(stage.idle_pool.idle) == []
        assert stage.sent(server) == b""


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_idle_server_that_is_not_fit(spoil: Callable[[ServerStream], None]) -> None:
    """It is discarded when its turn comes, and the next one taken."""
    stage = Stage()
    fit, spoilt = stage.server(), stage.server()
    spoil(spoilt)
    client = stage.client()
    client.take(query())
    assert stage.policy.calls == [("discard", spoilt)]
    assert client.server is fit


def test_a_release_that_is_too_early() -> None:
    """A server that has still to answer, or skips, belongs to no client any more."""
    for said in (b"", message(b"E", b"Mno\0\0")):
        stage = Stage()
        server, client = stage.server(), stage.client()
        client.take(message(b"P", b"\0\0\0\0"))
        server.take(said)
        stage.idle_pool.release(server)
        assert stage.policy.calls == [("discard", server)]
        assert client.server is None
        assert list(stage.idle_pool.idle) == []


def test_a_release_before_all_is_sent() -> None:
    """As after a COPY that failed early; the rest would reach the next client."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    server.backlogged = True
    server.take(READY)
    assert stage.policy.calls == [("discard", server)]
    assert list(stage.idle_pool.idle) == []


def test_a_turn_that_comes_at_once() -> None:
    """The policy may find a server for a client while it has it wait."""
    stage = Stage()
    server = stage.server()
    stage.idle_pool.open = False

    def wait(client: ClientStream) -> None:
        stage.idle_pool.open = True
        stage.idle_pool.idle.clear()
        client.suspend()
        stage.idle_pool.serve(client, server)

    stage.policy.wait = wait  # type: ignore[method-assign]
    client = stage.client()
    client.take(query())
    assert stage.sent(server) == query()
    server.take(READY)
    assert stage.sent(client) == READY


def test_one_server_for_two_clients() -> None:
    """That is a bug, and raises at once."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    for give in (stage.idle_pool.serve, stage.idle_pool.link):
        with pytest.raises(AssertionError):
            give(stage.client(), server)
