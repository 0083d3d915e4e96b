"""A server connection: login, parameters, queries of our own, its ends."""

from __future__ import annotations

import pytest
from OpenSSL.SSL import Error as OpenSSLError
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred

from pgswitch.net.backend import address_of
from pgswitch.net.connection_states import CloseReason
from pgswitch.types import Address
from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    TERMINATE,
    error,
    error_text,
    message,
    parameter,
    query,
)
from tests.fakes.tls import FACTS, FakeSide, finish
from tests.fakes.world import Server, World, WorldOf

NOTICE = message(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0")
NOTIFY = message(b"A", b"\0\0\0\1channel\0payload\0")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (IPv4Address("TCP", "10.0.0.1", 5432), Address("10.0.0.1", 5432)),
        (UNIXAddress("/tmp/socket"), Address("unix", 0)),
        (UNIXAddress("/tmp/.s.PGSQL.6432"), Address("unix", 6432)),
        (UNIXAddress("\0folder/.s.PGSQL.6432"), Address("unix", 6432)),
        (UNIXAddress(None), Address("unix", 0)),
    ],
)
def test_addresses(address: object, expected: Address) -> None:
    """Addresses are Twisted's types, as for its own transports."""
    assert address_of(address) == expected


def test_the_login(world_of: WorldOf) -> None:
    """A password is asked for and given; then parameters and key are kept."""
    world = world_of(databases="db = host=10.0.0.1 user=owner password=secret")
    world.client()
    server = world.accept()
    server.hear()
    server.say(encode.auth_cleartext())
    assert server.hear() == encode.password(b"secret")
    assert server.state() == "new"
    server.log_in(TimeZone="Asia/Tokyo")
    backend = server.backend
    assert backend.parameters["server_version"] == "18.0"
    assert backend.cancel_key.endswith(b"key!")
    assert (
        world.context.tracking.value(backend.stream.parameters, "timezone")
        == "Asia/Tokyo"
    )
    assert str(backend.local_address).startswith("10.9.9.9:")
    assert world.logged("db/owner@10.0.0.1:5432 new connection to server (from 10.9.")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_pieces_of_a_login(world: World, step: int) -> None:
    """However they are cut."""
    client = world.client()
    server = world.accept()
    data = encode.auth_ok() + parameter("TimeZone", "UTC") + READY
    for at in range(0, len(data), step):
        server.say(data[at : at + step])
    assert server.state() == "idle"
    assert client.state() == "idle"


@pytest.mark.parametrize(
    "data", [b"R\0\0\0\1", message(b"R", b"\0\0\0\x63"), message(b"T", b"\0\0")]
)
def test_no_login(world: World, data: bytes) -> None:
    """An unexpected message closes the connection without an error message."""
    world.client()
    server = world.accept()
    server.hear()
    server.say(data)
    assert server.is_gone()
    assert server.hear() == b""
    assert world.pool().failing != ""


def test_work_for_a_server_that_is_gone(world_of: WorldOf) -> None:
    """Is given up; it is asked for in the name of the server's address."""
    world = world_of(databases="db = host=10.0.0.1 user=owner password=secret")
    asked: list[tuple[object, Deferred[object]]] = []
    given_up: list[object] = []

    def derive_keys(_call: object, whose: object = None) -> Deferred[object]:
        asked.append((whose, Deferred(given_up.append)))
        return asked[-1][1]

    world.context.derive_keys = derive_keys
    world.client()
    server = world.accept()
    server.hear()
    server.say(encode.auth_sasl())
    nonce = server.hear().partition(b"r=")[2]
    server.say(encode.auth_sasl_continue(b"r=%bX,s=QQ==,i=200000" % nonce))
    [(whose, work)] = asked
    assert whose == ("10.0.0.1", 5432)
    assert given_up == []
    server.drop()
    assert given_up == [work]
    assert not world.logged("Unhandled")


def test_a_server_that_asks_for_much_work(world_of: WorldOf) -> None:
    """It is not done; log and client get the error, with the server's number."""
    world = world_of(
        databases="db = host=10.0.0.1 user=owner password=secret",
        settings="scram_iterations_max = 5000",
    )
    client = world.client()
    server = world.accept()
    server.hear()
    server.say(encode.auth_sasl())
    nonce = server.hear().partition(b"r=")[2]
    server.say(encode.auth_sasl_continue(b"r=%bX,s=QQ==,i=5001" % nonce))
    text = "server asks for 5001 SCRAM iterations, more than scram_iterations_max"
    assert server.is_gone()
    assert world.worked == []
    assert world.logged(text)
    assert text in client.fault


# Between clients.

UNASKED = "unexpected answer from server"
"""Another client may have seen what the server sent last."""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (NOTIFY, ""),
        (message(b"D", b"\0\0"), UNASKED),
        (READY, UNASKED),
        (error("oops", "XX000"), UNASKED),
        (NOTICE, "SV_IDLE server got dirty"),
        (error("terminating connection", "57P01", "FATAL"), "SV_IDLE server got dirty"),
        (parameter("TimeZone", "UTC"), "SV_IDLE server got dirty"),
        (parameter("in_hot_standby", "off"), ""),
        (parameter("server_version", "18.1"), ""),
        (b"N\0\0\0\1", "bad pkt header"),
    ],
)
def test_words_of_an_idle_server(world: World, data: bytes, reason: str) -> None:
    """Some are expected, others make it unfit."""
    _client, server = world.pair()
    server.hear()
    server.say(data)
    assert server.is_gone() is bool(reason)
    assert reason in server.backend.close_text
    if reason == UNASKED:
        assert world.logged("ERROR S-")
        assert world.logged("from server when not linked")
    polite = reason not in ("bad pkt header", "")
    assert server.hear() == (TERMINATE if polite else b"")


def test_words_of_a_used_server(world_of: WorldOf) -> None:
    """The same under another name."""
    world = world_of(settings="server_check_delay = 0\nserver_check_query = SELECT 1")
    _client, server = world.asking()
    server.answer()
    assert server.state() == "used"
    server.say(NOTICE)
    assert server.backend.close_text == "SV_USED server got dirty"


LAST_WORDS = [
    message(b"N", b"SWARNING\0VWARNING\0C57P02\0Mcrash of another\0\0"),
    error("terminating connection", "57P01", "FATAL"),
    NOTICE,
    READY,
    message(b"D", b"\0\0"),
]
"""What may stand behind the ReadyForQuery that makes a server free."""


def log_in(server: Server, *, behind: bytes) -> None:
    """Have a server log in, and say something in the same breath."""
    login: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "say", login.append)
        server.log_in()
    server.say(b"".join(login) + behind)


@pytest.mark.parametrize("word", LAST_WORDS)
def test_a_last_word_behind_the_login(world: World, word: bytes) -> None:
    """No client gets that server; the waiting one gets another."""
    world.asking()
    client = world.client()
    client.hear()
    client.say(query("SELECT 2"))
    server = world.accept()
    log_in(server, behind=word)
    assert server.is_gone()
    world.turn()
    assert client.hear() == b""
    assert not client.is_gone()
    assert query("SELECT 2") not in server.hear()
    assert world.server().hear() == query("SELECT 2")


@pytest.mark.parametrize("word", LAST_WORDS)
@pytest.mark.parametrize(
    "settings",
    [
        "server_reset_query = DISCARD ALL\nserver_reset_query_always = 1",
        "server_check_query = SELECT 1\nserver_check_delay = 0",
    ],
)
def test_a_last_word_behind_the_answer_to_us(
    world_of: WorldOf, settings: str, word: bytes
) -> None:
    """The same of a reset and of a check."""
    world = world_of(settings=settings)
    client, server = world.asking()
    other = world.client()
    other.hear()
    server.answer()
    other.say(query("SELECT 2"))
    assert query("SELECT 2") not in server.hear()
    client.hear()
    server.say(ANSWER + word)
    assert server.is_gone()
    world.turn()
    assert other.hear() == b""
    assert not other.is_gone()
    assert query("SELECT 2") not in server.hear()


def test_a_parameter_behind_the_login(world: World) -> None:
    """A notice other than a shutdown notice is recorded, and the server is used."""
    world.asking()
    client = world.client()
    client.say(query("SELECT 2"))
    server = world.accept()
    log_in(server, behind=parameter("in_hot_standby", "on") + NOTIFY)
    assert server.hear() == query("SELECT 2")
    assert server.backend.parameters["in_hot_standby"] == "on"


# With a client.


def test_parameters_reach_the_client(world: World) -> None:
    """What a SET has changed is the client's from now on, on other servers too."""
    client, server = world.asking("SET timezone = 'Asia/Tokyo'")
    server.say(parameter("TimeZone", "Asia/Tokyo") + ANSWER)
    value = world.context.tracking.value
    assert value(client.frontend.stream.parameters, "TimeZone") == "Asia/Tokyo"
    assert value(server.backend.stream.parameters, "TimeZone") == "Asia/Tokyo"
    assert client.hear() == parameter("TimeZone", "Asia/Tokyo") + ANSWER


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"D\0\0\0\1", "bad pkt header"),
        (message(b"?"), "unknown pkt"),
        (message(b"S", b"TimeZone"), "broken ParameterStatus packet"),
    ],
)
def test_a_server_that_breaks_the_protocol(
    world: World, data: bytes, text: str
) -> None:
    """It is closed without a message; its client gets an error."""
    client, server = world.asking()
    server.hear()
    server.say(data)
    assert server.is_gone()
    assert server.hear() == b""
    assert text in error_text(client.hear())
    assert client.is_gone()


BROKEN = {
    "ParameterStatus": (b"S", b"", b"TimeZone", b"TimeZone\0", b"TimeZone\0UTC\0x"),
    "ReadyForQuery": (b"Z", b"", b"II"),
    "BackendKeyData": (b"K", b"", b"short"),
    "Authentication": (b"R", b"", b"\0\0\0", b"\0\0\0\5abc"),
    "ErrorResponse": (b"E", b"", b"\0\0", b"Mcut", b"Mcut\0"),
    "NoticeResponse": (b"N", b"", b"Mcut"),
    "CommandComplete": (b"C", b"", b"cut"),
    "NegotiateProtocolVersion": (b"v", b"", b"\0\3\0\0"),
}
"""By the name of a message its type, and bodies that are none."""


def broken(*names: str) -> list[bytes]:
    """Return messages of these names without a good body."""
    return [message(BROKEN[one][0], body) for one in names for body in BROKEN[one][1:]]


@pytest.mark.parametrize("behind", [b"", READY])
@pytest.mark.parametrize("prepared", [0, 100])
@pytest.mark.parametrize("data", broken("ParameterStatus", "ReadyForQuery"))
def test_a_broken_body(
    world_of: WorldOf, data: bytes, prepared: int, behind: bytes
) -> None:
    """Ends the server with a reason and a count, wherever the chunk ends."""
    world = world_of(settings=f"max_prepared_statements = {prepared}")
    client, server = world.asking()
    server.hear()
    server.say(data + behind)
    assert server.is_gone()
    assert client.is_gone()
    text = error_text(client.hear())
    assert text in ("bad pkt header", "broken ParameterStatus packet")
    assert world.logged(f"10.0.0.1:5432 server breaks the protocol: {text}")
    assert world.pool().idle_pool.counters.errors[b"08P01"] == 1
    assert not world.logged("Traceback")


@pytest.mark.parametrize("data", broken(*BROKEN))
@pytest.mark.parametrize("phase", ["login", "authenticated", "idle", "ours", "linked"])
def test_no_traceback(world: World, phase: str, data: bytes) -> None:
    """Whatever is cut, and wherever it comes: a reason, or it is passed on."""
    client = world.client()
    server = world.accept()
    if phase == "authenticated":
        server.say(encode.auth_ok())
    elif phase != "login":
        server.log_in()
    if phase == "ours":
        server.backend.run("SELECT 5", lambda _error: None)
    elif phase == "linked":
        client.say(query())
    server.say(data)  # An exception that is no Fault would come out here.
    passes = phase == "linked" and data[:1] in b"ENCv"
    assert server.is_gone() or passes or (phase == "ours" and data[:1] in b"NCKRv")


@pytest.mark.parametrize("step", [10_000, 1_000_000])
@pytest.mark.parametrize("kind", [b"S", b"N", b"A", b"E", b"K", b"R", b"Z"])
@pytest.mark.parametrize("phase", ["login", "idle", "linked"])
def test_long_messages_outside_of_answers(
    world: World, phase: str, kind: bytes, step: int
) -> None:
    """The relay passes them without waiting for the end; it reads only its own."""
    client = world.client()
    server = world.accept()
    if phase != "login":
        server.log_in()
    if phase == "linked":
        client.say(query("BEGIN"))
        server.say(IN_TRANSACTION)
    data = message(kind, b"TimeZone\0" + b"x" * 100_000 + b"\0")
    for at in range(0, len(data), step):
        if not server.is_gone():
            server.say(data[at : at + step])
    passes = phase == "linked" and kind in b"AN"
    assert server.is_gone() is not passes
    if kind == b"S":
        assert "of the server is too long" in server.backend.close_text + "".join(
            world.log
        )


def test_long_messages_of_answers(world: World) -> None:
    """Pass, and are read by us where we have asked."""
    _client, server = world.asking()
    server.hear()
    long = message(b"T", b"\0\0") + message(b"D", b"x" * 200_000)
    server.say(long[:100_000])
    server.say(long[100_000:] + ANSWER)
    assert server.state() == "idle"
    outcome = ask(server)
    server.say(long[:100_000])
    server.say(long[100_000:] + ANSWER)
    assert outcome == [None]


def test_parameters_without_end(world: World) -> None:
    """A server that goes on reporting new ones is closed in the end."""
    _client, server = world.asking("BEGIN")
    server.say(IN_TRANSACTION)
    for number in range(5000):
        if not server.is_gone():
            server.say(parameter(f"new.{number}", "x"))
    assert number > 900
    assert server.backend.close_text == "failed to store ParameterStatus"


def test_states(world: World) -> None:
    """The words of SHOW SERVERS."""
    client = world.client()
    server = world.accept()
    assert server.state() == "new"
    server.log_in()
    assert server.state() == "idle"
    client.say(query("BEGIN"))
    assert server.state() == "active"
    server.say(IN_TRANSACTION)
    assert server.state() == "active"
    server.drop()
    assert server.state() == "closed"


# Queries of our own.


def ask(server: Server) -> list[dict[str, str] | None]:
    """Run an internal query; return where its outcome will be stored."""
    outcome: list[dict[str, str] | None] = []
    server.hear()
    server.backend.run("SELECT 5", outcome.append)
    assert server.hear() == query("SELECT 5")
    assert server.state() == "tested"
    return outcome


def test_a_query_of_ours(world: World) -> None:
    """Rows, notices and parameters are dropped or noted; the outcome arrives once."""
    _client, server = world.pair()
    outcome = ask(server)
    server.say(NOTICE + parameter("TimeZone", "Asia/Tokyo") + ANSWER[:-6])
    assert outcome == []
    server.say(READY)
    assert outcome == [None]
    assert server.state() == "idle"
    value = world.context.tracking.value
    assert value(server.backend.stream.parameters, "TimeZone") == "Asia/Tokyo"
    # What it reported at its login is not what a client sets later.
    assert server.backend.parameters["TimeZone"] == "UTC"


def test_its_error(world: World) -> None:
    """The fields of the ErrorResponse, when the server is ready again."""
    _client, server = world.pair()
    outcome = ask(server)
    server.say(error("no", "42601"))
    assert outcome == []
    server.say(READY)
    assert outcome[0] is not None
    assert (outcome[0]["C"], outcome[0]["M"]) == ("42601", "no")


def test_the_end_before_its_answer(world: World) -> None:
    """The outcome never arrives; the owner is notified of the loss."""
    _client, server = world.pair()
    outcome = ask(server)
    server.drop()
    assert outcome == []
    assert world.pool().servers == {}


# The end.


def test_closing(world: World) -> None:
    """Once, politely, and the owner knows at once."""
    _client, server = world.pair()
    server.hear()
    server.backend.close(CloseReason.PAUSED, detail="enough")
    assert world.pool().servers == {}
    server.backend.close(CloseReason.PAUSED, detail="once more")
    world.turn()
    assert server.is_gone()
    assert server.hear() == TERMINATE
    assert server.backend.close_text == "enough"
    assert world.logged("closing because: enough (age=0s)")
    assert world.reactor.event_loop.streams.get(server.transport.fileno()) is None


def test_bytes_after_the_end(world: World) -> None:
    """Whatever a closed server still says is not heard."""
    client, server = world.asking()
    server.backend.close(CloseReason.PAUSED, detail="enough")
    client.hear()
    server.backend.dataReceived(ANSWER)
    assert client.hear() == b""


# TLS.


def encrypting(world: World, mode: str = "prefer") -> FakeSide:
    """Have servers of a world be connected to by TLS."""
    side = FakeSide(mode)
    world.context.tls.server = lambda _spec: side  # type: ignore[assignment,method-assign,return-value]
    return side


def test_tls(world: World) -> None:
    """The start-up packet goes out after the handshake; the log tells of it."""
    side = encrypting(world, "verify-full")
    client = world.client()
    server = world.accept()
    assert server.hear() == encode.ssl_request()
    server.say(b"S")
    assert side.hosts == ["10.0.0.1"]
    assert server.hear() == b""
    finish(server, side)
    assert b"user\0app\0" in server.hear()
    server.log_in()
    assert server.backend.tls is FACTS
    assert world.logged(f"db/app@10.0.0.1:5432 SSL established: {FACTS.description}")
    client.say(query("SELECT 1"))
    assert server.hear() == query("SELECT 1")


def test_no_tls(world: World) -> None:
    """Declined where that is allowed, the login goes on without TLS."""
    encrypting(world)
    world.client()
    server = world.accept()
    server.hear()
    server.say(b"N")
    assert b"user\0app\0" in server.hear()
    server.log_in()
    assert server.backend.tls is None


@pytest.mark.parametrize("step", ["asking", "shaking hands"])
def test_no_tls_where_it_must_be(world: World, step: str) -> None:
    """The server is closed, without a byte of the login."""
    side = encrypting(world, "require")
    world.client()
    server = world.accept()
    server.hear()
    if step == "asking":
        server.say(b"N")
        reason = "server refused SSL"
    else:
        server.say(b"S")
        finish(server, side, OpenSSLError([("SSL routines", "", "bad")]))
        reason = "TLS handshake failed: bad"
    assert server.is_gone()
    assert server.hear() == b""
    assert world.logged(f"WARNING {server.backend.prefix} {reason}")
    assert world.logged(f"closing because: {reason} (age=0s)")


@pytest.mark.parametrize("logged_in", [False, True])
def test_an_alert_after_the_handshake(world: World, *, logged_in: bool) -> None:
    """As TLS 1.3 sends it for our certificate: log and client get it."""
    side = encrypting(world)
    client = world.client()
    server = world.accept()
    server.say(b"S")
    finish(server, side)
    if logged_in:
        server.log_in()
        client.hear()
        client.say(query("SELECT 1"))

    def refuse(_size: int) -> bytes:
        raise OpenSSLError([("SSL routines", "", "tlsv1 alert unknown ca")])

    side.connections[-1].recv = refuse  # type: ignore[method-assign, assignment]
    server.drop()
    reason = "TLS failed: tlsv1 alert unknown ca"
    assert world.logged(f"WARNING {server.backend.prefix} {reason}")
    if logged_in:
        assert server.backend.close_reason is CloseReason.CRASHED
        assert f"D{reason}.".encode() in client.hear()
    else:
        assert world.pool().failing == reason
        world.wait(100)
        assert f"DThe last login failed: {reason}.".encode() in client.hear()


def test_a_handshake_that_takes_too_long(world_of: WorldOf) -> None:
    """It ends by server_connect_timeout."""
    world = world_of(settings="server_connect_timeout = 3\nserver_tls_sslmode=disable")
    encrypting(world)
    world.client()
    server = world.accept()
    server.say(b"S")
    server.hear()
    world.wait(4)
    assert server.is_gone()
    assert server.hear() == b""
    assert server.backend.close_text == "connect timeout"


def test_unix_sockets_are_in_clear(world_of: WorldOf) -> None:
    """Whatever the mode."""
    world = world_of(databases="db = host=/tmp")
    encrypting(world, "require")
    world.client()
    server = world.accept()
    assert b"user\0app\0" in server.hear()
