"""Where entries go: a descriptor that may be full, and must never hold us up."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Mapping


class Sink:
    """An open file descriptor that entries are written to, each in one call.

    What cannot be written, because the disk is full or nobody reads the pipe, is
    counted and lost: the service goes on.
    """

    def __init__(self, fd: int) -> None:
        """Write to ``fd`` from now on."""
        self.fd = fd
        self.lost = 0
        self.reason = ""
        self._torn = False
        self._poll = _poll_of(fd)

    def write(self, line: bytes) -> bool:
        """Write one entry; on an error count it as lost and go on.

        :return: whether the whole entry was written.
        """
        if self._poll is not None and not self._poll.poll(0):
            return self._lose("nobody reads")
        if self._torn:
            # The last write was cut in the middle of a line: end that line first.
            line = b"\n" + line
        try:
            written = os.write(self.fd, line)
        except OSError as error:
            return self._lose(error.strerror or str(error))
        self._torn = written < len(line)
        return not self._torn or self._lose("short write")

    def _lose(self, reason: str) -> bool:
        self.lost += 1
        self.reason = reason
        return False


def _poll_of(fd: int) -> select.poll | None:
    """Return what tells whether a write would block; None where none ever does.

    A pipe that can be written to at all takes PIPE_BUF bytes at once (pipe(7)), more
    than an entry has.
    """
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        return None
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return poll


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Tell whether a descriptor leads to the systemd journal (systemd.exec(5))."""
    named = environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
