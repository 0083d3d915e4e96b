"""PostgreSQL, and poolers with any settings, forked from one process.

A start takes half a second of imports, and a run needs some hundreds of poolers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import psycopg

import pgswitch
from bench.environment import DATABASE, USER, start_environment, start_tls_environment
from pgswitch.demo.pooler import UP_LINE, Pooler
from pgswitch.demo.processes import (
    POLL_S,
    Account,
    ChildFailed,
    account_for_children,
    hand_over,
)

PROGRAM = """\
import json, os, signal, sys
from pgswitch.cli import main
import pgswitch.takeover.predecessor, pgswitch.process.runner, pgswitch.service
from pgswitch.net.lean_reactor import LeanReactor

def run(order):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(order["directory"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    if not order["waits"]:
        made = LeanReactor.__init__
        def make(self):
            made(self)
            self.event_loop.batching.low_water_mark = 0
        LeanReactor.__init__ = make
    sys.argv = ["pgswitch"]
    return main(order["arguments"])

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
children = []
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = run(order)
        finally:
            sys.stderr.flush()
            os._exit(code)
    children.append(pid)
    print(pid, flush=True)
for pid in children:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
"""Forks a pooler for each line of its input; at the end it kills those still running.

With ``waits`` false every byte wakes its stream (relay/stream.py,
``ReadBatching``).
"""
START_S, STOP_S = 20.0, 5.0


class ForkServer:
    """The process that forks poolers."""

    def __init__(self) -> None:
        """Start it with the pgswitch that we run from."""
        place = str(Path(pgswitch.__file__).parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd="/",
            env={**os.environ, "PYTHONPATH": place},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def fork(self, order: dict[str, object]) -> int:
        """Return the pid of a new pooler. Raises ChildFailed when forking fails."""
        process = self._process
        if process.stdin is not None and process.stdout is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
                if answer := process.stdout.readline():
                    return int(answer)
        raise ChildFailed("the process that forks poolers has ended")

    def end(self) -> None:
        """End it and all poolers that still run."""
        self._process.communicate(timeout=STOP_S)


class ForkedPooler(Pooler):
    """A pooler of a fork server; its files are those of any other."""

    def __init__(
        self, fork_server: ForkServer, directory: Path, account: Account | None
    ) -> None:
        super().__init__(directory, account)
        self.pid = 0
        self._fork_server = fork_server
        self._user = [] if account is None else ["-u", account.name]

    def begin(self, *, waits: bool) -> None:
        """Start it; ``waits`` false: it never waits for more than one byte.

        Raises ChildFailed, with the end of its log, when it does not listen in time.
        """
        self.pid = self._fork_server.fork(
            {
                "arguments": [*self._user, str(self.ini_path)],
                "directory": str(self.directory),
                "log": str(self.log_path),
                "waits": waits,
            }
        )
        deadline = time.monotonic() + START_S
        while UP_LINE not in self.log_text():
            if not self._is_there() or time.monotonic() > deadline:
                lines = self.log_text().splitlines()
                raise ChildFailed("\n".join(["it did not start", *lines[-5:]]))
            time.sleep(POLL_S)  # noqa: TID251 - no reactor runs in this process

    def end(self) -> None:
        """End it at once, if it is running."""
        if not self.pid:
            return
        for number in (signal.SIGQUIT, signal.SIGKILL):
            deadline = time.monotonic() + STOP_S
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            while self._is_there() and time.monotonic() < deadline:
                time.sleep(POLL_S / 4)  # noqa: TID251 - as above
        self.pid = 0

    def _is_there(self) -> bool:
        """Return whether it is running; PROGRAM leaves no zombies."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False


class PoolerFactory:
    """A PostgreSQL server, with TLS if possible, and poolers in front of it."""

    def __init__(self, cleanup: ExitStack) -> None:
        """Start PostgreSQL; ``cleanup`` receives what stops it.

        Raises ChildFailed when there is no PostgreSQL.
        """
        self._fork_server = ForkServer()
        cleanup.callback(self._fork_server.end)
        account = account_for_children()
        try:
            self._environment = start_tls_environment(account, cleanup, scale=0)
            self.has_tls = True
        except ChildFailed:
            self._environment = start_environment(account, cleanup, scale=0)
            self.has_tls = False
        self.port = self._environment.server.port
        self.version = self._environment.server.installation.version
        self.database = psycopg.connect(
            f"host=127.0.0.1 port={self.port} user={USER} dbname={DATABASE}",
            autocommit=True,
        )
        cleanup.callback(self.database.close)
        self._numbers = count(1)

    def pooler(
        self,
        settings: Mapping[str, str],
        *,
        server_tls: bool = False,
        waits: bool = True,
    ) -> ForkedPooler:
        """Start a pooler with these settings and all others at their defaults.

        Only the pool mode differs: transaction pooling is what most users run, and the
        most intricate. Clients may use TLS. ``waits`` false: it never waits for more
        than one byte. Raises ChildFailed when it does not start.
        """
        environment = self._environment
        place = environment.directory / f"pooler-{next(self._numbers)}"
        place.mkdir(mode=0o700)
        hand_over(place, environment.account)
        made = ForkedPooler(self._fork_server, place, environment.account)
        made.write_users({USER: ""})
        ours = {
            "auth_type": "trust",
            "pool_mode": "transaction",
            "server_tls_sslmode": "require" if server_tls else "disable",
        }
        if self.has_tls:
            ours["client_tls_sslmode"] = "allow"
            ours["client_tls_cert_file"] = str(environment.directory / "tls.crt")
            ours["client_tls_key_file"] = str(environment.directory / "tls.key")
        made.write_ini(
            {
                "databases": {DATABASE: f"host=127.0.0.1 port={self.port}"},
                "pgbouncer": {**ours, **settings},
            }
        )
        made.begin(waits=waits)
        return made
