"""Cancel requests: whose key, which server, and when that server may go on."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost

from pgswitch.net.frontend import Frontend
from pgswitch.pool.maintenance import INTERVAL_S
from pgswitch.types import Address
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, error, query, split
from tests.fakes.tls import FakeSide, finish
from tests.fakes.world import Client, Server, World, WorldOf

WAIT_S = 10


def working(world: World) -> tuple[Client, Server, bytes]:
    """Return an active client, its server, and the client's cancel key."""
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
    assert asking.state() == "waiting_cancel_req"
    cancel = world.cancelling()
    assert asking.state() == "active_cancel_req"
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
    sent, unsent = (request(world, key) for _ in range(2))
    cancel = world.cancelling()
    waiting = world.client()
    waiting.say(query("SELECT 2"))
    server.say(ANSWER)
    assert client.hear() == ANSWER
    assert server.state() == "being_canceled"
    assert waiting.state() == "waiting"
    assert unsent.is_gone()
    assert not sent.is_gone()
    cancel.drop()
    assert sent.is_gone()
    assert server.hear() == query("SELECT 2")
    assert waiting.state() == "active"


def test_the_last_of_several(world: World) -> None:
    """The server waits for all that were sent."""
    _client, server, key = working(world)
    for _ in range(2):
        request(world, key)
    cancels = [world.cancelling() for _ in range(2)]
    server.say(ANSWER)
    cancels[0].drop()
    assert server.state() == "being_canceled"
    cancels[1].drop()
    assert server.state() == "idle"


def test_too_late(world: World) -> None:
    """The query is over before the connection stands: the server does not wait."""
    client, server, key = working(world)
    asking = request(world, key)
    assert asking.state() == "waiting_cancel_req"
    (attempt,) = world.attempts
    server.say(ANSWER)
    assert attempt.cancelled
    assert asking.is_gone()
    assert world.logged("not sending cancel request for client that is now idle")
    assert server.state() == "idle"
    client.say(query())
    assert server.hear() == query()


def test_the_connection_fails(world: World) -> None:
    """The request ends, the server goes on."""
    _client, server, key = working(world)
    asking = request(world, key)
    world.attempts[0].fail()
    assert asking.is_gone()
    assert world.logged("failed to send cancel request")
    server.say(ANSWER)
    assert server.state() == "idle"


@pytest.mark.parametrize("is_free", [True, False])
def test_no_answer(world_of: WorldOf, *, is_free: bool) -> None:
    """It is dropped after cancel_wait_timeout: later it could hit any query."""
    world = world_of(settings=f"cancel_wait_timeout = {WAIT_S}")
    _client, server, key = working(world)
    asking = request(world, key)
    cancel = world.cancelling()
    if is_free:
        server.say(ANSWER)
    world.wait(WAIT_S - 1)
    assert not asking.is_gone()
    world.wait(2)
    assert asking.is_gone()
    assert cancel.is_gone()
    assert world.logged("closing because: cancel_wait_timeout")
    if not is_free:
        server.say(ANSWER)
    assert server.is_gone()


def test_no_limit(world_of: WorldOf) -> None:
    """With cancel_wait_timeout 0 a request waits as long as it takes."""
    world = world_of(settings="cancel_wait_timeout = 0")
    _client, _server, key = working(world)
    asking = request(world, key)
    world.wait(1000)
    assert not asking.is_gone()


def test_a_lost_connection(world: World) -> None:
    """It does not tell whether the cancel is still to come."""
    _client, server, key = working(world)
    asking = request(world, key)
    cancel = world.cancelling()
    server.say(ANSWER)
    cancel.transport.finish(ConnectionLost)
    world.turn()
    assert asking.is_gone()
    assert server.is_gone()


def test_no_connection(world_of: WorldOf) -> None:
    """The same when nothing ever stands, but the server is as good as before."""
    world = world_of(settings=f"cancel_wait_timeout = {WAIT_S}")
    _client, server, key = working(world)
    asking = request(world, key)
    (attempt,) = world.attempts
    world.wait(WAIT_S + 1)
    assert attempt.cancelled
    assert asking.is_gone()
    assert world.logged("closing because: cancel_wait_timeout")
    assert server.state() == "active"
    server.say(ANSWER)
    assert server.state() == "idle"


def test_room(world_of: WorldOf) -> None:
    """Servers and cancels together are twice pool_size at most, in order."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=2")
    _client, _server, key = working(world)
    requests = [request(world, key) for _ in range(4)]
    assert len(world.attempts) == 3
    cancel = world.cancelling()
    states = ["active_cancel_req", *["waiting_cancel_req"] * 3]
    assert [one.state() for one in requests] == states
    cancel.drop()
    assert len(world.attempts) == 3
    for _ in range(3):
        world.cancelling().drop()
    assert all(one.is_gone() for one in requests)


def test_room_that_comes_late(world_of: WorldOf) -> None:
    """A full pool that shrinks sends the next request."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=2")
    _first, _server, key = working(world)
    second = world.client()
    second.say(query())
    other = world.server()
    assert world.reload(databases="db = host=10.0.0.1 pool_size=1")
    asking = request(world, key)
    assert world.attempts == []
    other.drop()
    world.wait(INTERVAL_S)
    world.cancelling().drop()
    assert asking.is_gone()


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
    assert server.backend.cancels == []


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


def waiting(world: World) -> tuple[Client, Client, Server, bytes]:
    """Return an active client, one that waits, the server, and the latter's key."""
    first, server, _key = working(world)
    client = world.client()
    key = dict(split(client.hear()))["K"]
    client.say(query("SELECT 2"))
    assert client.state() == "waiting"
    return first, client, server, key


def test_a_waiting_client(world_of: WorldOf) -> None:
    """Its query ends as if cancelled by the server; no other query does."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=1")
    first, client, server, key = waiting(world)
    asking = request(world, key)
    assert asking.is_gone()
    assert world.logged("cancel request for waiting client")
    kinds, fields = zip(*split(client.hear()), strict=True)
    assert kinds == ("E", "Z")
    assert b"C57014\0Mcanceling statement due to user request" in fields[0]
    assert fields[1] == b"I"
    assert client.state() == "idle"
    server.say(ANSWER)
    assert first.hear() == ANSWER
    assert server.state() == "idle"
    client.say(query("SELECT 3"))
    assert server.answer() == query("SELECT 3")
    assert client.hear() == ANSWER


def test_while_parameters_are_set(world: World) -> None:
    """The query has not begun, and the server runs an internal query."""
    _first, server = world.pair()
    client = world.client(timezone="Asia/Tokyo")
    key = dict(split(client.hear()))["K"]
    client.say(query())
    assert server.hear().startswith(b"Q")
    asking = request(world, key)
    assert asking.is_gone()
    assert world.logged("ignoring cancel request for server that is setting vars")


# Keys, peers.


def test_keys_differ(world: World) -> None:
    """A key in use is not given twice; the process number in it is positive."""
    numbers = iter([b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\0" * 7 + b"\1"])
    world.context.random = lambda _size: next(numbers)
    frontends = [
        Frontend(world.service.login_service, Address("192.0.2.1", 1)) for _ in range(2)
    ]
    cancel_keys = world.service.keys
    issued = [cancel_keys.issue(frontend) for frontend in frontends]
    assert issued == [b"\x7f" + b"\xff" * 7, b"\0" * 7 + b"\1"]


PEERS = "[peers]\n1 = host=10.0.0.7\n2 = host=/tmp/two port=6433 pool_size=1\n"
OWN, OTHER, UNKNOWN = 1, 2, 3


def peered(world_of: WorldOf) -> World:
    """Return a world that is peer OWN of three."""
    return world_of(users=PEERS, settings=f"peer_id = {OWN}")


def key_of(peer_id: int, ttl: int) -> bytes:
    """Return a key that a peer gave, as it comes after some hops."""
    return bytes([1, peer_id, 0, 4, 5, 6, 7, 8 | ttl])


def test_own_keys(world_of: WorldOf) -> None:
    """They name us, and are recognised whatever their TTL on return."""
    world = peered(world_of)
    _client, server, key = working(world)
    assert key[1:3] == bytes([OWN, 0])
    assert key[7] & 3 == 3
    request(world, key[:7] + bytes([key[7] & ~3]))
    assert world.cancelling().hear() == encode.cancel_request(server.backend.cancel_key)


def test_a_key_given_before_peering(world_of: WorldOf) -> None:
    """It is good as long as its client stays."""
    world = world_of(users=PEERS)
    _client, server, key = working(world)
    assert world.reload(users=PEERS, settings=f"peer_id = {OWN}")
    request(world, key)
    assert world.cancelling().hear() == encode.cancel_request(server.backend.cancel_key)


def test_passed_to_a_peer(world_of: WorldOf) -> None:
    """By the peer's own way, the TTL one less."""
    world = peered(world_of)
    asking = request(world, key_of(OTHER, 3))
    (attempt,) = world.attempts
    assert (attempt.host, attempt.port) == ("/tmp/two", 6433)
    cancel = world.cancelling()
    assert cancel.hear() == encode.cancel_request(key_of(OTHER, 2))
    assert asking.state() == "active_cancel_req"
    cancel.drop()
    assert asking.is_gone()
    assert world.logged("closing because: successfully sent cancel request (age=0s)")


def test_room_at_a_peer(world_of: WorldOf) -> None:
    """Twice its pool_size."""
    world = peered(world_of)
    requests = [request(world, key_of(OTHER, 1)) for _ in range(3)]
    assert len(world.attempts) == 2
    for _ in range(3):
        world.cancelling().drop()
    assert all(one.is_gone() for one in requests)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (
            key_of(OTHER, 0),
            "failed to forward cancel request because its TTL was exhausted",
        ),
        (key_of(UNKNOWN, 3), "could not find peer to forward request to"),
        (key_of(OWN, 3), "failed cancel request"),
    ],
)
def test_not_passed_on(world_of: WorldOf, key: bytes, reason: str) -> None:
    """The request ends, the log says why."""
    world = peered(world_of)
    assert request(world, key).is_gone()
    assert world.logged(f"closing because: {reason} (age=0s)")
    assert world.attempts == []


# TLS.


def over_tls(world: World) -> tuple[Client, Server, bytes, FakeSide]:
    """Return what working() does, the server connected to by TLS."""
    side = FakeSide("prefer")
    world.context.tls.server = lambda _spec: side  # type: ignore[assignment,method-assign,return-value]
    client = world.client()
    server = world.accept()
    server.say(b"S")
    finish(server, side)
    server.log_in()
    key = dict(split(client.hear()))["K"]
    client.say(query())
    server.hear()
    return client, server, key, side


def test_encrypted(world: World) -> None:
    """A cancel request goes the way of its server; the key goes by TLS alone."""
    _client, server, key, side = over_tls(world)
    asking = request(world, key)
    cancel = world.cancelling()
    assert cancel.hear() == encode.ssl_request()
    cancel.say(b"S")
    assert cancel.hear() == b""
    finish(cancel, side)
    assert cancel.hear() == encode.cancel_request(server.backend.cancel_key)
    cancel.drop()
    assert asking.is_gone()
    assert world.logged("closing because: successfully sent cancel request (age=0s)")


@pytest.mark.parametrize("answer", [b"N", b"?", b"S!"])
def test_not_in_clear(world: World, answer: bytes) -> None:
    """Whatever the mode: anyone on the network would learn the key."""
    _client, _server, key, _side = over_tls(world)
    request(world, key)
    cancel = world.cancelling()
    cancel.hear()
    cancel.say(answer)
    assert cancel.hear() == b""
    assert cancel.is_gone()
    assert world.logged("closing because: failed to send cancel request (age=0s)")
