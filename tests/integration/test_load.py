"""pgbench through the pooler, and how much memory a stalled peer costs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from pgswitch.demo.postgres import Installation, PostgresServer
from tests.fakes.messages import message, query
from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

CLIENTS = 20
SECONDS = 3
MEGABYTE = 1 << 20
ALLOWED_GROWTH_KB = 2048

ONE_INSTALLATION = True


def pgbench(
    installation: Installation, pooler: PgSwitch, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run pgbench against the pooler and return what it said."""
    return subprocess.run(
        [
            str(installation.bindir / "pgbench"),
            *("-h", "127.0.0.1", "-p", str(pooler.port), "-U", "scram"),
            *options,
            "bench",
        ],
        env={**os.environ, "PGPASSWORD": PASSWORDS["scram"]},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def loaded(installation: Installation, pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch with few servers, before a database with pgbench's tables."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=5)
    result = pgbench(installation, pooler, "-i", "-s", "1", "-q")
    assert result.returncode == 0, result.stderr
    return pooler


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["-S", "-b tpcb-like"])
def test_pgbench(
    installation: Installation, loaded: PgSwitch, protocol: str, script: str
) -> None:
    """Twenty clients on five servers, not one failure; afterwards all are idle."""
    result = pgbench(
        installation,
        loaded,
        *("-M", protocol, "-c", str(CLIENTS), "-j", str(CLIENTS)),
        *("-T", str(SECONDS), *script.split()),
    )
    assert result.returncode == 0, result.stderr
    assert "number of failed transactions: 0 " in result.stdout
    assert "aborted" not in result.stderr
    done = re.search(r"actually processed: (\d+)", result.stdout)
    assert done is not None
    assert int(done[1]) > 100
    pool = next(row for row in loaded.console("SHOW POOLS") if row["user"] == "scram")
    wait_until(
        lambda: (
            not any(
                row["cl_active"]
                for row in loaded.console("SHOW POOLS")
                if row["user"] == "scram"
            )
        ),
        "the clients to leave",
    )
    assert pool["sv_login"] == 0
    assert pool["cl_waiting"] == 0


def test_connections_that_come_and_go(
    installation: Installation, loaded: PgSwitch
) -> None:
    """A connection for each transaction."""
    result = pgbench(
        installation,
        loaded,
        *("-C", "-S", "-c", "10", "-j", "10", "-T", str(SECONDS)),
    )
    assert result.returncode == 0, result.stderr
    assert "number of failed transactions: 0 " in result.stdout


def test_servers_killed_under_load(
    installation: Installation, loaded: PgSwitch, postgres: PostgresServer
) -> None:
    """The victims' clients fail, the pool recovers, and its counts are the truth."""
    command = [
        str(installation.bindir / "pgbench"),
        *("-h", "127.0.0.1", "-p", str(loaded.port), "-U", "scram"),
        *("-S", "-C", "-c", "10", "-j", "10", "-T", "4", "bench"),
    ]
    with subprocess.Popen(
        command,
        env={**os.environ, "PGPASSWORD": PASSWORDS["scram"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as load:
        for _ in range(5):
            with suppress(subprocess.TimeoutExpired):
                load.wait(0.6)
            for row in loaded.console("SHOW SERVERS"):
                with suppress(ProcessLookupError):
                    os.kill(row["remote_pid"], signal.SIGTERM)
        load.wait(20)

    def settled() -> bool:
        row = next(r for r in loaded.console("SHOW POOLS") if r["user"] == "scram")
        return not any(row[name] for name in ("cl_active", "cl_waiting", "sv_active"))

    wait_until(settled, "the pool to settle")
    assert loaded.execute("SELECT 1") == [(1,)]
    row = next(r for r in loaded.console("SHOW POOLS") if r["user"] == "scram")
    shown = sum(row[name] for name in ("sv_idle", "sv_used", "sv_tested", "sv_login"))
    there = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'scram'"
    assert postgres.execute(there) == [(shown,)]


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process, in kB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found[1])


def pid_of(pooler: PgSwitch) -> int:
    """Return the process number of a pgswitch, out of its log."""
    found = re.search(r"\[(\d+)\] LOG process up", pooler.log_text())
    assert found is not None
    return int(found[1])


def test_a_client_that_stops_reading(pgswitch: PgSwitchFactory) -> None:
    """A gigabyte for a client that does not read costs no memory."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction")
    with RawClient(pooler.port, receive_buffer=65536) as client:
        client.log_in()
        client.send(query("SELECT repeat('x', 100000) FROM generate_series(1, 100)"))
        client.read_until(b"Z")
        before = memory_kb(pid_of(pooler))
        client.send(query("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)"))
        wait_until(
            lambda: any(
                row["wait_us"] > 500_000 for row in pooler.console("SHOW SERVERS")
            ),
            "the query to stand still for a while",
        )
        assert memory_kb(pid_of(pooler)) - before < ALLOWED_GROWTH_KB
        received = sum(
            len(body) for kind, body in client.read_until(b"Z") if kind == b"D"
        )
        assert received > 1000 * 1_000_000
        assert memory_kb(pid_of(pooler)) - before < ALLOWED_GROWTH_KB


def test_a_server_that_stops_reading(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """A gigabyte of COPY for a server that does not read costs none either."""
    entry = f"host=127.0.0.1 port={own_postgres.port}"
    pooler = pgswitch({"bench": entry}, auth_type="trust", pool_mode="transaction")
    row = b"x" * 999 + b"\n"
    megabyte = message(b"d", row) * 1000
    with RawClient(pooler.port) as client:
        client.log_in("scram")
        client.send(query("CREATE TABLE taken (a text); SELECT pg_backend_pid()"))
        answer = next(body for kind, body in client.read_until(b"Z") if kind == b"D")
        client.send(query("COPY taken FROM STDIN"))
        client.read_until(b"G")
        before = memory_kb(pid_of(pooler))
        server = int(answer[6:])
        os.kill(server, signal.SIGSTOP)
        sent = 0
        client.socket.settimeout(1.5)
        try:
            with pytest.raises(TimeoutError):
                while sent < 1000:
                    client.send(megabyte)
                    sent += 1
            assert memory_kb(pid_of(pooler)) - before < ALLOWED_GROWTH_KB
        finally:
            os.kill(server, signal.SIGCONT)
        assert sent < 100


TALK = """\
DO $$ BEGIN
  FOR number IN 1 .. 20 LOOP
    RAISE NOTICE '%', repeat('x', 200000);
  END LOOP;
  FOR number IN 1 .. 5 LOOP
    PERFORM pg_sleep(0.05);
    RAISE NOTICE 'slow';
  END LOOP;
END $$
"""


def test_a_long_answer_that_slows_down(pgswitch: PgSwitchFactory) -> None:
    """What follows much comes through at once, though it is little."""
    with RawClient(pgswitch(auth_type="trust", pool_mode="session").port) as client:
        client.log_in("scram")
        for _ in range(2):
            client.send(query(TALK))
            times = []
            kind = b""
            while kind != b"Z":
                kind, body = client.read_message()
                if b"Mslow" in body:
                    times.append(monotonic())
            assert len(times) == 5
            assert times[-1] - times[0] > 0.1, "held back until all was there"


def test_long_answers_one_after_the_other(pgswitch: PgSwitchFactory) -> None:
    """Each is complete, and so is the short one that follows."""
    with RawClient(pgswitch(auth_type="trust", pool_mode="transaction").port) as client:
        client.log_in("scram")
        for number in range(1, 20):
            rows = number * 997
            client.send(query(f"SELECT repeat('x',99) FROM generate_series(1,{rows})"))
            kinds = [kind for kind, _body in client.read_until(b"Z")]
            assert kinds.count(b"D") == rows
            client.send(query("SELECT 1"))
            kinds = [kind for kind, _body in client.read_until(b"Z")]
            assert kinds == [b"T", b"D", b"C", b"Z"]


ENDLESS = "SELECT repeat('x', 30000), generate_series(1, 100000000)"


@pytest.mark.parametrize("who", ["client", "server"])
def test_the_end_in_the_midst_of_a_long_answer(
    pgswitch: PgSwitchFactory, who: str
) -> None:
    """Whichever side ends it, nothing is left of it, and the pool goes on."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)
    with RawClient(pooler.port) as other, RawClient(pooler.port) as client:
        other.log_in("scram")
        client.log_in("scram")
        client.send(query("SELECT pg_backend_pid()"))
        pid = int(next(b for k, b in client.read_until(b"Z") if k == b"D")[6:])
        client.send(query(ENDLESS))
        for _ in range(200):
            assert client.socket.recv(65536)
        if who == "client":
            client.socket.close()
        else:
            os.kill(pid, signal.SIGTERM)
            while client.socket.recv(65536):
                """Read what was on its way: no error fits into the midst of a row."""
        other.send(query("SELECT 1"))
        assert b"D" in [kind for kind, _body in other.read_until(b"Z")]
    wait_until(
        lambda: [row["state"] for row in pooler.console("SHOW SERVERS")] == ["idle"],
        "the only server to be idle",
    )
    assert "Unhandled" not in pooler.log_text()
    assert "Traceback" not in pooler.log_text()
