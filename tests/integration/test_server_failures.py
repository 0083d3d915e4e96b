"""Servers that refuse, hang, end or send garbage, and what each client gets."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import startup
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

READY = message(b"Z", b"I")
WELCOME = (
    message(b"R", b"\0\0\0\0")
    + message(b"S", b"server_version\x0018.0\0")
    + message(b"S", b"client_encoding\0UTF8\0")
    + message(b"S", b"standard_conforming_strings\0on\0")
    + message(b"K", b"\0\0\0\1\0\0\0\2")
    + READY
)
"""What a server that trusts says to a StartupMessage (manual, 54.2.1)."""


def error(severity: str, code: str, text: str) -> bytes:
    """Return an ErrorResponse."""
    fields = {"S": severity, "V": severity, "C": code, "M": text}
    body = b"".join(k.encode() + v.encode() + b"\0" for k, v in fields.items())
    return message(b"E", body + b"\0")


SSL_REQUEST = struct.pack("!I", 80877103)


class FakeServer:
    """Accepts connections and gives fixed answers, as no PostgreSQL would.

    ``answers`` are sent one for each message received, the start-up packet first (TLS
    is declined before it); when none is left the connection is closed, or with
    ``hang`` kept and never answered.
    """

    def __init__(self, *answers: bytes, hang: bool = False) -> None:
        self.answers = answers
        self.hang = hang
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close the port and all connections."""
        with suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self.count += 1
                threading.Thread(
                    target=self._serve, args=(connection,), daemon=True
                ).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            for number, answer in enumerate(self.answers):
                if number:
                    stream.read(1)
                if self._read(stream) == SSL_REQUEST:
                    connection.sendall(b"N")
                    self._read(stream)
                connection.sendall(answer)
            if self.hang:
                stream.read()

    @staticmethod
    def _read(stream: BinaryIO) -> bytes:
        """Return a packet's or a message's body. Raises OSError at the end."""
        size = stream.read(4)
        if len(size) < 4:
            raise ConnectionError
        return stream.read(struct.unpack("!I", size)[0] - 4)


MakeFake = Callable[..., FakeServer]


@pytest.fixture
def fake() -> Iterator[MakeFake]:
    """Yield a function that starts fake servers."""
    made: list[FakeServer] = []

    def make(*answers: bytes, hang: bool = False) -> FakeServer:
        made.append(FakeServer(*answers, hang=hang))
        return made[-1]

    yield make
    for server in made:
        server.close()


def in_front_of(
    pgswitch: PgSwitchFactory,
    server: FakeServer | PostgresServer,
    **settings: str | float,
) -> PgSwitch:
    """Start a pgswitch that trusts, in transaction mode, before one server."""
    usual: dict[str, str | int | float] = {
        "auth_type": "trust",
        "pool_mode": "transaction",
        "server_login_retry": 0.3,
    }
    pooler = pgswitch(start=False)
    entry = f"host=127.0.0.1 port={server.port}"
    pooler.configure({"bench": entry}, {**usual, **settings})
    pooler.start()
    return pooler


def first_number(client: RawClient, sql: str) -> int:
    """Run a query and return the first column of its row."""
    client.send(query(sql))
    row = next(body for kind, body in client.read_until(b"Z") if kind == b"D")
    return int(row[6:])


def log_in_slowly(client: RawClient, deadline_s: float = 20.0) -> None:
    """Log in, however long it takes."""
    client.socket.settimeout(deadline_s)
    client.log_in("scram")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "server conn crashed?"),
        (b"D\0\0", "server conn crashed?"),
        (b"D\0\0\0\x64\0\1", ""),
        (b"?\0\0\0\4", "unknown pkt"),
        (b"D\0\0\0\3", "bad pkt header"),
        (message(b"S", b"half"), "broken ParameterStatus packet"),
    ],
    ids=["end", "half-header", "half", "unknown", "length", "parameter"],
)
def test_nonsense_in_an_answer(
    pgswitch: PgSwitchFactory, fake: MakeFake, answer: bytes, text: str
) -> None:
    """The client gets the reference's FATAL; the next one gets a new server."""
    server = fake(WELCOME, answer)
    pooler = in_front_of(pgswitch, server)
    for _ in range(2):
        with RawClient(pooler.port) as client:
            log_in_slowly(client)
            client.send(query("SELECT 1"))
            if not text:
                # Half a message has gone out: no error can follow it.
                with pytest.raises(EOFError):
                    client.read_until(b"E")
                continue
            fields = client.read_error()
            assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", text)
            assert client.is_closed()
    assert server.count >= 2


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("53300", "sorry, too many clients already"),
        ("28P01", 'password authentication failed for user "scram"'),
        ("3D000", 'database "bench" does not exist'),
    ],
)
def test_a_refused_login(
    pgswitch: PgSwitchFactory, fake: MakeFake, code: str, text: str
) -> None:
    """Waiting clients get the server's text and code."""
    pooler = in_front_of(pgswitch, fake(error("FATAL", code, text)))
    with RawClient(pooler.port) as client:
        client.send(startup("user", "scram", "database", "bench"))
        fields = client.read_error()
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", code, text)
        assert client.is_closed()


def test_a_server_that_is_starting_up(
    pgswitch: PgSwitchFactory, fake: MakeFake
) -> None:
    """57P03 is no refusal: the client waits until the server is up."""
    server = fake(error("FATAL", "57P03", "the database system is starting up"))
    pooler = in_front_of(pgswitch, server)
    with RawClient(pooler.port) as client:
        client.send(startup("user", "scram", "database", "bench"))
        pooler.wait_for_log("the database system is starting up")
        server.answers = (WELCOME, message(b"C", b"SELECT 1\0") + READY)
        client.read_until(b"Z")
        client.send(query("SELECT 1"))
        assert client.read_until(b"Z")[-1] == (b"Z", b"I")


def test_a_server_that_never_answers_the_login(
    pgswitch: PgSwitchFactory, fake: MakeFake
) -> None:
    """server_connect_timeout ends it; the client is closed at client_login_timeout."""
    pooler = in_front_of(
        pgswitch,
        fake(b"", hang=True),
        server_connect_timeout=1,
        client_login_timeout=2,
    )
    with RawClient(pooler.port) as client:
        client.send(startup("user", "scram", "database", "bench"))
        assert client.read_error()["M"] == "client_login_timeout (server down)"
        assert client.is_closed()
    pooler.wait_for_log("connect timeout")


def test_fast_failure(pgswitch: PgSwitchFactory, fake: MakeFake) -> None:
    """Logged-in clients of a lost server get the error without a wait."""
    server = fake(WELCOME, message(b"C", b"SELECT 1\0") + READY)
    pooler = in_front_of(pgswitch, server, server_login_retry=30)
    with RawClient(pooler.port) as first, RawClient(pooler.port) as second:
        for client in (first, second):
            client.log_in("scram")
        server.close()
        wait_until(lambda: not pooler.console("SHOW SERVERS"), "the server to be gone")
        first.send(query("SELECT 1"))
        pooler.wait_for_log("connect failed")
        second.send(query("SELECT 1"))
        assert second.read_error()["M"] == (
            "server login has been failing, cached error: connect failed"
            " (server_login_retry)"
        )
        assert second.is_closed()


def test_waiting_for_a_server_has_an_end(
    pgswitch: PgSwitchFactory, fake: MakeFake
) -> None:
    """query_wait_timeout holds while the server is down, too."""
    server = fake(WELCOME, message(b"C", b"SELECT 1\0") + READY)
    pooler = in_front_of(pgswitch, server, query_wait_timeout=1)
    with RawClient(pooler.port) as client:
        client.log_in("scram")
        server.close()
        wait_until(lambda: not pooler.console("SHOW SERVERS"), "the server to be gone")
        client.send(query("SELECT 1"))
        assert client.read_error()["M"] == "query_wait_timeout"


def test_terminated_in_a_query(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """The server's own FATAL, then the end; all other clients go on."""
    pooler = in_front_of(pgswitch, postgres)
    with RawClient(pooler.port) as client, RawClient(pooler.port) as other:
        client.log_in("scram")
        other.log_in("scram")
        client.send(query("BEGIN"))
        client.read_until(b"Z")
        victim = first_number(client, "SELECT pg_backend_pid()")
        assert first_number(other, "SELECT pg_backend_pid()") != victim
        client.send(query("SELECT pg_sleep(30)"))
        assert first_number(other, "SELECT 7") == 7
        other.send(query(f"SELECT pg_terminate_backend({victim})"))
        other.read_until(b"Z")
        fields = client.read_error()
        assert (fields["S"], fields["C"]) == ("FATAL", "57P01")
        wait_until(
            lambda: all(
                row["remote_pid"] != victim for row in pooler.console("SHOW SERVERS")
            ),
            "the server to be forgotten",
        )
        assert first_number(other, "SELECT 8") == 8


def test_terminated_in_a_copy(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """In the middle of COPY FROM STDIN: the client gets an error, and nothing hangs."""
    pooler = in_front_of(pgswitch, postgres)
    with RawClient(pooler.port) as client, RawClient(pooler.port) as other:
        client.log_in("scram")
        other.log_in("scram")
        client.send(query("BEGIN; CREATE TEMP TABLE t (a text)"))
        client.read_until(b"Z")
        victim = first_number(client, "SELECT pg_backend_pid()")
        client.send(query("COPY t FROM STDIN") + message(b"d", b"x\n"))
        client.read_until(b"G")
        other.send(query(f"SELECT pg_terminate_backend({victim})"))
        other.read_until(b"Z")
        fields = client.read_error()
        assert (fields["S"], fields["C"]) == ("FATAL", "57P01")
        assert first_number(other, "SELECT 8") == 8


def test_the_servers_own_limits(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """idle_in_transaction_session_timeout: its FATAL reaches the client."""
    pooler = in_front_of(pgswitch, postgres)
    with RawClient(pooler.port) as client:
        client.log_in("scram")
        client.send(
            query("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '200ms'")
        )
        client.read_until(b"Z")
        fields = client.read_error()
        assert (fields["S"], fields["C"]) == ("FATAL", "25P03")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_a_server_with_too_few_connections(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """A pool larger than its server: the clients share what there is."""
    own_postgres.execute("ALTER ROLE scram CONNECTION LIMIT 2")
    pooler = in_front_of(pgswitch, own_postgres, default_pool_size=10)
    results: list[object] = []

    def work() -> None:
        with pooler.connect() as client:
            results.extend(
                client.execute("SELECT pg_sleep(0.01)").fetchone() for _ in range(5)
            )

    pooler.execute("SELECT 1")
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 40
    assert len(pooler.console("SHOW SERVERS")) <= 2


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_under_a_queue(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer, how: str
) -> None:
    """Clients with a server lose it; waiting ones are served after the restart."""
    pooler = in_front_of(
        pgswitch, own_postgres, default_pool_size=1, server_login_retry=0.1
    )
    with RawClient(pooler.port) as holder, RawClient(pooler.port) as waiter:
        holder.log_in("scram")
        log_in_slowly(waiter)
        holder.send(query("BEGIN"))
        holder.read_until(b"Z")
        waiter.send(query("SELECT 1"))
        wait_until(
            lambda: any(row["cl_waiting"] for row in pooler.console("SHOW POOLS")),
            "a client to wait",
        )
        own_postgres.restart(how)
        assert holder.read_error()["S"] in {"FATAL", "WARNING"}
        answer = waiter.read_until(b"Z")
        assert (b"D", b"\0\1\0\0\0\0011") in answer
    rows = [row for row in pooler.console("SHOW POOLS") if row["database"] == "bench"]
    assert sum(row["sv_active"] for row in rows) == 0


def test_one_server_process_killed(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """PostgreSQL then ends them all; idle clients do not notice, and it recovers."""
    pooler = in_front_of(pgswitch, own_postgres)
    with RawClient(pooler.port) as client, RawClient(pooler.port) as idle:
        client.log_in("scram")
        log_in_slowly(idle)
        client.send(query("BEGIN"))
        client.read_until(b"Z")
        os.kill(first_number(client, "SELECT pg_backend_pid()"), signal.SIGKILL)
        assert client.read_error()["M"] == "server conn crashed?"
        wait_until(lambda: not pooler.console("SHOW SERVERS"), "the servers to go")
        assert first_number(idle, "SELECT 9") == 9


def test_a_stopped_server_at_login(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """A postmaster that hangs accepts no login; the client waits and is served."""
    pooler = in_front_of(pgswitch, own_postgres, server_connect_timeout=1)
    os.kill(own_postgres.pid, signal.SIGSTOP)
    rows: list[object] = []
    client = threading.Thread(target=lambda: rows.append(pooler.execute("SELECT 1")))
    try:
        client.start()
        pooler.wait_for_log("connect timeout")
        assert client.is_alive()
    finally:
        os.kill(own_postgres.pid, signal.SIGCONT)
    client.join(20)
    assert rows == [[(1,)]]


def test_a_server_that_was_refused_and_is_let_in(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """After a changed password the pool recovers without a reload."""
    own_postgres.execute("ALTER ROLE scram PASSWORD 'another'")
    pooler = in_front_of(pgswitch, own_postgres)
    with pytest.raises(
        psycopg.OperationalError, match="password authentication failed"
    ):
        pooler.connect()
    own_postgres.execute("ALTER ROLE scram PASSWORD 'scram-secret'")
    began = time.monotonic()
    assert pooler.execute("SELECT 1") == [(1,)]
    assert time.monotonic() - began < 5
