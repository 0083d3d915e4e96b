"""A changed configuration applied under load, and a bad one refused as a whole."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fakes.messages import query
from tests.integration.running import (
    ADMIN,
    DATABASES,
    PgSwitch,
    PgSwitchFactory,
    RawClient,
)
from tests.waiting import wait_until

ONE_INSTALLATION = True

Settings = dict[str, str | int | float]

USUAL: Settings = {"pool_mode": "transaction", "auth_type": "trust"}


def change(
    pgswitch: PgSwitchFactory,
    pooler: PgSwitch,
    *,
    databases: dict[str, str] | None = None,
    **settings: str | float,
) -> None:
    """Write another configuration and have it read."""
    entries = pgswitch.usual_databases() if databases is None else databases
    pooler.configure(entries, {**USUAL, **settings})
    pooler.console("RELOAD")


def rows_of(pooler: PgSwitch, what: str, database: str) -> list[dict[str, Any]]:
    """Return the rows of a SHOW that tell of one database."""
    key = "name" if what == "DATABASES" else "database"
    return [row for row in pooler.console(f"SHOW {what}") if row[key] == database]


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch in transaction mode that trusts."""
    return pgswitch(auth_type="trust", pool_mode="transaction")


BAD = [
    ("[pgbouncer]\npool_mode = sometimes\n", 'invalid value "sometimes" for parameter'),
    ("[pgbouncer]\nmax_client_conn = many\n", 'invalid value "many" for parameter'),
    ("[pgbouncer]\nno_such_setting = 1\n", "unknown parameter: pgbouncer/no_such"),
    ("[somewhere]\na = 1\n", 'invalid section "somewhere" in configuration'),
    ("[pgbouncer]\nnonsense\n", "syntax error in configuration"),
    ("[databases]\nbroken = host\n", "broken"),
    ("[databases]\nbroken = nosuch=1\n", "nosuch"),
    ("[users]\nscram = pool_mode=never\n", "never"),
    ("%include /nowhere/at/all.ini\n", 'could not load file "/nowhere/at/all.ini"'),
]


def test_bad_files(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Not one value of a bad file is taken, not even those before the error."""
    with pooler.connect() as client:
        client.execute("SELECT 1")
        old = pooler.console("SHOW CONFIG")
        servers = [row["ptr"] for row in pooler.console("SHOW SERVERS")]
        entry = pgswitch.usual_databases()["bench"]
        for text, reason in BAD:
            pooler.configure(
                {"added": entry, "bench": f"{entry} dbname=other"},
                {**USUAL, "default_pool_size": 1, "query_wait_timeout": 7},
            )
            with pooler.ini_path.open("a", encoding="utf-8") as ini:
                ini.write(text)
            before = len(pooler.log_text())
            with pytest.raises(psycopg.Error, match="RELOAD failed, see logs") as bad:
                pooler.console("RELOAD")
            assert bad.value.sqlstate == "F0000"
            assert reason in pooler.log_text()[before:], text
            assert pooler.console("SHOW CONFIG") == old
            assert [row["ptr"] for row in pooler.console("SHOW SERVERS")] == servers
            assert rows_of(pooler, "DATABASES", "added") == []
            row = client.execute("SELECT current_database()").fetchone()
            assert row == ("bench",)
        change(pgswitch, pooler, query_wait_timeout=7)
        assert pooler.console("SHOW CONFIG") != old


def test_a_file_that_is_gone(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """The process goes on with what it knows."""
    text = pooler.ini_path.read_text()
    pooler.ini_path.unlink()
    with pytest.raises(psycopg.Error, match="RELOAD failed"):
        pooler.console("RELOAD")
    assert pooler.execute("SELECT 1") == [(1,)]
    pooler.ini_path.write_text(text)
    pooler.ini_path.chmod(0o644)
    pooler.console("RELOAD")


def test_a_removed_database(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Its clients get an error, its servers close; the other databases keep theirs."""
    with RawClient(pooler.port) as victim, pooler.connect(database="other") as other:
        victim.log_in()
        victim.send(query("BEGIN"))
        victim.read_until(b"Z")
        other.execute("SELECT 1")
        (kept,) = rows_of(pooler, "SERVERS", "other")
        entry = pgswitch.usual_databases()["other"]
        change(pgswitch, pooler, databases={"other": entry})
        assert victim.read_error()["M"] == "database removed"
        assert victim.is_closed()
        assert other.execute("SELECT 1").fetchone() == (1,)
        assert [row["ptr"] for row in pooler.console("SHOW SERVERS")] == [kept["ptr"]]
    with pytest.raises(psycopg.OperationalError, match="no such database: bench"):
        pooler.connect()
    change(pgswitch, pooler)
    assert pooler.execute("SELECT 1") == [(1,)]


def test_a_database_that_moves(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """A transaction ends where it began; the next begins at the new place."""
    with pooler.connect(autocommit=False) as busy, pooler.connect() as idle:
        busy.execute("SELECT 1")
        idle.execute("SELECT 1")
        entry = pgswitch.usual_databases()["bench"]
        moved = {"bench": f"{entry} dbname=other"}
        change(pgswitch, pooler, databases=moved)
        row = idle.execute("SELECT current_database()").fetchone()
        assert row == ("other",)
        row = busy.execute("SELECT current_database()").fetchone()
        assert row == ("bench",)
        busy.commit()
        row = busy.execute("SELECT current_database()").fetchone()
        assert row == ("other",)
        busy.commit()
        pooler.console("WAIT_CLOSE bench")
        assert not any(row["close_needed"] for row in pooler.console("SHOW SERVERS"))


def test_what_costs_no_server(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Sizes and timeouts of a database change without a new connection."""
    with pooler.connect() as client:
        client.execute("SELECT 1")
        (before,) = rows_of(pooler, "SERVERS", "bench")
        entry = pgswitch.usual_databases()["bench"]
        change(
            pgswitch,
            pooler,
            databases={"bench": f"{entry} pool_size=7 reserve_pool_size=2"},
            query_timeout=100,
        )
        client.execute("SELECT 1")
        (after,) = rows_of(pooler, "SERVERS", "bench")
        assert (before["ptr"], after["close_needed"]) == (after["ptr"], 0)
        (row,) = rows_of(pooler, "DATABASES", "bench")
        assert (row["pool_size"], row["reserve_pool_size"]) == (7, 2)


def test_a_larger_pool(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Who waits gets one of the new places without further ado."""
    change(pgswitch, pooler, default_pool_size=1)
    with pooler.connect(autocommit=False) as holder, RawClient(pooler.port) as waiter:
        holder.execute("SELECT 1")
        waiter.log_in("scram")
        waiter.send(query("SELECT 1"))
        wait_until(
            lambda: any(row["cl_waiting"] for row in pooler.console("SHOW POOLS")),
            "a client to wait",
        )
        change(pgswitch, pooler, default_pool_size=2)
        assert waiter.read_until(b"Z")[-1] == (b"Z", b"I")


def test_a_smaller_pool(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Servers over the new size are closed; no client loses a transaction."""
    clients = [pooler.connect(autocommit=False) for _ in range(4)]
    for client in clients:
        client.execute("SELECT 1")
    assert len(pooler.console("SHOW SERVERS")) == 4
    change(pgswitch, pooler, default_pool_size=1)
    for client in clients:
        client.execute("SELECT 2")
        client.commit()
        client.close()
    wait_until(
        lambda: len(pooler.console("SHOW SERVERS")) <= 1, "the servers to be closed"
    )
    assert pooler.execute("SELECT 1") == [(1,)]


def test_what_needs_a_restart(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """A changed port is no error, and has no effect."""
    change(pgswitch, pooler, listen_port=1, unix_socket_dir="/nowhere")
    assert pooler.execute("SELECT 1") == [(1,)]
    values = {row["key"]: row for row in pooler.console("SHOW CONFIG")}
    assert values["listen_port"]["value"] == str(pooler.port)
    assert values["listen_port"]["changeable"] == "no"


def test_another_administrator(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Rights on the console follow the file at the next login."""
    pooler.configure(pgswitch.usual_databases(), {**USUAL, "admin_users": "md5"})
    pooler.console("RELOAD")
    with pooler.connect("md5", "pgbouncer") as console:
        console.execute(b"RELOAD")
    with pytest.raises(psycopg.OperationalError, match="not allowed"):
        pooler.connect(ADMIN, "pgbouncer")


def test_an_included_file(
    pgswitch: PgSwitchFactory, pooler: PgSwitch, directory: Path
) -> None:
    """Databases may be kept in a file of their own, read again with the rest."""
    included = directory / "databases.ini"
    entry = pgswitch.usual_databases()["bench"]
    included.write_text(f"[databases]\nextra = {entry} dbname=other\n")
    included.chmod(0o644)
    with pooler.ini_path.open("a", encoding="utf-8") as ini:
        ini.write(f"%include {included}\n")
    pooler.console("RELOAD")
    row = pooler.execute("SELECT current_database()", database="extra")
    assert row == [("other",)]
    included.write_text(f"[databases]\nextra = {entry} dbname=bench\n")
    pooler.console("RELOAD")
    row = pooler.execute("SELECT current_database()", database="extra")
    assert row == [("bench",)]


def test_reloads_under_load(pgswitch: PgSwitchFactory, pooler: PgSwitch) -> None:
    """Fifteen reloads, each moving the database: no client sees an error."""
    stop = threading.Event()
    failures: list[Exception] = []
    seen: set[object] = set()

    def work() -> None:
        try:
            with pooler.connect() as client:
                while not stop.is_set():
                    seen.add(client.execute("SELECT current_database()").fetchone())
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        entry = pgswitch.usual_databases()["bench"]
        for number in range(15):
            target = DATABASES[number % 2]
            moved = {"bench": f"{entry} dbname={target}"}
            change(pgswitch, pooler, databases=moved)
            pooler.console("WAIT_CLOSE")
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert failures == []
    assert seen == {(name,) for name in DATABASES}
