"""The ways to start it, the reactors it runs on, and what -v -v writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.processes import Account, free_port
from tests.integration.running import PASSWORDS, PgSwitchFactory
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
TWISTD = "from twisted.scripts.twistd import run; run()"

ONE_INSTALLATION = True


@contextmanager
def running(
    command: Sequence[str], port: int, directory: Path, **environment: str
) -> Iterator[str]:
    """Start a command and yield a connection string once it serves."""
    log = directory / "entry.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=_environment(environment),
            stdout=output,
            stderr=output,
            cwd=directory,
        )
    url = f"postgresql://scram:{PASSWORDS['scram']}@127.0.0.1:{port}/bench"

    def serves() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return True
        return False

    try:
        wait_until(serves, "the port to open", 20)
        yield url
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": path, **more}


@pytest.fixture
def ini(pgswitch: PgSwitchFactory, account: Account | None) -> tuple[Path, int]:
    """Return a configuration file and its port; as root, it names another user."""
    port = free_port()
    made = pgswitch(start=False)
    settings: dict[str, str | int | float] = {
        "pool_mode": "transaction",
        "listen_port": port,
    }
    if account is not None:
        settings["user"] = account.name
    made.configure(pgswitch.usual_databases(), settings)
    return made.ini_path, port


def work(url: str) -> None:
    """Do a little of everything."""
    with psycopg.connect(url, autocommit=True) as client:
        for number in range(8):
            row = client.execute("SELECT %s::int", (number,), prepare=True).fetchone()
            assert row == (number,)
        rows = client.execute("SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
        assert len(rows.fetchall()) == 3000


@pytest.mark.parametrize("reactor", ["epoll", "poll", "select", "asyncio", "lean"])
def test_twistd_with_each_reactor(
    ini: tuple[Path, int], directory: Path, reactor: str
) -> None:
    """The plugin works under each of Twisted's reactors and under our own."""
    path, port = ini
    command = ["-c", TWISTD, "--reactor", reactor, "-n", "--pidfile="]
    command += ["pgswitch", "--config", str(path)]
    with running(command, port, directory) as url:
        work(url)


def test_the_tac_file(ini: tuple[Path, int], directory: Path) -> None:
    """The configuration is named by the environment."""
    path, port = ini
    command = ["-c", TWISTD, "--pidfile=", "-noy", str(ROOT / "pgswitch.tac")]
    with running(command, port, directory, PGSWITCH_CONFIG=str(path)) as url:
        work(url)


@pytest.mark.parametrize("reactor", ["", "epoll", "poll"])
def test_the_command(ini: tuple[Path, int], directory: Path, reactor: str) -> None:
    """The command takes the lean reactor, or the one that the environment names."""
    path, port = ini
    command = ["-m", "pgswitch.cli", str(path)]
    with running(command, port, directory, PGSWITCH_REACTOR=reactor) as url:
        work(url)
    assert f"({reactor or 'lean'})" in (directory / "entry.log").read_text()


def test_the_trace(pgswitch: PgSwitchFactory) -> None:
    """-v -v writes every message, and no secret."""
    pooler = pgswitch(options=["-v", "-v"], auth_type="plain", pool_mode="transaction")
    assert pooler.execute("SELECT 'traced'") == [("traced",)]
    pooler.wait_for_log("ReadyForQuery")
    text = pooler.log_text()
    assert "Query\t \"SELECT 'traced'\"" in text
    assert "DataRow" in text
    assert "BackendKeyData" in text
    assert PASSWORDS["scram"] not in text
