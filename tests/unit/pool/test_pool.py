"""One pool: queueing, launches, failed logins, resets, lost servers."""

from __future__ import annotations

import pytest

from tests.fakes.messages import ANSWER, READY, kinds, query
from tests.fakes.world import World, WorldOf


def test_first_client(world: World) -> None:
    """Its login waits for a server's, and tells what that server reports."""
    client = world.client()
    assert client.state == "waiting"
    assert client.hear() == b""
    world.server(TimeZone="Europe/Oslo")
    welcome = client.hear()
    assert kinds(welcome) == "RSSSSSSKZ"
    assert b"TimeZone\0Europe/Oslo\0" in welcome
    assert client.state == "idle"
    client.say(query())
    assert client.state == "active"


def test_next_client_is_welcomed_at_once(world: World) -> None:
    """Servers are known by now; none is opened for a login."""
    world.pair()
    assert kinds(world.client().hear()) == "RSSSSSSKZ"
    assert world.attempts == []
