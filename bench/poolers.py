"""The poolers to compare: how each is configured, started and stopped."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.environment import DATABASE, PASSWORD, RULED, USER
from bench.metrics import FLOOR, IDLE_CLIENTS, INTERPRETED, OURS, REFERENCE
from pgswitch.demo.processes import Account, Child, free_port, hand_over
from pgswitch.wire.scram import DEFAULT_ITERATIONS, SALT_SIZE, make_verifier
from testkit.pgwire import Connection, ServerError

RULES = Path(__file__).with_name("rules.py")
START_LIMIT_S = 20.0
RETRY_S = 0.002

INI = f"""\
[databases]
{DATABASE} = host=127.0.0.1 port={{server}}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {{port}}
unix_socket_dir =
auth_type = trust
auth_file = {{users}}
pool_mode = transaction
default_pool_size = 20
max_client_conn = {2 * IDLE_CLIENTS}
log_connections = 0
log_disconnections = 0
"""
RULED_INI = INI.replace(
    "[pgbouncer]",
    f"{RULED} = host=127.0.0.1 port={{server}} dbname={DATABASE}"
    " routing_rules_py_module_file={rules} rewrite_query_py_module_file={rules}\n"
    "[pgbouncer]\n"
    "rules_fast_patterns = true",
)
"""Only clients of the database ``ruled`` have rules."""
PREPARED_INI = INI + "max_prepared_statements = 200\n"
TLS_INI = """\
client_tls_sslmode = require
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
server_tls_sslmode = require
"""
HAPROXY = f"""\
global
    maxconn {2 * IDLE_CLIENTS}
defaults
    mode tcp
    timeout connect 10s
    timeout client 300s
    timeout server 300s
listen bench
    bind 127.0.0.1:{{port}}
    server one 127.0.0.1:{{server}}
"""

NO_PREPARED = "not supported by this PgBouncer"
NO_RULES = dict.fromkeys(
    ("simple query with rules", "extended query with rules"), "has no rules"
)
NO_IDLE = "no pooling"
"""HAProxy would open a connection to PostgreSQL for each of 2000 idle clients."""

PREPARED_SINCE = (1, 21)
"""The first PgBouncer with prepared statements in transaction mode."""


class PoolerFailed(RuntimeError):
    """A pooler did not start, or ended; the text includes the end of its log."""


@dataclass(slots=True)
class ComparedPooler:
    """One of the poolers to compare.

    ``command`` may contain ``{file}`` (its configuration) and ``template``, the text of
    that file, ``{server}``, ``{port}``, ``{users}``, ``{rules}``, ``{certificate}`` and
    ``{key}``. ``lacks`` has the reasons why it cannot run workloads, by their names.
    ``secret`` is the clients' entry in the users file, empty for ``trust``.
    """

    name: str
    command: Sequence[str]
    version: str = ""
    template: str = INI
    environment: Mapping[str, str] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    is_encrypted: bool = False
    secret: str = field(default="", repr=False)
    port: int = 0
    _child: Child | None = None

    def start(self, directory: Path, server: int, account: Account | None) -> float:
        """Start it; return the seconds until the first query was answered.

        ``server`` is the port of PostgreSQL, ``directory`` the folder for its files.
        Raises PoolerFailed when no query is answered.
        """
        self.port = free_port()
        users, path = directory / "users.txt", directory / f"{self.name}.conf"
        rules = directory / RULES.name
        text = self.template.format(
            server=server,
            port=self.port,
            users=users,
            rules=rules,
            certificate=directory / "tls.crt",
            key=directory / "tls.key",
        )
        for one, content in (
            (users, f'"{USER}" "{self.secret}"\n'),
            (rules, RULES.read_text(encoding="ascii")),
            (path, text),
        ):
            one.write_text(content, encoding="ascii")
            hand_over(one, account)
        began = time.monotonic()
        self._child = child = Child(
            [part.replace("{file}", str(path)) for part in self.command],
            name=self.name,
            log_path=directory / f"{self.name}.log",
            # Not our own: `python -m` would find the sources in the current folder.
            directory=directory,
            environment={**os.environ, **self.environment},
        )
        while child.exit_code is None and time.monotonic() - began < START_LIMIT_S:
            with suppress(OSError, EOFError, ServerError):
                self._first_query()
                return time.monotonic() - began
            time.sleep(RETRY_S)  # noqa: TID251 - no reactor runs in this process
        failure = child.failure("answered no query")
        self.stop()
        raise PoolerFailed(str(failure))

    def _first_query(self) -> None:
        with Connection(self.port) as client:
            if self.is_encrypted:
                client.request_tls()
            client.log_in(USER, DATABASE, PASSWORD)
            client.query("SELECT 1")

    def stop(self) -> None:
        """Stop it at once, if it is running."""
        if self._child is not None:
            # PgBouncer, pgswitch and HAProxy exit at once at SIGTERM.
            self._child.stop(signal.SIGTERM, patience_s=1.0)
            self._child = None

    @property
    def pid(self) -> int:
        """Its first process. Raises PoolerFailed if it is not running."""
        if self._child is None:
            raise PoolerFailed(f"{self.name} is not running")
        if self._child.exit_code is not None:
            raise PoolerFailed(str(self._child.failure("ended by itself")))
        return self._child.pid


def poolers(
    compiled: Path,
    account: Account | None,
    others: Sequence[str],
    pgbouncer: Path | None = None,
) -> tuple[list[ComparedPooler], list[str]]:
    """Return the poolers of this machine, and a line for each missing one.

    ``compiled`` is the folder where a compiled pgswitch is installed; ``others`` are
    NAME=COMMAND, with ``{file}`` for a pgbouncer.ini in the command. ``pgbouncer`` is
    the executable to compare with instead of the system's. Raises ValueError for
    another form of these, and for an executable that does not print a version.
    """
    as_user = ["-u", account.name] if account is not None else []
    found, missing = _pgswitch(compiled, as_user)
    if program := str(pgbouncer or "") or _program(REFERENCE):
        version = version_in(_output(program, "--version"))
        if not version_numbers(version):
            raise ValueError(f"{program} is not a PgBouncer: it prints no version")
        knows = version_numbers(version) >= PREPARED_SINCE
        found.append(
            ComparedPooler(
                REFERENCE,
                [program, *as_user, "{file}"],
                version,
                template=PREPARED_INI if knows else INI,
                lacks=NO_RULES | ({} if knows else {"prepared query": NO_PREPARED}),
            )
        )
    else:
        missing.append("no PgBouncer found, so no ratios: apt-get install pgbouncer")
    if program := _program(FLOOR):
        found.append(
            ComparedPooler(
                FLOOR,
                [program, "-db", "-f", "{file}"],
                version_in(_output(program, "-v")),
                template=HAPROXY,
                lacks=NO_RULES | {"idle clients": NO_IDLE, "memory": NO_IDLE},
            )
        )
    else:
        missing.append("no HAProxy found, so no lower bound: apt-get install haproxy")
    return [*found, *map(_other, others)], missing


def with_tls(poolers: Sequence[ComparedPooler]) -> list[ComparedPooler]:
    """Return pgswitch and PgBouncer with TLS on both sides."""
    return [
        replace(pooler, template=pooler.template + TLS_INI, is_encrypted=True, lacks={})
        for pooler in poolers
        if pooler.name in {OURS, REFERENCE}
    ]


def with_scram(poolers: Sequence[ComparedPooler]) -> list[ComparedPooler]:
    """Return the poolers that can ask for SCRAM-SHA-256, with it.

    The users file has a verifier, as PostgreSQL stores it, so that a login does not
    derive keys from a password. PostgreSQL goes on trusting, and its connections are
    open: only the client's login is measured.
    """
    salt = os.urandom(SALT_SIZE)
    secret = str(make_verifier(PASSWORD, salt, DEFAULT_ITERATIONS))
    return [
        replace(
            pooler,
            template=pooler.template.replace(
                "auth_type = trust", "auth_type = scram-sha-256"
            ),
            secret=secret,
        )
        for pooler in poolers
        if pooler.name not in {FLOOR, INTERPRETED}
    ]


def version_in(text: str) -> str:
    """Return the first version number in a text, such as ``1.18.0``, or ``?``."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "?"


def version_numbers(version: str) -> tuple[int, ...]:
    """Return ``(1, 18, 0)`` for ``1.18.0``; empty when there are no numbers."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _pgswitch(
    compiled: Path, as_user: Sequence[str]
) -> tuple[list[ComparedPooler], list[str]]:
    """Return pgswitch compiled and interpreted; only the latter without a build."""
    command = [sys.executable, "-m", "pgswitch.cli", *as_user, "{file}"]
    place = {"PYTHONPATH": str(compiled)}
    asked = "import pgswitch, pgswitch.compiled as h; print(h.is_compiled())"
    answer = subprocess.run(
        [sys.executable, "-c", asked + "; print(pgswitch.__version__)"],
        env={**os.environ, **place},
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    if len(answer) != 2:  # noqa: PLR2004 - the two lines printed above
        return [], [f"no pgswitch in {compiled}: run `make bench`"]
    is_compiled, version = answer[0] == "True", answer[1]
    interpreted = ComparedPooler(
        INTERPRETED,
        command,
        version,
        template=RULED_INI,
        environment={**place, "PGSWITCH_PURE": "1"},
    )
    if not is_compiled:
        return [interpreted], ["pgswitch is not compiled: is there a C compiler?"]
    ours = ComparedPooler(OURS, command, version, template=RULED_INI, environment=place)
    return [ours, interpreted], []


def _other(text: str) -> ComparedPooler:
    name, separator, command = text.partition("=")
    if not (name.isidentifier() and separator and "{file}" in command):
        raise ValueError(f"{text!r}: expected NAME=COMMAND with {{file}} in it")
    return ComparedPooler(name, shlex.split(command), lacks=NO_RULES)


def _program(name: str) -> str | None:
    """Find a program, also in the folders of daemons, which PATH may lack."""
    path = (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")
    return shutil.which(name, path=os.pathsep.join(path))


def _output(*command: str) -> str:
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    return finished.stdout + finished.stderr
