"""The end of the service, in its four ways."""

from __future__ import annotations

from pgswitch.admin.commands import ShutdownMode
from pgswitch.admin.statements import named_rows
from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    error_code,
    kinds,
    message,
    query,
)
from tests.fakes.world import World, WorldOf


def test_shutdown_at_once(world: World) -> None:
    """The reactor stops; asking twice is no fault."""
    states = [world.service.shutting_down]
    world.service.shutdown_now()
    states.append(world.service.shutting_down)
    assert states == [False, True]
    assert not world.reactor.running
    world.service.shutdown_now()


def test_the_end_of_everything_is_one_line(world: World) -> None:
    """Connections that end with the process are not logged one by one."""
    idle, server = world.pair()
    client = world.client()
    client.hear()
    client.say(query())
    server.hear()
    world.service.shutdown_now()
    idle.drop()
    server.drop()
    assert client.is_gone()
    assert client.hear() == b""
    assert not world.logged("closing because")
    assert not world.logged("pooler error")
    assert not named_rows("errors", world.service.view)


def test_shutdown_for_clients(world: World) -> None:
    """Present clients finish, new ones are refused, the last one ends it."""
    client, server = world.asking()
    world.service.shutdown_wait_for_clients()
    assert world.client().fault == "pooler is shutting down"
    server.answer()
    client.say(query("SELECT 2"))
    server.answer()
    assert client.hear() == ANSWER + ANSWER
    world.wait(1)
    running = [world.reactor.running]
    world.leave(client)
    world.wait(1)
    running.append(world.reactor.running)
    assert running == [True, False]
    assert world.logged("LOG client connections dropped, exiting")


def test_a_login_under_way_at_a_shutdown_for_clients(world: World) -> None:
    """Earlier connections are served; the other mode serves none."""
    before, later_told = world.connect(), world.connect()
    world.service.shutdown_wait_for_clients()
    late = world.connect()
    start = encode.startup({"user": "app", "database": "db"}.items())
    for one in (before, late):
        one.say(start)
    world.server()
    assert kinds(before.hear()).endswith("Z")
    assert late.fault == "pooler is shutting down"
    world.service.shutdown_wait_for_servers()
    later_told.say(start)
    assert later_told.fault == "pooler is shutting down"


def test_shutdown_for_servers(world: World) -> None:
    """Clients with a server finish; waiting ones, or new ones, are disconnected."""
    client, server = world.asking("BEGIN")
    waiting, idle, arriving = world.client(), world.client(), world.client()
    waiting.hear()
    idle.hear()
    waiting.say(query())
    assert len(world.attempts) == 1
    world.service.shutdown_wait_for_servers()
    world.turn()
    assert waiting.fault == "server shutting down"
    assert waiting.is_gone()
    idle.say(query())
    assert idle.fault == "server shutting down"
    assert not arriving.is_gone()
    assert world.attempts == []
    world.wait(1)
    running = [world.reactor.running]
    server.answer()
    assert client.hear() == ANSWER
    assert server.is_gone()
    world.wait(1)
    running.append(world.reactor.running)
    assert running == [True, False]
    assert world.logged("LOG server connections dropped, exiting")


def test_shutdown_for_servers_without_any(world: World) -> None:
    """A client whose login waits is sent away too; then it is over."""
    client = world.client()
    world.service.shutdown_wait_for_servers()
    world.wait(1)
    assert "shutting down" in client.fault
    assert not world.reactor.running


def test_the_second_shutdown_counts(world: World) -> None:
    """Who cannot wait for the clients asks for less."""
    _client, server = world.asking()
    world.service.shut_down(ShutdownMode.WAIT_FOR_CLIENTS)
    world.service.shut_down(ShutdownMode.WAIT_FOR_SERVERS)
    server.answer()
    world.wait(1)
    assert not world.reactor.running


# Draining.


def drain(world: World, timeout: float | None = None) -> None:
    """Begin."""
    world.service.operations.shutdown(ShutdownMode.DRAIN, timeout=timeout)
    world.turn()


def test_a_drain(world: World) -> None:
    """Idle clients go at once, others at the end of their transaction."""
    client, server = world.asking("BEGIN")
    idle = world.client()
    idle.hear()
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.hear()
    drain(world)
    assert error_code(idle.hear()) == "57P01"
    assert idle.is_gone()
    world.wait(3)
    assert not client.is_gone()
    client.say(query("COMMIT"))
    server.answer()
    world.wait(0.2)
    heard = client.hear()
    assert kinds(heard) == "TDCZE"
    assert error_code(heard) == "57P01"
    assert world.logged("LOG clients drained, exiting")
    assert not world.reactor.running


def test_a_client_that_asks_on(world: World) -> None:
    """It is not given another server, and its query was not sent."""
    client, server = world.asking()
    drain(world)
    server.hear()
    server.say(ANSWER)
    client.say(query("SELECT 2"))
    assert error_code(client.hear()) == "57P01"
    assert server.hear() == message(b"X")


def test_sessions_are_drained_too(world_of: WorldOf) -> None:
    """A server that is kept for nothing under way is no reason to stay."""
    world = world_of(settings="pool_mode = session")
    client, server = world.asking()
    server.answer()
    drain(world)
    assert client.is_gone()
    world.wait(0.2)
    assert not world.reactor.running


def test_who_waits(world_of: WorldOf) -> None:
    """Clients that wait for a server or for their welcome are disconnected."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    client, _server = world.asking()
    waiting = world.client()
    waiting.hear()
    waiting.say(query())
    drain(world)
    assert error_code(waiting.hear()) == "57P01"
    assert not client.is_gone()


def test_a_drain_with_a_limit(world: World) -> None:
    """Clients not done in time are disconnected all the same."""
    client, _server = world.asking()
    drain(world, 2.0)
    world.wait(1.5)
    assert not client.is_gone()
    world.wait(1)
    assert client.is_gone()
    assert not world.reactor.running


def test_logins_during_a_drain(world: World) -> None:
    """Refused; a console may look on, and is no reason to stay."""
    client, _server = world.asking()
    console = world.console()
    drain(world)
    assert world.client().fault == "pooler is shutting down"
    console.say(query("SHOW CLIENTS"))
    assert kinds(console.hear()).startswith("TD")
    console.say(query("RESUME"))
    assert console.fault == "pooler is shutting down"
    client.drop()
    world.wait(0.2)
    assert not world.reactor.running


def test_a_drain_that_is_cut_short(world: World) -> None:
    """Another mode takes its place."""
    client, _server = world.asking()
    drain(world)
    world.service.shut_down(ShutdownMode.WAIT_FOR_CLIENTS)
    world.wait(1)
    assert world.reactor.running
    client.drop()
    world.wait(1)
    assert not world.reactor.running
