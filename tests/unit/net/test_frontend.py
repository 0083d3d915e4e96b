"""A client's first packets, its login, the console, and the ends of its connection."""

from __future__ import annotations

import gc
from sys import getsizeof

import pytest
from OpenSSL.SSL import Error as OpenSSLError
from twisted.python.failure import Failure

from pgswitch.auth import ldap, pam
from pgswitch.errors import AdminForcedDisconnect
from pgswitch.net.frontend import LOGIN_LIMIT, Frontend
from pgswitch.types import Address
from pgswitch.wire import encode
from pgswitch.wire.scram import ScramClient, keys_from_password, make_verifier
from tests.fakes.messages import (
    ANSWER,
    GSSENC_REQUEST,
    RESULT,
    error_text,
    kinds,
    message,
    query,
)
from tests.fakes.tls import FACTS, FakeSide, finish
from tests.fakes.transports import FakeSocket, FakeTransport
from tests.fakes.world import Client, World, WorldOf

STARTUP = encode.startup([("user", "app"), ("database", "db")])
SCRAM = str(make_verifier("secret", b"salt", 1))
SSL, GSS = encode.ssl_request(), GSSENC_REQUEST


@pytest.mark.parametrize("step", [1, 3, 8, 1000])
def test_pieces(world: World, step: int) -> None:
    """Requests for encryption are declined one by one; then comes the start-up."""
    client = world.connect()
    for packet, answer in ((SSL, b"N"), (GSS, b"N"), (STARTUP, b"")):
        for at in range(0, len(packet), step):
            client.say(packet[at : at + step])
        assert client.hear() == answer
    assert client.state() == "waiting"
    assert client.frontend.user == "app"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (SSL + STARTUP, "received unencrypted data after SSL request"),
        (GSS + b"?", "received unencrypted data after GSSAPI encryption request"),
        (b"\x16\x03\x01\0\0", ""),
        (b"\0\0\0\4\0\3\0\0", "bad packet header: '0000000400030000'"),
        (b"GET / HTTP/1.1\r\n\r\n", ""),
    ],
)
def test_no_first_packet(world: World, data: bytes, text: str) -> None:
    """The connection ends, with an error text if the peer may speak our protocol."""
    client = world.connect()
    client.say(data)
    assert client.is_gone()
    heard = client.hear().removeprefix(b"N")
    assert error_text(heard) == text


def test_a_probe_leaves_no_line(world: World) -> None:
    """A port check that comes and leaves is not worth one; an unfinished login is."""
    world.connect().drop()
    assert world.log == []
    client = world.connect()
    client.say(STARTUP[:10])
    client.drop()
    assert world.logged("closing because: client unexpected eof (age=0s)")
    assert world.service.login_service.clients == {}


def test_one_that_could_not_be_served(world: World) -> None:
    """A client that never got a transport is counted no more."""
    login_service = world.service.login_service
    frontend = Frontend(login_service, Address("192.0.2.1", 40_000))
    assert login_service.clients != {}
    frontend.connectionLost(Failure(OSError()))
    assert login_service.clients == login_service.arriving == {}
    frontend.disconnect(AdminForcedDisconnect())
    assert world.log == []


def test_a_password_that_follows_at_once(world_of: WorldOf) -> None:
    """Bytes that follow the startup packet belong to the login."""
    world = world_of(settings="auth_type = plain")
    (world.folder / "users.txt").write_text('"app" "secret"\n')
    world.service.store.load(world.service.configuration.settings)
    client = world.connect()
    client.say(STARTUP + message(b"p", b"secret\0"))
    assert client.state() == "waiting"
    assert world.attempts != []


def test_a_secret_of_absurd_iterations(world_of: WorldOf) -> None:
    """No password is compared with it: refused like a wrong one, said to the log."""
    slow = str(make_verifier("secret", b"salt", 21))
    world = world_of(settings="auth_type = plain\nscram_iterations_max = 20")
    (world.folder / "users.txt").write_text(f'"app" "{slow}"\n"other" "{SCRAM}"\n')
    settings = "auth_type = plain\nscram_iterations_max = {}\nscram_iterations = 3"
    for most, is_right in ((20, False), (21, True), (20, False)):
        world.reload(settings=settings.format(most))
        world.worked.clear()
        client = world.client()
        client.say(message(b"p", b"secret\0"))
        assert len(world.worked) == 1, "it takes the time of a mock login"
        assert (client.state() == "waiting") is is_right
        assert is_right or client.fault.endswith("password authentication failed")
    assert world.logged("the SCRAM secret of this user has 21 iterations, more than")


TOKEN = b"t" * 65530
"""The longest password that PostgreSQL takes; tokens are that long."""


@pytest.mark.parametrize("step", [1, 5000, 100_000])
def test_a_long_password(world_of: WorldOf, step: int) -> None:
    """Is taken, however it is cut, and goes to the server as it is."""
    world = world_of(settings="auth_type = plain")
    (world.folder / "users.txt").write_text(f'"app" "{TOKEN.decode()}"\n')
    world.reload(settings="auth_type = plain")
    client = world.client()
    client.hear()
    answer = message(b"p", TOKEN + b"\0")
    for at in range(0, len(answer), step):
        client.say(answer[at : at + step])
    assert client.state() == "waiting"
    server = world.accept()
    server.hear()
    server.say(encode.auth_cleartext())
    assert server.hear() == encode.password(TOKEN)


def test_a_long_password_for_a_directory(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reaches the directory, or PAM, in full."""
    asked: list[object] = []

    def check(*given: object) -> bool:
        asked.append(given[-1])
        return False

    for startup_cache in (ldap, pam):
        monkeypatch.setattr(startup_cache, "check", check)
        monkeypatch.setattr(startup_cache, "is_available", lambda: True)
    options = 'auth_ldap_options = ldapserver=a ldapprefix="b"'
    for method in ("ldap", "pam"):
        world = world_of(settings=f"auth_type = {method}\n{options}")
        client = world.client()
        client.say(message(b"p", TOKEN + b"\0"))
        assert "authentication failed" in client.fault
    assert asked == [TOKEN.decode()] * 2


@pytest.mark.parametrize("method", ["plain", "md5", "scram-sha-256"])
def test_a_half_sent_login(world_of: WorldOf, method: str) -> None:
    """Has us hold no more than the longest answer, however small its pieces are."""
    world = world_of(settings=f"auth_type = {method}")
    client = world.client()
    client.hear()
    stream = client.frontend.stream
    most = 0
    client.say(b"p\0\0\xff\xff")
    for number in range(65_530):
        client.say(b"x")
        if number % 500 == 0:
            most = max(
                most, sum(map(getsizeof, stream._held)) + getsizeof(stream._held)
            )
    assert stream.missing() == 1
    assert 65_000 < most < 72_000
    assert client.state() == "login"
    client.say(b"x")
    assert client.is_gone()


@pytest.mark.parametrize("size", [0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 3])
def test_too_long_an_answer(world_of: WorldOf, size: int) -> None:
    """Is refused by its header, before anything of it is kept."""
    world = world_of(settings="auth_type = plain")
    client = world.client()
    client.hear()
    client.say(b"p" + size.to_bytes(4, "big"))
    assert client.fault.startswith("bad packet header")
    assert client.is_gone()


def test_a_bad_start_asks_no_server(world_of: WorldOf) -> None:
    """Only a good start-up packet makes room for a long answer."""
    world = world_of(settings="auth_type = plain")
    client = world.connect()
    client.say(encode.startup([("user", "app"), ("nonsense", "1")]))
    assert client.fault.startswith("unsupported startup parameter")
    assert client.frontend.stream.limit == LOGIN_LIMIT


def test_nothing_may_be_asked_before_the_welcome(world: World) -> None:
    """A query so early breaks the protocol; Terminate does not."""
    client, other = world.client(), world.client()
    client.say(query())
    other.say(message(b"X"))
    assert (client.is_gone(), other.is_gone()) == (True, True)
    assert client.hear() == b""
    assert world.logged("closing because: bad packet (age=0s)")
    assert world.logged("closing because: client close request (age=0s)")


def test_states(world: World) -> None:
    """The words of SHOW CLIENTS, from the connection to the end of a query."""
    client = world.connect()
    assert client.state() == "login"
    client.say(STARTUP)
    assert client.state() == "waiting"
    server = world.server()
    assert client.state() == "idle"
    client.say(query())
    assert client.state() == "active"
    server.say(ANSWER)
    assert client.state() == "idle"
    assert world.connect().state() == "login"
    assert world.console().state() == "idle"


# The end.


def test_the_reason_is_sent(world: World) -> None:
    """A pgswitch error is sent and logged; then the connection is closed."""
    client, _server = world.pair()
    client.frontend.disconnect(AdminForcedDisconnect())
    client.frontend.disconnect(AdminForcedDisconnect())
    world.turn()
    assert client.is_gone()
    assert kinds(client.hear()) == "E"
    words = AdminForcedDisconnect().text
    assert [line.partition(": ")[2] for line in world.log if words in line] == [
        f"db/app@192.0.2.1:40000 closing because: {words} (age=0s)",
        f"db/app@192.0.2.1:40000 pooler error: {words}",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("log_disconnections = 0", "closing because"),
        ("log_pooler_errors = 0", "pooler error"),
    ],
)
def test_quiet_logs(world_of: WorldOf, settings: str, words: str) -> None:
    """Either line can be switched off."""
    world = world_of(settings=settings)
    world.client("nowhere")
    assert not world.logged(words)


def test_in_the_middle_of_a_message(world: World) -> None:
    """An error would be taken for a part of the message: nothing is sent."""
    client, server = world.pair()
    client.say(query())
    server.say(RESULT[:13])
    client.hear()
    server.drop()
    assert client.hear() == b""
    assert client.is_gone()


def test_the_last_words_to_a_slow_client(world: World) -> None:
    """A client that has not read the earlier bytes gets neither them nor more time."""
    client, server = world.pair()
    client.say(query())
    client.transport.socket.room = 4
    server.say(ANSWER)
    client.frontend.disconnect(AdminForcedDisconnect())
    world.turn()
    assert client.transport.aborted
    assert client.hear() == ANSWER[:4]


def test_a_reset_connection(world: World) -> None:
    """As an end of file."""
    client, server = world.asking()
    client.transport.break_()
    world.turn()
    assert client.is_gone()
    assert server.is_gone()
    assert world.logged("closing because: client unexpected eof (age=0s)")


def test_nothing_is_left(world: World) -> None:
    """Neither the transport nor the reactor holds on to a client that left."""
    client, _server = world.pair()
    transport = client.transport
    assert isinstance(transport, FakeTransport)
    assert transport.fileno() in world.reactor.event_loop.streams
    client.drop()
    assert transport.fileno() not in world.reactor.event_loop.streams
    assert "doRead" not in transport.__dict__
    assert world.service.login_service.clients == {}


# The console.


def test_console_queries(world: World) -> None:
    """Each is answered, several in a row too."""
    console = world.console()
    console.say(query("SHOW VERSION") + query("SHOW VERSION"))
    assert kinds(console.hear()) == "TDCZ" * 2
    console.say(query("SELECT nonsense"))
    assert kinds(console.hear()) == "EZ"
    assert world.logged("pooler error: invalid command")


def test_the_console_waits(world: World) -> None:
    """Requests that follow a waiting statement are answered after it."""
    _client, server = world.asking()
    console = world.console()
    console.say(query("PAUSE"), query("SHOW VERSION"))
    assert console.hear() == b""
    server.say(ANSWER)
    world.wait(1)
    assert kinds(console.hear()) == "CZTDCZ"


def test_leaving_while_the_console_waits(world: World) -> None:
    """The statement is given up; what it began stays."""
    _client, server = world.asking()
    console = world.console()
    console.say(query("PAUSE"))
    console.drop()
    server.say(ANSWER)
    world.wait(1)
    assert world.context.paused
    assert console.hear() == b""


@pytest.mark.parametrize("data", [message(b"X"), message(b"F"), b"Q\0\0\0\1"])
def test_the_end_of_a_console(world: World, data: bytes) -> None:
    """Terminate, a function call, a broken message."""
    console = world.console()
    console.say(data + query("PAUSE"))
    assert console.is_gone()
    assert not world.context.paused


# TLS.


def encrypting(world: World, mode: str = "prefer") -> FakeSide:
    """Have clients of a world be encrypted."""
    side = FakeSide(mode)
    world.context.tls.clients = side  # type: ignore[assignment]
    return side


def test_tls(world: World) -> None:
    """After a handshake all goes on as before, and the log tells of it."""
    side = encrypting(world, "require")
    client = world.connect()
    client.say(SSL)
    assert client.hear() == b"S"
    finish(client, side)
    client.say(STARTUP)
    assert client.frontend.tls is FACTS
    assert client.state() == "waiting"
    assert world.logged(f"user=app tls={FACTS.description} replication=no")
    world.server()
    client.say(query("SELECT 1"))
    assert client.state() == "active"


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca"])
def test_in_clear(world: World, mode: str) -> None:
    """Allowed or not; a unix socket needs no TLS and gets none."""
    encrypting(world, mode)
    client = world.client()
    if mode in ("allow", "prefer"):
        assert client.state() == "waiting"
    else:
        assert client.fault == "SSL required"
        assert client.is_gone()
    local = world.connect_locally()
    local.say(SSL)
    assert local.hear() == b"N"
    local.say(STARTUP)
    assert local.state() == "waiting"


def test_requests_inside_tls(world: World) -> None:
    """TLS in TLS ends the connection without a message; GSSAPI is declined as usual."""
    side = encrypting(world)
    client = world.connect()
    client.say(SSL)
    finish(client, side)
    client.hear()
    client.say(GSS)
    assert client.hear() == b"N"
    client.say(SSL)
    assert client.is_gone()
    assert client.hear() == b""
    assert world.logged("closing because: SSL req inside SSL")


def test_a_failed_handshake(world: World) -> None:
    """No error is sent unencrypted; the log has OpenSSL's words."""
    side = encrypting(world)
    client = world.connect()
    client.say(SSL)
    client.hear()
    finish(client, side, OpenSSLError([("SSL routines", "", "wrong version number")]))
    assert client.is_gone()
    assert client.hear() == b""
    assert world.logged("closing because: TLS handshake failed: wrong version number")


def test_a_handshake_that_takes_too_long(world_of: WorldOf) -> None:
    """It ends by client_login_timeout, and no error is sent unencrypted."""
    world = world_of(settings="client_login_timeout = 3")
    encrypting(world)
    client = world.connect()
    client.say(SSL)
    client.hear()
    world.wait(4)
    assert client.is_gone()
    assert client.hear() == b""
    assert world.logged("closing because: client_login_timeout")


def test_direct_tls(world: World) -> None:
    """A first byte of TLS starts the handshake; any other starts a plain login."""
    side = encrypting(world, "require")
    client = world.connect()
    client.say(b"\x16\x03\x01")
    assert len(side.connections) == 1
    client.transport.socket.incoming.clear()
    finish(client, side)
    client.say(STARTUP)
    assert client.state() == "waiting"
    other = world.connect()
    other.say(SSL)
    assert other.hear() == b"S"


def test_direct_tls_that_a_reload_has_ended(world: World) -> None:
    """A client that connected before is sent away like any that comes now."""
    encrypting(world)
    client = world.connect()
    world.context.tls.clients = None
    client.say(b"\x16\x03\x01")
    assert client.is_gone()
    assert client.hear() == b""
    assert world.logged("closing because: bad packet")


def test_a_client_that_left_is_no_garbage(world: World) -> None:
    """Its reference count frees it: the collector of cycles runs seldom."""
    world.pair()
    client = world.client()
    gc.collect()
    gc.disable()
    before = _frontends()
    try:
        world.leave(client)
        assert client.is_gone()
        # What only the tests hold.
        client.transport.protocol = None
        del client
        assert _frontends() == before - 1
    finally:
        gc.enable()


def _frontends() -> int:
    """Return how many there are, garbage included; compiled ones have no weakrefs."""
    return sum(type(one).__name__ == "Frontend" for one in gc.get_objects())


# ---------------------------------------------------------------------- SCRAM


def proving(world: World, database: str = "db") -> tuple[Client, bytes]:
    """Return a client in the middle of a SCRAM login, and its next message."""
    (world.folder / "users.txt").write_text(f'"app" "{SCRAM}"\n')
    world.reload(settings="auth_type = scram-sha-256")
    exchange = ScramClient(b"abc")
    client = world.client(database)
    client.hear()
    client.say(encode.sasl_initial_response("SCRAM-SHA-256", exchange.first()))
    challenge = client.hear()[9:]
    keys = keys_from_password("secret", *exchange.challenge(challenge))
    return client, encode.sasl_response(exchange.final(challenge, keys))


def sends(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that gets what is sent to a client, send by send."""
    sent: list[bytes] = []
    send = FakeSocket.send

    def noted(sock: FakeSocket, data: bytes) -> int:
        if sock is client.transport.socket:
            sent.append(data)
        return send(sock, data)

    monkeypatch.setattr(FakeSocket, "send", noted)
    client.frontend.stream.raw_send = client.transport.socket.send
    return sent


def test_proof_and_welcome_in_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of the exchange and the welcome wake the client once."""
    world.pair()
    client, proof = proving(world)
    sent = sends(client, monkeypatch)
    client.say(proof)
    [data] = sent
    assert kinds(data)[:3] == "RRS"
    assert data.startswith(b"R\0\0\0\x36\0\0\0\x0cv=")
    assert kinds(data)[-2:] == "KZ"


def test_proof_before_a_welcome_that_waits(world: World) -> None:
    """The client gets AuthenticationOk at once."""
    client, proof = proving(world)
    client.say(proof)
    assert kinds(client.hear()) == "R"
    assert client.state() == "waiting"
    world.server()
    assert kinds(client.hear())[0] == "R"
    assert client.state() == "idle"


def test_proof_before_a_refusal(world: World) -> None:
    """Only an authenticated client learns that the database does not exist."""
    client, proof = proving(world, "nowhere")
    client.say(proof)
    heard = client.hear()
    assert kinds(heard) == "RE"
    assert "nowhere" in client.fault or "nowhere" in str(heard)
    assert client.is_gone()
