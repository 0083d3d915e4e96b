"""The server's own tools, run through a pooler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pgswitch.demo.account import Account
from pgswitch.demo.installations import Installation
from tests.integration.running import PgSwitch

TOOL_LIMIT_S = 60


def base_backup(
    pooler: PgSwitch,
    installation: Installation,
    account: Account | None,
    directory: Path,
) -> None:
    """Take a whole backup with its WAL streamed beside it: two walsenders at once."""
    program = Path(installation.program("pg_basebackup"))
    if not program.exists():
        pytest.skip("this installation has no pg_basebackup")
    place = directory / "backup"
    done = subprocess.run(
        [
            *(program, "-d", pooler.dsn("trusted")),
            *("-D", place, "-X", "stream", "-c", "fast", "--no-sync"),
        ],
        capture_output=True,
        text=True,
        timeout=TOOL_LIMIT_S,
        check=False,
        **({} if account is None else {"user": account.uid, "group": account.gid}),  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    assert (place / "backup_manifest").exists()
