"""Scripts of pgbench with few servers: pipelines, temporary state, servers that end."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from pgswitch.demo.postgres import Installation, PostgresServer
from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory
from tests.waiting import wait_until

CLIENTS = 20
SERVERS = 5

ONE_INSTALLATION = True

PIPELINE = r"""
\startpipeline
BEGIN;
SELECT txid_current() AS first;
SELECT 1;
COMMIT;
SELECT 2;
\endpipeline
"""
"""Five statements sent before the first answer is read."""

TRANSACTION = r"""
BEGIN;
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT :client_id AS client;
SELECT 1 / count(*) FROM mine WHERE client = :client_id;
SET LOCAL application_name = 'inside';
SELECT 1 / (current_setting('application_name') = 'inside')::int;
COMMIT;
SELECT 1 / (to_regclass('pg_temp.mine') IS NULL)::int;
SELECT 1 / (current_setting('application_name') = 'pgbench')::int;
"""
"""Divides by zero if anything of one transaction is seen in another."""

UPDATES = r"""
\set one random(1, 50)
BEGIN;
UPDATE counters SET value = value + 1 WHERE id = :one;
UPDATE counters SET value = value - 1 WHERE id = 101 - :one;
COMMIT;
"""
"""The lower number first, so that no two clients wait for each other."""


def command(installation: Installation, pooler: PgSwitch, *options: str) -> list[str]:
    """Return the command line of pgbench against the pooler."""
    return [
        installation.program("pgbench"),
        *("-h", "127.0.0.1", "-p", str(pooler.port), "-U", "scram", "-n"),
        *("-c", str(CLIENTS), "-j", str(CLIENTS)),
        *options,
        "bench",
    ]


def environment() -> dict[str, str]:
    """Return our environment with the password in it."""
    return {**os.environ, "PGPASSWORD": PASSWORDS["scram"]}


def run_script(
    installation: Installation, pooler: PgSwitch, path: Path, text: str, protocol: str
) -> int:
    """Run a script for two seconds without a failure; return how often it ran."""
    path.write_text(text, encoding="ascii")
    options = ("-M", protocol, "-T", "2", "-f", str(path))
    finished = subprocess.run(
        command(installation, pooler, *options),
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert finished.returncode == 0, finished.stderr
    assert "aborted" not in finished.stderr
    done = re.search(r"actually processed: (\d+)", finished.stdout)
    assert done is not None, finished.stdout
    return int(done[1])


def pool_of(pooler: PgSwitch) -> dict[str, int]:
    """Return the usual user's row of SHOW POOLS."""
    rows = pooler.console("SHOW POOLS")
    return next(row for row in rows if row["user"] == "scram")


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch with few servers."""
    return pgswitch(pool_mode="transaction", default_pool_size=SERVERS)


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        (PIPELINE, "extended"),
        (PIPELINE, "prepared"),
        (TRANSACTION, "simple"),
        (TRANSACTION, "prepared"),
    ],
    ids=["pipeline-extended", "pipeline-prepared", "state-simple", "state-prepared"],
)
def test_scripts(
    installation: Installation,
    pooler: PgSwitch,
    directory: Path,
    text: str,
    protocol: str,
) -> None:
    """No failure, no more servers than allowed, all of them idle afterwards."""
    count = run_script(installation, pooler, directory / "script", text, protocol)
    assert count > 50
    wait_until(lambda: pool_of(pooler)["cl_active"] == 0, "the clients to leave")
    row = pool_of(pooler)
    idle = row["sv_idle"] + row["sv_used"]
    assert 1 <= idle <= SERVERS
    assert row["sv_active"] == row["cl_waiting"] == row["sv_login"] == 0
    totals = {r["database"]: r for r in pooler.console("SHOW STATS_TOTALS")}
    # A pipeline has one Sync, so one ReadyForQuery, by which transactions are counted.
    transactions = 1 if text is PIPELINE else 3
    assert totals["bench"]["xact_count"] >= count * transactions


def test_servers_that_end_meanwhile(
    installation: Installation,
    pooler: PgSwitch,
    postgres: PostgresServer,
    directory: Path,
) -> None:
    """Each terminated server costs one client at most, and no half transaction stays.

    The sum of all counters is 0 before and after each transaction.
    """
    pooler.execute(
        "CREATE TABLE counters AS SELECT id, 0 AS value FROM generate_series(1, 100) id"
    )
    script = directory / "script"
    script.write_text(UPDATES, encoding="ascii")
    eviction_candidates: set[int] = set()
    try:
        with (
            (directory / "errors").open("w+") as errors,
            subprocess.Popen(
                command(installation, pooler, "-T", "3", "-f", str(script)),
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            ) as load,
        ):
            for _ in range(4):
                with suppress(subprocess.TimeoutExpired):
                    load.wait(0.5)
                rows = pooler.console("SHOW SERVERS")
                if rows:
                    pid = rows[0]["remote_pid"]
                    postgres.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    eviction_candidates.add(pid)
            load.wait(30)
            errors.seek(0)
            complaints = errors.read()
        aborted = set(re.findall(r"client (\d+) aborted", complaints))
        assert eviction_candidates
        assert len(aborted) <= len(eviction_candidates), complaints
        wait_until(
            lambda: (
                not any(pool_of(pooler)[name] for name in ("cl_active", "cl_waiting"))
            ),
            "the clients to leave",
        )
        row = pool_of(pooler)
        shown = sum(row[f"sv_{name}"] for name in ("idle", "used", "tested", "active"))
        there = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'scram'"
        assert postgres.execute(there) == [(shown,)]
        total = "SELECT sum(value) FROM counters"
        assert postgres.execute(total, database="bench") == [(0,)]
    finally:
        pooler.execute("DROP TABLE counters")
