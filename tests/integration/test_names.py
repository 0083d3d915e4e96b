"""Servers by name: many addresses, changes, failures, and other places than TCP."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, subdirectory
from testkit.pgwire import startup
from tests.integration.name_server import NameServer
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True
FIRST, SECOND, DEAD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture
def names(directory: Path) -> Iterator[NameServer]:
    """Yield a name server."""
    folder = directory / "names"
    folder.mkdir()
    directory.chmod(0o755)
    with NameServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def two_addresses(
    template: PostgresServer, account: Account | None, session_directory: Path
) -> Iterator[PostgresServer]:
    """Yield a server that listens on FIRST and SECOND."""
    place = subdirectory(session_directory, "two-addresses", account)
    server = PostgresServer(template.installation, place, account)
    server.create_as_copy(template)
    server.configure({"listen_addresses": f"{FIRST},{SECOND}"})
    server.start()
    yield server
    server.stop("immediate")


def address(client: psycopg.Connection) -> str:
    """Return the address that a client's server was reached at."""
    row = client.execute("SELECT host(inet_server_addr())").fetchone()
    assert row is not None
    return str(row[0])


def in_transactions(pooler: PgSwitch, number: int) -> list[str]:
    """Return the addresses of so many servers in use at once."""
    clients = [pooler.connect(autocommit=False) for _ in range(number)]
    found = [address(client) for client in clients]
    for client in clients:
        client.close()
    return found


def rows(pooler: PgSwitch, what: str) -> list[dict[str, Any]]:
    """Return the rows of a SHOW command."""
    return pooler.console(f"SHOW {what}")


def test_addresses_in_turn(
    pgswitch: PgSwitchFactory, names: NameServer, two_addresses: PostgresServer
) -> None:
    """All addresses of a name are used; one that is dead is passed over."""
    names.answer(**{"db.example": (FIRST, DEAD, SECOND)})
    pooler = pgswitch(
        {"bench": f"host=db.example port={two_addresses.port}"},
        resolv_conf=str(names.resolv_conf),
        pool_mode="transaction",
    )
    found = in_transactions(pooler, 4)
    assert set(found) == {FIRST, SECOND}
    (host,) = rows(pooler, "DNS_HOSTS")
    assert host["hostname"] == "db.example"
    assert 0 < host["ttl"] <= 15
    assert host["addrs"] == f"{FIRST}:0,{DEAD}:0,{SECOND}:0"
    assert rows(pooler, "DNS_ZONES") == [
        {"zonename": "example", "serial": 0, "count": 1}
    ]
    lists = {row["list"]: row["items"] for row in rows(pooler, "LISTS")}
    assert (lists["dns_names"], lists["dns_zones"]) == (1, 1)
    assert (lists["dns_queries"], lists["dns_pending"]) == (0, 0)


def test_a_change(
    pgswitch: PgSwitchFactory, names: NameServer, two_addresses: PostgresServer
) -> None:
    """Servers at an address that a name has lost are closed when they are free."""
    names.answer(**{"db.example": [FIRST]})
    pooler = pgswitch(
        {"bench": f"host=db.example port={two_addresses.port}"},
        resolv_conf=str(names.resolv_conf),
        pool_mode="transaction",
        dns_max_ttl=0,
    )
    with pooler.connect(autocommit=False) as busy, pooler.connect() as other:
        assert address(busy) == FIRST
        names.answer(**{"db.example": [SECOND]})
        assert address(other) == SECOND
        states = {row["addr"]: row["close_needed"] for row in rows(pooler, "SERVERS")}
        assert states == {FIRST: 1, SECOND: 0}
        assert address(busy) == FIRST
        busy.rollback()
        assert address(busy) == SECOND


def test_a_zone(
    pgswitch: PgSwitchFactory, names: NameServer, two_addresses: PostgresServer
) -> None:
    """A new serial number has its names asked for again, without any connection."""
    names.answer(**{"db.example": [FIRST], "example": ("SOA", "7")})
    pooler = pgswitch(
        {"bench": f"host=db.example port={two_addresses.port}"},
        resolv_conf=str(names.resolv_conf),
        pool_mode="transaction",
        dns_max_ttl=1000,
        dns_zone_check_period=0.1,
    )
    with pooler.connect() as client:
        assert address(client) == FIRST
        wait_until(
            lambda: [row["serial"] for row in rows(pooler, "DNS_ZONES")] == [7],
            "the serial number",
        )
        names.answer(**{"db.example": [SECOND], "example": ("SOA", "8")})
        pooler.wait_for_log("zone 'example' serial changed: old=7 new=8")
        wait_until(lambda: rows(pooler, "SERVERS") == [], "the old server closed")
        assert address(client) == SECOND


def test_no_such_name(pgswitch: PgSwitchFactory, names: NameServer) -> None:
    """The log tells, clients wait, and a name that comes into being is found."""
    pooler = pgswitch(
        {"bench": "host=db.example"},
        resolv_conf=str(names.resolv_conf),
        client_login_timeout=1.5,
    )
    with pytest.raises(psycopg.OperationalError, match="server down"):
        pooler.connect()
    pooler.wait_for_log("WARNING DNS lookup failed: db.example: result=3")
    pooler.wait_for_log("closing because: server DNS lookup failed (age=0s)")
    (host,) = rows(pooler, "DNS_HOSTS")
    assert (host["hostname"], host["addrs"]) == ("db.example", "")


def test_a_silent_name_server(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path
) -> None:
    """It delays only clients that wait for the name, and these not for ever."""
    directory.chmod(0o755)
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind((FIRST, 0))
        resolv_conf = directory / "resolv.conf"
        resolv_conf.write_text(f"nameserver {FIRST}:{silent.getsockname()[1]}\n")
        pooler = pgswitch(
            {
                "bench": "host=db.example",
                "other": f"host={FIRST} port={postgres.port}",
            },
            auth_type="trust",
            resolv_conf=str(resolv_conf),
            server_connect_timeout=1,
            client_login_timeout=3,
        )
        with RawClient(pooler.port) as waiting:
            waiting.send(startup("user", "trusted", "database", "bench"))
            wait_until(
                lambda: "waiting" in [row["state"] for row in rows(pooler, "CLIENTS")],
                "a client that waits for the name",
            )
            assert pooler.execute("SELECT 1", database="other") == [(1,)]
            lists = {row["list"]: row["items"] for row in rows(pooler, "LISTS")}
            assert lists["dns_queries"] == 1
            pooler.wait_for_log("closing because: connect timeout (age=")
            assert waiting.read_error()["M"] == "client_login_timeout (server down)"


def test_the_system(pgswitch: PgSwitchFactory, postgres: PostgresServer) -> None:
    """Without resolv_conf names are those of the system."""
    pooler = pgswitch({"bench": f"host=localhost port={postgres.port}"})
    assert pooler.execute("SELECT 1") == [(1,)]
    hosts = rows(pooler, "DNS_HOSTS")
    assert [row["hostname"] for row in hosts] == ["localhost"]
    assert FIRST in hosts[0]["addrs"]
    pooler.configure({"bench": "host=name.invalid"}, {"client_login_timeout": 1.5})
    pooler.reload()
    with pytest.raises(psycopg.OperationalError, match="server down"):
        pooler.connect()
    # Without a network the system's resolver tries for a while.
    text = "WARNING DNS lookup failed: name.invalid: result="
    pooler.wait_for_log(text, timeout_s=40)


def test_a_unix_socket(pgswitch: PgSwitchFactory, postgres: PostgresServer) -> None:
    """A folder as host."""
    folder = postgres.directory
    pooler = pgswitch({"bench": f"host={folder} port={postgres.port}"})
    with pooler.connect() as client:
        assert client.execute("SELECT inet_server_addr()").fetchone() == (None,)
        (server,) = rows(pooler, "SERVERS")
        assert (server["addr"], server["port"]) == ("unix", postgres.port)


@contextmanager
def forwarding(listener: socket.socket, to: PostgresServer) -> Iterator[None]:
    """Take connections and pass them on to a server."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection((FIRST, to.port))
                opened.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    opened: list[socket.socket] = []
    thread = threading.Thread(target=accept)
    thread.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    for one in (listener, *opened):
        one.close()


def cancelled(pooler: PgSwitch) -> bool:
    """Have a query cancelled; tell whether that came to its server."""
    with pooler.connect() as client:
        timer = threading.Timer(0.3, client.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(30)")
        timer.join()
        return True


def test_an_abstract_socket(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """``@`` begins a name that is no file; cancel requests go there too."""
    folder = f"@pgswitch-test-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{folder[1:]}/.s.PGSQL.5433")
    listener.listen()
    with forwarding(listener, postgres):
        pooler = pgswitch({"bench": f"host={folder} port=5433"})
        assert pooler.execute("SELECT 1") == [(1,)]
        (server,) = rows(pooler, "SERVERS")
        assert (server["addr"], server["port"]) == ("unix", 5433)
        assert cancelled(pooler)
        pooler.stop()


def test_an_ipv6_address(pgswitch: PgSwitchFactory, postgres: PostgresServer) -> None:
    """Whatever has a colon is one."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    port = listener.getsockname()[1]
    with forwarding(listener, postgres):
        pooler = pgswitch({"bench": f"host=::1 port={port}"})
        assert pooler.execute("SELECT 1") == [(1,)]
        (server,) = rows(pooler, "SERVERS")
        assert (server["addr"], server["port"]) == ("::1", port)
        pooler.wait_for_log(f"bench/scram@[::1]:{port} new connection to server")
        assert cancelled(pooler)
        assert rows(pooler, "DNS_HOSTS") == []
        pooler.stop()


@pytest.mark.parametrize("balance", ["round-robin", "disable"])
def test_several_hosts(
    pgswitch: PgSwitchFactory, two_addresses: PostgresServer, balance: str
) -> None:
    """Each connection the next, or always the same; the console tells which."""
    port = two_addresses.port
    pooler = pgswitch(
        {
            "bench": f"host={FIRST},{SECOND} port={port} load_balance_hosts={balance}",
            "other": f"host={FIRST} port={port}",
        },
        pool_mode="transaction",
    )
    found = in_transactions(pooler, 4)
    expected = [FIRST, SECOND] * 2 if balance == "round-robin" else [FIRST] * 4
    assert sorted(found) == sorted(expected)
    shown = {
        row["name"]: row["load_balance_hosts"] for row in rows(pooler, "DATABASES")
    }
    assert (shown["bench"], shown["other"]) == (balance, None)
    (pool,) = [row for row in rows(pooler, "POOLS") if row["database"] == "bench"]
    assert pool["load_balance_hosts"] == balance


@pytest.mark.parametrize("balance", ["round-robin", "disable"])
def test_a_dead_host(
    pgswitch: PgSwitchFactory, two_addresses: PostgresServer, balance: str
) -> None:
    """The next one is tried at once."""
    port = two_addresses.port
    hosts = f"{DEAD},{SECOND}"
    pooler = pgswitch(
        {"bench": f"host={hosts} port={port} load_balance_hosts={balance}"},
        pool_mode="transaction",
    )
    assert in_transactions(pooler, 3) == [SECOND] * 3
