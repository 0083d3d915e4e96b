"""Where entries go: a descriptor that may be full, and must never hold us up."""

from __future__ import annotations

import os
import select
import socket
import stat
import syslog
import time
from collections.abc import Callable, Mapping
from typing import Final


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


PLACE: Final = "/dev/log"
"""Where syslog daemons and the systemd journal listen for datagrams."""
MAX_LENGTH: Final = 8_000
"""Bytes of a message; daemons cut what is longer, or drop it."""


class SystemLog:
    """The syslog of this machine; a daemon that is started later is found then."""

    def __init__(
        self, place: str = PLACE, clock: Callable[[], float] = time.time
    ) -> None:
        """``clock`` tells seconds since the epoch."""
        self.lost = 0
        """Lines that could not be written and have not been reported yet."""
        self._place = place
        self._clock = clock
        self._ident = ""
        self._facility = syslog.LOG_USER
        self._socket: socket.socket | None = None
        self._reason = ""

    def openlog(self, ident: str, logoption: int, facility: int) -> None:
        """Name the program and the facility of what follows; the process id is told."""
        del logoption
        self._ident, self._facility = ident, facility

    def syslog(self, priority: int, message: str) -> None:
        """Send one line, or count it as lost."""
        if not self._send(priority, message):
            self.lost += 1
        elif self.lost:
            text = f"{self.lost} log lines could not be written: {self._reason}"
            if self._send(syslog.LOG_WARNING, text):
                self.lost = 0

    def _send(self, priority: int, message: str) -> bool:
        line = self._line(priority, message)
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._connected()
                self._socket.send(line)
            except BlockingIOError:
                self._reason = "nobody reads"
                return False
            except OSError as error:
                # The daemon may have been started anew: once more, by a new socket.
                self._reason = error.strerror or str(error)
                self._close()
            else:
                return True
        return False

    def _connected(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._place)
        except OSError:
            made.close()
            raise
        return made

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _line(self, priority: int, message: str) -> bytes:
        moment = time.localtime(self._clock())
        day = f"{time.strftime('%b', moment)} {moment.tm_mday:2d}"
        head = f"<{self._facility | priority}>{day} {time.strftime('%T', moment)}"
        text = message.encode("utf-8", "surrogateescape")[:MAX_LENGTH]
        return f"{head} {self._ident}[{os.getpid()}]: ".encode() + text
