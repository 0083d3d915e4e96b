"""Where entries go, and what happens when they cannot."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pgswitch.logs.sinks import Sink, is_journal


def test_a_pipe_without_a_reader() -> None:
    """What does not fit is lost; writing never waits."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    sink = Sink(writing)
    line = b"x" * 2047 + b"\n"
    written = [sink.write(line) for _ in range(20)]
    assert written[0]
    assert not written[-1]
    assert sink.dropped == written.count(False)
    assert sink.reason == "the reader has stopped reading"
    os.read(reading, 1 << 16)
    assert sink.write(line)
    os.close(reading)
    assert not sink.write(line)
    os.close(writing)


@pytest.mark.parametrize("path", ["/dev/null", "file"])
def test_what_never_blocks(tmp_path: Path, path: str) -> None:
    """Everything is written."""
    fd = os.open(tmp_path / path, os.O_WRONLY | os.O_CREAT)
    sink = Sink(fd)
    assert all(sink.write(b"line\n") for _ in range(100))
    os.close(fd)


def test_a_full_disk() -> None:
    """/dev/full says what a full disk says."""
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd)
    assert not sink.write(b"line\n")
    assert (sink.dropped, sink.reason) == (1, "No space left on device")
    os.close(fd)


def test_the_journal() -> None:
    """Named by device and inode."""
    status = os.fstat(0)
    named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert is_journal(0, named)
    assert not is_journal(0, {})
    assert not is_journal(0, {"JOURNAL_STREAM": "1:1"})
    assert not is_journal(1_000_000, named)
