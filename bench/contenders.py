"""The poolers that are compared: configuration, process, CPU time and memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.wire import first_answer
from pgswitch.demo.account import Account, hand_over
from pgswitch.demo.child import free_port

START_LIMIT_S = 20.0
INI = """\
[databases]
bench = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 5000
log_connections = 0
log_disconnections = 0
"""
HAPROXY = """\
global
    maxconn 5000
defaults
    mode tcp
    timeout connect 10s
    timeout client 300s
    timeout server 300s
listen bench
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{server}
"""


@dataclass(slots=True)
class Contender:
    """A pooler of the comparison; ``command`` may hold ``{file}``."""

    name: str
    command: list[str]
    template: str = INI
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self, directory: Path, server: int, account: Account | None) -> float:
        """Start it; return the seconds until a first query was answered."""
        self.port = free_port()
        users = directory / "users.txt"
        users.write_text('"bench" ""\n', encoding="ascii")
        path = directory / f"{self.name}.conf"
        text = self.template.format(server=server, port=self.port, users=users)
        path.write_text(text, encoding="ascii")
        for one in (users, path):
            hand_over(one, account)
        began = time.monotonic()
        self.process = subprocess.Popen(
            [part.format(file=path) for part in self.command],
            env={**os.environ, **self.environment},
            # Not here: `python -m` would find the sources in the present folder.
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while time.monotonic() - began < START_LIMIT_S:
            with suppress(OSError, EOFError):
                first_answer(self.port)
                return time.monotonic() - began
        self.stop()
        raise TimeoutError(f"{self.name} answered no query: {' '.join(self.command)}")

    def stop(self) -> None:
        """End the process, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def cpu_ns(self) -> int:
        """Return the CPU time of its processes so far, in nanoseconds."""
        return sum(
            int((task / "schedstat").read_text().split()[0])
            for pid in self._tree()
            for task in Path(f"/proc/{pid}/task").iterdir()
        )

    def memory_kb(self) -> int:
        """Return the resident memory of its processes, in kB."""
        total = 0
        for pid in self._tree():
            found = re.search(
                r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()
            )
            total += int(found[1]) if found else 0
        return total

    def _tree(self) -> list[int]:
        tree = [] if self.process is None else [self.process.pid]
        for pid in tree:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            tree += map(int, children.split())
        return tree


def contenders(
    compiled: Path, account: Account | None, others: list[str]
) -> tuple[list[Contender], list[str]]:
    """Return the poolers that this machine has, and a line for each it has not.

    ``others`` are NAME=COMMAND, the command with ``{file}`` for a pgbouncer.ini.
    """
    as_user = ["-u", account.name] if account is not None else []
    ours = [sys.executable, "-m", "pgswitch.cli", "-q", *as_user, "{file}"]
    place = {"PYTHONPATH": str(compiled)}
    found = [
        Contender("pgswitch", ours, environment=place),
        Contender("interpreted", ours, environment={**place, "PGSWITCH_PURE": "1"}),
    ]
    missing = []
    if pgbouncer := shutil.which("pgbouncer", path=_path()):
        found.append(Contender("pgbouncer", [pgbouncer, "-q", *as_user, "{file}"]))
    else:
        missing.append("no pgbouncer here, so no ratios: apt-get install pgbouncer")
    if haproxy := shutil.which("haproxy", path=_path()):
        command = [haproxy, "-db", "-q", "-f", "{file}"]
        found.append(Contender("haproxy", command, HAPROXY))
    else:
        missing.append("no haproxy here, so no floor: apt-get install haproxy")
    for other in others:
        name, _, command_line = other.partition("=")
        found.append(Contender(name, command_line.split()))
    return found, missing


def _path() -> str:
    """Return where to look: an ordinary user's PATH lacks the folders of daemons."""
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
