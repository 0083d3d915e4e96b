"""One process at a time holds the pid file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pgswitch.errors.base import FatalError
from pgswitch.process.pidfile import Pidfile
from tests.strangers import give
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


@pytest.mark.parametrize("step", ["check", "write"])
def test_a_symbolic_link_of_another_user(
    tmp_path: Path, captured: CapturedLog, step: str
) -> None:
    """Nothing is read or written through it, nor removed."""
    path, target = tmp_path / "pid", tmp_path / "target"
    target.write_text(f"{DEAD}\n")
    path.symlink_to(target)
    give(path)
    reason = "File exists"
    if step == "check":
        reason = "it is a symbolic link of another user"
    with pytest.raises(FatalError) as caught:
        getattr(Pidfile(str(path), captured.log), step)()
    assert caught.value.text == f"could not open pidfile '{path}': {reason}"
    assert path.is_symlink()
    assert target.read_text() == f"{DEAD}\n"


def test_a_pipe(tmp_path: Path, captured: CapturedLog) -> None:
    """A pipe in its place does not make us wait."""
    path = tmp_path / "pid"
    os.mkfifo(path)
    with pytest.raises(FatalError, match="another instance running"):
        Pidfile(str(path), captured.log).check()


def test_a_stale_file_that_must_stay(
    tmp_path: Path, captured: CapturedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sticky folder only its owner may remove it."""

    def unlink(_path: Path, *, missing_ok: bool) -> None:
        assert missing_ok
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(FatalError) as caught:
        Pidfile(str(path), captured.log).check()
    text = f"could not remove pidfile '{path}': Operation not permitted"
    assert caught.value.text == text
