"""The process as an operator meets it: flags, exit codes, files, signals, twistd.

No PostgreSQL is needed: no client logs in.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.pooler import ini_text
from pgswitch.demo.processes import Account, free_port, hand_over
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 20.0
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
COMMAND = [sys.executable, "-m", "pgswitch.cli"]


class Run:
    """One process under test, whose two streams go to a file."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start it; it inherits the ``descriptors``."""
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=log.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=descriptors,
            )

    @property
    def text(self) -> str:
        """All that was written so far."""
        return self.log.read_text()

    def await_text(self, text: str) -> None:
        """Wait until the process has written this."""
        wait_until(
            lambda: text in self.text or self.process.poll() is not None,
            text,
            TIMEOUT_S,
        )
        assert text in self.text, self.text

    def signal(self, number: signal.Signals, text: str) -> None:
        """Send a signal and wait for what the process writes of it."""
        self.process.send_signal(number)
        self.await_text(text)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(TIMEOUT_S)


class Place:
    """A folder with a configuration, and the processes started from it."""

    def __init__(self, directory: Path, account: Account | None) -> None:
        """Start nothing yet."""
        self.directory = directory
        self.account = account
        self.port = free_port()
        self.runs: list[Run] = []
        self.settings: dict[str, str | int | float] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": str(directory),
            "pidfile": str(self.pidfile),
            "auth_type": "any",
        }

    @property
    def pidfile(self) -> Path:
        """Where the process id is kept."""
        return self.directory / "pid"

    @property
    def unix_socket(self) -> Path:
        """Where the unix socket is."""
        return self.directory / f".s.PGSQL.{self.port}"

    def write(self, **changes: str | int) -> Path:
        """Write the configuration and return its path; empty values leave out."""
        merged = {**self.settings, **changes}
        kept: dict[str, str | int | float] = {
            name: value for name, value in merged.items() if value != ""
        }
        path = self.directory / "pgbouncer.ini"
        databases: dict[str, str | int | float] = {"*": "host=127.0.0.1"}
        path.write_text(ini_text({"databases": databases, "pgbouncer": kept}))
        hand_over(path, self.account)
        return path

    def run(self, *command: str, **environment: str) -> Run:
        """Start a command line of any program."""
        log = self.directory / f"out-{len(self.runs)}"
        self.runs.append(Run(list(command), log, environment))
        return self.runs[-1]

    def start_passing(self, descriptors: Sequence[int], *command: str) -> Run:
        """Start a command line that inherits some descriptors."""
        log = self.directory / f"out-{len(self.runs)}"
        self.runs.append(Run(list(command), log, {}, descriptors))
        return self.runs[-1]

    def start(self, *options: str, **changes: str | int) -> Run:
        """Start pgswitch with the configuration."""
        path = self.write(**changes)
        user = [] if self.account is None else ["-u", self.account.name]
        return self.run(*COMMAND, *user, *options, str(path))

    def up(self, *options: str, **changes: str | int) -> Run:
        """Start pgswitch and wait until it serves."""
        run = self.start(*options, **changes)
        run.await_text("LOG process up: PgBouncer 1.25.2, ")
        return run

    def fatal(self, *options: str, **changes: str | int) -> list[str]:
        """Start pgswitch, which must end with 1; return its lines without dates."""
        run = self.start(*options, **changes)
        assert run.end() == 1
        return [line.partition("] ")[2] or line for line in run.text.splitlines()]

    def end(self) -> None:
        """End all processes that still run."""
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()


@pytest.fixture
def place(directory: Path, account: Account | None) -> Iterator[Place]:
    """Yield a place in a folder of its own."""
    place = Place(directory, account)
    yield place
    place.end()


# Answers.


@pytest.mark.parametrize(
    ("option", "code", "start"),
    [
        ("-V", 0, "PgBouncer 1.25.2\npgswitch "),
        ("--help", 0, "Usage: pgswitch "),
        ("--nonsense", 1, "pgswitch: unrecognized option '--nonsense'\nTry "),
    ],
)
def test_answer(place: Place, option: str, code: int, start: str) -> None:
    """These need no file and no rights."""
    run = place.run(*COMMAND, option)
    assert run.end() == code
    assert run.text.startswith(start)


# Starts that fail.


def test_root_is_refused(place: Place) -> None:
    """Without another user named, root gets no further."""
    if place.account is None:
        pytest.skip("only root can try")
    run = place.run(*COMMAND, str(place.write()))
    assert run.end() == 1
    assert run.text.endswith("FATAL PgBouncer should not run as root\n")


def test_unknown_user(place: Place) -> None:
    """The name is in the line."""
    run = place.run(*COMMAND, "--user=no such user", str(place.write()))
    assert run.end() == 1
    text = "FATAL could not find user 'no such user' to switch to\n"
    assert run.text.endswith(text)


@pytest.mark.parametrize(
    ("options", "changes", "last"),
    [
        ([], {"listen_port": "many"}, "cannot load config file"),
        (
            [],
            {"listen_addr": "", "unix_socket_dir": "/nowhere/at/all"},
            "failed to create unix socket",
        ),
        (
            ["-R"],
            {"unix_socket_dir": "@name"},
            "cannot reboot with abstract Unix socket",
        ),
        (["-d"], {"pidfile": ""}, "daemon needs pidfile configured"),
    ],
)
def test_fatal(
    place: Place, options: list[str], changes: dict[str, str], last: str
) -> None:
    """Status 1, and the reason in the last line."""
    assert place.fatal(*options, **changes)[-1] == f"FATAL {last}"
    assert not place.pidfile.exists()


def test_port_taken(place: Place) -> None:
    """No address left: the error has the list as it was given."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        lines = place.fatal()
    address = f"127.0.0.1:{place.port}"
    assert (
        f"WARNING cannot listen on {address}: bind(): Address already in use" in lines
    )
    text = "FATAL failed to listen on any address in listen_addr list: 127.0.0.1"
    assert lines[-1] == text
    assert not place.unix_socket.exists()


def test_second_instance(place: Place) -> None:
    """The first one keeps its socket and its pid file."""
    first = place.up()
    second = place.fatal()
    assert second[-1] == "FATAL unix socket is in use, cannot continue"
    assert place.pidfile.read_text() == f"{first.process.pid}\n"
    assert place.unix_socket.exists()


def test_pidfile_of_a_living_process(place: Place) -> None:
    """It may be another instance: this one exits."""
    place.pidfile.write_text(f"{os.getpid()}\n")
    expected = f"pidfile '{place.pidfile}' exists, another instance running?"
    assert place.fatal()[-1] == f"FATAL {expected}"
    assert place.pidfile.exists()


def test_remains_of_a_killed_process(place: Place) -> None:
    """Its pid file and its socket are no hindrance."""
    first = place.up()
    first.process.kill()
    first.end()
    assert place.pidfile.exists()
    assert place.unix_socket.exists()
    second = place.up()
    assert "LOG stale pidfile, removing" in second.text
    assert place.pidfile.read_text() == f"{second.process.pid}\n"


# Signals.


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGQUIT, "got SIGQUIT, fast exit"),
        (
            signal.SIGINT,
            "shutting down, waiting for all servers connections to be released",
        ),
        (
            signal.SIGTERM,
            "got SIGTERM, shutting down, waiting for all clients disconnect",
        ),
    ],
)
def test_end_by_signal(place: Place, number: signal.Signals, text: str) -> None:
    """Without clients each signal ends the process with 0, and leaves nothing."""
    run = place.up()
    assert place.pidfile.read_text() == f"{run.process.pid}\n"
    run.signal(number, text)
    assert run.end() == 0
    assert not place.pidfile.exists()
    assert not place.unix_socket.exists()


def test_second_sigterm_does_not_wait(place: Place) -> None:
    """The first one waits for the client, the second one does not."""
    run = place.up()
    with socket.create_connection(("127.0.0.1", place.port)) as client:
        client.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
        assert client.recv(1) == b"N"
        run.signal(signal.SIGTERM, "waiting for all clients disconnect")
        wait_until(lambda: not _answers(place.port), "closed TCP listeners")
        assert run.process.poll() is None
        run.signal(signal.SIGTERM, "got SIGTERM while shutting down, fast exit")
        assert run.end() == 0
        assert client.recv(1) == b""
    assert not place.pidfile.exists()


def _answers(port: int) -> bool:
    with suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def test_pause_and_resume(place: Place) -> None:
    """The state decides what each of the two signals does."""
    run = place.up()
    run.signal(signal.SIGUSR2, "LOG got SIGUSR2, but not paused/suspended")
    run.signal(signal.SIGUSR1, "LOG got SIGUSR1, pausing all activity")
    run.signal(signal.SIGUSR1, "LOG got SIGUSR1, but already paused/suspended")
    run.signal(signal.SIGUSR2, "LOG got SIGUSR2, continuing from PAUSE")


def test_sighup_opens_the_log_anew(place: Place) -> None:
    """After a rotation the lines go to a new file; -q keeps stderr silent."""
    log, moved = place.directory / "log", place.directory / "log.1"
    run = place.start("-q", logfile=str(log))
    wait_until(lambda: log.exists() and "process up" in log.read_text(), "the log")
    log.rename(moved)
    run.process.send_signal(signal.SIGHUP)
    wait_until(log.exists, "a new log file")
    run.process.send_signal(signal.SIGQUIT)
    assert run.end() == 0
    assert "got SIGHUP, re-reading config" in moved.read_text()
    assert "got SIGQUIT, fast exit" in log.read_text()
    assert run.text == ""


def test_sighup_with_a_bad_file_changes_nothing(place: Place) -> None:
    """The problem is logged, and the service goes on."""
    run = place.up()
    place.write(default_pool_size="many")
    run.signal(signal.SIGHUP, "default_pool_size")
    run.signal(signal.SIGUSR1, "pausing all activity")
    assert run.process.poll() is None


# In the background and under others' care.


def test_daemon(place: Place) -> None:
    """The command is back with 0 at once; the service is found by its pid file."""
    log = place.directory / "log"
    run = place.start("-d", logfile=str(log))
    assert run.end() == 0
    wait_until(place.pidfile.exists, "the pid file")
    pid = int(place.pidfile.read_text())
    try:
        assert pid != run.process.pid
        # Not the leader of its session, so no terminal can become its own.
        assert os.getsid(pid) not in {pid, os.getsid(0)}
        wait_until(lambda: "process up" in log.read_text(), "the log")
        assert _answers(place.port)
    finally:
        os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not place.pidfile.exists(), "the end of the daemon")
    assert run.text == ""


def test_a_log_that_takes_nothing(place: Place) -> None:
    """A full disk and a syslog that is not there cost lines, and nothing else."""
    run = place.up(logfile="/dev/full", syslog=1)
    where = f"host=127.0.0.1 port={place.port} user=admin dbname=pgbouncer"
    for _ in range(2):
        with psycopg.connect(where, autocommit=True) as console:
            assert console.execute("SHOW VERSION").fetchall()
        run.signal(signal.SIGHUP, "got SIGHUP, re-reading config")


def test_two_processes_share_a_port(place: Place) -> None:
    """With so_reuseport, own sockets and own pid files, neither minds the other."""
    first = place.up(so_reuseport=1, unix_socket_dir="@first", pidfile="")
    second = place.up(so_reuseport=1, unix_socket_dir="@second", pidfile="")
    assert first.process.poll() is second.process.poll() is None


@pytest.mark.parametrize("form", ["plugin", "tac"])
def test_twistd(place: Place, form: str) -> None:
    """Both forms serve, log in our way, and act on signals in our way."""
    user = "" if place.account is None else place.account.name
    path = str(place.write(user=user))
    options = {
        "plugin": ["pgswitch", "--config", path],
        "tac": ["-oy", str(ROOT / "pgswitch.tac")],
    }[form]
    run = place.run(*TWISTD, "-n", "--pidfile=", *options, PGSWITCH_CONFIG=path)
    run.await_text("LOG process up: PgBouncer 1.25.2, ")
    run.signal(signal.SIGUSR1, "LOG got SIGUSR1, pausing all activity")
    run.signal(signal.SIGQUIT, "LOG got SIGQUIT, fast exit")
    assert run.end() == 0
    assert not place.pidfile.exists()
    assert not place.unix_socket.exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"listen_port": "many"}, "cannot load config file"),
        ({"listen_addr": "", "unix_socket_dir": "/nowhere/at/all"}, "FATAL failed to"),
    ],
)
def test_twistd_fails(place: Place, changes: dict[str, str], text: str) -> None:
    """A start that fails ends twistd with 1 as well."""
    user = "" if place.account is None else place.account.name
    path = str(place.write(user=user, **changes))
    run = place.run(*TWISTD, "-n", "--pidfile=", "pgswitch", path)
    assert run.end() == 1
    assert text in run.text


def test_manhole(place: Place) -> None:
    """The client shows the banner and the answers of the shell."""
    path = str(place.directory / "manhole")
    place.up(manhole_socket=path)
    client = subprocess.run(
        [sys.executable, "-m", "pgswitch.manhole", path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=b"6 * 7\r\x04",
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert b"a loop stops the pooler" in client.stdout
    assert b"42" in client.stdout
