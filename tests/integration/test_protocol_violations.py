"""Clients that answer a login wrongly, send what cannot be, or send it very slowly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from testkit.pgwire import Message, packet, startup
from tests.fakes.messages import message, query
from tests.integration.running import (
    ADMIN,
    PASSWORDS,
    PgSwitch,
    PgSwitchFactory,
    RawClient,
)
from tests.waiting import wait_until

ONE_INSTALLATION = True

BENCH = ("user", "md5", "database", "bench")
LARGEST_PACKET = 65536


def fatal(client: RawClient, text: str) -> None:
    """Assert that the client reads this FATAL, then the end."""
    fields = client.read_error()
    assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", text)
    assert client.is_closed()


def md5_answer(user: str, password: str, challenge: bytes) -> bytes:
    """Return a PasswordMessage for AuthenticationMD5Password (manual, 55.2)."""
    assert challenge[:4] == b"\0\0\0\5"
    inner = hashlib.md5((password + user).encode()).hexdigest()
    digest = hashlib.md5(inner.encode() + challenge[4:]).hexdigest()
    return message(b"p", b"md5" + digest.encode() + b"\0")


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> Iterator[PgSwitch]:
    """Yield a pgswitch that trusts; another client must be undisturbed at the end."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=3,
        max_packet_size=LARGEST_PACKET,
    )
    with pooler.connect() as bystander:
        assert bystander.execute("SELECT 1").fetchone() == (1,)
        yield pooler
        assert bystander.execute("SELECT 2").fetchone() == (2,)


def test_md5_logins_that_fail(pgswitch: PgSwitchFactory) -> None:
    """Every client is asked for a password first; a wrong one gets the same error."""
    pooler = pgswitch(auth_type="md5")
    wrong = "password authentication failed"
    for user, database, password, text in (
        ("md5", "bench", "wrong", wrong),
        ("nobody", "bench", "wrong", wrong),
        ("md5", "nowhere", "wrong", wrong),
        ("md5", "nowhere", PASSWORDS["md5"], "no such database: nowhere"),
    ):
        with RawClient(pooler.port) as client:
            client.send(startup("user", user, "database", database))
            _, challenge = client.read_message()
            client.send(md5_answer(user, password, challenge))
            fatal(client, text)
    with RawClient(pooler.port) as client:
        client.send(startup(*BENCH))
        client.read_message()
        client.send(message(b"p", b"\0"))
        fatal(client, "empty password returned by client")
    with RawClient(pooler.port) as client:
        client.send(startup(*BENCH) + message(b"p", b"early\0"))
        assert client.read_message()[0] == b"R"
        fatal(client, wrong)
    with RawClient(pooler.port) as client:
        client.send(startup(*BENCH))
        _, challenge = client.read_message()
        client.send(md5_answer("md5", PASSWORDS["md5"], challenge))
        assert client.read_until(b"Z")[-1] == (b"Z", b"I")


def test_plain_logins_that_fail(pgswitch: PgSwitchFactory) -> None:
    """A cleartext password: wrong, empty, or for an unknown user."""
    pooler = pgswitch(auth_type="plain")
    wrong = "password authentication failed"
    for user, password, text in (
        ("md5", b"wrong\0", wrong),
        ("nobody", b"wrong\0", wrong),
        ("md5", b"\0", "empty password returned by client"),
    ):
        with RawClient(pooler.port) as client:
            client.send(startup("user", user, "database", "bench"))
            assert client.read_message() == (b"R", b"\0\0\0\3")
            client.send(message(b"p", password))
            fatal(client, text)


SCRAM_FIRST = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO"


def sasl_first(mechanism: bytes, text: bytes) -> bytes:
    """Return a SASLInitialResponse."""
    return message(b"p", mechanism + b"\0" + len(text).to_bytes(4, "big") + text)


def test_scram_first_messages(pgswitch: PgSwitchFactory) -> None:
    """What is no SCRAM ends the login; where the reference has no text, any FATAL."""
    pooler = pgswitch(auth_type="scram-sha-256")
    failed = "SASL authentication failed"
    for first, text in (
        (
            sasl_first(b"SCRAM-SHA-1", SCRAM_FIRST),
            "client selected an invalid SASL authentication mechanism",
        ),
        (sasl_first(b"SCRAM-SHA-256", b"nonsense"), failed),
        (sasl_first(b"SCRAM-SHA-256", b"y,,n=,r=a\xff"), failed),
        (sasl_first(b"SCRAM-SHA-256", b"p=tls-unique,,n=,r=abc"), failed),
        (message(b"p", b"SCRAM-SHA-256\0\0\0"), None),
        (message(b"p", b""), None),
    ):
        with RawClient(pooler.port) as client:
            client.send(startup(*BENCH))
            assert client.read_message()[0] == b"R"
            client.send(first)
            fields = client.read_error()
            assert (fields["S"], fields["C"]) == ("FATAL", "08P01")
            assert text is None or fields["M"] == text
            assert client.is_closed()


def test_scram_second_messages(pgswitch: PgSwitchFactory) -> None:
    """An invalid proof, or another nonce, is refused like a wrong password."""
    pooler = pgswitch(auth_type="scram-sha-256")
    for user in ("scram", "nobody"):
        for tail in (b",p=AAAA", b",p=!", b"", b"x,p=" + b"A" * 43 + b"="):
            with RawClient(pooler.port) as client:
                client.send(startup("user", user, "database", "bench"))
                client.read_message()
                client.send(sasl_first(b"SCRAM-SHA-256", SCRAM_FIRST))
                _, challenge = client.read_message()
                nonce = challenge[4:].split(b",")[0]
                client.send(message(b"p", b"c=biws," + nonce + tail))
                fatal(client, "SASL authentication failed")


ONLY_C = (
    "unsupported options startup parameter: "
    "only '-c config=val' and '--config=val' are allowed"
)
NO_TERMINATOR = "invalid startup packet layout: expected terminator as last byte"


STARTUPS = [
    (startup("user", "md5", "options", "-x 1"), ONLY_C),
    (startup("user", "md5", "options", "search_path=x"), ONLY_C),
    (
        startup("user", "md5", "options", "--foo=1"),
        "unsupported startup parameter in options: foo",
    ),
    (packet(196608, b"user\0md5\0"), NO_TERMINATOR),
    (packet(196608, b"user\0md5\0\0\0"), NO_TERMINATOR),
    (packet(196608, b"user\0md5\0database"), NO_TERMINATOR),
    (packet(196608), NO_TERMINATOR),
    (startup("user", "u" * 128, "database", "bench"), "username too long"),
    (startup("user", "", "database", "bench"), "no username supplied"),
    (startup("user", "md5", "database", "pgbouncer"), "not allowed"),
    (message(b"p", b"secret\0"), "client password pkt before startup packet"),
]


def test_startup_packets(pooler: PgSwitch) -> None:
    """Refused with the reference's text, whole or byte by byte."""
    for first, text in STARTUPS:
        for pieces in ([first], [first[i : i + 1] for i in range(len(first))]):
            with RawClient(pooler.port) as client:
                for piece in pieces:
                    with suppress(ConnectionError):
                        client.send(piece)
                fatal(client, text)


def test_options_that_are_understood(pooler: PgSwitch) -> None:
    """-c, its short form and -- set what is tracked."""
    for options in ("-c TimeZone=Asia/Tokyo", "-ctimezone=Asia/Tokyo"):
        with pooler.connect(options=options) as client:
            assert client.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
    with pooler.connect(options=r"--application_name=two\ words") as client:
        row = client.execute("SHOW application_name").fetchone()
        assert row == ("two words",)


def test_closed_without_a_word(pooler: PgSwitch) -> None:
    """Cancel requests of another length, and what is no first packet."""
    for first in (
        packet(80877102, b"\0\0\0\1"),
        packet(80877102, b"\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    ):
        with RawClient(pooler.port) as client:
            client.send(first)
            assert client.is_closed()


def test_half_a_first_packet(pgswitch: PgSwitchFactory) -> None:
    """Who sends a length and no more is waited for, until client_login_timeout."""
    pooler = pgswitch(auth_type="trust", client_login_timeout=1)
    for first in (b"\0\0\0\4", b"\0", startup(*BENCH)[:-1]):
        with RawClient(pooler.port) as client:
            client.send(first)
            client.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.read_exactly(1)
            client.socket.settimeout(5)
            fatal(client, "client_login_timeout")


def test_broken_messages(pooler: PgSwitch) -> None:
    """A name that does not end is refused here; no server sees it."""
    for data, name in (
        (message(b"P", b"name"), "Parse"),
        (message(b"P", b"name\0SELECT 1"), "Parse"),
        (message(b"B", b"\0name"), "Bind"),
        (message(b"D", b"Sname"), "Describe"),
        (message(b"C", b"Sname"), "Close"),
    ):
        with RawClient(pooler.port) as client:
            client.log_in("md5")
            client.send(data + message(b"S"))
            fatal(client, f"broken {name} packet")
        assert pooler.execute("SELECT 1", user="md5") == [(1,)]


def test_a_type_for_each_byte(pooler: PgSwitch) -> None:
    """Whatever the first byte of a message: an answer or the end, never a hang."""
    known = b"QPBECDHSFXdcf"
    for number in range(256):
        kind = bytes((number,))
        if kind in known:
            continue
        with RawClient(pooler.port) as client:
            client.log_in("md5")
            client.send(message(kind, b"1234"))
            fields = client.read_error()
            assert fields["S"] == "FATAL", kind
            assert fields["M"] == "unknown pkt" or (
                kind == b"\0" and fields["M"].startswith("bad packet header: '00")
            ), kind
            assert client.is_closed()
    wait_until(
        lambda: not any(row["user"] == "md5" for row in pooler.console("SHOW CLIENTS")),
        "the clients to be forgotten",
    )


def test_too_long_in_the_middle_of_something(pooler: PgSwitch) -> None:
    """A message over max_packet_size costs the server its transaction, and no other."""
    with RawClient(pooler.port) as client:
        client.log_in("md5")
        client.send(message(b"P", b"\0SELECT 1\0\0\0") + b"B\x10\0\0\0")
        fatal(client, "bad packet header: '4210000000'")
    pooler.wait_for_log("client disconnect")
    assert pooler.execute("SELECT 1", user="md5") == [(1,)]


def test_the_largest_packet(pooler: PgSwitch) -> None:
    """max_packet_size itself passes, one byte more does not."""
    room = LARGEST_PACKET - len(query("SELECT ''"))
    largest, too_long = (query(f"SELECT '{'x' * n}'") for n in (room, room + 1))
    assert len(largest) == LARGEST_PACKET
    with RawClient(pooler.port) as client:
        client.log_in("md5")
        client.send(largest)
        assert client.read_until(b"Z")[-1] == (b"Z", b"I")
        client.send(too_long[:5])
        assert client.read_error()["M"].startswith("bad packet header: '5100")
        assert client.is_closed()


def test_the_console_and_garbage(pooler: PgSwitch) -> None:
    """The same length limits apply to a console session."""
    for data in (b"Q\0\0\0\3", b"Q\x7f\xff\xff\xff"):
        with RawClient(pooler.port) as client:
            client.log_in(ADMIN, "pgbouncer")
            client.send(data)
            fatal(client, f"bad packet header: '{data.hex()}'")


def test_slow_in_every_state(pooler: PgSwitch) -> None:
    """Login, extended query and COPY arrive byte by byte and are understood."""
    create = query("CREATE TEMP TABLE slow (a int)")
    copy = query("COPY slow FROM STDIN")
    rows = message(b"d", b"1\n2\n") + message(b"d", b"3\n") + message(b"c")
    extended = (
        message(b"P", b"s\0SELECT sum(a) FROM slow\0\0\0")
        + message(b"B", b"\0s\0\0\0\0\0\0\0")
        + message(b"E", b"\0\0\0\0\0")
        + message(b"S")
    )
    with RawClient(pooler.port) as client:

        def slowly(data: bytes, until: bytes) -> list[Message]:
            for byte in data:
                client.send(bytes((byte,)))
            return client.read_until(until)

        slowly(startup(*BENCH), b"Z")
        slowly(query("BEGIN"), b"Z")
        slowly(create, b"Z")
        slowly(copy, b"G")
        assert slowly(rows, b"Z")[0] == (b"C", b"COPY 3\0")
        kinds = slowly(extended, b"Z")
        assert (b"D", b"\0\1\0\0\0\0016") in kinds
        assert slowly(query("ROLLBACK"), b"Z")[-1] == (b"Z", b"I")


def test_limits_on_clients_of_one_kind(pgswitch: PgSwitchFactory) -> None:
    """The limits of a database and of a user have texts of their own."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{entry} max_db_client_connections=1", "other": entry},
        auth_type="trust",
        sections={"users": {"md5": "max_user_client_connections=1"}},
    )
    with pooler.connect(user="scram"):
        with pytest.raises(
            psycopg.OperationalError,
            match=r"client connections exceeded \(max_db_client_connections\)",
        ):
            pooler.connect(user="trusted")
        with (
            pooler.connect(user="md5", database="other"),
            pytest.raises(
                psycopg.OperationalError,
                match=r"client connections exceeded \(max_user_client_connections\)",
            ),
        ):
            pooler.connect(user="md5", database="other")
    wait_until(
        lambda: all(
            row["current_client_connections"] == 0
            for row in pooler.console("SHOW DATABASES")
            if row["name"] == "bench"
        ),
        "the client to be forgotten",
    )
    assert pooler.execute("SELECT 1", user="md5") == [(1,)]
