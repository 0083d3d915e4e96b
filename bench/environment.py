"""The PostgreSQL server of a run, a folder for all files, and the client programs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from bench.metrics import CLIENTS
from pgswitch.demo.postgres import Installation, PostgresServer, best_for
from pgswitch.demo.processes import (
    Account,
    PrivateDirectory,
    hand_over,
)

USER = DATABASE = "bench"
PASSWORD = "bench"  # noqa: S105 - of the benchmark only
"""Where a pooler asks for one."""
RULED = "ruled"
"""The same database with rules, where a pooler has them."""

LINES = 130_000
LINE = "x" * 100
MEGABYTES = LINES * (len(LINE) + 1) / 1e6
"""Payload of one statement of the bulk workloads, line ends included."""

RESULT = f"SELECT repeat('x', {len(LINE)}) FROM generate_series(1, {LINES})"  # noqa: S608 - constants

RUN_LIMIT_S = 300
REASON_CHARS = 200


class WorkloadFailed(RuntimeError):
    """A workload failed; the text says why."""


@dataclass(frozen=True, slots=True)
class ClientPrograms:
    """The client programs of one installation; they connect to 127.0.0.1."""

    installation: Installation
    by_tls: bool = False

    def pgbench(self, port: int, *options: str, database: str = DATABASE) -> int:
        """Run pgbench with ten clients; return the number of transactions.

        Raises WorkloadFailed when pgbench or a transaction failed.
        """
        threads = str(min(os.cpu_count() or 1, CLIENTS))
        counts = ("-n", "-c", str(CLIENTS), "-j", threads)
        return transactions_in(self.run("pgbench", port, *counts, *options, database))

    def psql(self, port: int, statement: str, times: int) -> None:
        """Run a statement ``times`` times on one connection and discard its output.

        Raises WorkloadFailed.
        """
        quiet = ("-X", "-q", "-A", "-t", "-o", os.devnull, "-v", "ON_ERROR_STOP=1")
        self.run("psql", port, *quiet, "-d", DATABASE, *(("-c", statement) * times))

    def run(self, name: str, port: int, *options: str) -> str:
        """Run a program against a port; return its output. Raises WorkloadFailed."""
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
            raise WorkloadFailed(f"{name} did not end within {RUN_LIMIT_S} s") from None
        if done.returncode:
            reason = " ".join(done.stderr.split())[:REASON_CHARS]
            raise WorkloadFailed(f"{name} ended with code {done.returncode}: {reason}")
        return done.stdout


def transactions_in(output: str) -> int:
    """Return the number of transactions that pgbench reports.

    Raises WorkloadFailed if it reports none, failed ones, or fewer than it should do.
    """
    done = re.search(r"actually processed: (\d+)(?:/(\d+))?", output)
    if done is None:
        raise WorkloadFailed("pgbench did not say how many transactions it did")
    failed = re.search(r"failed transactions: (\d+)", output)
    if failed is not None and int(failed[1]):
        raise WorkloadFailed(f"pgbench: {failed[1]} transactions failed")
    if done[2] is not None and done[1] != done[2]:
        raise WorkloadFailed(f"pgbench did {done[1]} of {done[2]} transactions")
    return int(done[1])


KEY_BITS = 2048
"""As ``openssl req`` makes them: what most servers have."""
SCALE = 10
"""pgbench's scale: a million accounts, 150 MB."""

SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # These would start by themselves in the middle of a round.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "jit": "off",
}
HBA = (
    "local all all trust",
    "host all,replication all 127.0.0.1/32 trust",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """What every workload needs."""

    account: Account | None
    directory: Path
    server: PostgresServer
    programs: ClientPrograms
    lines: Path

    def empty_sink(self) -> None:
        """Empty the table that the lines are copied to."""
        self.server.execute("TRUNCATE sink", database=DATABASE)


def _any(_installation: Installation) -> bool:
    return True


def _nothing(_folder: Path, _account: Account | None) -> dict[str, str]:
    return {}


def start_environment(
    account: Account | None,
    cleanup: ExitStack,
    *,
    suits: Callable[[Installation], bool] = _any,
    prepare: Callable[[Path, Account | None], Mapping[str, str]] = _nothing,
    scale: int = SCALE,
) -> Environment:
    """Start a server with pgbench's tables; ``cleanup`` receives what stops it.

    ``scale`` is that of pgbench, 0 for no tables. ``account`` is the user that the
    server runs as (None: ours). The first installation that ``suits`` is used, with the
    settings that ``prepare`` returns when called with the folder for all files.

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
    programs = ClientPrograms(installation, by_tls=bool(prepared))
    if scale:
        programs.run("pgbench", server.port, "-i", "-q", "-s", str(scale), DATABASE)
    server.execute("CHECKPOINT")
    lines = folder.path / "lines"
    write_lines(lines)
    os.sync()
    return Environment(account, folder.path, server, programs, lines)


def write_lines(path: Path) -> None:
    """Write the file for COPY in."""
    path.write_text(f"{LINE}\n" * LINES, encoding="ascii")


def has_tls(installation: Installation) -> bool:
    """Return whether an installation supports TLS; the wheel does not."""
    return installation.source != "wheel"


def start_tls_environment(
    account: Account | None, cleanup: ExitStack, *, scale: int = SCALE
) -> Environment:
    """Start a server with TLS, as :func:`start_environment` does without.

    Raises ChildFailed when no installation supports TLS.
    """
    return start_environment(
        account, cleanup, suits=has_tls, prepare=_write_tls_files, scale=scale
    )


def _write_tls_files(folder: Path, account: Account | None) -> dict[str, str]:
    """Write a key and a certificate; return the server's settings for them."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    write_certificate(certificate, key)
    for path in (certificate, key):
        hand_over(path, account)
    return {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}


def write_certificate(certificate: Path, key: Path) -> None:
    """Write a self-signed certificate and its key."""
    own = rsa.generate_private_key(65537, KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(own, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    # PostgreSQL refuses a key that others may read.
    key.chmod(0o600)
