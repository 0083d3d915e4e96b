"""The console as monitoring tools and drivers of every kind use it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import pg8000.native
import psycopg
import psycopg2
import pytest
from psycopg.rows import dict_row

from pgswitch.demo.postgres import Installation, PostgresServer
from tests.integration.running import (
    ADMIN,
    PASSWORDS,
    PgSwitch,
    PgSwitchFactory,
)

ONE_INSTALLATION = True

EXPORTER = {
    "SHOW VERSION;": {"version"},
    "SHOW LISTS;": {"list", "items"},
    "SHOW CONFIG;": {"key", "value", "default", "changeable"},
    "SHOW SERVERS;": {"user", "database", "state", "addr", "port", "close_needed"},
    "SHOW databases;": {
        *("name", "host", "port", "database", "force_user", "pool_size"),
        *("pool_mode", "max_connections", "current_connections"),
        *("paused", "disabled"),
    },
    "SHOW pools;": {
        *("database", "user", "cl_active", "cl_active_cancel_req", "cl_waiting"),
        *("cl_waiting_cancel_req", "sv_active", "sv_active_cancel", "sv_login"),
        *("sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "maxwait"),
    },
    "SHOW stats;": {
        *("database", "total_query_count", "total_query_time", "total_received"),
        *("total_sent", "total_wait_time", "total_xact_count", "total_xact_time"),
    },
}
"""prometheus-community's pgbouncer_exporter (lib/pq): statement to columns read."""

DATADOG = {
    "SHOW VERSION;": {"version"},
    "SHOW STATS": {
        *("database", "total_query_count", "total_xact_count", "total_received"),
        *("total_sent", "total_query_time", "total_xact_time", "total_wait_time"),
        *("avg_recv", "avg_sent", "avg_query_count", "avg_xact_count"),
        *("avg_query_time", "avg_xact_time", "avg_wait_time"),
    },
    "SHOW POOLS": {
        *("database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle"),
        *("sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us"),
    },
    "SHOW DATABASES": {
        *("name", "pool_size", "max_connections", "current_connections"),
    },
    "SHOW CONFIG": {"key", "value"},
    "SHOW CLIENTS": {
        *("database", "user", "state", "connect_time", "request_time"),
        *("wait", "wait_us"),
    },
    "SHOW SERVERS": {"database", "user", "state", "connect_time", "request_time"},
}
"""Datadog's check (psycopg2)."""

_SOCKET = """"type" text, "user" text, database text, replication text, state text,
    addr text, port int, local_addr text, local_port int,
    connect_time timestamptz, request_time timestamptz, wait int, wait_us int,
    close_needed int, ptr text, link text, remote_pid int, tls text,
    application_name text"""
_COUNTS = """{0}_server_assignment_count int, {0}_xact_count bigint,
    {0}_query_count bigint, {0}_received bigint, {0}_sent bigint,
    {0}_xact_time bigint, {0}_query_time bigint, {0}_wait_time bigint,
    {0}_client_parse_count int, {0}_server_parse_count int, {0}_bind_count int,
    {0}_client_login_count int"""
FDW = {
    "show version": "version text",
    "show clients": f"{_SOCKET}, prepared_statements int, id int",
    "show config": """key text, value text, "default" text, changeable boolean""",
    "show databases": """name text, host text, port int, database text,
        force_user text, pool_size int, min_pool_size int, reserve_pool_size int,
        server_lifetime int, pool_mode text, load_balance_hosts int,
        max_connections int, current_connections int, max_client_connections int,
        current_client_connections int, paused int, disabled int""",
    "show dns_hosts": "hostname text, ttl bigint, addrs text",
    "show dns_zones": "zonename text, serial text, count int",
    "show lists": "list text, items int",
    "show pools": """database text, "user" text, cl_active int, cl_waiting int,
        cl_active_cancel_req int, cl_waiting_cancel_req int, sv_active int,
        sv_active_cancel int, sv_being_canceled int, sv_idle int, sv_used int,
        sv_tested int, sv_login int, maxwait int, maxwait_us int, pool_mode text,
        load_balance_hosts int""",
    "show servers": f"{_SOCKET}, prepared_statements int, id int",
    "show sockets": f"""{_SOCKET}, recv_pos int, pkt_pos int, pkt_remain int,
        send_pos int, send_remain int, pkt_avail int, send_avail int,
        prepared_statements int, id int""",
    # It knows the 23 columns of 1.24; 1.25 has counts of logins besides.
    "show stats": f"database text, {_COUNTS.format('total')}, {_COUNTS.format('avg')}",
    "show users": """name text, pool_size text, reserve_pool_size text,
        pool_mode text, max_user_connections int, current_connections int,
        max_user_client_connections int, current_client_connections int""",
}
"""pgbouncer_fdw: statement to the columns that it has dblink return, by place."""

FDW_COMMANDS = (
    *("DISABLE other", "ENABLE other", "PAUSE bench", "RESUME bench", "PAUSE"),
    *("RESUME", "RECONNECT bench", "RECONNECT", "RELOAD"),
    *("WAIT_CLOSE bench", "WAIT_CLOSE", "SET query_timeout = '10'", "KILL bench"),
)
"""What it has dblink_exec run, where a result with rows would be an error."""


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch that has served queries, with ``md5`` in stats_users."""
    pooler = pgswitch(pool_mode="transaction", stats_users="md5")
    pooler.execute("SELECT 1")
    return pooler


@pytest.mark.parametrize("asked", [EXPORTER, DATADOG], ids=["exporter", "datadog"])
@pytest.mark.parametrize("driver", [psycopg2, psycopg], ids=["psycopg2", "psycopg"])
def test_monitoring_by_name(pooler: PgSwitch, driver: object, asked: object) -> None:
    """A stats user's statements, with every column that the tool reads."""
    assert isinstance(asked, dict)
    connection = driver.connect(pooler.dsn("md5", "pgbouncer"))  # type: ignore[attr-defined]
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement, columns in asked.items():
            cursor.execute(statement)
            assert columns <= {one[0] for one in cursor.description}, statement
            assert cursor.fetchall(), statement
    connection.close()


@pytest.fixture
def dblink(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """Yield the server with the extension that pgbouncer_fdw is made of."""
    if not postgres.execute(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'dblink'"
    ):
        pytest.skip("a PostgreSQL without dblink")
    postgres.execute("CREATE EXTENSION dblink")
    yield postgres
    postgres.execute("DROP EXTENSION dblink")


def test_pgbouncer_fdw(pooler: PgSwitch, dblink: PostgresServer) -> None:
    """PostgreSQL reads every list by its places, each value of its type."""
    dsn = pooler.dsn("md5", "pgbouncer")
    for statement, columns in FDW.items():
        asked = f"SELECT * FROM dblink('{dsn}', '{statement}') AS x ({columns})"
        rows = dblink.execute(asked)
        assert rows or "dns" in statement, statement
    dsn = pooler.dsn(ADMIN, "pgbouncer")
    for command in FDW_COMMANDS:
        quoted = command.replace("'", "''")
        ((tag,),) = dblink.execute(f"SELECT dblink_exec('{dsn}', '{quoted}')")
        assert tag.split()[0] == command.split()[0]
    pooler.console("RESUME bench")


def test_check_postgres(pooler: PgSwitch, installation: Installation) -> None:
    """It runs psql and reads its expanded, unaligned output."""
    psql = [installation.program("psql"), "-q", "-t", "-x", "-A"]
    for statement, wanted in (
        ("SHOW CONFIG", "log_pooler_errors"),
        ("SHOW CONFIG", "max_client_conn"),
        *(("SHOW POOLS", name) for name in ("cl_active", "cl_waiting", "sv_idle")),
    ):
        asked = [*psql, "-c", statement, pooler.dsn("md5", "pgbouncer")]
        output = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert wanted in output.stdout


def bench_row(rows: Iterable[Any]) -> dict[str, Any]:
    """Return the row of the database bench."""
    return next(dict(row) for row in rows if row["database"] == "bench")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("prepare", [False, True])
def test_psycopg(pooler: PgSwitch, *, binary: bool, prepare: bool) -> None:
    """By Parse and Bind, in text and in binary, prepared or not."""
    with pooler.connect("admin", "pgbouncer", row_factory=dict_row) as connection:
        cursor = connection.cursor(binary=binary)
        for _ in range(2):
            stats = cursor.execute("SHOW STATS", prepare=prepare).fetchall()
            assert bench_row(stats)["total_query_count"] == Decimal(1)
            pools = cursor.execute("SHOW POOLS", prepare=prepare).fetchall()
            assert bench_row(pools)["sv_idle"] == 1
        with pytest.raises(psycopg.Error, match="no such database: nosuch"):
            cursor.execute("PAUSE nosuch", prepare=prepare)
        assert cursor.execute("RELOAD", prepare=prepare).statusmessage == "RELOAD"


def test_asyncpg(pooler: PgSwitch) -> None:
    """It prepares and describes all it fetches, and takes binary results."""

    async def ask() -> None:
        connection = await asyncpg.connect(
            pooler.dsn("md5", "pgbouncer"), statement_cache_size=10
        )
        for _ in range(2):
            rows = await connection.fetch("SHOW STATS")
            assert bench_row(rows)["total_query_count"] == 1
        assert await connection.fetchval("SHOW VERSION") == "PgBouncer 1.25.2"
        with pytest.raises(asyncpg.PostgresError, match="admin access needed"):
            await connection.execute("RELOAD")
        with pytest.raises(asyncpg.PostgresError, match="admin access needed"):
            await connection.fetch("PAUSE")
        assert len(await connection.fetch("SHOW STATE")) == 3
        await connection.close()

    asyncio.run(ask())


def test_pg8000(pooler: PgSwitch) -> None:
    """A driver in Python that prepares by name."""
    with pg8000.native.Connection(
        "md5",
        host="127.0.0.1",
        port=pooler.port,
        database="pgbouncer",
        password=PASSWORDS["md5"],
    ) as connection:
        statement = connection.prepare("SHOW LISTS")
        assert dict(statement.run())["peers"] == 0
        statement.close()
        assert connection.run("SHOW VERSION") == [["PgBouncer 1.25.2"]]


def test_pings(pooler: PgSwitch) -> None:
    """Drivers that ask nothing get nothing, in both protocols."""
    connection = psycopg2.connect(pooler.dsn(ADMIN, "pgbouncer"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("/* ping */ SHOW VERSION -- ping")
        assert cursor.fetchall() == [("PgBouncer 1.25.2",)]
    connection.close()
    with pooler.connect(ADMIN, "pgbouncer") as modern:
        for ping in (";", "", "-- ping"):
            assert modern.execute(ping).statusmessage is None
            assert modern.execute(ping, prepare=True).statusmessage is None


def test_a_pause_with_a_limit(pooler: PgSwitch) -> None:
    """A client that keeps its server does not keep the console waiting for ever."""
    with pooler.connect(autocommit=False) as client:
        client.execute("SELECT 1")
        with pytest.raises(psycopg.errors.QueryCanceled, match="1 servers in use"):
            pooler.console("PAUSE bench TIMEOUT '0.2'")
        assert client.execute("SELECT 2").fetchone() == (2,)
        assert pooler.execute("SELECT 3") == [(3,)]
    pooler.console("PAUSE TIMEOUT 10")
    pooler.console("RESUME")
