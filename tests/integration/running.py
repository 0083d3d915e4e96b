"""The processes of integration tests, and ways to talk to them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row

from pgswitch.demo.pooler import Pooler, Sections
from pgswitch.demo.postgres import Installation, PostgresServer, readable_by
from pgswitch.demo.processes import Account, subdirectory
from pgswitch.demo.writers import Writer
from testkit.pgwire import Connection, Message
from tests.waiting import wait_until

BASE_BACKUP_S = 60
MORE_WRITES_S = 10.0


class User(NamedTuple):
    """A login role, the same on the server and in pgswitch's user list."""

    name: str
    password: str
    encryption: str
    hba_method: str


USERS = (
    User("scram", "scram-secret", "scram-sha-256", "scram-sha-256"),
    User("md5", "md5-secret", "md5", "md5"),
    User("plain", "plain-secret", "scram-sha-256", "password"),
    User("trusted", "trusted-secret", "scram-sha-256", "trust"),
)
"""One for each way in which PostgreSQL asks for a password."""

PASSWORDS = {user.name: user.password for user in USERS}
ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"

DATABASES = ("bench", "other")
"""Every user may create tables in both."""

HBA = (
    "local all postgres trust",
    *(f"local all {user.name} {user.hba_method}" for user in USERS),
    *(f"host all {user.name} 127.0.0.1/32 {user.hba_method}" for user in USERS),
    # Roles that a test creates.
    "local all all md5",
    "host all all 127.0.0.1/32 md5",
)


def make_template(
    installation: Installation, directory: Path, account: Account | None
) -> PostgresServer:
    """Create a stopped server with all USERS and DATABASES, to be copied."""
    server = PostgresServer(installation, directory, account)
    server.create(hba=HBA)
    server.start()
    for user in USERS:
        server.create_user(user.name, user.password, user.encryption)
    for database in DATABASES:
        server.create_database(database)
        server.execute("GRANT ALL ON SCHEMA public TO PUBLIC", database=database)
    server.stop()
    return server


class SharedServers:
    """The servers that tests share, for each installation of PostgreSQL.

    Tests of several installations may run in any order, so nothing is stopped before
    the end of the pytest process.
    """

    def __init__(self, directory: Path, account: Account | None) -> None:
        self._directory = directory
        self._account = account
        self._installations: dict[str, Installation] = {}
        self._templates: dict[str, PostgresServer] = {}
        self._running: dict[str, PostgresServer] = {}

    def installation(self, found: Installation) -> Installation:
        """Return an installation, or a copy of it that the account can read."""
        name = str(found)
        if name not in self._installations:
            place = self._place(f"programs-{name}")
            self._installations[name] = readable_by(self._account, found, place)
        return self._installations[name]

    def template(self, installation: Installation) -> PostgresServer:
        """Return a stopped server with USERS and DATABASES, to be copied."""
        name = str(installation)
        if name not in self._templates:
            place = self._place(f"template-{name}")
            self._templates[name] = make_template(installation, place, self._account)
        return self._templates[name]

    def running(self, installation: Installation) -> PostgresServer:
        """Return a running copy of the template."""
        name = str(installation)
        if name not in self._running:
            place = self._place(f"shared-{name}")
            server = PostgresServer(installation, place, self._account)
            server.create_as_copy(self.template(installation))
            server.start()
            self._running[name] = server
        return self._running[name]

    def stop(self) -> None:
        """Stop all running servers."""
        for server in self._running.values():
            server.stop()

    def _place(self, name: str) -> Path:
        return subdirectory(self._directory, name, self._account)


class PgSwitch(Pooler):
    """A pgswitch process in front of one or more servers."""

    def configure(
        self,
        databases: Mapping[str, str],
        settings: Mapping[str, str | int | float] | None = None,
        sections: Sections | None = None,
    ) -> None:
        """Write the ini file: connection strings by name, settings, other sections.

        ``auth_type`` is scram-sha-256 and ``admin`` the console's administrator, unless
        ``settings`` override them. The user list is written separately.
        """
        self.write_ini(
            {
                "databases": databases,
                "pgbouncer": {
                    "auth_type": "scram-sha-256",
                    "admin_users": ADMIN,
                    **(settings or {}),
                },
                **(sections or {}),
            }
        )

    def dsn(
        self, user: str = "scram", database: str = "bench", password: str | None = None
    ) -> str:
        """Return a connection string, by default with the user's password."""
        return self.url(user, password or self._password_of(user), database)

    def connect(
        self,
        user: str = "scram",
        database: str = "bench",
        password: str | None = None,
        **options: Any,  # noqa: ANN401 - options of psycopg
    ) -> psycopg.Connection:
        """Connect with psycopg, in autocommit unless ``options`` override it."""
        return psycopg.connect(
            self.dsn(user, database, password), **{"autocommit": True, **options}
        )

    def execute(
        self,
        statement: str,
        parameters: Sequence[object] = (),
        user: str = "scram",
        database: str = "bench",
    ) -> list[tuple[Any, ...]]:
        """Run one statement on a new connection; return its rows, if any."""
        with self.connect(user, database) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return [] if cursor.description is None else cursor.fetchall()

    def console(
        self, command: str, database: str = "pgbouncer"
    ) -> list[dict[str, Any]]:
        """Run one command on the console as the administrator; return its rows.

        Raises psycopg.Error with the console's answer.
        """
        url = self.dsn(ADMIN, database)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(command.encode())
            return [] if cursor.description is None else cursor.fetchall()

    def reload(self) -> None:
        """Send SIGHUP and wait until the log shows that it arrived."""
        line = "got SIGHUP, re-reading config"
        before = self.log_text().count(line)
        self.send(signal.SIGHUP)
        wait_until(lambda: self.log_text().count(line) > before, "the log of a reload")

    def wait_for_log(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until the log holds ``text``."""
        wait_until(lambda: text in self.log_text(), f"{text!r} in the log", timeout_s)

    @staticmethod
    def _password_of(user: str) -> str:
        return ADMIN_PASSWORD if user == ADMIN else PASSWORDS[user]


class PgSwitchFactory:
    """Starts PgSwitch processes for a test and stops them after it."""

    def __init__(
        self, directory: Path, account: Account | None, postgres: PostgresServer
    ) -> None:
        self.made: list[PgSwitch] = []
        self.directory = directory
        self._account = account
        self._postgres = postgres

    def __call__(
        self,
        databases: Mapping[str, str] | None = None,
        *,
        users: Mapping[str, str] | None = None,
        sections: Sections | None = None,
        options: Sequence[str] = (),
        start: bool = True,
        **settings: str | float,
    ) -> PgSwitch:
        """Make a PgSwitch and start it, unless ``start`` is false.

        ``databases`` are by default those of the test's server, ``users`` are added to
        the user list, ``options`` are for the command line, other keywords are settings
        of the section ``pgbouncer``.
        """
        name = f"pgswitch-{len(self.made)}"
        directory = subdirectory(self.directory, name, self._account)
        made = PgSwitch(directory, self._account)
        self.made.append(made)
        made.write_users({**PASSWORDS, ADMIN: ADMIN_PASSWORD, **(users or {})})
        made.configure(databases or self.usual_databases(), settings, sections)
        if start:
            made.start(options)
        return made

    def usual_databases(self) -> dict[str, str]:
        """Return the entries for the databases of the test's PostgreSQL server."""
        port = self._postgres.port
        return dict.fromkeys(DATABASES, f"host=127.0.0.1 port={port}")

    def stop_all(self) -> None:
        """Stop all that still run."""
        for made in self.made:
            made.stop()

    def logs(self) -> str:
        """Return the logs of all processes, each after its path."""
        return "\n".join(
            f"--- {made.log_path}\n{made.log_text()}" for made in self.made
        )


class RawClient(Connection):
    """A client without a driver; it logs in where ``auth_type`` is trust."""

    def log_in(
        self,
        user: str = "trusted",
        database: str = "bench",
        password: str = "",
        **parameters: str,
    ) -> list[Message]:
        """Log in, by default as the user that PostgreSQL trusts too."""
        return super().log_in(user, database, password, **parameters)


def base_backup(
    pooler: PgSwitch,
    installation: Installation,
    account: Account | None,
    directory: Path,
) -> None:
    """Take a base backup that streams its WAL meanwhile: two walsenders at once."""
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
        timeout=BASE_BACKUP_S,
        check=False,
        **({} if account is None else {"user": account.uid, "group": account.gid}),  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    assert (place / "backup_manifest").exists()


def wait_for_writes(writers: Sequence[Writer], what: str = "writes of all") -> None:
    """Wait until each writer has written a few more rows; ``what`` names the wait."""
    before = [writer.acknowledged() for writer in writers]
    wait_until(
        lambda: all(
            writer.acknowledged() > count + 3
            for writer, count in zip(writers, before, strict=True)
        ),
        what,
        MORE_WRITES_S,
    )
