"""The PostgreSQL servers that tests and demo start, without pgswitch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.postgres import Installation, PostgresServer, readable_by
from pgswitch.demo.processes import (
    Account,
    Child,
    ChildFailed,
    PrivateDirectory,
    may_run,
)
from tests.integration.running import DATABASES, USERS, User
from tests.waiting import wait_until


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def test_version_is_the_installations(
    postgres: PostgresServer, installation: Installation
) -> None:
    """The server that runs is the one that was found."""
    number = postgres.execute("SELECT current_setting('server_version_num')::int")
    assert number[0][0] // 10_000 == installation.major


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
@pytest.mark.parametrize("database", DATABASES)
def test_each_user_can_log_in_and_create(
    postgres: PostgresServer, user: User, database: str
) -> None:
    """Each user gets in with its password and may create tables."""
    with psycopg.connect(
        host="127.0.0.1",
        port=postgres.port,
        user=user.name,
        password=user.password,
        dbname=database,
    ) as connection:
        connection.execute("CREATE TABLE made_here (n int)")
        connection.rollback()


@pytest.mark.parametrize(
    "user", [user for user in USERS if user.hba_method != "trust"], ids=lambda u: u.name
)
def test_a_wrong_password_is_refused(postgres: PostgresServer, user: User) -> None:
    """Passwords count, except where the server trusts."""
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(
            host="127.0.0.1",
            port=postgres.port,
            user=user.name,
            password="wrong",
            dbname="bench",
        )


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_stop_and_start_keep_the_port(own_postgres: PostgresServer, mode: str) -> None:
    """After each kind of stop the server comes back where it was, with its data."""
    own_postgres.execute("CREATE TABLE kept (n int)")
    port, pid = own_postgres.port, own_postgres.pid
    own_postgres.execute("CHECKPOINT")
    own_postgres.restart(mode)
    assert own_postgres.port == port
    assert own_postgres.pid != pid
    assert own_postgres.execute("SELECT count(*) FROM kept") == [(0,)]


def test_kill_takes_the_backends_along(own_postgres: PostgresServer) -> None:
    """After SIGKILL nothing of the server is left, and it can start again."""
    backend = psycopg.connect(
        host=str(own_postgres.directory), port=own_postgres.port, user="postgres"
    )
    pid = backend.info.backend_pid
    own_postgres.kill()
    assert not own_postgres.is_running
    wait_until(lambda: not is_alive(pid), "the backend to leave")
    backend.close()
    own_postgres.start()
    assert own_postgres.execute("SELECT 1") == [(1,)]


def test_settings_act_after_reload(own_postgres: PostgresServer) -> None:
    """A line appended to the configuration wins."""
    own_postgres.configure({"work_mem": "5MB", "log_line_prefix": "it's %p "})
    own_postgres.reload()
    wait_until(
        lambda: own_postgres.execute("SHOW work_mem") == [("5MB",)], "the new setting"
    )


def test_a_server_that_cannot_start_says_why(own_postgres: PostgresServer) -> None:
    """The error shows the end of the server's log."""
    own_postgres.stop()
    own_postgres.configure({"no_such_setting": "1"})
    with pytest.raises(ChildFailed, match="no_such_setting"):
        own_postgres.start()


def test_unreadable_programs_are_copied(
    installation: Installation, account: Account | None, directory: Path
) -> None:
    """A wheel below a folder that the account cannot enter is copied for it."""
    if account is None or installation.source != "wheel":
        pytest.skip("matters to root alone, and to the wheel")
    hidden = directory / "hidden"
    copy = readable_by(account, installation, directory)
    if copy == installation:
        package = installation.bindir.parents[1]
        libraries = package.with_name(f"{package.name}.libs")
        hidden.mkdir(mode=0o700)
        shutil.copytree(installation.bindir.parent, hidden / package.name / "pginstall")
        shutil.copytree(libraries, hidden / libraries.name)
        bindir = hidden / package.name / "pginstall" / "bin"
        unreadable = Installation(bindir, installation.version, "wheel")
        assert not may_run([unreadable.program("initdb"), "--version"], account)
        copy = readable_by(account, unreadable, directory)
    assert may_run([copy.program("initdb"), "--version"], account)


@pytest.mark.parametrize("how", ["exit", "exception", "SIGKILL"])
def test_children_end_with_their_parent(
    how: str, account: Account | None, tmp_path: Path
) -> None:
    """However the parent ends, by SIGKILL even, its child ends too."""
    program = f"""
import os, signal, sys
from pathlib import Path
from pgswitch.demo.processes import account_for_children
from pgswitch.demo.processes import Child
child = Child(["sleep", "100"], name="sleep", log_path=Path({str(tmp_path)!r}, "log"),
              directory=Path("/"), account=account_for_children())
print(child.pid, flush=True)
match {how!r}:
    case "exit": sys.exit(0)
    case "exception": raise ValueError
    case "SIGKILL": os.kill(os.getpid(), signal.SIGKILL)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    pid = int(finished.stdout)
    wait_until(lambda: not is_alive(pid), "the child to end")


def test_a_stubborn_child_is_killed(tmp_path: Path, account: Account | None) -> None:
    """A child that ignores the polite signals ends all the same."""
    child = Child(
        ["sh", "-c", "trap '' INT TERM; echo ready; while :; do sleep 1; done"],
        name="stubborn",
        log_path=tmp_path / "log",
        directory=Path("/"),
        account=account,
    )
    child.await_ready(lambda: "ready" in child.log_text(), timeout_s=10)
    code = child.stop(signal.SIGINT, signal.SIGTERM, patience_s=0.2)
    assert code == -signal.SIGKILL


def test_private_directories_are_removed(account: Account | None) -> None:
    """Removing takes the content along and may be repeated."""
    folder = PrivateDirectory(account)
    (folder.path / "file").write_text("x")
    folder.remove()
    folder.remove()
    assert not folder.path.exists()
