"""What breaks the protocol is answered with the reference's text, and only that."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from testkit.pgwire import packet, startup
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102

ONE_INSTALLATION = True


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> Iterator[PgSwitch]:
    """Yield a pgswitch that trusts; another client must be undisturbed at the end."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction", max_packet_size=65536)
    with pooler.connect() as bystander:
        assert bystander.execute("SELECT 1").fetchone() == (1,)
        yield pooler
        assert bystander.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (packet(2 << 16, b"user\0"), "old V2 protocol not supported"),
        (packet(4 << 16), "bad packet header: '0000000800040000'"),
        (startup("database", "bench"), "no username supplied"),
        (
            startup("user", "trusted", "search_path", "x"),
            "unsupported startup parameter: search_path",
        ),
        (
            startup("user", "trusted", "options", "-c foo=1"),
            "unsupported startup parameter in options: foo",
        ),
        (
            startup("user", "trusted", "database", "nowhere"),
            "no such database: nowhere",
        ),
        (
            startup("user", "nobody", "database", "bench"),
            '"trust" authentication failed',
        ),
        (startup("user", "trusted", "database", "pgbouncer"), "not allowed"),
    ],
)
def test_first_packets(pooler: PgSwitch, first: bytes, text: str) -> None:
    """A login that cannot be is refused, then closed."""
    with RawClient(pooler.port) as client:
        client.send(first)
        fields = client.read_error()
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", text)
        assert client.is_closed()


@pytest.mark.parametrize(
    "first",
    [
        packet(CANCEL_REQUEST, b"\0\0\0\1\0\0\0\2"),
        query("SELECT 1"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_closed_without_a_word(pooler: PgSwitch, first: bytes) -> None:
    """A cancel request, or what is no first packet, gets no answer."""
    with RawClient(pooler.port) as client:
        client.send(first)
        assert client.is_closed()


@pytest.mark.parametrize("code", [SSL_REQUEST, GSSENC_REQUEST])
def test_encryption_is_declined(pooler: PgSwitch, code: int) -> None:
    """One byte N, then the login goes on unencrypted."""
    with RawClient(pooler.port) as client:
        client.send(packet(code))
        assert client.read_exactly(1) == b"N"
        client.log_in()
        client.send(query("SELECT 1"))
        assert client.read_until(b"Z")[-1] == (b"Z", b"I")


@pytest.mark.parametrize(
    ("code", "what"),
    [(SSL_REQUEST, "SSL request"), (GSSENC_REQUEST, "GSSAPI encryption request")],
)
def test_bytes_behind_an_encryption_request(
    pooler: PgSwitch, code: int, what: str
) -> None:
    """Bytes that an attacker may have injected are not taken for the client's."""
    with RawClient(pooler.port) as client:
        client.send(packet(code) + startup("user", "trusted", "database", "bench"))
        assert client.read_error()["M"] == f"received unencrypted data after {what}"


def test_protocol_3_9_is_negotiated(pooler: PgSwitch) -> None:
    """A newer protocol and its options are declined, and the login goes on."""
    with RawClient(pooler.port) as client:
        client.send(
            startup(
                *("user", "trusted", "database", "bench", "_pq_.x", "1"),
                version=196617,
            )
        )
        assert client.read_message() == (b"v", b"\0\3\0\0\0\0\0\1_pq_.x\0")
        client.read_until(b"Z")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Q\0\0\0\3", "bad packet header: '5100000003'"),
        (b"Q\x7f\xff\xff\xff", "bad packet header: '517fffffff'"),
        (b"Q\0\1\0\0", "bad packet header: '5100010000'"),
        (message(b"y"), "unknown pkt"),
        (message(b"p", b"secret\0"), "unknown pkt"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_after_login(pooler: PgSwitch, data: bytes, text: str, *, linked: bool) -> None:
    """The same, with and without a server."""
    with RawClient(pooler.port) as client:
        client.log_in()
        if linked:
            client.send(query("BEGIN"))
            client.read_until(b"Z")
        client.send(data)
        fields = client.read_error()
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", text)
        assert client.is_closed()


def test_a_second_start_up_packet(pgswitch: PgSwitchFactory) -> None:
    """While the password is awaited: refused at once."""
    pooler = pgswitch(auth_type="md5")
    with RawClient(pooler.port) as client:
        first = startup("user", "md5", "database", "bench")
        client.send(first)
        client.read_until(b"R")
        client.send(first)
        assert client.read_error()["M"] == "client re-sent startup pkt"
        assert client.is_closed()


def test_byte_by_byte(pooler: PgSwitch) -> None:
    """However slowly a message comes, it is understood, and costs no server before."""
    with RawClient(pooler.port) as client:
        for byte in startup("user", "trusted", "database", "bench"):
            client.send(bytes((byte,)))
        client.read_until(b"Z")
        text = query("SELECT 'slow'")
        for byte in text[:-1]:
            client.send(bytes((byte,)))
            threading.Event().wait(0.002)
        rows = pooler.console("SHOW POOLS")
        assert sum(row["sv_active"] for row in rows) == 0
        client.send(text[-1:])
        assert (b"D", b"\0\1\0\0\0\4slow") in client.read_until(b"Z")


def test_messages_that_need_no_server(pooler: PgSwitch) -> None:
    """Late COPY data and a Flush are dropped; the next query is answered."""
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(message(b"d", b"x" * 5000) + message(b"c") + message(b"H"))
        client.send(message(b"C", b"Snever\0"))
        assert client.read_message() == (b"3", b"")
        client.send(query("SELECT 1"))
        assert client.read_until(b"Z")[-1] == (b"Z", b"I")


def test_a_query_as_large_as_allowed(pgswitch: PgSwitchFactory) -> None:
    """Sixteen megabytes of text pass, in any number of pieces."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction")
    with pooler.connect() as client:
        text = "x" * (16 << 20)
        row = client.execute(f"SELECT length('{text}')".encode()).fetchone()
        assert row == (16 << 20,)
        row = client.execute("SELECT length(%s)", (text,), prepare=True).fetchone()
        assert row == (16 << 20,)


def test_limits_on_clients(pgswitch: PgSwitchFactory) -> None:
    """One client too many gets an error; the console still answers."""
    pooler = pgswitch(auth_type="trust", max_client_conn=2)
    with pooler.connect(), pooler.connect(), RawClient(pooler.port) as client:
        client.send(startup("user", "trusted", "database", "bench"))
        text = "no more connections allowed (max_client_conn)"
        assert client.read_error()["M"] == text
        assert pooler.console("SHOW VERSION") == [{"version": "PgBouncer 1.25.2"}]


def test_a_login_that_never_ends(pgswitch: PgSwitchFactory) -> None:
    """A client that does not log in within client_login_timeout is disconnected."""
    pooler = pgswitch(auth_type="plain", client_login_timeout=1)
    with RawClient(pooler.port) as silent, RawClient(pooler.port) as slow:
        slow.send(startup("user", "trusted", "database", "bench"))
        assert slow.read_error()["M"] == "client_login_timeout"
        assert silent.read_error()["M"] == "client_login_timeout"
