"""Rules of the user's, as clients notice them: where a query runs, and as what."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import asyncpg
import psycopg
import psycopg.errors
import pytest

from pgswitch.demo.installations import Installation
from pgswitch.demo.postgres import PostgresServer
from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory
from tests.integration.wire import RawClient, error_fields, message, query
from tests.waiting import wait_until

ONE_INSTALLATION = True

TABLES = """
    def routing_rules(username, query, in_transaction):
        if "tablea" in query:
            return "dev.1"
        elif "tableb" in query:
            return "dev.2"
        else:
            return None
"""
"""The first example of the README: each table is on one server only."""

Make = Callable[..., PgSwitch]


@pytest.fixture(scope="session")
def tables(postgres: PostgresServer) -> Iterator[None]:
    """Have tablea in one database and tableb in the other."""
    for database, table in (("bench", "tablea"), ("other", "tableb")):
        postgres.execute(
            f"CREATE TABLE {table} AS SELECT current_database() AS place, 1 AS id",
            database=database,
        )
        postgres.execute(f"GRANT ALL ON {table} TO PUBLIC", database=database)
    yield
    for database, table in (("bench", "tablea"), ("other", "tableb")):
        postgres.execute(f"DROP TABLE {table}", database=database)


@pytest.fixture
def make(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path, tables: None
) -> Make:
    """Return what starts pgswitch with rules: dev.1 is bench, dev.2 is other."""

    def started(
        routing: str = "", rewriting: str = "", **settings: str | float
    ) -> PgSwitch:
        for name, text in (("routing_rules", routing), ("rewrite_query", rewriting)):
            if text:
                settings[f"{name}_py_module_file"] = str(write(directory, name, text))
        place = f"host=127.0.0.1 port={postgres.port}"
        databases = {
            "bench": f"{place} dbname=bench",
            "dev.1": f"{place} dbname=bench",
            "dev.2": f"{place} dbname=other",
        }
        chosen = {"pool_mode": "transaction", "default_pool_size": 3, **settings}
        return pgswitch(databases, **chosen)

    return started


def write(directory: Path, name: str, text: str) -> Path:
    """Write a file of rules that everybody can read."""
    directory.chmod(0o755)
    path = directory / f"{name}.py"
    path.write_text(dedent(text))
    return path


def places(connection: psycopg.Connection, *tables: str) -> list[str]:
    """Return which database each table was read in."""
    rows = [
        connection.execute(f"SELECT place FROM {table}".encode()).fetchone()
        for table in tables
    ]
    return [row[0] for row in rows if row is not None]


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_two_tables(make: Make, mode: str) -> None:
    """One session reads tables of two servers, and stays where it was last sent."""
    pooler = make(TABLES, pool_mode=mode)
    with pooler.connect() as connection:
        assert places(connection, "tablea", "tableb", "tableb", "tablea") == [
            *("bench", "other", "other", "bench")
        ]
        assert places(connection, "tableb") == ["other"]
        row = connection.execute("SELECT current_database()").fetchone()
        assert row == ("other",)
    rows = {row["rule"]: row for row in pooler.console("SHOW RULES")}
    assert rows["routing_rules"]["calls"] == 6
    assert rows["routing_rules"]["effects"] == 4


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench(
    make: Make, installation: Installation, directory: Path, protocol: str
) -> None:
    """Every protocol, transactions included; prepared statements go where they belong."""
    pooler = make(TABLES)
    script = directory / "script"
    script.write_text(
        "SELECT id FROM tablea WHERE id = 1;\nSELECT id FROM tableb WHERE id = 1;\n"
        "BEGIN;\nSELECT id FROM tableb;\nSELECT 1;\nCOMMIT;\n"
    )
    finished = subprocess.run(
        [
            installation.program("pgbench"),
            *("-h", "127.0.0.1", "-p", str(pooler.port), "-U", "scram", "-n"),
            *("-c", "6", "-j", "6", "-t", "40", "-M", protocol, "-f", str(script), "bench"),
        ],
        env={**os.environ, "PGPASSWORD": PASSWORDS["scram"]},
        capture_output=True,
        check=False,
        text=True,
        timeout=8,
    )
    assert finished.returncode == 0, finished.stderr
    assert "processed: 240/240" in finished.stdout
