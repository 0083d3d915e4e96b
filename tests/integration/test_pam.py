"""auth_type pam, with a service of PAM that the tests set up."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pgswitch.auth import pam
from pgswitch.demo.processes import Account, hand_over
from tests.integration.running import PASSWORDS, PgSwitchFactory

ONE_INSTALLATION = True
SERVICES = Path("/etc/pam.d")
MODULES = [
    *Path("/lib").glob("**/pam_exec.so"),
    *Path("/usr/lib").glob("**/pam_exec.so"),
]

SCRIPT = """#!/bin/sh
read -r given || true
echo "$PAM_USER from $PAM_RHOST" >> "{log}"
case "$PAM_USER" in
  scram) test "$given" = "scram-secret" ;;
  slow) sleep 2; test "$given" = "slow-secret" ;;
  *) false ;;
esac
"""


@pytest.fixture
def service(directory: Path, account: Account | None) -> Iterator[str]:
    """Set up a service that asks a script; yield its name."""
    if os.geteuid() != 0 or not MODULES or not pam.is_available():
        pytest.skip("PAM IS NOT TESTED: it takes root, pam_exec.so and pamela")
    script, log = directory / "check", directory / "asked"
    script.write_text(SCRIPT.format(log=log))
    script.chmod(stat.S_IRWXU)
    log.touch()
    hand_over(script, account)
    hand_over(log, account)
    name = f"pgswitch-test-{os.getpid()}"
    (SERVICES / name).write_text(
        f"auth required pam_exec.so expose_authtok quiet {script}\n"
        "account required pam_permit.so\n"
    )
    yield name
    (SERVICES / name).unlink()


def with_service(
    pgswitch: PgSwitchFactory, directory: Path, account: Account | None, service: str
) -> str:
    """Return the path of an HBA file that has the service asked."""
    path = directory / "hba"
    path.write_text(
        "host pgbouncer admin all scram-sha-256\n"
        "host all md5 all md5\n"
        f"host all all all pam pamservice={service}\n"
    )
    hand_over(path, account)
    return str(path)


def test_passwords(
    pgswitch: PgSwitchFactory, directory: Path, account: Account | None, service: str
) -> None:
    """PAM judges; the good password opens the server as well."""
    hba = with_service(pgswitch, directory, account, service)
    pooler = pgswitch(start=False, auth_type="hba", auth_hba_file=hba)
    pooler.write_users({"admin": "admin-secret"})
    pooler.start()
    assert pooler.execute("SELECT current_user") == [("scram",)]
    assert "scram from 127.0.0.1" in (directory / "asked").read_text()
    for user, password in (("scram", "wrong"), ("stranger", "scram-secret")):
        with pytest.raises(psycopg.OperationalError, match="PAM authentication failed"):
            pooler.connect(user, password=password)
    assert PASSWORDS["scram"] not in pooler.log_text()


def test_a_slow_module_blocks_no_one_else(
    pgswitch: PgSwitchFactory, directory: Path, account: Account | None, service: str
) -> None:
    """While PAM thinks, others log in and work."""
    hba = with_service(pgswitch, directory, account, service)
    pooler = pgswitch(auth_type="hba", auth_hba_file=hba)

    def slow(_: int) -> str:
        with pytest.raises(psycopg.OperationalError) as caught:
            pooler.connect("slow", password="wrong")
        return str(caught.value)

    with ThreadPoolExecutor(8) as threads:
        begun = time.monotonic()
        waiting = [threads.submit(slow, number) for number in range(8)]
        assert pooler.execute("SELECT 1", user="md5") == [(1,)]
        assert time.monotonic() - begun < 1.5
        for one in waiting:
            assert "PAM authentication failed" in one.result()
        assert time.monotonic() - begun < 8  # not one after the other
