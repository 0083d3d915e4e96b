"""TLS to servers: modes, whose certificate it is, direct, cancel requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import SSL_REQUEST
from tests.integration.running import PgSwitch, PgSwitchFactory
from tests.integration.tls import HOST, OTHER_HOST, Certificates
from tests.waiting import wait_until

EACH_TLS_INSTALLATION = True

IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
DIRECT_SINCE = 17
"""The first version of PostgreSQL that takes a handshake without being asked."""
WAIT_S = "1"
"""client_login_timeout of poolers whose servers cannot be used."""


def begun(
    factory: PgSwitchFactory,
    entry: str,
    **settings: Any,  # noqa: ANN401 - any setting
) -> PgSwitch:
    """Return a running pooler with this entry for each database."""
    return factory(
        {"bench": entry, "other": entry},
        client_login_timeout=WAIT_S,
        server_login_retry="0.2",
        **settings,
    )


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca"])
def test_encrypting_modes(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
    mode: str,
) -> None:
    """They accept any subject, as long as the certificate may be any."""
    pooler = begun(
        tls_pgswitch,
        f"host={OTHER_HOST} port={tls_postgres.port}",
        server_tls_sslmode=mode,
        server_tls_ca_file=str(certificates.root) if mode == "verify-ca" else "",
    )
    assert pooler.execute(IS_ENCRYPTED) == [(True,)]
    [row] = pooler.console("SHOW SERVERS")
    assert row["tls"].startswith("TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=")
    assert f"SSL established: {row['tls']}" in pooler.log_text()


def test_verify_full(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
) -> None:
    """By name and by address; each host of a list separately; others are refused."""
    port = tls_postgres.port
    entries = {
        "name": f"host={HOST}",
        "address": "host=127.0.0.1",
        "list": f"host={HOST},127.0.0.1",
        "wrong": f"host={OTHER_HOST}",
    }
    pooler = tls_pgswitch(
        {name: f"{host} port={port} dbname=bench" for name, host in entries.items()},
        client_login_timeout=WAIT_S,
        server_tls_sslmode="verify-full",
        server_tls_ca_file=str(certificates.root),
        default_pool_size=2,
    )
    for name in ("name", "address", "list"):
        assert pooler.execute(IS_ENCRYPTED, database=name) == [(True,)]
    with (
        pooler.connect(database="list") as one,
        pooler.connect(database="list") as two,
        one.transaction(),
        two.transaction(),
    ):
        for connection in (one, two):
            assert connection.execute(IS_ENCRYPTED).fetchone() == (True,)
    with pytest.raises(psycopg.OperationalError):
        pooler.execute("SELECT 1", database="wrong")
    pooler.wait_for_log(
        "TLS handshake failed: server certificate for 'localhost' does not"
        f" match host name '{OTHER_HOST}'"
    )


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_another_authority(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
    mode: str,
) -> None:
    """A certificate that no trusted authority signed is refused."""
    pooler = begun(
        tls_pgswitch,
        f"host={HOST} port={tls_postgres.port}",
        server_tls_sslmode=mode,
        server_tls_ca_file=str(certificates.stranger.path),
    )
    with pytest.raises(psycopg.OperationalError):
        pooler.execute("SELECT 1")
    pooler.wait_for_log("TLS handshake failed: certificate verify failed (")


def test_a_certificate_that_the_server_refuses(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
) -> None:
    """With TLS 1.3 its alert comes after our handshake is done; it is logged."""
    certificate, key = certificates.foreign
    pooler = begun(
        tls_pgswitch,
        f"host={HOST} port={tls_postgres.port}",
        server_tls_sslmode="require",
        server_tls_cert_file=str(certificate),
        server_tls_key_file=str(key),
    )
    reason = "tlsv1 alert unknown ca"
    with pytest.raises(psycopg.OperationalError, match=reason):
        pooler.execute("SELECT 1")
    assert reason in pooler.log_text()


def test_disabled(tls_pgswitch: PgSwitchFactory, tls_postgres: PostgresServer) -> None:
    """Nothing is asked for; the server says what it thinks of that."""
    pooler = begun(
        tls_pgswitch,
        f"host={HOST} port={tls_postgres.port}",
        server_tls_sslmode="disable",
    )
    assert pooler.execute(IS_ENCRYPTED, database="other") == [(False,)]
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        pooler.execute(IS_ENCRYPTED)


def test_a_line_of_its_own(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
) -> None:
    """Its keys replace the settings: mode, authority, our certificate."""
    certificate, key = certificates.client
    where = f"host={HOST} port={tls_postgres.port} dbname=bench"
    pooler = tls_pgswitch(
        {
            "own": f"{where} user=certified server_tls_sslmode=verify-full"
            f" server_tls_ca_file={certificates.root}"
            f" server_tls_cert_file={certificate} server_tls_key_file={key}",
            "other": f"host={HOST} port={tls_postgres.port}",
        },
        server_tls_sslmode="disable",
    )
    assert pooler.execute(
        "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()", database="own"
    ) == [("/CN=certified",)]
    assert pooler.execute(IS_ENCRYPTED, database="other") == [(False,)]


def test_unix_sockets(
    tls_pgswitch: PgSwitchFactory, tls_postgres: PostgresServer
) -> None:
    """They have no TLS, whatever the mode."""
    pooler = begun(
        tls_pgswitch,
        f"host={tls_postgres.directory} port={tls_postgres.port} user=postgres",
        server_tls_sslmode="require",
    )
    assert pooler.execute(IS_ENCRYPTED) == [(False,)]


def test_direct(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
) -> None:
    """PostgreSQL 17 takes a handshake at once; older ones hang up."""
    pooler = begun(
        tls_pgswitch,
        f"host={HOST} port={tls_postgres.port} sslnegotiation=direct",
        server_tls_sslmode="verify-full",
        server_tls_ca_file=str(certificates.root),
    )
    if tls_postgres.installation.major >= DIRECT_SINCE:
        assert pooler.execute(IS_ENCRYPTED) == [(True,)]
        return
    with pytest.raises(psycopg.OperationalError):
        pooler.execute("SELECT 1")
    pooler.wait_for_log("TLS handshake failed: connection closed")


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_cancelling(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
    negotiation: str,
) -> None:
    """A cancel request goes the encrypted way too, and arrives."""
    if negotiation == "direct" and tls_postgres.installation.major < DIRECT_SINCE:
        return  # test_direct tells what becomes of it.
    pooler = tls_pgswitch(
        {"bench": f"host={HOST} port={tls_postgres.port} sslnegotiation={negotiation}"},
        server_tls_sslmode="verify-full",
        server_tls_ca_file=str(certificates.root),
        **certificates.for_clients(),
    )
    with pooler.connect(sslmode="require") as connection:
        connection.execute("SELECT 1")
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(30)")
        timer.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    pooler.wait_for_log("closing because: successfully sent cancel request")


# Servers that answer otherwise.


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Yield a port that answers each SSLRequest so, and what was said to it then."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                assert connection.recv(100) == SSL_REQUEST
                connection.sendall(answer)
                heard.append(connection.recv(1000))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    ("mode", "answer", "reason"),
    [
        ("require", b"N", "server refused SSL"),
        ("prefer", b"SR\0\0\0\x08\0\0\0\0", "received unencrypted data after SSL resp"),
        ("prefer", b"E\0\0\0\5x", "bad sslreq answer"),
    ],
)
def test_refused(
    tls_pgswitch: PgSwitchFactory, mode: str, answer: bytes, reason: str
) -> None:
    """No startup packet is sent unencrypted, and nothing injected is believed."""
    with answering(answer) as (port, heard):
        pooler = begun(
            tls_pgswitch, f"host=127.0.0.1 port={port}", server_tls_sslmode=mode
        )
        with pytest.raises(psycopg.OperationalError):
            pooler.execute("SELECT 1")
        pooler.wait_for_log(f"closing because: {reason}")
        pooler.stop()
    assert set(heard) == {b""}


def test_declined(tls_pgswitch: PgSwitchFactory) -> None:
    """With prefer the login to a server without TLS is unencrypted."""
    with answering(b"N") as (port, heard):
        pooler = begun(tls_pgswitch, f"host=127.0.0.1 port={port}")
        with pytest.raises(psycopg.OperationalError):
            pooler.execute("SELECT 1")
        wait_until(lambda: heard, "the start-up packet")
        pooler.stop()
    assert b"user\0scram\0" in heard[0]
