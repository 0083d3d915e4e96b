"""The poolers that are compared: how each is configured, started and stopped."""

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
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.rows import FLOOR, IDLE_CLIENTS, INTERPRETED, OURS, REFERENCE
from bench.wire import DATABASE, RULED, USER, first_answer
from pgswitch.demo.account import Account, hand_over
from pgswitch.demo.processes import Child, free_port

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
    "[pgbouncer]",
)
"""Clients of one entry have rules, the others pay nothing for them."""
PREPARED_INI = INI + "max_prepared_statements = 200\n"
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
"""Of HAProxy, to which 2000 idle clients are 2000 connections to PostgreSQL."""

PREPARED_SINCE = (1, 21)
"""PgBouncer's first version with prepared statements in transaction mode."""


class ContenderFailed(RuntimeError):
    """A pooler did not start or ended; the text shows the end of its log."""


@dataclass(slots=True)
class Contender:
    """A pooler of the comparison.

    ``command`` and ``template`` may hold ``{file}``, and ``{server}``, ``{port}``,
    ``{users}``, ``{rules}``, ``{certificate}``, ``{key}``. ``lacks`` tells why it
    cannot do a load, by its name. ``secret`` is what the users file has of its clients,
    empty where they are trusted.
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
        """Start it; return the seconds until a first query was answered.

        ``server`` is the port of PostgreSQL, ``directory`` where its files go. Raises
        ContenderFailed when it does not get so far.
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
            # Not ours: `python -m` would find the sources in the present folder.
            directory=directory,
            environment={**os.environ, **self.environment},
        )
        while child.exit_code is None and time.monotonic() - began < START_LIMIT_S:
            with suppress(OSError, EOFError, psycopg.OperationalError):
                first_answer(
                    self.port,
                    by_tls=self.is_encrypted,
                    by_password=bool(self.secret),
                )
                return time.monotonic() - began
            time.sleep(RETRY_S)  # noqa: TID251 - no reactor runs in this process
        failure = child.failure("answered no query")
        self.stop()
        raise ContenderFailed(str(failure))

    def stop(self) -> None:
        """End it, at once; nothing happens when it does not run."""
        if self._child is not None:
            # SIGTERM: PgBouncer and pgswitch leave at once, HAProxy too.
            self._child.stop(signal.SIGTERM, patience_s=1.0)
            self._child = None

    @property
    def pid(self) -> int:
        """Its first process. Raises ContenderFailed when it does not run."""
        if self._child is None:
            raise ContenderFailed(f"{self.name} is not running")
        if self._child.exit_code is not None:
            raise ContenderFailed(str(self._child.failure("ended by itself")))
        return self._child.pid


def contenders(
    compiled: Path,
    account: Account | None,
    others: Sequence[str],
    pgbouncer: Path | None = None,
) -> tuple[list[Contender], list[str]]:
    """Return the poolers that this machine has, and a line for each it has not.

    ``compiled`` is the folder that a compiled pgswitch was installed to; ``others`` are
    NAME=COMMAND, the command with ``{file}`` for a pgbouncer.ini. Raises ValueError
    for one that is put otherwise. ``pgbouncer`` is the executable to compare with, if
    it is not the machine's; ValueError when it says no version.
    """
    as_user = ["-u", account.name] if account is not None else []
    found, missing = _pgswitch(compiled, as_user)
    if program := str(pgbouncer or "") or _program(REFERENCE):
        version = version_in(_output(program, "--version"))
        if not version_numbers(version):
            raise ValueError(f"{program} is no PgBouncer: it says no version")
        knows = version_numbers(version) >= PREPARED_SINCE
        found.append(
            Contender(
                REFERENCE,
                [program, *as_user, "{file}"],
                version,
                template=PREPARED_INI if knows else INI,
                lacks=NO_RULES | ({} if knows else {"prepared query": NO_PREPARED}),
            )
        )
    else:
        missing.append("no PgBouncer here, so no ratios: apt-get install pgbouncer")
    if program := _program(FLOOR):
        found.append(
            Contender(
                FLOOR,
                [program, "-db", "-f", "{file}"],
                version_in(_output(program, "-v")),
                template=HAPROXY,
                lacks=NO_RULES | {"idle clients": NO_IDLE, "memory": NO_IDLE},
            )
        )
    else:
        missing.append("no HAProxy here, so no floor: apt-get install haproxy")
    return [*found, *map(_other, others)], missing


def version_in(text: str) -> str:
    """Return the first version number in a text, such as ``1.18.0``, or ``?``."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "?"


def version_numbers(version: str) -> tuple[int, ...]:
    """Return ``(1, 18, 0)`` for ``1.18.0``; empty when there are no numbers."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _pgswitch(
    compiled: Path, as_user: Sequence[str]
) -> tuple[list[Contender], list[str]]:
    """Return pgswitch compiled and interpreted; interpreted alone without a build."""
    command = [sys.executable, "-m", "pgswitch.cli", *as_user, "{file}"]
    place = {"PYTHONPATH": str(compiled)}
    asked = "import pgswitch, pgswitch.hotpath as h; print(h.is_compiled())"
    answer = subprocess.run(
        [sys.executable, "-c", asked + "; print(pgswitch.__version__)"],
        env={**os.environ, **place},
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    if len(answer) != 2:  # noqa: PLR2004 - the two lines printed above
        return [], [f"no pgswitch in {compiled}: start this by `make bench`"]
    is_compiled, version = answer[0] == "True", answer[1]
    interpreted = Contender(
        INTERPRETED,
        command,
        version,
        template=RULED_INI,
        environment={**place, "PGSWITCH_PURE": "1"},
    )
    if not is_compiled:
        return [interpreted], ["pgswitch is not compiled: is a C compiler there?"]
    ours = Contender(OURS, command, version, template=RULED_INI, environment=place)
    return [ours, interpreted], []


def _other(text: str) -> Contender:
    name, separator, command = text.partition("=")
    if not (name.isidentifier() and separator and "{file}" in command):
        raise ValueError(f"{text!r}: NAME=COMMAND is wanted, with {{file}} in it")
    return Contender(name, shlex.split(command), lacks=NO_RULES)


def _program(name: str) -> str | None:
    """Find a program; an ordinary user's PATH lacks the folders of daemons."""
    path = (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")
    return shutil.which(name, path=os.pathsep.join(path))


def _output(*command: str) -> str:
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    return finished.stdout + finished.stderr
