"""User, place, log and daemon: with a made-up operating system."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgswitch.config.model import Configuration, DatabaseSpec, Settings
from pgswitch.errors.base import FatalError
from pgswitch.process import start
from pgswitch.process.pidfile import Pidfile
from tests.unit.captured import CapturedLog


@pytest.fixture
def captured() -> CapturedLog:
    """Give a log to look at."""
    return CapturedLog()


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
    start.switch_user("pooler")
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
    start.switch_user("pooler")
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
        start.switch_user(name)
    assert caught.value.text == text


def test_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """User id 0 may not serve; any other may."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(FatalError) as caught:
        start.refuse_root()
    assert caught.value.text == "PgBouncer should not run as root"
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    start.refuse_root()


# The steps together.


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the process seem not to be root."""
    monkeypatch.setattr(os, "geteuid", lambda: 500)


def configure(folder: Path, **values: object) -> Configuration:
    """Return a configuration whose unix socket is in ``folder``."""
    settings = replace(Settings(unix_socket_dir=str(folder)), **values)  # type: ignore[arg-type]
    return Configuration(settings=settings, set_names=frozenset(values))


def test_claim_with_everything_free(
    tmp_path: Path, captured: CapturedLog, unprivileged: None
) -> None:
    """The log is open, and the pid file free but not written yet."""
    log_path, pid_path = str(tmp_path / "log"), str(tmp_path / "pid")
    configuration = configure(tmp_path, logfile=log_path, pidfile=pid_path, verbose=2)
    pidfile = start.claim(configuration, None, captured.log)
    assert pidfile is not None
    assert pidfile.path == pid_path
    assert Path(log_path).exists()
    assert not Path(pid_path).exists()
    assert captured.log.noise_enabled
    captured.log.close()


def test_claim_without_pidfile(
    tmp_path: Path, captured: CapturedLog, unprivileged: None
) -> None:
    """No pid file is asked for, none is made; -v stays when the file is silent."""
    captured.log.verbosity = 1
    assert start.claim(configure(tmp_path), None, captured.log) is None
    assert captured.log.verbosity == 1


def test_claim_switches_the_user_first(
    tmp_path: Path, captured: CapturedLog, users: NotedUsers
) -> None:
    """Root is refused only if no other user was named, and gets no log file."""
    log_path = tmp_path / "log"
    with pytest.raises(FatalError, match="should not run as root"):
        start.claim(configure(tmp_path, logfile=str(log_path)), "pooler", captured.log)
    assert ("setuid", 500) in users.calls
    assert not log_path.exists()


def test_claim_with_a_log_that_cannot_be_opened(
    tmp_path: Path, captured: CapturedLog, unprivileged: None
) -> None:
    """Running without the wished log would be worse than not running."""
    path = tmp_path / "no" / "log"
    with pytest.raises(FatalError) as caught:
        start.claim(configure(tmp_path, logfile=str(path)), None, captured.log)
    text = f"Cannot open logfile: '{path}': No such file or directory"
    assert caught.value.text == text


def test_claim_while_somebody_serves_here(
    tmp_path: Path,
    captured: CapturedLog,
    unprivileged: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer on our socket's name means a running instance."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / ".s.PGSQL.6432"))
        other.listen(1)
        with pytest.raises(FatalError) as caught:
            start.claim(configure(tmp_path), None, captured.log)
        assert caught.value.text == "unix socket is in use, cannot continue"
        # The same where no process accepts, which must not make us wait.
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003 - its only argument
            with suppress(BlockingIOError):
                one.connect(other.getsockname())
        with pytest.raises(FatalError, match="unix socket is in use"):
            start.claim(configure(tmp_path), None, captured.log)
        for one in waiting:
            one.close()
        # With passed sockets that name is not ours to unlink.
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        start.claim(configure(tmp_path), None, captured.log)
    monkeypatch.delenv("LISTEN_FDS")
    start.claim(configure(tmp_path), None, captured.log)


# Daemon.


class ParentLeftError(Exception):
    """The process would have ended here."""


def test_daemon_needs_a_pidfile(captured: CapturedLog) -> None:
    """The process could not be found otherwise."""
    with pytest.raises(FatalError) as caught:
        start.daemonise(captured.log, None)
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
        start.daemonise(captured.log, Pidfile("pid", captured.log))
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
    assert start.descriptor_line(configuration, 3) == (
        "kernel file descriptor limit: 1024 (hard: 4096);"
        " max_client_conn: 100, max expected fd use: 177"
    )
