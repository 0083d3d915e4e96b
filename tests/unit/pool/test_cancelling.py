"""Cancel requests: whose key, which server, and when that server may go on."""

from __future__ import annotations

from pgswitch.net.frontend import Frontend
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, error, query, split
from tests.fakes.world import Client, Server, World, WorldOf

WAIT_S = 10


def working(world: World) -> tuple[Client, Server, bytes]:
    """Return a client at work, its server, and the key that the client was given."""
    client = world.client()
    server = world.server()
    key = dict(split(client.hear()))["K"]
    client.say(query())
    server.hear()
    return client, server, key


def request(world: World, key: bytes) -> Client:
    """Return a connection that has asked for a cancel."""
    client = world.connect()
    client.say(encode.cancel_request(key))
    return client


def test_passed_on(world: World) -> None:
    """With the server's own key; the request ends when the server has closed."""
    client, server, key = working(world)
    asking = request(world, key)
    assert asking.state() == "active_cancel_req"
    cancel = world.cancelling()
    assert cancel.hear() == encode.cancel_request(server.backend.cancel_key)
    assert not asking.is_gone()
    cancel.drop()
    assert asking.is_gone()
    assert asking.hear() == b""
    assert world.logged("closing because: successfully sent cancel request (age=0s)")
    server.say(error("canceling statement due to user request", "57014") + ANSWER[-6:])
    assert client.fault == "canceling statement due to user request"
    assert server.state() == "idle"


def test_the_server_waits_for_the_end(world_of: WorldOf) -> None:
    """Or the cancel might hit the next client's query."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    client, server, key = working(world)
    requests = [request(world, key) for _ in range(2)]
    cancels = [world.cancelling() for _ in range(2)]
    waiting = world.client()
    waiting.say(query("SELECT 2"))
    server.say(ANSWER)
    assert client.hear() == ANSWER
    assert server.state() == "being_canceled"
    assert waiting.state() == "waiting"
    cancels[0].drop()
    assert server.state() == "being_canceled"
    cancels[1].drop()
    assert server.hear() == query("SELECT 2")
    assert waiting.state() == "active"
    assert all(one.is_gone() for one in requests)


def test_too_late(world: World) -> None:
    """The query is over before the connection stands: nothing is sent."""
    _client, server, key = working(world)
    asking = request(world, key)
    server.say(ANSWER)
    cancel = world.cancelling()
    world.turn()
    assert cancel.hear() == b""
    assert asking.is_gone()
    assert world.logged("not sending cancel request for client that is now idle")
    assert server.state() == "idle"


def test_the_connection_fails(world: World) -> None:
    """The request ends, the server goes on."""
    _client, server, key = working(world)
    asking = request(world, key)
    world.attempts[0].fail()
    assert asking.is_gone()
    assert world.logged("failed to send cancel request")
    server.say(ANSWER)
    assert server.state() == "idle"


def test_no_answer(world_of: WorldOf) -> None:
    """After cancel_wait_timeout the request is given up."""
    world = world_of(settings=f"cancel_wait_timeout = {WAIT_S}")
    _client, server, key = working(world)
    asking = request(world, key)
    cancel = world.cancelling()
    world.wait(WAIT_S - 1)
    assert not asking.is_gone()
    world.wait(2)
    assert asking.is_gone()
    assert cancel.is_gone()
    server.say(ANSWER)
    assert server.state() == "idle"


def test_no_connection(world_of: WorldOf) -> None:
    """The same when nothing ever stands."""
    world = world_of(settings=f"cancel_wait_timeout = {WAIT_S}")
    _client, server, key = working(world)
    asking = request(world, key)
    (attempt,) = world.attempts
    world.wait(WAIT_S + 1)
    assert attempt.cancelled
    assert asking.is_gone()
    assert world.logged("failed to send cancel request")
    assert server.state() == "active"


def test_the_server_is_lost_meanwhile(world: World) -> None:
    """The request ends with its own connection."""
    _client, server, key = working(world)
    asking = request(world, key)
    cancel = world.cancelling()
    server.drop()
    cancel.drop()
    assert asking.is_gone()
    assert world.pool().servers == {}


def test_reconnect_meanwhile(world: World) -> None:
    """A server that is obsolete by now is closed when the cancel has ended."""
    _client, server, key = working(world)
    request(world, key)
    cancel = world.cancelling()
    world.pool().expire_servers()
    server.say(ANSWER)
    cancel.drop()
    world.wait(1)
    assert server.is_gone()


def test_the_requester_leaves(world: World) -> None:
    """The cancel is sent all the same."""
    _client, server, key = working(world)
    asking = request(world, key)
    asking.drop()
    cancel = world.cancelling()
    assert cancel.hear() == encode.cancel_request(server.backend.cancel_key)
    cancel.drop()
    assert server.backend.cancels == 0


def test_nothing_to_cancel(world: World) -> None:
    """Each kind of request that has no effect, by its line in the log."""
    client, server, key = working(world)
    server.say(ANSWER)
    for bad, reason in (
        (key, "cancel request for idle client"),
        (b"\1\2\3\4\5\6\7\10", "failed cancel request"),
        (key + b"long", "bad cancel request"),
    ):
        asking = request(world, bad)
        assert asking.is_gone()
        assert asking.hear() == b""
        assert world.logged(f"closing because: {reason} (age=0s)")
    client.drop()
    request(world, key)
    assert sum("failed cancel request" in line for line in world.log) == 2
    assert world.attempts == []


def test_a_console_client(world: World) -> None:
    """Its own statement is what ends."""
    world.asking()
    console = world.client("pgbouncer", "admin")
    key = dict(split(console.hear()))["K"]
    console.say(query("PAUSE"))
    assert console.hear() == b""
    request(world, key)
    assert console.fault == "canceling statement due to user request"
    assert world.logged("cancel request for console client")


def test_keys_differ(world: World) -> None:
    """A key in use is not given twice; the process number in it is positive."""
    numbers = iter([b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\0" * 7 + b"\1"])
    world.context.random = lambda _size: next(numbers)
    frontends = [Frontend(world.service.desk) for _ in range(2)]
    cancel_keys = world.service.keys
    issued = [cancel_keys.issue(frontend) for frontend in frontends]
    assert issued == [b"\x7f" + b"\xff" * 7, b"\0" * 7 + b"\1"]
