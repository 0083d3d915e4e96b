"""Formats log entries: PgBouncer's lines, JSON, or the systemd journal's format."""

from __future__ import annotations

import json
import os
import re
import time
from enum import IntEnum
from typing import Final, Protocol

LINE_LIMIT: Final = 2048
"""Maximum length of a line in bytes, line feed included; longer ones are cut."""

_CONTROL_CHARACTERS = {
    code: f"\\x{code:02x}" for code in (*range(32), 127) if chr(code) not in "\t\n"
}
# A client may send any user name. A carriage return or an escape sequence in it must
# not forge or hide lines on an operator's screen.
_CLEAN = {**_CONTROL_CHARACTERS, ord("\n"): "\n\t"}


class Level(IntEnum):
    """The severity of a message; smaller is more severe."""

    FATAL = 0
    ERROR = 1
    WARNING = 2
    LOG = 3
    DEBUG = 4
    NOISE = 5


class Lines(Protocol):
    """A format of log entries."""

    def entry(self, level: Level, message: str, now: float) -> bytes:
        """Return an entry, line feed included; ``now`` in seconds since the epoch."""


class TextLines:
    """``2026-07-10 12:34:56.789 UTC [12345] LEVEL message``, as PgBouncer writes."""

    def __init__(self) -> None:
        """Start with no time formatted."""
        self._second = -1
        self._date = ""
        self._zone = ""

    def entry(self, level: Level, message: str, now: float) -> bytes:
        """Return the message after local time, process id and level."""
        second = int(now)
        if second != self._second:
            # localtime() costs more than the rest of the line: call it once a second.
            local = time.localtime(second)
            self._date = time.strftime("%Y-%m-%d %H:%M:%S", local)
            self._zone = local.tm_zone
            self._second = second
        milliseconds = int((now - second) * 1000)
        line = (
            f"{self._date}.{milliseconds:03d} {self._zone} [{os.getpid()}]"
            f" {level.name} {clean(message)}"
        )
        return cut(line, LINE_LIMIT - 1) + b"\n"


class JsonLines:
    """One object per line: time, pid, level, message, and the connection's fields.

    The prefix of a message about a connection (``logs.socket_prefix``) is split into
    the fields ``connection``, ``database``, ``user`` and ``address``.
    """

    def entry(self, level: Level, message: str, now: float) -> bytes:
        """Return the object; its time is in ISO 8601 with the zone's offset."""
        second = int(now)
        zone = time.strftime("%z", time.localtime(second))
        date = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second))
        milliseconds = int((now - second) * 1000)
        fields: dict[str, object] = {
            "time": f"{date}.{milliseconds:03d}{zone[:3]}:{zone[3:]}",
            "pid": os.getpid(),
            "level": level.name,
        }
        found = _PREFIX.match(message)
        if found is not None:
            fields |= found.groupdict()
            message = message[found.end() :]
        fields["message"] = cut(message, _MESSAGE_LIMIT).decode("utf-8")
        return json.dumps(fields).encode("ascii", "backslashreplace") + b"\n"


_MESSAGE_LIMIT: Final = 1200
"""Maximum bytes of a message in an object: a cut object would not be valid JSON."""
_PREFIX: Final = re.compile(
    r"(?P<connection>[CS]-0x[0-9a-f]+): (?P<database>[^/]*)/(?P<user>.*?)"
    r"@(?P<address>\[[^]@[]*\]:\d+|[^ @]+:\d+) "
)
"""Clients choose names, which may contain ``@``. Addresses never do, so the match takes
linear time.
"""


class JournalLines:
    """The systemd journal's format; it adds time and process itself (sd-daemon(3))."""

    def entry(self, level: Level, message: str, now: float) -> bytes:
        """Return the message with its priority before each line."""
        del now
        prefix = _PRIORITIES[level]
        lines = cut(clean(message), LINE_LIMIT - 1).split(b"\n")
        return b"".join(b"<%d>%s\n" % (prefix, line) for line in lines)


_PRIORITIES: Final = {
    Level.FATAL: 2,
    Level.ERROR: 3,
    Level.WARNING: 4,
    Level.LOG: 6,
    Level.DEBUG: 7,
    Level.NOISE: 7,
}
"""The priorities of syslog(3)."""


def cut(text: str, limit: int) -> bytes:
    """Return text in UTF-8, cut between characters to at most ``limit`` bytes."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        data = data[:limit].decode("utf-8", "ignore").encode("utf-8")
    return data


def clean(message: str) -> str:
    r"""Return a message that is safe to log as one entry.

    A line feed becomes line feed and tab, which separates entries clearly; other
    control characters and bytes that are not text become ``\xNN``.
    """
    text = message.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.translate(_CLEAN)
