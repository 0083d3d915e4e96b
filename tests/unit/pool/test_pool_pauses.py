"""One pool under PAUSE, RESUME and RECONNECT."""

from __future__ import annotations

import pytest

from tests.fakes.messages import IN_TRANSACTION, RESULT, query
from tests.fakes.world import World, WorldOf


def test_pause_and_resume(world: World) -> None:
    """A busy server closes on release; new clients are served afterwards."""
    _client, server = world.asking()
    other = world.client()
    world.service.pools.set_paused("db", paused=True)
    assert world.service.pools.busy_servers("db") == 1
    other.say(query("other"))
    assert world.attempts == []
    server.answer()
    assert server.backend.close_text == "pause mode"
    assert world.service.pools.busy_servers("db") == 0
    world.service.pools.set_paused("db", paused=False)
    assert world.server().hear() == query("other")


def test_a_pause_ends_logins(world: World) -> None:
    """One that is cut short is not remembered as a failure."""
    client, server = world.asking()
    other = world.client()
    other.say(query())
    (attempt,) = world.attempts
    world.service.pools.set_paused("db", paused=True)
    assert attempt.cancelled
    assert world.pool().failing == ""
    assert [*world.pool().backends()] == [server.backend]
    assert client.state() == "active"


def test_reconnect(world: World) -> None:
    """A busy server is closed when free, the next query has a new one."""
    client, server = world.asking()
    world.pool().expire_servers()
    assert world.pool().welcome is None
    server.answer()
    assert server.backend.close_text == "close_needed"
    client.say(query("next"))
    fresh = world.server()
    assert fresh.hear() == query("next")
    assert not fresh.backend.stream.close_needed


def test_reconnect_with_a_full_pool(world_of: WorldOf) -> None:
    """A newcomer's welcome does not wait until the old servers come free."""
    world = world_of(settings="default_pool_size = 1")
    world.asking()
    world.pool().expire_servers()
    newcomer = world.client()
    assert len(world.attempts) == 1
    world.server()
    assert newcomer.state() == "idle"


def test_reconnect_during_a_login(world: World) -> None:
    """The attempt for the old configuration is given up, a new one is made."""
    client = world.client()
    old = world.accept()
    world.pool().expire_servers()
    assert old.backend.close_text == "connect string changed"
    assert world.pool().failing == ""
    world.server()
    assert client.state() == "idle"


@pytest.mark.parametrize("fast", [0, 1])
def test_server_fast_close(world_of: WorldOf, fast: int) -> None:
    """A session's server that is not wanted any more goes at the transaction's end."""
    world = world_of(settings=f"pool_mode = session\nserver_fast_close = {fast}")
    client, server = world.asking("BEGIN")
    server.say(RESULT + IN_TRANSACTION)
    client.hear()
    world.pool().expire_servers()
    world.wait(1)
    assert not server.is_gone()
    client.say(query("COMMIT"))
    server.answer()
    client.hear()
    world.wait(1)
    assert server.is_gone() is bool(fast)
    assert client.fault == ("database configuration changed" if fast else "")
