"""The console as monitoring tools and drivers of every kind use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import asyncpg
import pg8000.native
import psycopg
import psycopg2
import pytest
from psycopg.rows import dict_row

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
    "SHOW DATABASES;": {
        *("name", "host", "port", "database", "force_user", "pool_size"),
        *("pool_mode", "max_connections", "current_connections"),
        *("paused", "disabled"),
    },
    "SHOW POOLS;": {
        *("database", "user", "cl_active", "cl_active_cancel_req", "cl_waiting"),
        *("cl_waiting_cancel_req", "sv_active", "sv_active_cancel", "sv_login"),
        *("sv_being_canceled", "sv_idle", "sv_used", "sv_tested"),
        *("maxwait", "maxwait_us", "pool_mode"),
    },
    "SHOW STATS;": {
        *("database", "avg_query_count", "avg_query_time", "avg_recv", "avg_sent"),
        *("avg_wait_time", "avg_xact_count", "avg_xact_time"),
        *("total_query_count", "total_query_time", "total_received", "total_sent"),
        *("total_wait_time", "total_xact_count", "total_xact_time"),
        *("total_server_assignment_count", "total_client_login_count"),
        *("total_client_parse_count", "total_server_parse_count"),
        "total_bind_count",
    },
}
"""prometheus-community's pgbouncer_exporter (lib/pq): statement to columns read."""

DATADOG = {
    "SHOW VERSION": {"version"},
    "SHOW STATS": {
        *("database", "total_query_time", "total_xact_time", "total_wait_time"),
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
    "SHOW CLIENTS": {"database", "user", "state", "connect_time", "request_time"},
    "SHOW SERVERS": {"database", "user", "state", "connect_time", "request_time"},
    "SHOW CONFIG": {"key", "value"},
}
"""Datadog's check (psycopg)."""

FDW = {
    "show clients": 21,
    "show config": 4,
    "show databases": 17,
    "show dns_hosts": 3,
    "show dns_zones": 3,
    "show lists": 2,
    "show pools": 17,
    "show servers": 21,
    "show sockets": 28,
    "show stats": 25,
    "show users": 8,
}
"""pgbouncer_fdw reads by place through dblink: statement to number of columns."""

CHECK_POSTGRES = ("SHOW VERSION", "SHOW CONFIG", "SHOW POOLS", "SHOW STATS")


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch that has served something, and whom ``md5`` may look at."""
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


def test_monitoring_by_place(pooler: PgSwitch) -> None:
    """As many columns as a foreign table has."""
    with pooler.connect("md5", "pgbouncer") as connection:
        for statement, width in FDW.items():
            cursor = connection.execute(statement)
            assert len(cursor.description or ()) == width, statement
        for statement in CHECK_POSTGRES:
            assert connection.execute(statement).fetchall()
            assert connection.execute(statement.replace("SHOW", "SELECT")).fetchall()


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
    """It prepares and describes whatever it fetches, and takes binary results."""

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
