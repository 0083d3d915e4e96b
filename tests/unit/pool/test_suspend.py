"""SUSPEND: everything stops between messages, and goes on afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.errors import AlreadyPaused, SuspendWithPausedDatabases
from tests.fakes.messages import ANSWER, READY, error_text, kinds, message, query
from tests.fakes.transports import END
from tests.fakes.world import Client, World, WorldOf
from tests.unit.pool.test_internal_queries import FakeQuery
from tests.unit.rules.worlds import ROUTING, world_with


def suspend(world: World) -> list[None]:
    """Begin; return a list that is no longer empty when it is done."""
    done: list[None] = []
    world.service.operations.suspend().addCallback(done.append)
    return done


def console(world: World) -> Client:
    """Return an admin who stays, or the pooler would resume on its own."""
    return world.console()


def test_nothing_is_read(world: World) -> None:
    """A query waits unread, and is served after RESUME."""
    admin = console(world)
    client, server = world.pair()
    admin.say(query("SUSPEND"))
    assert kinds(admin.hear()) == "CZ"
    client.say(query())
    world.wait(5)
    assert server.hear() == b""
    admin.say(query("SHOW STATE"))
    assert b"suspended\0\0\0\3yes" in admin.hear()
    admin.say(query("RESUME"))
    world.turn()
    assert not world.service.paused_or_suspended
    assert server.answer() == query()
    assert client.hear() == ANSWER


def test_a_query_under_way(world: World) -> None:
    """Its answer waits too."""
    console(world)
    client, server = world.asking()
    assert suspend(world) == [None]
    server.say(ANSWER)
    assert client.hear() == b""
    world.service.operations.resume(None)
    world.turn()
    assert client.hear() == ANSWER


@pytest.mark.parametrize("cut", [1, 4, 7, 300])
def test_a_message_is_read_to_its_end(world: World, cut: int) -> None:
    """And no further, whatever follows it."""
    console(world)
    client, server = world.asking()
    row = message(b"D", b"x" * 500)
    server.say(row[:cut])
    done = suspend(world)
    server.say(row[cut:] + READY)
    assert done == []
    world.wait(0.1)
    assert done == [None]
    assert client.hear() == row
    world.service.operations.resume(None)
    world.turn()
    assert client.hear() == READY


@pytest.mark.parametrize("text", ["SELECT 1", "x" * 50_000])
def test_a_request_is_read_to_its_end(world: World, text: str) -> None:
    """The same on the client's side, with and without a server."""
    console(world)
    client, server = world.pair()
    asked = query(text)
    client.say(asked[:-3])
    done = suspend(world)
    client.say(asked[-3:] + query("SELECT 2"))
    world.wait(0.1)
    assert done == [None]
    assert server.hear() == asked


def test_a_login_that_times_out(world: World) -> None:
    """All others would have to wait for a server that cannot be had."""
    console(world)
    client = world.client()
    attempt = world.attempts[0]
    done = suspend(world)
    world.wait(0.1)
    assert done == []
    attempt.fail()
    world.wait(0.1)
    assert done == [None]
    assert not client.is_gone()
    world.service.operations.resume(None)
    world.wait(20)
    world.server()
    assert client.hear()
    assert client.state() == "idle"


def test_what_does_not_come_to_rest(world_of: WorldOf) -> None:
    """It is closed after suspend_timeout; the others stay."""
    world = world_of(settings="suspend_timeout = 2")
    console(world)
    client, server = world.asking()
    idle = world.client()
    idle.hear()
    server.say(message(b"D", b"x" * 500)[:100])
    done = suspend(world)
    world.wait(1.9)
    assert done == []
    world.wait(0.5)
    assert done == [None]
    assert client.is_gone()
    assert server.is_gone()
    assert not idle.is_gone()


def test_a_client_that_does_not_read(world_of: WorldOf) -> None:
    """What it was sent must be on its way before it is at rest."""
    world = world_of(settings="suspend_timeout = 2")
    console(world)
    client, server = world.asking()
    client.transport.socket.room = 3
    server.say(ANSWER)
    done = suspend(world)
    assert done == []
    client.transport.make_room()
    world.wait(0.1)
    assert done == [None]
    assert client.hear() == ANSWER


def test_the_rest_of_a_message_that_is_not_taken(world: World) -> None:
    """What reading one to its end leaves with the other is waited for too."""
    console(world)
    client, server = world.asking()
    row = message(b"D", b"x" * 500)
    server.say(row[:300])
    assert client.hear() == row[:300]
    done = suspend(world)
    client.transport.socket.room = 3
    server.say(row[300:])
    world.wait(0.1)
    assert done == []
    client.transport.make_room()
    world.wait(0.1)
    assert done == [None]
    assert client.hear() == row[300:]


def test_a_login_is_let_finish(world: World) -> None:
    """So may its server; a client that has only connected may wait."""
    console(world)
    silent = world.connect()
    client = world.client()
    done = suspend(world)
    assert done == []
    world.server()
    world.wait(0.1)
    assert done == [None]
    assert client.state() == "idle"
    assert not silent.is_gone()


@pytest.mark.parametrize("stage", ["connecting", "logging in"])
def test_a_login_that_is_broken_off(world: World, stage: str) -> None:
    """No client waits for its welcome; after RESUME it is retried at once."""
    client, server = world.pair()
    server.drop()
    client.say(query())
    admin = world.console()
    if stage == "logging in":
        world.accept()
    admin.say(query("SUSPEND"))
    assert kinds(admin.hear()) == "CZ"
    assert world.logged("close unsafe file descriptors on suspend")
    assert world.attempts == []
    admin.say(query("RESUME"))
    assert world.server().answer() == query()
    assert client.hear() == ANSWER
    assert not world.logged("cached error")


def test_servers_without_further_use(world_of: WorldOf) -> None:
    """One being reset, one being opened without a client: closed."""
    world = world_of(settings="pool_mode = session", databases="db = host=10.0.0.1")
    console(world)
    client, server = world.asking()
    server.answer()
    world.leave(client)
    assert server.state() == "tested"
    assert suspend(world) == [None]
    world.turn()
    assert server.is_gone()
    assert world.logged("close unsafe file descriptors on suspend")


@pytest.mark.parametrize("is_open", [True, False])
def test_an_answer_of_auth_query_is_awaited(world: World, is_open: bool) -> None:  # noqa: FBT001 - a parameter
    """For a login under way, and the login of a server that is to be asked."""
    console(world)
    _client, server = world.pair()
    if not is_open:
        server.drop()
    asked = world.pool().internal_queries.send(FakeQuery(), "app")
    done = suspend(world)
    assert done == []
    if not is_open:
        server = world.server()
    server.say(READY)
    assert asked.called
    world.wait(0.1)
    assert done == [None]
    assert not server.is_gone()


def test_what_rules_keep(world_of: WorldOf, tmp_path: Path) -> None:
    """A query in a rule, or one waiting for a server: neither client is closed."""
    world = world_with(world_of, tmp_path, ROUTING, more="default_pool_size = 1")
    console(world)
    client, server = world.asking("SELECT 1")
    waiting = world.client()
    waiting.hear()
    for one in (client, waiting):
        one.say(query("SELECT 2") + query("SELECT 3"))
    assert suspend(world) == [None]
    world.service.resume_all()
    for _ in range(5):
        server.answer()
    assert client.hear() == ANSWER * 3
    assert waiting.hear() == ANSWER * 2


def test_parameters_being_set(world: World) -> None:
    """The client has its server when all is at rest."""
    console(world)
    client, server = world.pair(application_name="a")
    client.say(query())
    asked = server.hear()
    assert b"SET application_name" in asked
    done = suspend(world)
    assert done == []
    server.say(message(b"C", b"SET\0") + READY)
    world.wait(0.1)
    assert done == [None]
    assert server.hear() == query()
    assert client.frontend.stream.server is server.backend.stream


def test_an_end_while_suspended(world: World) -> None:
    """A client that leaves in the middle of a message is no hindrance."""
    console(world)
    client, _server = world.pair()
    client.say(query()[:7])
    done = suspend(world)
    client.say(END)
    world.wait(1)
    assert done == [None]
    assert client.is_gone()


def test_no_admin_left(world: World) -> None:
    """No admin could end it: it ends on its own."""
    admin = console(world)
    admin.say(query("SUSPEND"))
    admin.drop()
    world.wait(0.3)
    assert not world.service.suspended
    assert world.logged("LOG admin disappeared when suspended, doing RESUME")


def test_the_end_of_the_process(world: World) -> None:
    """The console that ordered it is gone first, which is no reason to read on."""
    admin = console(world)
    client, server = world.pair()
    admin.say(query("SUSPEND"))
    admin.say(query("SHUTDOWN"))
    admin.drop()
    client.say(query())
    world.wait(1)
    assert world.service.suspended
    assert server.hear() == b""


def test_refusals(world: World) -> None:
    """Not with paused databases, not twice, nothing else meanwhile."""
    admin = console(world)
    operations = world.service.operations
    world.client()
    operations.pause("db")
    with pytest.raises(SuspendWithPausedDatabases):
        operations.suspend()
    operations.resume("db")
    operations.suspend()
    for again in (
        operations.suspend,
        lambda: operations.pause(None),
        lambda: operations.pause("db"),
        lambda: operations.kill(None),
    ):
        with pytest.raises(AlreadyPaused):
            again()
    assert not admin.is_gone()


def test_cancelling_a_suspend(world: World) -> None:
    """An admin's cancel request resumes, and its statement ends."""
    admin = console(world)
    client = world.client()
    admin.say(query("SUSPEND"))
    assert admin.frontend.console is not None
    admin.frontend.console.cancel()
    assert error_text(admin.hear()) == "canceling statement due to user request"
    assert not world.service.suspended
    world.server()
    assert client.state() == "idle"
