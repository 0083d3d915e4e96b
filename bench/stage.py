"""The PostgreSQL server that all poolers stand before, and a folder for all files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.loads import write_lines
from bench.programs import Programs
from bench.wire import DATABASE, USER
from pgswitch.demo.account import (
    Account,
    PrivateDirectory,
    hand_over,
)
from pgswitch.demo.installations import Installation, best_for
from pgswitch.demo.postgres import PostgresServer

SCALE = 10
"""pgbench's scale: a million accounts, 150 MB."""

SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # What would start by itself in the midst of a round.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "jit": "off",
}
HBA = (
    "local all all trust",
    "host all,replication all 127.0.0.1/32 trust",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What every load needs."""

    account: Account | None
    directory: Path
    server: PostgresServer
    programs: Programs
    lines: Path

    def empty_sink(self) -> None:
        """Empty the table that lines are copied to."""
        self.server.execute("TRUNCATE sink", database=DATABASE)


def _any(_installation: Installation) -> bool:
    return True


def _nothing(_folder: Path, _account: Account | None) -> dict[str, str]:
    return {}


def build(
    account: Account | None,
    cleanup: ExitStack,
    *,
    suits: Callable[[Installation], bool] = _any,
    prepare: Callable[[Path, Account | None], Mapping[str, str]] = _nothing,
    scale: int = SCALE,
) -> Stage:
    """Start a server with pgbench's tables; ``cleanup`` gets what ends it all.

    They are of this ``scale``, and not there when it is 0.

    ``account`` is the user that the server runs as (None: we ourselves); of the
    installations the first that ``suits`` is used, with the settings that ``prepare``
    returns, called with the folder for all files.

    Raises ChildFailed when there is no PostgreSQL or it does not start.
    """
    folder = PrivateDirectory(account)
    cleanup.callback(folder.remove)
    place, data = folder.path / "programs", folder.path / "data"
    place.mkdir()
    data.mkdir(mode=0o700)
    hand_over(data, account)
    installation = best_for(account, place, suits)
    server = PostgresServer(installation, data, account)
    prepared = prepare(folder.path, account)
    server.create({**SETTINGS, **prepared}, hba=HBA)
    server.start()
    cleanup.callback(server.stop, "immediate")
    server.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN")
    server.create_database(DATABASE)
    server.execute("CREATE UNLOGGED TABLE sink (line text)", database=DATABASE)
    programs = Programs(installation, by_tls=bool(prepared))
    if scale:
        programs.run("pgbench", server.port, "-i", "-q", "-s", str(scale), DATABASE)
    server.execute("CHECKPOINT")
    lines = folder.path / "lines"
    write_lines(lines)
    os.sync()
    return Stage(account, folder.path, server, programs, lines)
