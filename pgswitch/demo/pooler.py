"""A pgswitch process with its configuration in a private folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pgswitch
from pgswitch.demo.processes import Account, Child, ChildFailed, free_port, hand_over

UP_LINE = "process up: "
"""Logged once pgswitch listens. A trial connection would appear in the statistics."""

Value = str | int | float
Sections = Mapping[str, Mapping[str, Value]]
"""An ini file: values by key, by section."""


class Pooler:
    """One pgswitch process and its files: ``pgswitch.ini``, ``userlist.txt``, the log.

    ``directory`` must exist and belong to ``account`` (None: ours). Run by root,
    pgswitch starts as root and becomes that account by ``-u``: the interpreter itself
    may be in a folder that only root can enter.
    """

    def __init__(
        self,
        directory: Path,
        account: Account | None = None,
        *,
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self.port = free_port() if port is None else port
        self.ini_path = directory / "pgswitch.ini"
        self.users_path = directory / "userlist.txt"
        self.log_path = directory / "pgswitch.log"
        self.program: Sequence[str] = ("-m", "pgswitch.cli")
        """The interpreter's arguments."""
        self._account = account
        self._child: Child | None = None

    def write_ini(self, sections: Sections) -> None:
        """Write the configuration.

        By default the section ``pgbouncer`` has our port on 127.0.0.1, a unix socket in
        ``directory`` and the user list there.
        """
        ours: dict[str, Value] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": str(self.directory),
            "auth_file": str(self.users_path),
        }
        merged = {**sections, "pgbouncer": {**ours, **sections.get("pgbouncer", {})}}
        self._write(self.ini_path, ini_text(merged))

    def write_users(self, users: Mapping[str, str]) -> None:
        """Write the user list: a name and a secret (plain, md5 or SCRAM) for each."""
        lines = [f"{_quoted(name)} {_quoted(secret)}" for name, secret in users.items()]
        self._write(self.users_path, "\n".join([*lines, ""]))

    def start(self, options: Sequence[str] = (), timeout_s: float = 30.0) -> None:
        """Start the process with these command-line options; wait until it listens.

        Raises ChildFailed, with the end of its log, if it does not.
        """
        switch = [] if self._account is None else ["-u", self._account.name]
        seen = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._child = child = Child(
            [
                sys.executable,
                *self.program,
                *switch,
                *options,
                str(self.ini_path),
            ],
            name="pgswitch",
            log_path=self.log_path,
            directory=self.directory,
            account=None,
            environment=_environment(),
        )
        child.await_ready(lambda: UP_LINE in self._log_after(seen), timeout_s)

    def stop(self, *signals: signal.Signals, patience_s: float = 5.0) -> int | None:
        """End the process with these signals in turn, SIGQUIT (at once) by default.

        Returns the exit code, or None when it was not running.
        """
        if self._child is None:
            return None
        wanted = signals or (signal.SIGQUIT,)
        code = self._child.stop(*wanted, patience_s=patience_s)
        self._child = None
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process. Raises ChildFailed when there is none."""
        self.child.send(number)

    @property
    def child(self) -> Child:
        """The running process. Raises ChildFailed when there is none."""
        if self._child is None:
            raise ChildFailed("pgswitch is not running")
        return self._child

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.exit_code is None

    def log_text(self) -> str:
        """Return the log of all processes of this object."""
        return self._log_after(0)

    def url(self, user: str, password: str, database: str) -> str:
        """Return a connection string for psql and every driver."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _log_after(self, offset_bytes: int) -> str:
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(offset_bytes)
            return log.read().decode(errors="replace")

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)
        hand_over(path, self._account)


def ini_text(sections: Sections) -> str:
    """Return the text of an ini file; values are not quoted."""
    lines = []
    for section, entries in sections.items():
        lines.append(f"[{section}]")
        lines.extend(f"{key} = {value}" for key, value in entries.items())
        lines.append("")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Return a word of a user list in double quotes, with those inside doubled."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _environment() -> dict[str, str]:
    """Return our environment; in it the child imports the same pgswitch as we do."""
    root = str(Path(pgswitch.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    path = root if not others else f"{root}{os.pathsep}{others}"
    return {**os.environ, "PYTHONPATH": path}
