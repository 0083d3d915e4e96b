"""PostgreSQL's client programs at work, and what pgbench says about it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from bench.rows import CLIENTS
from bench.wire import DATABASE, PASSWORD, USER
from pgswitch.demo.installations import Installation

RUN_LIMIT_S = 300
REASON_CHARS = 200


class LoadFailed(RuntimeError):
    """A load did not get through; the text says why."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The client programs of one installation, all of them on 127.0.0.1."""

    installation: Installation
    by_tls: bool = False

    def pgbench(self, port: int, *options: str, database: str = DATABASE) -> int:
        """Run pgbench with ten clients; return how many transactions it did.

        Raises LoadFailed when one of them failed, or pgbench did.
        """
        threads = str(min(os.cpu_count() or 1, CLIENTS))
        counts = ("-n", "-c", str(CLIENTS), "-j", threads)
        return transactions_in(self.run("pgbench", port, *counts, *options, database))

    def psql(self, port: int, statement: str, times: int) -> None:
        """Run a statement some times on one connection, its output thrown away.

        Raises LoadFailed.
        """
        quiet = ("-X", "-q", "-A", "-t", "-o", os.devnull, "-v", "ON_ERROR_STOP=1")
        self.run("psql", port, *quiet, "-d", DATABASE, *(("-c", statement) * times))

    def run(self, name: str, port: int, *options: str) -> str:
        """Run a program against a port; return its output. Raises LoadFailed."""
        own = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
        mode = "require" if self.by_tls else "disable"
        try:
            done = subprocess.run(
                [self.installation.program(name), "-p", str(port), *options],
                env={
                    **own,
                    "PGUSER": USER,
                    "PGPASSWORD": PASSWORD,
                    "PGHOST": "127.0.0.1",
                    "PGSSLMODE": mode,
                    "LC_ALL": "C",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                text=True,
                timeout=RUN_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"{name} did not end within {RUN_LIMIT_S} s") from None
        if done.returncode:
            reason = " ".join(done.stderr.split())[:REASON_CHARS]
            raise LoadFailed(f"{name} ended with code {done.returncode}: {reason}")
        return done.stdout


def transactions_in(output: str) -> int:
    """Return how many transactions pgbench says it did.

    Raises LoadFailed when it says nothing, that some failed, or that it was to do more.
    """
    done = re.search(r"actually processed: (\d+)(?:/(\d+))?", output)
    if done is None:
        raise LoadFailed("pgbench did not say how many transactions it did")
    failed = re.search(r"failed transactions: (\d+)", output)
    if failed is not None and int(failed[1]):
        raise LoadFailed(f"pgbench: {failed[1]} transactions failed")
    if done[2] is not None and done[1] != done[2]:
        raise LoadFailed(f"pgbench did {done[1]} of {done[2]} transactions")
    return int(done[1])
