"""The verbs of the console, carried out on running pools."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from pgswitch.admin.commands import ShutdownMode
from pgswitch.control import AdminControl
from pgswitch.errors import (
    AlreadyPaused,
    ClientNotFound,
    ConsoleNoSuchDatabase,
    ConsoleShuttingDown,
    DatabaseNotPaused,
    Fault,
    PauseEnded,
    PoolerNotPaused,
)
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import World, WorldOf


@pytest.fixture
def operations(world: World) -> AdminControl:
    """Return the verbs of the usual world."""
    return world.service.operations


def fired(deferred: Deferred[None]) -> list[None]:
    """Return where the result will stand."""
    results: list[None] = []
    deferred.addCallback(results.append)
    return results


def kill_in_a_pause(operations: AdminControl) -> None:
    """Pause everything, then kill one."""
    operations.pause(None)
    operations.kill("db")


REFUSED: dict[str, tuple[Callable[[AdminControl], object], type[Fault]]] = {
    "pause nowhere": (lambda do: do.pause("nowhere"), ConsoleNoSuchDatabase),
    "resume nowhere": (lambda do: do.resume("nowhere"), ConsoleNoSuchDatabase),
    "disable nowhere": (lambda do: do.disable("nowhere"), ConsoleNoSuchDatabase),
    "enable nowhere": (lambda do: do.enable("nowhere"), ConsoleNoSuchDatabase),
    "reconnect nowhere": (lambda do: do.reconnect("nowhere"), ConsoleNoSuchDatabase),
    "kill nowhere": (lambda do: do.kill("nowhere"), ConsoleNoSuchDatabase),
    "wait nowhere": (lambda do: do.wait_close("nowhere"), ConsoleNoSuchDatabase),
    "resume what runs": (lambda do: do.resume(None), PoolerNotPaused),
    "resume a database that runs": (lambda do: do.resume("db"), DatabaseNotPaused),
    "pause twice": (lambda do: (do.pause(None), do.pause(None)), AlreadyPaused),
    "pause one in a pause of all": (
        lambda do: (do.pause(None), do.pause("db")),
        AlreadyPaused,
    ),
    "kill in a pause of all": (kill_in_a_pause, AlreadyPaused),
    "kill an unknown client": (lambda do: do.kill_client(99), ClientNotFound),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(operations: AdminControl, name: str) -> None:
    """What cannot be done, by the class of its error."""
    act, fault = REFUSED[name]
    with pytest.raises(fault):
        act(operations)


def test_a_shutdown_is_not_resumed(operations: AdminControl) -> None:
    """The one who began it wants it."""
    operations.shutdown(ShutdownMode.WAIT_FOR_CLIENTS)
    with pytest.raises(ConsoleShuttingDown):
        operations.resume(None)


@pytest.mark.parametrize("database", [None, "db"])
def test_pause_and_resume(
    world: World, operations: AdminControl, database: str | None
) -> None:
    """PAUSE is done when nothing is in use; it may be asked for a database twice."""
    client, server = world.asking()
    done = fired(operations.pause(database))
    world.wait(1)
    assert done == []
    server.answer()
    world.wait(0.1)
    assert done == [None]
    assert server.is_gone()
    assert client.hear() == ANSWER
    client.say(query("SELECT 2"))
    assert client.state() == "waiting"
    if database:
        assert fired(operations.pause(database)) == [None]
    operations.resume(database)
    assert world.server().hear() == query("SELECT 2")


def test_a_pause_of_one_outlives_that_of_all(
    world: World, operations: AdminControl
) -> None:
    """Either holds the database; both must end."""
    client, _server = world.pair()
    operations.pause("db")
    operations.pause(None)
    operations.resume(None)
    client.say(query())
    assert client.state() == "waiting"
    operations.resume("db")
    world.server()
    assert client.state() == "active"


@pytest.mark.parametrize("database", [None, "db"])
def test_a_pause_with_a_limit(
    world: World, operations: AdminControl, database: str | None
) -> None:
    """A pause that times out is undone, and the console gets an error."""
    _client, server = world.asking()
    failures: list[str] = []
    pausing = operations.pause(database, timeout=2.5)
    pausing.addErrback(lambda failure: failures.append(failure.getErrorMessage()))
    world.wait(2)
    assert failures == []
    world.wait(1)
    assert failures == ["PAUSE timed out after 2.5 s with 1 servers in use, undone"]
    assert not world.context.paused
    assert not world.service.pools.paused
    server.answer()
    assert not server.is_gone()
    assert fired(operations.pause(database, timeout=1)) == [None]


@pytest.mark.parametrize("database", [None, "db"])
def test_a_pause_that_somebody_else_ends(
    world: World, operations: AdminControl, database: str | None
) -> None:
    """It does not wait for ever for what will not come about."""
    world.asking()
    failures: list[str] = []
    pausing = operations.pause(database)
    pausing.addErrback(lambda failure: failures.append(failure.getErrorMessage()))
    operations.resume(database)
    world.wait(0.1)
    assert failures == [PauseEnded.text]


def test_giving_up_a_pause(world: World, operations: AdminControl) -> None:
    """The wait ends, the pause stays, and nothing goes on looking."""
    _client, server = world.asking()
    deferred = operations.pause(None)
    deferred.addErrback(lambda _cancelled: None)
    deferred.cancel()
    server.answer()
    world.wait(1)
    assert world.context.paused
    looks = [call for call in world.reactor.getDelayedCalls() if call.active()]
    assert len(looks) == 1, "the janitor's alone"


def test_disable_and_enable(world: World, operations: AdminControl) -> None:
    """New logins are refused; present clients stay."""
    client, server = world.pair()
    operations.disable("db")
    assert "disabled" in world.client().fault
    client.say(query())
    server.answer()
    assert client.hear() == ANSWER
    operations.enable("db")
    operations.enable("db")
    assert world.client().state() == "idle"


@pytest.mark.parametrize("database", [None, "a"])
def test_reconnect_and_wait_close(world_of: WorldOf, database: str | None) -> None:
    """WAIT_CLOSE is done when no server of before is left."""
    world = world_of(databases="a = host=10.0.0.1\nb = host=10.0.0.2")
    operations = world.service.operations
    client = world.client("a")
    server = world.server()
    world.client("b")
    other = world.server()
    client.say(query())
    operations.reconnect(database)
    done = fired(operations.wait_close(database))
    world.wait(1)
    assert done == []
    assert other.is_gone() is (database is None)
    server.answer()
    world.wait(1)
    assert done == [None]
    assert server.is_gone()
    assert fired(operations.wait_close("b")) == [None]


@pytest.mark.parametrize("database", [None, "a"])
def test_kill(world_of: WorldOf, database: str | None) -> None:
    """Clients and servers end at once; the database stays paused."""
    world = world_of(databases="a = host=10.0.0.1\nb = host=10.0.0.2")
    operations = world.service.operations
    client, other = world.client("a"), world.client("b")
    server, kept = world.server(), world.server()
    client.say(query())
    operations.kill(database)
    world.turn()
    assert (client.is_gone(), server.is_gone()) == (True, True)
    assert (other.is_gone(), kept.is_gone()) == (not database, not database)
    late = world.client("a")
    world.wait(1)
    assert late.state() == "waiting"
    assert world.attempts == []
    operations.resume("a")
    world.server()
    assert late.state() == "idle"


def test_kill_client(world: World, operations: AdminControl) -> None:
    """SHOW CLIENTS has its number; the client gets the reason."""
    client, server = world.asking()
    operations.kill_client(client.frontend.number)
    world.turn()
    assert client.fault == "admin forced disconnect"
    assert server.is_gone()


def test_set(world: World, operations: AdminControl) -> None:
    """A value in force at once, or a line in the log."""
    assert operations.set("query_wait_timeout", "7")
    assert world.service.configuration.settings.query_wait_timeout == 7
    assert not operations.set("query_wait_timeout", "never ever")
    assert not operations.set("nonsense", "1")
    assert world.service.configuration.settings.query_wait_timeout == 7
    assert world.logged("ERROR")


def test_reload(world: World, operations: AdminControl) -> None:
    """Whatever the service says of it."""
    world.write(settings="query_wait_timeout = 9")
    assert operations.reload()
    assert world.service.configuration.settings.query_wait_timeout == 9
    world.write(settings="nonsense")
    assert not operations.reload()
