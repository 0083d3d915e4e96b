"""``-R``: a new process goes on with the connections of the old one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.postgres import Installation
from pgswitch.demo.processes import Account, ChildFailed
from testkit.pgwire import startup
from tests.fakes.messages import query
from tests.integration.running import ADMIN, PgSwitch, PgSwitchFactory, RawClient
from tests.integration.test_pgbench import command, environment
from tests.waiting import wait_until

ONE_INSTALLATION = True
RESTARTS = 10
SCRIPT = """
BEGIN;
SELECT 1;
SELECT pg_sleep(0.002);
SELECT :client_id;
COMMIT;
SELECT repeat('x', 20000);
"""


def pidfile(directory: Path) -> str:
    """Return the pid file of the first pooler in a folder."""
    return f"{directory}/pgswitch-0/pid"


def restart(pooler: PgSwitch) -> None:
    """Have a new process take over, and see the old one end."""
    old = pooler.child
    pooler.start(["-R"])
    assert old.wait(10) == 0


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory, directory: Path) -> PgSwitch:
    """Return a pgswitch with a pid file and few servers."""
    return pgswitch(
        pool_mode="transaction",
        default_pool_size=3,
        pidfile=pidfile(directory),
        stats_period=600,
    )


def backends(pooler: PgSwitch) -> set[object]:
    """Return the server processes that the pooler is connected to."""
    return {row["remote_pid"] for row in pooler.console("SHOW SERVERS")}


def queries(pooler: PgSwitch) -> int:
    """Return how many queries there were in all."""
    rows = pooler.console("SHOW TOTALS")
    return int(next(r["value"] for r in rows if r["name"] == "total_query_count"))


def test_ten_restarts_under_load(pooler: PgSwitch, installation: Installation) -> None:
    """Pgbench's clients notice nothing, whatever they are doing."""
    script = pooler.directory / "script"
    script.write_text(SCRIPT, encoding="ascii")
    loads = [
        subprocess.Popen(
            command(
                installation,
                pooler,
                *("-M", mode, "-T", "600", "-R", "150", "-f", str(script)),
            ),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mode in ("simple", "prepared")
    ]
    try:
        wait_until(lambda: len(backends(pooler)) == 3, "the load")
        servers, before = backends(pooler), 0
        for _ in range(RESTARTS):
            restart(pooler)
            after = queries(pooler)
            assert after > before
            before = after
        wait_until(lambda: queries(pooler) > before + 500, "the load to go on")
        assert backends(pooler) == servers
        assert [load.poll() for load in loads] == [None, None]
    finally:
        for load in loads:
            load.terminate()
    assert [load.communicate(timeout=10)[1] for load in loads] == ["", ""]


def test_each_state_of_a_client(pooler: PgSwitch) -> None:
    """Idle, inside a transaction, waiting, at a query, silent, at half a message."""
    with ExitStack() as stack:

        def client() -> psycopg.Connection:
            return stack.enter_context(pooler.connect(application_name="mine"))

        idle, inside, busy, prepared = client(), client(), client(), client()
        prepared.prepare_threshold = 0
        prepared.execute("SELECT %s::int + 1", [1])
        inside.execute("BEGIN")
        inside.execute("CREATE TEMP TABLE mine (a int)")
        results: list[object] = []
        slow = threading.Thread(
            target=lambda: results.append(
                busy.execute("SELECT pg_sleep(2), 7").fetchone()
            )
        )
        slow.start()
        silent = stack.enter_context(RawClient(pooler.port))
        wait_until(
            lambda: (
                [row["state"] for row in pooler.console("SHOW SERVERS")].count("active")
                == 2
            ),
            "the slow query",
        )
        before = pooler.child.pid
        restart(pooler)
        assert pooler.child.pid != before
        assert idle.execute("SELECT 1").fetchone() == (1,)
        assert idle.execute("SHOW application_name").fetchone() == ("mine",)
        inside.execute("INSERT INTO mine VALUES (1)")
        inside.execute("COMMIT")
        assert prepared.execute("SELECT %s::int + 1", [2]).fetchone() == (3,)
        slow.join(20)
        assert results == [("", 7)]
        silent.send(startup("user", "scram", "database", "bench"))
        assert silent.read_message()[0] == b"R"
        silent.socket.close()
        assert pooler.execute("SELECT 1") == [(1,)]


def test_clients_that_wait(pooler: PgSwitch) -> None:
    """They are served in the new process, with the queries they sent before."""
    with ExitStack() as stack:
        holders = [
            stack.enter_context(pooler.connect(autocommit=False)) for _ in range(3)
        ]
        for holder in holders:
            holder.execute("SELECT 1")
        waiter = stack.enter_context(pooler.connect())
        results: list[object] = []
        waiting = threading.Thread(
            target=lambda: results.append(waiter.execute("SELECT 'waited'").fetchone())
        )
        waiting.start()
        wait_until(
            lambda: any(row["cl_waiting"] for row in pooler.console("SHOW POOLS")),
            "a waiting client",
        )
        restart(pooler)
        assert results == []
        holders[0].rollback()
        waiting.join(10)
        assert results == [("waited",)]


ROUTES = """
def routing_rules(username, query, in_transaction):
    return "other" if "away" in query else None
"""


def waiting_for_servers(pooler: PgSwitch) -> list[object]:
    """Return the clients that wait for a server."""
    return [r for r in pooler.console("SHOW CLIENTS") if r["state"] == "waiting"]


def test_a_client_that_a_rule_has_moved(pooler: PgSwitch) -> None:
    """It stays with the servers of the database that it was moved to."""
    rules = pooler.directory / "rules.py"
    rules.write_text(ROUTES, encoding="ascii")
    rules.chmod(0o644)
    ini = pooler.ini_path.read_text()
    line = f"[pgbouncer]\nrouting_rules_py_module_file = {rules}"
    ini = ini.replace("[pgbouncer]", line).replace("scram-sha-256", "trust")
    pooler.ini_path.write_text(ini)
    pooler.reload()
    with pooler.connect() as client:
        name = client.execute("SELECT current_database() AS away").fetchone()
        assert name == ("other",)
        client.execute("BEGIN")
        restart(pooler)
        name = client.execute("SELECT current_database()").fetchone()
        assert name == ("other",)
        client.execute("COMMIT")
    # The new process decides, once, about a query that rules held back.
    with ExitStack() as stack:
        raws = [stack.enter_context(RawClient(pooler.port)) for _ in range(5)]
        for raw in raws:
            raw.send(startup("user", "trusted", "database", "bench"))
        for raw in raws:
            raw.read_until(b"Z")
            text = "SELECT pg_sleep(0.5)", "SELECT current_database() AS away"
            raw.send(b"".join(query(one) for one in text))
        wait_until(lambda: len(waiting_for_servers(pooler)) == 2, "clients to wait")
        restart(pooler)
        for raw in raws:
            raw.read_until(b"Z")
            found = [body[6:] for kind, body in raw.read_until(b"Z") if kind == b"D"]
            assert found == [b"other"]
    here, away = "SELECT current_database()", "SELECT current_database() AS away"
    assert pooler.execute(here) == [("bench",)]
    assert pooler.execute(away) == [("other",)]


def test_what_outlives_the_process(pooler: PgSwitch) -> None:
    """Cancel keys, disabled databases, logins to new servers."""
    pooler.console("DISABLE other")
    with pooler.connect() as client:
        client.execute("SELECT 1")
        restart(pooler)
        with pytest.raises(psycopg.OperationalError, match="is disabled"):
            pooler.connect(database="other")
        timer = threading.Timer(0.5, client.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(20)")
        pooler.console("RECONNECT")
        assert client.execute("SELECT 2").fetchone() == (2,)


def test_a_takeover_that_fails(pooler: PgSwitch) -> None:
    """The old process goes on as if nothing had been."""
    with pooler.connect() as client:
        client.execute("SELECT 1")
        old = pooler.child
        pooler.console("PAUSE bench")
        with pytest.raises(ChildFailed, match="cannot suspend with paused databases"):
            pooler.start(["-R"])
        pooler.console("RESUME bench")
        assert client.execute("SELECT 2").fetchone() == (2,)
        assert old.exit_code is None
        old.stop(signal.SIGQUIT)


def test_no_process_to_take_over_from(pgswitch: PgSwitchFactory) -> None:
    """It starts as usual."""
    pooler = pgswitch(options=["-R"])
    assert "old process not found, try to continue normally" in pooler.log_text()
    assert pooler.execute("SELECT 1") == [(1,)]


PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.mark.skipif(PGBOUNCER is None, reason="no PgBouncer on this machine")
@pytest.mark.parametrize("is_first", [True, False], ids=["from", "by"])
def test_with_a_pgbouncer(
    pgswitch: PgSwitchFactory,
    account: Account | None,
    directory: Path,
    *,
    is_first: bool,
) -> None:
    """Either takes over from the other, transactions under way included."""
    pidfile = directory / "pgswitch-0" / "pid"
    pooler = pgswitch(
        pool_mode="transaction",
        auth_type="trust",
        pidfile=str(pidfile),
        start=not is_first,
    )
    user = [] if account is None else ["-u", account.name]

    def pgbouncer(*options: str) -> subprocess.Popen[bytes]:
        command_line = [str(PGBOUNCER), *user, *options, str(pooler.ini_path)]
        return subprocess.Popen(command_line, stderr=subprocess.DEVNULL)

    with ExitStack() as stack:
        if is_first:
            theirs = pgbouncer()
            stack.callback(theirs.wait)
            stack.callback(theirs.kill)
            wait_until(pidfile.exists, "PgBouncer")
        idle = stack.enter_context(pooler.connect())
        inside = stack.enter_context(pooler.connect(autocommit=False))
        idle.execute("SELECT 1")
        inside.execute("CREATE TEMP TABLE mine AS SELECT 5 AS a")
        if is_first:
            pooler.start(["-R"])
            assert theirs.wait(10) == 0
        else:
            ours = pooler.child
            theirs = pgbouncer("-R")
            stack.callback(theirs.wait)
            stack.callback(theirs.kill)
            assert ours.wait(10) == 0
        assert inside.execute("SELECT a FROM mine").fetchone() == (5,)
        inside.commit()
        assert idle.execute("SELECT 2").fetchone() == (2,)
        assert pooler.execute("SELECT 3") == [(3,)]


def test_descriptors_go_to_the_owner_only(pooler: PgSwitch) -> None:
    """An admin by TCP sees numbers; nothing comes along."""
    with pooler.connect(ADMIN, "pgbouncer") as admin:
        rows = admin.execute("SHOW FDS").fetchall()
    assert [row[1] for row in rows] == ["pooler", "pooler"]
