"""What has ended is freed at once: nothing is left for the collector of cycles."""

from __future__ import annotations

import gc
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from OpenSSL.SSL import Error as OpenSSLError
from twisted.internet.defer import succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Protocol

from pgswitch.errors import SilentClose
from pgswitch.net.connect import TransportConnector
from pgswitch.net.connection_states import ClientEvent, CloseReason
from pgswitch.net.lean_reactor import LeanReactor
from pgswitch.net.sockets import unix_socket_path
from pgswitch.net.transport import SocketIO
from pgswitch.pool.outgoing_cancels import CancelTarget
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import Clock
from pgswitch.wire import encode
from pgswitch.wire.auth_query import AuthQuery
from pgswitch.wire.framing import MAX_MESSAGE_SIZE
from pgswitch.wire.statements import ServerStatements, StatementTable
from tests.fakes.messages import IN_TRANSACTION, READY, message, query
from tests.fakes.tls import FakeSide, finish
from tests.fakes.world import World
from tests.unit.cluster.test_backend_probe import Probing
from tests.unit.net.listen_settings import ListenValues
from tests.unit.relay.pair import Control

SSL = encode.ssl_request()
PLENTY = b"x" * 100_000
BEGUN = b"S" + (1 << 24).to_bytes(4, "big") + b"application_name\0" + PLENTY
"""A ParameterStatus whose end does not come."""
PARSE = b"P" + (1 << 24).to_bytes(4, "big") + b"name\0" + PLENTY
KEPT: list[object] = []
"""What a scene has that outlasts connections."""


def idle(world: World) -> None:
    """Have a client come and go, and its server close."""
    client, server = world.pair()
    client.say(query())
    server.answer()
    world.leave(client)
    server.drop()


def dropped(world: World) -> None:
    """Have both go without a word."""
    client, server = world.pair()
    client.drop()
    server.transport.break_()


def half_a_message(world: World) -> None:
    """Have a server begin a message and hang up."""
    client, server = world.pair()
    server.say(BEGUN)
    server.drop()
    client.drop()


def half_a_message_to_a_client(world: World) -> None:
    """Crash in the middle of a query."""
    client, server = world.asking()
    server.say(BEGUN)
    server.drop()
    assert client.is_gone()


def half_a_message_at_the_login(world: World) -> None:
    """Have it do so before the login is done."""
    client = world.client()
    server = world.accept()
    server.say(encode.auth_ok() + BEGUN)
    server.drop()
    client.drop()


def broken_protocol(world: World) -> None:
    """Have a server and a client closed for what they say."""
    client, server = world.asking()
    server.say(b"T\0\0\0\1")
    client.drop()
    other = world.client()
    other.say(b"Q\0\0\0\1")


def half_a_parse(world: World) -> None:
    """Have a client begin a message and hang up."""
    client, server = world.pair()
    client.say(query("BEGIN"))
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.say(PARSE)
    client.drop()
    assert server.is_gone()


def not_read(world: World) -> None:
    """Have a client and a server take nothing."""
    client, server = world.asking()
    client.transport.socket.room = server.transport.socket.room = 0
    server.say(message(b"D", PLENTY))
    client.drop()
    world.turn()
    assert server.is_gone()


def not_there(world: World) -> None:
    """Connect to a port where no server listens."""
    client = world.client()
    world.attempts[0].fail()
    client.drop()


def given_up(world: World) -> None:
    """Give up an attempt to connect."""
    client = world.client()
    attempt = world.attempts[0]
    attempt.protocol.close(CloseReason.PAUSED)  # type: ignore[attr-defined]
    assert attempt.cancelled
    client.drop()


def refused(world: World) -> None:
    """Have a login to a server fail."""
    world.client()
    world.accept().refuse("no", "28P01")


def strangers(world: World) -> None:
    """Have clients not get so far, or not let in."""
    world.connect().drop()
    world.connect().say(b"GET / HTTP/1.0\r\n\r\n")
    world.connect().say(encode.startup((("user", "nobody"), ("database", "nowhere"))))


def login_waiters(world: World) -> None:
    """Have clients wait for a first server, and leave."""
    first, second, third = world.client(), world.client(), world.client()
    first.drop()
    server = world.server()
    second.drop()
    third.drop()
    server.drop()


def waiting(world: World) -> None:
    """Have a client wait for a server, and leave."""
    client, server = world.asking()
    other = world.client()
    other.say(query())
    other.drop()
    client.drop()
    server.drop()


def cancelled(world: World) -> None:
    """Have cancel requests sent, lost, not needed, and without a target."""
    client, server = world.asking()
    key = client.frontend.cancel_key
    for _ in range(2):
        world.connect().say(encode.cancel_request(key))
        world.cancelling().drop()
    world.connect().say(encode.cancel_request(key))
    world.attempts[0].fail()
    world.connect().say(encode.cancel_request(key))
    world.connect().say(encode.cancel_request(b"nobody's"))
    server.answer()
    world.leave(client)
    server.drop()


def cancelled_at_a_peer(world: World) -> None:
    """Have one sent to another process."""
    client = world.client()
    cancels = world.pool().cancels
    asking = world.connect()
    asking.frontend._change_state(ClientEvent.CANCEL_REQUESTED)
    cancels.send(asking.frontend, b"12345678", CancelTarget("10.0.0.9", 6432))
    world.cancelling().drop()
    asking.drop()
    client.drop()


def probes(world: World) -> None:
    """Lose the monitor's own connections in each state; the probe itself stays."""
    probing = Probing(world)
    KEPT.append(probing)
    probing.ask()
    world.accept().drop()
    probing.ask()
    world.attempts[0].fail()
    probing.ask()
    world.server().drop()
    probing.ask()
    server = world.server()
    server.say(BEGUN)
    server.drop()
    probing.ask()
    world.server()
    probing.probe.close()
    # The failures hold the frames that they come from.
    probing.results.clear()


def replication(world: World) -> None:
    """Have replication clients leave, their servers too, and logins fail."""
    client = world.client(replication="database")
    server = world.server()
    client.say(query("IDENTIFY_SYSTEM"))
    client.drop()
    assert server.is_gone()
    other = world.client(replication="database")
    server = world.server()
    server.say(BEGUN)
    server.drop()
    assert other.is_gone()
    world.client(replication="database")
    world.accept().refuse("no", "28P01")
    last = world.client(replication="database")
    last.drop()


def settings_of_clients(world: World) -> None:
    """Lose a server while its parameters are set."""
    client, server = world.pair()
    other = world.client(TimeZone="Asia/Tokyo")
    other.say(query())
    assert b"TimeZone" in server.hear()
    server.drop()
    other.drop()
    client.drop()


def encrypted(world: World) -> None:
    """Encrypt clients: one that asks, one that is refused, one that leaves midway."""
    side = FakeSide("require")
    world.context.tls.clients = side  # type: ignore[assignment]
    client = world.connect()
    client.say(SSL)
    finish(client, side)
    client.say(encode.startup((("user", "app"), ("database", "db"))))
    server = world.server()
    client.say(PARSE)
    client.drop()
    server.drop()
    other = world.connect()
    other.say(SSL)
    finish(other, side, OpenSSLError([("", "", "no shared cipher")]))
    third = world.connect()
    third.say(SSL)
    third.transport.finish()
    # The errors that are raised there hold the frames that they come from.
    side.connections.clear()


def encrypted_servers(world: World) -> None:
    """Encrypt servers: one that serves, one refused, one that leaves midway."""
    refusal = OpenSSLError([("", "", "bad certificate")])
    for outcome in ("serves", "is refused", "leaves"):
        side: Any = FakeSide("require")
        world.context.tls.server = lambda _spec, side=side: side  # type: ignore[method-assign, misc]
        client = world.client()
        if client.state() == "idle":
            client.say(query())
        server = world.accept()
        server.hear()
        server.say(b"S")
        if outcome == "leaves":
            server.transport.finish()
        else:
            finish(server, side, None if outcome == "serves" else refusal)
        if outcome == "serves":
            server.log_in()
            server.say(BEGUN)
            server.drop()
        client.drop()
        world.wait(20)
        side.connections.clear()


def auth_queries(world: World) -> None:
    """Ask servers who may log in: answered, lost, abandoned."""
    world.client()
    pool = world.pool()
    server = world.server()
    asking = pool.internal_queries.send(AuthQuery("SELECT $1", "u"), "u")
    columns = b"\0\2" + 2 * (b"a\0" + bytes(18))
    server.say(message(b"T", columns) + message(b"C", b"SELECT 0\0") + READY)
    assert asking.called
    assert not server.is_gone()
    asking = pool.internal_queries.send(AuthQuery("SELECT $1", "u"), "u")
    server.say(BEGUN)
    server.drop()
    asking.addErrback(lambda _failure: None)
    asking = pool.internal_queries.send(AuthQuery("SELECT $1", "u"), "u")
    asking.addErrback(lambda _failure: None)
    asking.cancel()
    for client in [*pool.clients.values()]:
        client.disconnect(SilentClose("over"))


SCENES: list[Callable[[World], None]] = [
    idle,
    dropped,
    half_a_message,
    half_a_message_to_a_client,
    half_a_message_at_the_login,
    broken_protocol,
    half_a_parse,
    not_read,
    not_there,
    given_up,
    refused,
    strangers,
    login_waiters,
    waiting,
    cancelled,
    cancelled_at_a_peer,
    probes,
    replication,
    settings_of_clients,
    encrypted,
    encrypted_servers,
    auth_queries,
]


def left_by(work: Callable[[], None]) -> Counter[str]:
    """Return, by type, the pgswitch objects that only the cycle collector frees."""
    gc.collect()
    gc.disable()
    gc.freeze()  # so that no more than what is new is looked at
    try:
        work()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(
            type(one).__name__
            for one in gc.garbage
            if type(one).__module__.startswith("pgswitch")
        ) + Counter("much" for one in gc.garbage if _holds_much(one))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


def _holds_much(one: object) -> bool:
    held = gc.get_referents(one)
    return any(isinstance(part, bytes) and len(part) > 10_000 for part in held)


def there() -> Counter[str]:
    """Return the connections that there are; compiled ones have no weakrefs."""
    kinds = (
        "Frontend",
        "ClientStream",
        "Backend",
        "ServerStream",
        "OutgoingCancel",
        "SocketIO",
    )
    found = Counter(type(one).__name__ for one in gc.get_objects())
    return Counter({kind: found[kind] for kind in (*kinds, "CancelConnection")})


def run(world: World, scene: Callable[[World], None]) -> None:
    """Play a scene, and let all be over."""
    scene(world)
    world.turn()
    for attempt in [*world.attempts]:
        attempt.fail()
    world.wait(1)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.__name__))
def test_nothing_is_left(scene: Callable[[World], None], world: World) -> None:
    """Neither alive nor as garbage."""
    before = there()
    assert left_by(lambda: run(world, scene)) == Counter()
    assert there() - before == Counter()


class Held(Protocol):
    """Has a stream as our protocols do, which holds much data when it ends."""

    def __init__(self) -> None:
        """Begin unconnected."""
        self.stream: ServerStream
        self.ended = False

    def connectionMade(self) -> None:
        """Make the stream, and have it hold data."""
        self.io = SocketIO(self.transport)
        self.stream = ServerStream(
            MAX_MESSAGE_SIZE,
            self.io,
            Control(),
            ServerStatements(StatementTable()),
            Clock(monotonic, monotonic()),
        )
        self.io.attach(self.stream)
        self.stream.take(BEGUN)

    def connectionLost(self, reason: object = None) -> None:
        """Drop everything but the data."""
        del reason
        self.io.detach()
        self.ended = True


@pytest.mark.parametrize("kind", [LeanReactor, EPollReactor])
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_twisted_holds_nothing(kind: type, family: str, tmp_path: Path) -> None:
    """Its connectors and transports form a cycle, which must not hold our objects."""
    reactor: Any = kind()
    settings = ListenValues(unix_socket_dir=str(tmp_path))
    connect = TransportConnector(
        reactor, lambda: settings, lambda host: succeed((host,))
    )

    def until(happened: Callable[[], object]) -> None:
        turns = 0
        while not happened():
            turns += 1
            assert turns < 500
            reactor.runUntilCurrent()
            reactor.doIteration(0.01)

    def once(listener: socket.socket, host: str | None, port: int) -> None:
        protocol = Held()
        made = connect(host, port, protocol)
        until(lambda: made.called)
        theirs, _ = listener.accept()
        made.addCallback(lambda _done: None)
        theirs.close()
        until(lambda: protocol.ended)

    where: Any = ("127.0.0.1", 0)
    if family == "unix":
        where = unix_socket_path(str(tmp_path), 5432)
    with socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET) as one:
        one.bind(where)
        one.listen()
        host = None if family == "unix" else "127.0.0.1"
        port = 5432 if family == "unix" else one.getsockname()[1]
        once(one, host, port)
        # An empty factory is in a reference cycle of Twisted's.
        left = left_by(lambda: once(one, host, port))
        assert left == Counter(("BackendFactory",))
