"""TLS to clients: modes, certificates, what is refused, what RELOAD changes."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, ChildFailed
from testkit.pgwire import GSSENC_REQUEST, SSL_REQUEST, startup
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.tls import HOST, Certificates, TlsClient
from tests.tls_files import Authority

LOGIN = startup("user", "trusted", "database", "bench")


def connect(
    pooler: PgSwitch, certificates: Certificates, mode: str, **options: str
) -> psycopg.Connection:
    """Connect as libpq does, by name, with our authority for the only one."""
    given = {
        "host": HOST,
        "hostaddr": "127.0.0.1",
        "sslmode": mode,
        "sslrootcert": str(certificates.root),
        "gssencmode": "disable",
    }
    return pooler.connect(**(given | options))


def is_encrypted(connection: psycopg.Connection) -> bool:
    """Tell whether a client's connection to us is."""
    return bool(connection.pgconn.ssl_in_use)


@pytest.mark.parametrize(
    ("mode", "in_clear", "encrypted"),
    [
        ("disable", True, False),
        ("allow", True, True),
        ("prefer", True, True),
        ("require", False, True),
    ],
)
def test_modes(
    tls_pgswitch: PgSwitchFactory,
    certificates: Certificates,
    mode: str,
    *,
    in_clear: bool,
    encrypted: bool,
) -> None:
    """Who gets in how; on the unix socket never by TLS, and always without."""
    pooler = tls_pgswitch(**certificates.for_clients(mode))
    if in_clear:
        with connect(pooler, certificates, "disable") as connection:
            assert not is_encrypted(connection)
            assert connection.execute("SELECT 1").fetchone() == (1,)
    else:
        with pytest.raises(psycopg.OperationalError, match="SSL required"):
            connect(pooler, certificates, "disable")
    if encrypted:
        with connect(pooler, certificates, "verify-full") as connection:
            assert is_encrypted(connection)
            assert connection.execute("SELECT 1").fetchone() == (1,)
    else:
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            connect(pooler, certificates, "require")
    with pooler.connect(host=str(pooler.directory), sslmode="prefer") as connection:
        assert not is_encrypted(connection)


def test_what_is_told(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates
) -> None:
    """SHOW CLIENTS, and the line of the login, name version, cipher and curve."""
    pooler = tls_pgswitch(
        **certificates.for_clients(
            client_tls_protocols="tlsv1.3",
            client_tls13_ciphers="TLS_AES_128_GCM_SHA256",
            client_tls_ecdhcurve="prime256v1",
        )
    )
    words = "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=prime256v1"
    with connect(pooler, certificates, "require") as connection:
        connection.execute("SELECT 1")
        own = pooler.connect(
            "admin", "pgbouncer", sslmode="require", row_factory=psycopg.rows.dict_row
        )
        with own:
            rows: list[Any] = own.execute("SHOW CLIENTS").fetchall()
    assert [row["tls"] for row in rows] == [words, words]
    assert f"login attempt: db=bench user=scram tls={words} replication=no" in (
        pooler.log_text()
    )


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_client_certificates(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, mode: str
) -> None:
    """Below verify-ca they are optional; one that is shown must be good everywhere."""
    pooler = tls_pgswitch(
        **certificates.for_clients(mode, client_tls_ca_file=str(certificates.root))
    )
    good, foreign = (
        {"sslcert": str(pair[0]), "sslkey": str(pair[1])}
        for pair in (certificates.client, certificates.foreign)
    )
    nothing = {"sslcert": "/missing", "sslkey": "/missing"}
    with connect(pooler, certificates, "require", **good) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        connect(pooler, certificates, "require", **foreign)
    pooler.wait_for_log("TLS handshake failed: certificate verify failed (")
    if mode == "require":
        connect(pooler, certificates, "require", **nothing).close()
    else:
        with pytest.raises(psycopg.OperationalError):
            connect(pooler, certificates, "require", **nothing)
        pooler.wait_for_log("peer did not return a certificate")


def test_direct(tls_pgswitch: PgSwitchFactory, certificates: Certificates) -> None:
    """Without an SSLRequest; another protocol's ALPN is refused, none is not."""
    pooler = tls_pgswitch(auth_type="trust", **certificates.for_clients())
    with connect(
        pooler, certificates, "require", sslnegotiation="direct"
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    for alpn, chosen in ((("http/1.1", "postgresql"), "postgresql"), ((), None)):
        with TlsClient(pooler.port) as client:
            client.start_tls(certificates, alpn=alpn)
            assert client.tls.selected_alpn_protocol() == chosen
            client.log_in()
    refused = pytest.raises(OSError, match="no application protocol")
    with TlsClient(pooler.port) as client, refused:
        client.start_tls(certificates, alpn=("http/1.1",))


def test_drivers(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
) -> None:
    """Other clients than psycopg's libpq: asyncpg's own TLS, the psql of PostgreSQL."""
    pooler = tls_pgswitch(**certificates.for_clients("require"))

    async def ask() -> Any:  # noqa: ANN401 - what the driver returns
        connection = await asyncpg.connect(
            pooler.dsn() + f"?sslmode=verify-full&sslrootcert={certificates.root}"
        )
        answer = await connection.fetchval("SELECT $1::int + 6", 4)
        await connection.close()
        return answer

    assert asyncio.run(ask()) == 10
    url = pooler.dsn() + f"?sslmode=verify-full&sslrootcert={certificates.root}"
    done = subprocess.run(
        [tls_postgres.installation.program("psql"), "-XAtc", "SELECT 5", url],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "5\n"


def test_large_results_and_copies(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates
) -> None:
    """More than any buffer holds, in both directions, byte for byte."""
    pooler = tls_pgswitch(**certificates.for_clients())
    lines = "".join(f"{number} {'x' * 500}\n" for number in range(8_000))
    with connect(pooler, certificates, "require") as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TEMP TABLE sink (line text)")
        with connection.transaction():
            cursor.execute("CREATE TEMP TABLE lines (line text) ON COMMIT DROP")
            with cursor.copy("COPY lines FROM STDIN") as copy:
                copy.write(lines)
            with cursor.copy("COPY lines TO STDOUT") as copy:
                got = b"".join(bytes(chunk) for chunk in copy)
    assert got == lines.encode()


# Hostile clients.


@pytest.fixture
def trusting(tls_pgswitch: PgSwitchFactory, certificates: Certificates) -> PgSwitch:
    """Return a pooler that asks for no password."""
    return tls_pgswitch(auth_type="trust", **certificates.for_clients("prefer"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (SSL_REQUEST + LOGIN, "received unencrypted data after SSL request"),
        (SSL_REQUEST + b"\x16", "received unencrypted data after SSL request"),
        (
            GSSENC_REQUEST + LOGIN,
            "received unencrypted data after GSSAPI encryption request",
        ),
    ],
)
def test_bytes_before_tls(trusting: PgSwitch, data: bytes, text: str) -> None:
    """Plain bytes that follow the request are refused, not taken for encrypted."""
    with RawClient(trusting.port) as client:
        client.send(data)
        assert client.read_error()["M"] == text
        assert client.is_closed()


def test_a_request_inside_tls(trusting: PgSwitch, certificates: Certificates) -> None:
    """Closed without a word."""
    with TlsClient(trusting.port) as client:
        client.ask_for_tls(certificates)
        client.send(SSL_REQUEST)
        assert client.is_closed()
    trusting.wait_for_log("closing because: SSL req inside SSL")


@pytest.mark.parametrize(
    "data",
    [LOGIN, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(70_000)],
    ids=["in clear", "other protocol", "oversize"],
)
def test_no_handshake(
    trusting: PgSwitch, certificates: Certificates, data: bytes
) -> None:
    """Whatever is no handshake ends the connection; nothing of it is a login."""
    with TlsClient(trusting.port) as client:
        client.send(SSL_REQUEST)
        assert client.read_exactly(1) == b"S"
        client.send(data)
        # An unencrypted alert may come first.
        assert b"R\0\0\0" not in client.rest()
    trusting.wait_for_log("closing because: TLS handshake failed: ")
    with connect(trusting, certificates, "require") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_half_open_handshakes(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates
) -> None:
    """A client that stalls in one delays no other, and is closed after a while."""
    pooler = tls_pgswitch(
        auth_type="trust",
        max_client_conn=300,
        client_login_timeout=2,
        **certificates.for_clients(),
    )
    hello = half_a_handshake(certificates)
    with ExitStack() as strangers:
        slow = []
        for cut in range(100):
            stranger = strangers.enter_context(RawClient(pooler.port))
            stranger.send(SSL_REQUEST)
            assert stranger.read_exactly(1) == b"S"
            stranger.send(hello[: cut * len(hello) // 100])
            slow.append(stranger)
        with connect(pooler, certificates, "require") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert all(stranger.is_closed() for stranger in slow)
    assert pooler.log_text().count("closing because: client_login_timeout") == 100


def test_an_endless_handshake(trusting: PgSwitch, certificates: Certificates) -> None:
    """Of a first message that is too long no more is kept than of a login's."""
    hello = b"\x01\x01\xff\xff\3\3" + bytes(100_000)
    pieces = [hello[at : at + 1000] for at in range(0, len(hello), 1000)]
    with TlsClient(trusting.port) as client:
        client.send(SSL_REQUEST)
        assert client.read_exactly(1) == b"S"
        with suppress(ConnectionError):
            for piece in pieces:
                client.send(b"\x16\3\1" + len(piece).to_bytes(2, "big") + piece)
        assert client.is_closed()
    trusting.wait_for_log("closing because: TLS handshake failed: more than 16384 byte")
    with connect(trusting, certificates, "require") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def half_a_handshake(certificates: Certificates) -> bytes:
    """Return the first record of a client's handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(certificates.root))
    client = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# Files and settings that change, or are no good.


def test_reload(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, directory: Path
) -> None:
    """New files are for new connections; old ones go on; broken ones change nothing."""
    own = directory / "own"
    own.mkdir()
    authority = Authority(own)
    pair = certificates.owned(*authority.issue("pooler", hosts=[HOST]))
    own.chmod(0o755)
    trusted = {"sslrootcert": str(authority.path)}
    pooler = tls_pgswitch(
        client_tls_sslmode="require",
        client_tls_cert_file=str(pair[0]),
        client_tls_key_file=str(pair[1]),
    )
    before = connect(pooler, certificates, "verify-full", **trusted)
    server = before.execute("SELECT pg_backend_pid()").fetchone()

    certificates.owned(*authority.issue("pooler", hosts=["other.example.com"]))
    pooler.reload()
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        connect(pooler, certificates, "verify-full", **trusted)
    with connect(pooler, certificates, "verify-ca", **trusted) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    pair[1].write_text("garbage")
    pooler.reload()
    pooler.wait_for_log(
        "ERROR TLS configuration could not be reloaded, keeping old configuration"
    )
    connect(pooler, certificates, "verify-ca", **trusted).close()
    with before:
        assert before.execute("SELECT pg_backend_pid()").fetchone() == server


def test_set(tls_pgswitch: PgSwitchFactory, certificates: Certificates) -> None:
    """SET acts at once; a value that cannot changes nothing and gives a notice."""
    pooler = tls_pgswitch(**certificates.for_clients("prefer"))
    notices: list[str | None] = []
    with pooler.connect("admin", "pgbouncer", sslmode="require") as console:
        console.add_notice_handler(lambda told: notices.append(told.message_primary))
        console.execute("SET client_tls_sslmode = 'require'")
        assert notices == []
        with pytest.raises(psycopg.OperationalError, match="SSL required"):
            connect(pooler, certificates, "disable")
        console.execute("SET client_tls_key_file = '/no/such/file'")
    assert notices == [
        "TLS settings could not be applied, still using old configuration"
    ]
    connect(pooler, certificates, "require").close()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"client_tls_key_file": ""}, "client_tls_sslmode needs client_tls_key_file"),
        (
            {"client_tls_cert_file": "/no/such/file"},
            "could not read client_tls_cert_file=/no/such/file: No such file or d",
        ),
        (
            {"server_tls_sslmode": "verify-ca", "server_tls_ca_file": "/no/such/file"},
            "could not read server_tls_ca_file=/no/such/file: No such file or d",
        ),
        (
            {"client_tls13_ciphers": "nonsense"},
            "failed to set the TLSv1.3 cipher suites client_tls13_ciphers=nonsense: no",
        ),
        ({"client_tls_ciphers": "nonsense"}, "client_tls_ciphers=nonsense: no cipher"),
        (
            {"server_tls_key_file": "/no/such/file"},
            "server_tls_key_file and server_tls_cert_file belong together",
        ),
    ],
)
def test_no_start(
    tls_pgswitch: PgSwitchFactory,
    certificates: Certificates,
    settings: dict[str, Any],
    text: str,
) -> None:
    """The process ends with the reference's words, and the cause before them."""
    pooler = tls_pgswitch(start=False, **(certificates.for_clients() | settings))
    with pytest.raises(ChildFailed):
        pooler.start()
    log = pooler.log_text()
    assert "FATAL TLS setup failed" in log
    assert f"ERROR TLS setup failed: {text}" in log


def test_keys_of_root(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, account: Account | None
) -> None:
    """A key that only root can read is read before the user is switched."""
    if account is None:
        pytest.skip("needs root")
    certificate, key = certificates.authority.issue("rooted", hosts=[HOST])
    pooler = tls_pgswitch(
        client_tls_sslmode="require",
        client_tls_cert_file=str(certificate),
        client_tls_key_file=str(key),
    )
    with connect(pooler, certificates, "verify-full") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
