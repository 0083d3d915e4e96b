"""Clients that never log in: how much memory they can take, and whom they disturb."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.processes import Account, hand_over
from testkit.pgwire import startup
from tests.fakes.messages import message
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True
CROWD = 2000
LIMIT = 16384
LOGIN = startup("user", "scram", "database", "bench")
KIB = 1024


def memory_kib(pooler: PgSwitch) -> int:
    """Return the resident memory of the process."""
    status = Path(f"/proc/{pooler.child.pid}/status").read_text()
    line = next(one for one in status.splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1])


@contextmanager
def crowd(pooler: PgSwitch, packets: list[bytes]) -> Iterator[list[socket.socket]]:
    """Open CROWD connections that send one of these and then nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * CROWD + 500), hard))
    with ExitStack() as held:
        opened: list[socket.socket] = []
        for number in range(CROWD):
            one = held.enter_context(socket.socket())
            one.connect(("127.0.0.1", pooler.port))
            one.sendall(packets[number % len(packets)])
            opened.append(one)
        yield opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_crowd_at_the_door(pgswitch: PgSwitchFactory) -> None:
    """2,000 half-open logins: present clients are served, an admin gets in, all end."""
    pooler = pgswitch(
        max_client_conn=CROWD + 100,
        client_login_timeout=8,
        listen_backlog=CROWD,
        tcp_defer_accept=0,
        log_connections=0,
        log_disconnections=0,
        log_pooler_errors=0,
    )
    with pooler.connect() as inside:
        inside.execute("SELECT 1")
        before = memory_kib(pooler)
        half = message(b"p", b"SCRAM-SHA-256\0" + b"\0\0\x3f\0" + b"n" * 4000)[:4000]
        with crowd(pooler, [b"", b"\0", LOGIN[:-3], LOGIN, LOGIN + half]) as waiting:
            slowest = 0.0
            for _ in range(200):
                begun = time.monotonic()
                assert inside.execute("SELECT 2").fetchone() == (2,)
                slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 1, slowest
            with pooler.connect() as another:
                assert another.execute("SELECT 3").fetchone() == (3,)
            assert pooler.console("SHOW LISTS")
            grown = memory_kib(pooler) - before
            assert grown / CROWD < 2 * LIMIT / KIB, f"{grown} KiB for {CROWD}"
            for one in (waiting[0], waiting[-1]):
                one.settimeout(30)
                data = b""
                while chunk := one.recv(65536):
                    data += chunk
                assert b"client_login_timeout" in data
        assert inside.execute("SELECT 4").fetchone() == (4,)


def test_a_crowd_of_passwords(
    pgswitch: PgSwitchFactory, directory: Path, account: Account | None
) -> None:
    """More than a slow directory can check: no client gets a "wrong password".

    A known user gets the same error as an unknown one; and clients that need no
    directory get in.
    """
    pytest.importorskip("ldap3")
    with socket.create_server(("127.0.0.1", 0), backlog=CROWD) as silent:
        port = silent.getsockname()[1]
        hba = directory / "hba"
        # Each of them takes three seconds to be given up.
        servers = " ".join(["127.0.0.1"] * 5)
        options = f'ldapserver="{servers}" ldapport={port} ldapprefix="cn="'
        hba.write_text(f"host all trusted all trust\nhost all all all ldap {options}\n")
        hand_over(hba, account)
        pooler = pgswitch(
            auth_type="hba",
            auth_hba_file=str(hba),
            max_client_conn=CROWD + 100,
            listen_backlog=CROWD,
            log_connections=0,
            log_disconnections=0,
        )
        password = message(b"p", b"secret\0")
        with crowd(pooler, [LOGIN + password]):
            pooler.wait_for_log("WARNING authentication queue is full")
            for user in ("scram", "nobody"):
                with RawClient(pooler.port) as client:
                    client.send(startup("user", user, "database", "bench") + password)
                    fields = client.read_error()
                    assert fields["C"] == "53300"
                    assert fields["M"] == "too many logins at once"
            assert pooler.execute("SELECT 1", user="trusted") == [(1,)]
        assert pooler.log_text().count("authentication queue is full") == 1
        pooler.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\x40\x01\0\3\0\0",  # a start-up packet of 16385 bytes
        b"\0\0\xff\xff\0\3\0\0",
        LOGIN + b"p\0\1\0\0",  # a password of 64 KiB
        LOGIN + b"p\x7f\xff\xff\xff",
    ],
)
def test_oversize_everything(pgswitch: PgSwitchFactory, data: bytes) -> None:
    """Refused by the header alone, before anything is kept."""
    pooler = pgswitch()
    with RawClient(pooler.port) as client:
        client.send(data)
        assert client.read_error()["M"].startswith("bad packet header")
        assert client.is_closed()
    assert pooler.execute("SELECT 1") == [(1,)]


def test_names_and_parameters(pgswitch: PgSwitchFactory) -> None:
    """NUL inside a name ends it; a parameter given twice counts as last given."""
    pooler = pgswitch(auth_type="trust")
    with RawClient(pooler.port) as client:
        client.send(startup("user", "trusted\0database", "database", "bench"))
        assert client.read_error()["M"].startswith("invalid startup packet layout")
    with RawClient(pooler.port) as client:
        client.send(startup("user", "nobody", "user", "trusted", "database", "bench"))
        client.read_until(b"Z")


def test_too_many(pgswitch: PgSwitchFactory) -> None:
    """The text of max_client_conn; the console is open all the same."""
    pooler = pgswitch(max_client_conn=2)
    with RawClient(pooler.port) as one, RawClient(pooler.port) as two:
        for client in (one, two):
            client.send(LOGIN)
            client.read_message()
        with pytest.raises(psycopg.OperationalError, match="max_client_conn"):
            pooler.connect()
        assert pooler.console("SHOW VERSION")


def test_wrong_passwords_lock_no_user_out(pgswitch: PgSwitchFactory) -> None:
    """However often a stranger guesses, the user itself gets in at once."""
    pooler = pgswitch(default_pool_size=1)
    for _ in range(30):
        with pytest.raises(psycopg.OperationalError):
            pooler.connect(password="guess")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_a_user_is_taken_out(pgswitch: PgSwitchFactory) -> None:
    """It is refused without any RELOAD, though its servers are open and idle."""
    pooler = pgswitch(pool_mode="transaction")
    assert pooler.execute("SELECT 1") == [(1,)]
    pooler.write_users({"plain": "plain-secret", "admin": "admin-secret"})

    def is_refused() -> bool:
        try:
            pooler.connect().close()
        except psycopg.OperationalError as error:
            return "SASL authentication failed" in str(error)
        return False

    wait_until(is_refused, "the end of a user")
    assert pooler.execute("SELECT 1", user="plain") == [(1,)]
