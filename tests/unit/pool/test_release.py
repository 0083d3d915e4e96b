"""Servers between two clients: reset, checked, closed when their time is over."""

from __future__ import annotations

import pytest

from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, error, message, query
from tests.fakes.world import WorldOf


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error("no") + READY, "reset query failed"),
        (message(b"G", b"\0\0\0"), "COPY in a query of the pooler"),
        (IN_TRANSACTION, "query of the pooler left a transaction open"),
    ],
)
def test_a_reset_that_fails(world_of: WorldOf, answer: bytes, reason: str) -> None:
    """No client gets a server that could not be reset."""
    world = world_of(settings="pool_mode = session")
    client, server = world.asking()
    server.answer()
    world.leave(client)
    server.say(answer)
    assert server.backend.close_text == reason
    assert world.pool().servers == {}


@pytest.mark.parametrize("fails", [False, True])
def test_a_check_before_each_use(world_of: WorldOf, *, fails: bool) -> None:
    """With server_check_delay=0; a failed check costs the server, not the client."""
    world = world_of(settings="server_check_delay = 0\nserver_check_query = select 9")
    client, server = world.asking()
    server.answer()
    assert server.state() == "used"
    client.hear()
    client.say(query("next"))
    assert server.hear() == query("select 9")
    server.say((error("no") if fails else RESULT) + READY)
    if fails:
        assert server.backend.close_text == "test query failed"
        assert client.state() == "waiting"
        server = world.server()
    assert server.hear() == query("next")


def test_one_use_only(world_of: WorldOf) -> None:
    """With server_lifetime=0 no server is used twice."""
    world = world_of(settings="server_lifetime = 0")
    client, server = world.asking()
    server.answer()
    assert server.backend.close_text == "server lifetime over"
    assert client.state() == "idle"


@pytest.mark.parametrize(
    ("settings", "looked_at"),
    [
        ("", False),
        ("server_reset_query_always = 1", True),
        ("server_reset_query_always = 1\nserver_reset_query =", False),
        ("pool_mode = session", True),
        ("server_check_delay = 0", True),
        ("server_check_delay = 0\nserver_check_query =", False),
        ("server_lifetime = 0", True),
    ],
)
def test_what_has_every_released_server_looked_at(
    world_of: WorldOf, settings: str, *, looked_at: bool
) -> None:
    """Only what must be: else a release costs nothing."""
    world = world_of(settings=settings)
    world.pair()
    assert world.pool().idle_pool.checks_releases is looked_at
