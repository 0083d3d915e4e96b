"""Lines to the machine's syslog, by a socket that never blocks.

The function syslog(3) waits when the daemon reads no more, and the service would with
it. So lines are written as that function does it (RFC 3164), and what the daemon does
not take at once is counted and lost.
"""

from __future__ import annotations

import os
import socket
import syslog
import time
from collections.abc import Callable
from typing import Final

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
