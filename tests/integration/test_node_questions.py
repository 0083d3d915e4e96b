"""How nodes are asked: by both probes, over a long way, by a name that moves."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, subdirectory
from tests.integration.name_server import NameServer
from tests.integration.proxies import LatencyProxy
from tests.integration.running import HBA, PgSwitch, PgSwitchFactory
from tests.integration.tls import OTHER_HOST, Certificates
from tests.waiting import wait_until

ONE_INSTALLATION = True
FIRST, SECOND = "127.0.0.1", "127.0.0.2"
UNLISTED = "unlisted"
"""A role that pgswitch has no secret of, and needs none."""
OF_UNLISTED = f"host all {UNLISTED} 127.0.0.1/32 trust"
ROLES = ("scram", UNLISTED)
"""Asked by our own login, and by the driver."""
ROUND_TRIP_S = 0.2
ROUNDS = 10_000_000


@pytest.fixture(scope="module")
def server(
    template: PostgresServer, account: Account | None, session_directory: Path
) -> Iterator[PostgresServer]:
    """Yield a server that both roles may log in to."""
    place = subdirectory(session_directory, "questions", account)
    made = PostgresServer(template.installation, place, account)
    made.create_as_copy(template)
    made.set_hba([f"local all {UNLISTED} trust", OF_UNLISTED, *HBA])
    made.start()
    made.execute(f"CREATE ROLE {UNLISTED} LOGIN")
    yield made
    made.stop("immediate")


def entry(host: str, port: int, user: str, **more: str) -> str:
    """Return the line of a cluster that names itself as its only node."""
    rest = "".join(f" {name}='{text}'" for name, text in more.items())
    return (
        f"host={host} port={port} user={user} dbname=bench"
        f" topology_query='select ''{host}'', {port} as port'{rest}"
    )


def waits_for_writer(pooler: PgSwitch) -> None:
    """Wait until the monitor has an answer."""
    pooler.wait_for_log("cluster bench: the writer is")


@pytest.mark.parametrize("role", ROLES)
def test_a_long_way(
    pgswitch: PgSwitchFactory, server: PostgresServer, role: str
) -> None:
    """A login takes longer than switchover_silence; no node counts as silent.

    Not either when the kept connection has ended and is made once more.
    """
    path = LatencyProxy(server.port, ROUND_TRIP_S / 2)
    pooler = pgswitch(
        {"bench": entry(FIRST, path.port, role)},
        pool_mode="transaction",
        switchover_silence=0.5,
    )
    try:
        waits_for_writer(pooler)
        # The monitor's, and the pool's by now: no attempt was given up.
        assert path.connections <= 2
        ended = server.execute(
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'pgswitch monitor'"
        )

        def is_connected_again() -> bool:
            rows = server.execute(
                "SELECT pid FROM pg_stat_activity WHERE state = 'idle'"
                " AND application_name = 'pgswitch monitor'"
            )
            return bool(rows) and rows[0][0] != ended[0][0]

        def is_well() -> bool:
            (node,) = pooler.console("SHOW TOPOLOGY")
            return (node["role"], node["why"]) == ("writer", "")

        wait_until(is_connected_again, "the monitor to be back")
        wait_until(is_well, "an answer")
        assert "is lost" not in pooler.log_text()
        assert "health check failed" not in pooler.log_text()
        with pooler.connect() as client:
            assert client.execute("SELECT 1").fetchone() == (1,)
    finally:
        path.close()


@pytest.mark.parametrize("role", ROLES)
def test_a_unix_socket(
    pgswitch: PgSwitchFactory, server: PostgresServer, role: str
) -> None:
    """The node's own, named by its folder."""
    pooler = pgswitch({"bench": entry(str(server.directory), server.port, role)})
    waits_for_writer(pooler)
    asked = server.execute(
        "SELECT usename FROM pg_stat_activity"
        " WHERE application_name = 'pgswitch monitor' AND client_addr IS NULL"
    )
    assert asked == [(role,)]


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
@pytest.mark.parametrize("role", ["scram", "certified"])
def test_encrypted(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
    role: str,
    mode: str,
) -> None:
    """As the pools' servers are, with our own certificate where it is asked for."""
    certificate, key = certificates.client
    pooler = tls_pgswitch(
        {"bench": entry("localhost", tls_postgres.port, role)},
        server_tls_sslmode=mode,
        server_tls_ca_file=str(certificates.root),
        server_tls_cert_file=str(certificate),
        server_tls_key_file=str(key),
    )
    waits_for_writer(pooler)
    asked = tls_postgres.execute(
        "SELECT usename FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
        " WHERE application_name = 'pgswitch monitor' AND ssl"
    )
    assert asked == [(role,)]


@pytest.mark.parametrize("role", ["scram", "certified"])
def test_whose_certificate_is_wrong(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
    role: str,
) -> None:
    """The node is not asked; the log tells why, not with each attempt."""
    pooler = tls_pgswitch(
        {"bench": entry(OTHER_HOST, tls_postgres.port, role)},
        server_tls_sslmode="verify-full",
        server_tls_ca_file=str(certificates.root),
    )
    pooler.wait_for_log(f"{OTHER_HOST}: health check failed for ")
    (line,) = (
        line for line in pooler.log_text().splitlines() if "health check failed" in line
    )
    assert "match host name" in line or "does not match" in line
    assert "is lost" not in pooler.log_text()


class Greedy:
    """A server that asks for ten million rounds of SCRAM, and hangs up."""

    def __init__(self) -> None:
        """Begin at once, on a port of its own."""
        self._listener = socket.create_server((FIRST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                with caller, suppress(OSError, ValueError):
                    caller.settimeout(5.0)
                    self._ask(caller)

    def _ask(self, caller: socket.socket) -> None:
        start = caller.recv(65536)
        if start[4:8] == struct.pack("!I", 80877103):
            caller.sendall(b"N")
            caller.recv(65536)
        _say(caller, 10, b"SCRAM-SHA-256\0\0")
        said = caller.recv(65536)
        nonce = said[said.rindex(b"r=") + 2 :]
        _say(caller, 11, b"r=%bmore,s=c2FsdHNhbHQ=,i=%d" % (nonce, ROUNDS))
        self.asked += 1


def _say(caller: socket.socket, kind: int, data: bytes) -> None:
    caller.sendall(b"R" + struct.pack("!II", len(data) + 8, kind) + data)


def test_ten_million_rounds(pgswitch: PgSwitchFactory, server: PostgresServer) -> None:
    """Monitor and pools refuse it; clients of other servers go on."""
    greedy = Greedy()
    pooler = pgswitch(
        {
            "bench": entry(FIRST, greedy.port, "scram", password="scram-secret"),
            "plain": f"host={FIRST} port={server.port} dbname=bench",
        }
    )
    try:
        pooler.wait_for_log("more than scram_iterations_max")
        wait_until(lambda: greedy.asked >= 3, "the monitor to try again")
        client = pooler.connect("trusted", "plain")
        longest = 0.0
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            began = time.monotonic()
            client.execute("SELECT 1")
            longest = max(longest, time.monotonic() - began)
        client.close()
        # The rounds take several seconds on any machine.
        assert longest < 1.0
        pooler.wait_for_log("health check failed: server login failed: the server")
    finally:
        greedy.close()


@pytest.mark.parametrize("role", ROLES)
def test_an_operators_question(
    pgswitch: PgSwitchFactory, server: PostgresServer, role: str
) -> None:
    """The result of recovery_query counts, not that of pg_is_in_recovery()."""
    for statement in (
        "DROP TABLE IF EXISTS node_role",
        "CREATE TABLE node_role (standby boolean, status text)",
        "GRANT SELECT ON node_role TO PUBLIC",
    ):
        server.execute(statement, database="bench")
    pooler = pgswitch(
        {
            "bench": entry(
                FIRST,
                server.port,
                role,
                recovery_query="select standby, status from node_role -- mine;",
            )
        },
        pool_mode="transaction",
    )
    pooler.wait_for_log("health check failed: recovery_query returned no row, or NULL")
    server.execute("INSERT INTO node_role VALUES (true, 'x')", database="bench")

    def role_of_node() -> str:
        (node,) = pooler.console("SHOW TOPOLOGY")
        return str(node["role"])

    wait_until(lambda: role_of_node() == "reader", "the node to be a standby")
    server.execute("UPDATE node_role SET standby = false", database="bench")
    waits_for_writer(pooler)
    assert role_of_node() == "writer"
    (node,) = pooler.console("SHOW TOPOLOGY")
    assert node["timeline"] == 1
    server.execute("UPDATE node_role SET standby = true", database="bench")
    pooler.wait_for_log("is lost: it is in recovery")
    server.execute("UPDATE node_role SET standby = false", database="bench")
    wait_until(lambda: role_of_node() == "writer", "the node to be the writer again")
    server.execute("DROP TABLE node_role", database="bench")
    pooler.wait_for_log('health check failed: relation "node_role" does not exist')
    # It tells nothing: it stays what it was.
    assert role_of_node() == "writer"


@pytest.fixture
def names(directory: Path) -> Iterator[NameServer]:
    """Yield a name server."""
    folder = directory / "names"
    folder.mkdir()
    directory.chmod(0o755)
    with NameServer(folder) as served:
        yield served


@pytest.fixture
def twins(
    make_own_postgres: Callable[..., PostgresServer],
) -> tuple[PostgresServer, PostgresServer]:
    """Return two writers with the same data, at FIRST and SECOND, on one port."""
    old, new = make_own_postgres(), make_own_postgres()
    new.stop()
    new.port = old.port
    for one, place in ((old, FIRST), (new, SECOND)):
        one.configure({"listen_addresses": place})
        one.set_hba([OF_UNLISTED, *HBA])
        one.restart() if one is old else one.start()
        one.execute(f"CREATE ROLE {UNLISTED} LOGIN")
        one.execute("CREATE TABLE moved (id int)", database="bench")
        one.execute("GRANT ALL ON moved TO PUBLIC", database="bench")
    return old, new


@pytest.mark.parametrize("role", ROLES)
def test_a_name_that_moves(
    pgswitch: PgSwitchFactory,
    names: NameServer,
    twins: tuple[PostgresServer, PostgresServer],
    role: str,
) -> None:
    """The old machine stays up: from one row on, all are on the new one.

    Monitor and pool mean the same one, though all connections are kept for long.
    """
    old, new = twins
    names.answer(**{"pg.example": [FIRST]})
    pooler = pgswitch(
        {"bench": entry("pg.example", old.port, role)},
        pool_mode="transaction",
        resolv_conf=str(names.resolv_conf),
        dns_max_ttl=1,
    )
    waits_for_writer(pooler)
    with pooler.connect() as client:
        count = 0

        def write() -> int:
            nonlocal count
            count += 1
            with suppress(psycopg.errors.SerializationFailure):
                client.execute("INSERT INTO moved VALUES (%s)", [count])
            rows = new.execute("SELECT count(*) FROM moved", database="bench")
            return int(rows[0][0])

        assert write() == 0
        names.answer(**{"pg.example": [SECOND]})
        wait_until(lambda: write() > 5, "rows at the new address")
        (first,) = new.execute("SELECT min(id) FROM moved", database="bench")
        (last,) = old.execute("SELECT max(id) FROM moved", database="bench")
        assert last[0] < first[0]
    pooler.wait_for_log("is lost: its name leads to another address")
    asked = new.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'pgswitch monitor'"
    )
    assert asked == [(1,)]
    left = old.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'"
    )
    assert left == [(0,)]
