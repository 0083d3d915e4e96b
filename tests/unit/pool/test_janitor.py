"""The one timer: nothing stops it, silent clients end."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from pgswitch.compiled import is_compiled
from pgswitch.pool import maintenance
from pgswitch.pool.maintenance import POOLS_PER_STEP, sweep
from pgswitch.pool.pool import ServerPool
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import World, WorldOf


@pytest.mark.skipif(is_compiled(), reason="compiled code takes no stand-ins")
def test_a_fault_of_ours_does_not_stop_it(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pool's upkeep fails: the others', and the next turns, go on."""
    world = world_of(
        databases="a = host=10.0.0.1\nb = host=10.0.0.2",
        settings="client_login_timeout = 10",
    )
    clients = [world.client("a"), world.client("b")]

    def broken(pool: ServerPool, now: float) -> None:
        if pool.key.database == "a":
            raise ValueError("boom")
        sweep(pool, now)

    monkeypatch.setattr(maintenance, "sweep", broken)
    world.wait(11)
    assert [client.is_gone() for client in clients] == [False, True]
    assert world.logged("upkeep of PoolKey(database='a', user='app') failed")


@pytest.mark.skipif(is_compiled(), reason="compiled code takes no stand-ins")
def test_nor_does_one_of_the_service(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done after the pools may fail too."""
    calls: list[float] = []

    def broken(now: float) -> None:
        calls.append(now)
        raise ValueError("boom")

    monkeypatch.setattr(world.service.login_service, "sweep", broken)
    world.wait(2)
    assert len(calls) >= 5
    assert world.logged("ERROR upkeep failed: ValueError('boom')")


def test_stopping(world: World) -> None:
    """After stopService no timer is left; stopping again is no fault."""
    world.service.stopService()
    assert world.reactor.getDelayedCalls() == []
    world.service.stopService()


@pytest.mark.skipif(is_compiled(), reason="compiled code takes no stand-ins")
def test_many_pools(world_of: WorldOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some in each turn of the loop, all in each round, then all else, once.

    None that has been dropped meanwhile, and none while everything is suspended.
    """
    many = POOLS_PER_STEP * 3
    names = [f"db{number}" for number in range(many)]
    world = world_of(databases="\n".join(f"{name} = host=10.0.0.1" for name in names))
    pools = world.service.pools
    for name in names:
        pools.pool(world.context.configuration.databases[name], "app")
    swept: list[ServerPool] = []
    also: list[float] = []
    monkeypatch.setattr(maintenance, "sweep", lambda pool, _now: swept.append(pool))
    reactor = EventLoop()
    other = maintenance.Janitor(world.context, pools, also.append, reactor)
    for turn in range(1, 4):
        assert also == []
        if turn == 1:
            other.turn()
        else:
            reactor.turn()
        assert len(swept) == POOLS_PER_STEP * turn
    reactor.turn()
    assert swept == list(pools)
    assert len(also) == 1
    assert reactor.calls == []
    other.turn()
    last = list(pools)[-1]
    pools.drop(last)
    while reactor.calls:
        reactor.turn()
    assert len(swept) == many * 2 - 1
    assert last not in swept[many:]
    assert len(also) == 2
    other.turn()
    world.context.suspended = True
    reactor.turn()
    assert reactor.calls == []
    assert len(also) == 2
    world.context.suspended = False
    other.turn()
    other.stop()
    assert reactor.calls == []


class EventLoop(Clock):
    """A reactor whose turns are taken one by one."""

    def turn(self) -> None:
        """Call what is due, but nothing that is called later by it."""
        due, self.calls = self.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)


@pytest.mark.parametrize(
    ("settings", "users", "expected"),
    [
        ("client_idle_timeout = 20", "", [True, True]),
        ("", "app = client_idle_timeout=20", [True, False]),
        ("client_idle_timeout = 20", "other = client_idle_timeout=90", [True, False]),
        ("", "", [False, False]),
    ],
)
def test_silent_clients(
    world_of: WorldOf, settings: str, users: str, expected: list[bool]
) -> None:
    """The limit of all, or the user's own."""
    world = world_of(settings=settings, users=users)
    clients = [world.client(user=user) for user in ("app", "other")]
    world.server()
    world.server()
    world.wait(19.9)
    assert [client.is_gone() for client in clients] == [False, False]
    world.wait(1)
    assert [client.is_gone() for client in clients] == expected


def test_a_client_that_works_is_not_silent(world_of: WorldOf) -> None:
    """The time counts from its last request, and not while that is answered."""
    world = world_of(settings="client_idle_timeout = 20")
    client, server = world.pair()
    for _ in range(3):
        world.wait(15)
        client.say(query())
        server.say(ANSWER)
    assert not client.is_gone()
    client.say(query())
    world.wait(60)
    assert not client.is_gone()
    server.say(ANSWER)
    world.wait(1)
    assert client.fault == "client_idle_timeout"
