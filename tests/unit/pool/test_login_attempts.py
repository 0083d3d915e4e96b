"""What is remembered of failed logins to servers, and when they are tried again."""

from __future__ import annotations

import pytest

from pgswitch.net.connection_states import CloseReason
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import World, WorldOf

CACHED = (
    "server login has been failing, cached error: connect failed (server_login_retry)"
)


def test_a_cached_error(world_of: WorldOf) -> None:
    """A client that asks for a server gets it at once; attempts keep their schedule."""
    world = world_of(settings="server_login_retry = 10\nserver_lifetime = 100000")
    first, server = world.pair()
    second = world.client()
    second.hear()
    server.drop()
    first.say(query())
    world.attempts[0].fail()
    second.say(query())
    assert second.fault == CACHED
    assert world.attempts == []
    world.wait(9)
    assert world.attempts == []
    world.wait(2)
    world.server()
    assert first.state() == "active"
    assert world.pool().failing == ""


def test_a_new_client_brings_the_next_attempt(world_of: WorldOf) -> None:
    """It gets the cached error, but the pool tries again for the next one."""
    world = world_of(settings="server_login_retry = 5")
    client, server = world.pair()
    other = world.client()
    server.drop()
    client.say(query())
    world.attempts[0].fail()
    client.drop()
    world.wait(6)
    assert world.attempts == []
    other.hear()
    other.say(query())
    assert other.fault == CACHED
    assert len(world.attempts) == 1


def test_a_server_that_starts_up(world: World) -> None:
    """57P03: waiting clients go on waiting."""
    client = world.client()
    world.accept().refuse("the database system is starting up", "57P03")
    assert client.state() == "waiting"
    assert world.pool().failing == "the database system is starting up"
    world.wait(16)
    world.server()
    assert client.state() == "idle"


def test_a_refusal(world: World) -> None:
    """In the server's own words and with its SQLSTATE."""
    client = world.client()
    world.accept().refuse('database "db" does not exist', "3D000")
    heard = client.hear()
    assert b"C3D000\0" in heard
    assert b'database "db" does not exist' in heard
    assert client.is_gone()
    assert world.logged('server login failed: FATAL database "db" does not exist')


def test_the_reason_is_kept_short(world: World) -> None:
    """As the reference keeps it: its first 99 characters."""
    world.client()
    world.accept().refuse("x" * 300, "53300")
    assert world.pool().failing == "x" * 99


@pytest.mark.parametrize(
    "reason", [reason for reason in CloseReason if not reason.is_failure]
)
def test_a_login_that_we_break_off(world: World, reason: CloseReason) -> None:
    """That says nothing about the server: the next attempt comes at once."""
    client, server = world.pair()
    server.drop()
    client.say(query())
    broken_off = world.accept()
    broken_off.backend.close(reason)
    assert world.pool().failing == ""
    assert world.server().answer() == query()
    assert client.hear() == ANSWER
