"""Destinations of log entries: file descriptors and the syslog. Neither ever blocks.

The function syslog(3) blocks while the daemon does not read, and the service would
block with it. So syslog lines are written to a socket of our own in that function's
format (RFC 3164). Entries that cannot be written at once are counted and dropped.
"""

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
    """An open file descriptor; each entry is written in one call.

    If the disk is full or the pipe has no reader, entries are counted and dropped.
    """

    def __init__(self, fd: int) -> None:
        """Write to ``fd`` from now on."""
        self.fd = fd
        self.dropped = 0
        self.reason = ""
        self._partial = False
        self._poll = _poll_of(fd)

    def write(self, line: bytes) -> bool:
        """Write one entry, or count it as dropped.

        :return: whether the whole entry was written.
        """
        if self._poll is not None and not self._poll.poll(0):
            return self._drop("the reader has stopped reading")
        if self._partial:
            # The last write ended in the middle of a line: end that line first.
            line = b"\n" + line
        try:
            written = os.write(self.fd, line)
        except OSError as error:
            return self._drop(error.strerror or str(error))
        self._partial = written < len(line)
        return not self._partial or self._drop("short write")

    def _drop(self, reason: str) -> bool:
        self.dropped += 1
        self.reason = reason
        return False


def _poll_of(fd: int) -> select.poll | None:
    """Return a poll object for writability; None where a write never blocks.

    A writable pipe takes at least PIPE_BUF bytes (pipe(7)), more than an entry has.
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
    """Return whether a descriptor is the systemd journal (systemd.exec(5))."""
    named = environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


SYSLOG_SOCKET: Final = "/dev/log"
"""The socket on which syslog daemons and the systemd journal receive datagrams."""
MAX_LENGTH: Final = 8_000
"""Maximum bytes of a message; daemons cut or drop longer ones."""


class SystemLog:
    """The syslog of this machine; also finds a daemon that starts later."""

    def __init__(
        self, path: str = SYSLOG_SOCKET, clock: Callable[[], float] = time.time
    ) -> None:
        """``clock`` returns seconds since the epoch."""
        self.dropped = 0
        """Lines that could not be written and have not been reported yet."""
        self._path = path
        self._clock = clock
        self._ident = ""
        self._facility = syslog.LOG_USER
        self._socket: socket.socket | None = None
        self._reason = ""

    def openlog(self, ident: str, logoption: int, facility: int) -> None:
        """Set the program name and the facility; lines always have the process id."""
        del logoption
        self._ident, self._facility = ident, facility

    def syslog(self, priority: int, message: str) -> None:
        """Send one line, or count it as dropped."""
        if not self._send(priority, message):
            self.dropped += 1
        elif self.dropped:
            text = f"{self.dropped} log lines could not be written: {self._reason}"
            if self._send(syslog.LOG_WARNING, text):
                self.dropped = 0

    def _send(self, priority: int, message: str) -> bool:
        line = self._line(priority, message)
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._connected()
                self._socket.send(line)
            except BlockingIOError:
                self._reason = "the reader has stopped reading"
                return False
            except OSError as error:
                # The daemon may have restarted: try once more with a new socket.
                self._reason = error.strerror or str(error)
                self._close()
            else:
                return True
        return False

    def _connected(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._path)
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
