"""User, pid file, daemon, service manager: with a made-up operating system."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgswitch import __version__, process
from pgswitch.config.model import Configuration, DatabaseSpec, Settings
from pgswitch.fatal import FatalError
from pgswitch.process import Pidfile
from tests.unit.captured import CapturedLog

DEAD = 4_000_000
ALIVE = 4711


@pytest.fixture
def captured() -> CapturedLog:
    """Give a log to look at."""
    return CapturedLog()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one process be alive, one be another user's, and the rest be dead."""

    def kill(pid: int, number: int) -> None:
        assert number == 0
        if pid == DEAD:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        if pid != ALIVE:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)


# Pid file.


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"-5\n", b"4711\n", b"1\n"])
def test_pidfile_of_another(
    tmp_path: Path, captured: CapturedLog, processes: None, content: bytes
) -> None:
    """Whatever cannot be proved stale stops the start and stays."""
    path = tmp_path / "pid"
    path.write_bytes(content)
    with pytest.raises(FatalError) as caught:
        Pidfile(str(path), captured.log).check()
    assert caught.value.text == (f"pidfile '{path}' exists, another instance running?")
    assert path.read_bytes() == content


@pytest.mark.parametrize("pid", [DEAD, os.getpid()])
def test_stale_pidfile(
    tmp_path: Path, captured: CapturedLog, processes: None, pid: int
) -> None:
    """A dead process's file is removed, and so is one with our own number."""
    path = tmp_path / "pid"
    path.write_text(f"{pid}\n")
    Pidfile(str(path), captured.log).check()
    assert captured.lines == ["LOG stale pidfile, removing"]
    assert not path.exists()


def test_huge_number_in_a_pidfile(tmp_path: Path, captured: CapturedLog) -> None:
    """A number that no process can have is garbage."""
    path = tmp_path / "pid"
    path.write_text("9" * 30)
    with pytest.raises(FatalError, match="another instance running"):
        Pidfile(str(path), captured.log).check()


def test_pidfile_is_written_and_removed(tmp_path: Path, captured: CapturedLog) -> None:
    """The file holds our number on a line, for as long as we run."""
    path = tmp_path / "pid"
    pidfile = Pidfile(str(path), captured.log)
    pidfile.check()
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 & ~0o644 == 0
    pidfile.remove()
    assert not path.exists()
    pidfile.remove()
    assert captured.lines == []


def test_pidfile_of_a_successor_is_kept(tmp_path: Path, captured: CapturedLog) -> None:
    """Only a file with our own number is removed at the end."""
    path = tmp_path / "pid"
    path.write_text(f"{ALIVE}\n")
    Pidfile(str(path), captured.log).remove()
    assert path.exists()


@pytest.mark.parametrize(
    ("step", "name", "text"),
    [
        ("check", "", "could not read pidfile '{}': Is a directory"),
        ("check", "file/pid", "could not open pidfile '{}': Not a directory"),
        ("write", "no/pid", "could not open pidfile '{}': No such file or directory"),
        ("write", "file", "could not open pidfile '{}': File exists"),
    ],
)
def test_pidfile_refused(
    tmp_path: Path, captured: CapturedLog, step: str, name: str, text: str
) -> None:
    """The texts are the reference's, each with the system's reason."""
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    with pytest.raises(FatalError) as caught:
        getattr(Pidfile(path, captured.log), step)()
    assert caught.value.text == text.format(path)


def test_pidfile_on_a_full_disk(
    tmp_path: Path, captured: CapturedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that cannot be written is fatal too."""

    def write(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    path = tmp_path / "pid"
    with pytest.raises(FatalError) as caught:
        Pidfile(str(path), captured.log).write()
    text = f"could not write pidfile '{path}': No space left on device"
    assert caught.value.text == text


# User.


class NotedUsers:
    """The calls that change a process's user; one of them may fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Be root, and know one user."""
        self.calls: list[tuple[Any, ...]] = []
        self.refuses = ""
        entry = SimpleNamespace(pw_uid=500, pw_gid=600)
        patch.setattr(pwd, "getpwnam", {"pooler": entry}.__getitem__)
        patch.setattr(os, "getuid", lambda: 0)
        patch.setattr(os, "geteuid", lambda: 0)
        for name in ("initgroups", "setgid", "setuid"):
            patch.setattr(os, name, lambda *args, name=name: self.call(name, *args))

    def call(self, name: str, *args: object) -> None:
        """Keep a call, or refuse it."""
        if name == self.refuses:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        self.calls.append((name, *args))


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotedUsers]:
    """Give a process whose user can be changed without harm."""
    with monkeypatch.context() as patch:
        yield NotedUsers(patch)


def test_switch_user(users: NotedUsers) -> None:
    """Groups first, the user last: afterwards nothing more is allowed."""
    process.switch_user("pooler")
    assert users.calls == [
        ("initgroups", "pooler", 600),
        ("setgid", 600),
        ("setuid", 500),
    ]


def test_switch_to_the_present_user(
    users: NotedUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is that user already need not be root."""
    monkeypatch.setattr(os, "getuid", lambda: 500)
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    process.switch_user("pooler")
    assert users.calls == []


@pytest.mark.parametrize(
    ("name", "refuses", "text"),
    [
        ("nobody here", "", "could not find user 'nobody here' to switch to"),
        ("pooler", "initgroups", "failed to reset groups: Operation not permitted"),
        (
            "pooler",
            "setgid",
            "failed to assume identity of user 'pooler': Operation not permitted",
        ),
        (
            "pooler",
            "setuid",
            "failed to assume identity of user 'pooler': Operation not permitted",
        ),
    ],
)
def test_switch_user_refused(
    users: NotedUsers, name: str, refuses: str, text: str
) -> None:
    """The texts are the reference's."""
    users.refuses = refuses
    with pytest.raises(FatalError) as caught:
        process.switch_user(name)
    assert caught.value.text == text


def test_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """User id 0 may not serve; any other may."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(FatalError) as caught:
        process.refuse_root()
    assert caught.value.text == "PgBouncer should not run as root"
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    process.refuse_root()


# The steps together.


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process not be root."""
    monkeypatch.setattr(os, "geteuid", lambda: 500)


def configure(folder: Path, **values: object) -> Configuration:
    """Return a configuration whose unix socket is in ``folder``."""
    settings = replace(Settings(unix_socket_dir=str(folder)), **values)  # type: ignore[arg-type]
    return Configuration(settings=settings, set_names=frozenset(values))


def test_claim_with_everything_free(
    tmp_path: Path, captured: CapturedLog, somebody: None
) -> None:
    """The log is open, and the pid file free but not written yet."""
    log_path, pid_path = str(tmp_path / "log"), str(tmp_path / "pid")
    configuration = configure(tmp_path, logfile=log_path, pidfile=pid_path, verbose=2)
    pidfile = process.claim(configuration, None, captured.log)
    assert pidfile is not None
    assert pidfile.path == pid_path
    assert Path(log_path).exists()
    assert not Path(pid_path).exists()
    assert captured.log.noise_enabled
    captured.log.close()


def test_claim_without_pidfile(
    tmp_path: Path, captured: CapturedLog, somebody: None
) -> None:
    """No pid file is asked for, none is made; -v stays when the file is silent."""
    captured.log.verbosity = 1
    assert process.claim(configure(tmp_path), None, captured.log) is None
    assert captured.log.verbosity == 1


def test_claim_switches_the_user_first(
    tmp_path: Path, captured: CapturedLog, users: NotedUsers
) -> None:
    """Root is refused only if no other user was named, and gets no log file."""
    log_path = tmp_path / "log"
    with pytest.raises(FatalError, match="should not run as root"):
        process.claim(
            configure(tmp_path, logfile=str(log_path)), "pooler", captured.log
        )
    assert ("setuid", 500) in users.calls
    assert not log_path.exists()


def test_claim_with_a_log_that_cannot_be_opened(
    tmp_path: Path, captured: CapturedLog, somebody: None
) -> None:
    """Running without the wished log would be worse than not running."""
    path = tmp_path / "no" / "log"
    with pytest.raises(FatalError) as caught:
        process.claim(configure(tmp_path, logfile=str(path)), None, captured.log)
    text = f"could not open logfile '{path}': No such file or directory"
    assert caught.value.text == text


def test_claim_while_somebody_serves_here(
    tmp_path: Path,
    captured: CapturedLog,
    somebody: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer on our socket's name means a running instance."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / ".s.PGSQL.6432"))
        other.listen()
        with pytest.raises(FatalError) as caught:
            process.claim(configure(tmp_path), None, captured.log)
        assert caught.value.text == "unix socket is in use, cannot continue"
        # With passed sockets that name is not ours to take.
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        process.claim(configure(tmp_path), None, captured.log)
    monkeypatch.delenv("LISTEN_FDS")
    process.claim(configure(tmp_path), None, captured.log)


# Daemon.


class ParentLeftError(Exception):
    """The process would have ended here."""


def test_daemon_needs_a_pidfile(captured: CapturedLog) -> None:
    """Nobody could find the process otherwise."""
    with pytest.raises(FatalError) as caught:
        process.daemonise(captured.log, None)
    assert caught.value.text == "daemon needs pidfile configured"
    assert not captured.log.quiet


@pytest.mark.parametrize("ends_at", [None, 1, 2])
def test_daemon_leaves_its_terminal(
    captured: CapturedLog, monkeypatch: pytest.MonkeyPatch, ends_at: int | None
) -> None:
    """Streams closed, two forks with a new session between, parents gone with 0."""
    done: list[Any] = []

    def fork() -> int:
        done.append("fork")
        return 99 if done.count("fork") == ends_at else 0

    def leave(status: int) -> None:
        done.append(f"exit {status}")
        raise ParentLeftError

    monkeypatch.setattr(os, "open", lambda _path, _flags: 50)
    monkeypatch.setattr(os, "dup2", lambda old, new: done.append((old, new)))
    monkeypatch.setattr(os, "close", lambda fd: done.append(f"close {fd}"))
    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(os, "setsid", lambda: done.append("setsid"))
    monkeypatch.setattr(os, "_exit", leave)
    try:
        process.daemonise(captured.log, Pidfile("pid", captured.log))
    except ParentLeftError:
        done.append("left")
    finally:
        monkeypatch.undo()
    streams = [(50, 0), (50, 1), (50, 2), "close 50"]
    steps = {
        None: ["fork", "setsid", "fork"],
        1: ["fork", "exit 0", "left"],
        2: ["fork", "setsid", "fork", "exit 0", "left"],
    }
    assert done == [*streams, *steps[ends_at]]
    assert captured.log.quiet


# Lines.


def test_descriptor_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database with a user of its own counts once, others once per user."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    configuration = Configuration(
        settings=Settings(max_client_conn=100, default_pool_size=20),
        databases={
            "own": DatabaseSpec(name="own", user="me", pool_size=7),
            "any": DatabaseSpec(name="any"),
        },
    )
    assert process.descriptor_line(configuration, 3) == (
        "kernel file descriptor limit: 1024 (hard: 4096);"
        " max_client_conn: 100, max expected fd use: 177"
    )


def test_version_lines() -> None:
    """Tools compare the first line with the version of PgBouncer they know."""
    first, own, *rest = process.version_lines()
    assert first == "PgBouncer 1.25.2"
    assert own.startswith(f"pgswitch {__version__} (Twisted ")
    assert [line.partition(":")[0] for line in rest] == [
        *("reactor", "hot path", "adns", "tls", "systemd")
    ]
    assert rest[3].startswith("tls: OpenSSL ")


def test_process_up_line() -> None:
    """The line that monitoring waits for names the reactor in use."""

    class EPollReactor:
        """As Twisted's in name."""

    line = process.process_up_line(EPollReactor())
    start = f"process up: PgBouncer 1.25.2, pgswitch {__version__}, twisted "
    assert line.startswith(start)
    assert " (epoll), adns: threads, tls: OpenSSL " in line


# Service manager.


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path: Path, abstract: bool) -> None:  # noqa: FBT001
    """The state reaches the manager's socket, with a file or without."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{path}" if abstract else path)
        environ = {"NOTIFY_SOCKET": f"@{path}" if abstract else path}
        assert process.notify_service_manager("READY=1", environ)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_notify_nobody(environ: dict[str, str]) -> None:
    """Without a manager nothing is sent and nothing fails."""
    assert not process.notify_service_manager("READY=1", environ)


@pytest.mark.parametrize(
    ("environ", "descriptors"),
    [
        ({}, []),
        ({"LISTEN_FDS": "2"}, []),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, []),
        ({"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}, []),
        ({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}, [3, 4]),
    ],
)
def test_inherited_sockets(environ: dict[str, str], descriptors: list[int]) -> None:
    """Sockets meant for another process are not taken."""
    assert list(process.inherited_sockets(environ)) == descriptors


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there at the start, although somebody has removed it since."""
    name = next(iter(os.environ))
    monkeypatch.delenv(name)
    monkeypatch.setenv("NEW_ONE", "1")
    found = process.environment()
    assert name in found
    assert found["NEW_ONE"] == "1"
