"""The log: line format, levels and destinations (stderr, file, syslog).

Plain Python, without Twisted, so every layer may use it. The service creates one
:class:`Log` and passes it on; this module has no state of its own.

A line reads ``2026-07-10 12:34:56.789 UTC [12345] LEVEL message``, as in PgBouncer, so
log collectors made for PgBouncer keep working; or it is a JSON object, or in the
systemd journal's format (``lines``).

Three rules shape this module: logging must never block or stop the service (a full
disk costs lines, not clients); it must not show passwords that appear in SQL; and a
message below the log level must cost next to nothing (callers at DEBUG and NOISE check
``debug_enabled`` or ``noise_enabled`` before they build a message).
"""

from __future__ import annotations

import os
import syslog as system_log
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from pgswitch.config.trust import open_unplanted
from pgswitch.logs.lines import (
    JournalLines,
    JsonLines,
    Level,
    Lines,
    TextLines,
    clean,
)
from pgswitch.logs.sinks import Sink, SystemLog, is_journal
from pgswitch.wire.trace import masked, may_have_password

_LOGFILE_MODE = 0o644

_SYSLOG_PRIORITY = {
    Level.FATAL: system_log.LOG_CRIT,
    Level.ERROR: system_log.LOG_ERR,
    Level.WARNING: system_log.LOG_WARNING,
    Level.LOG: system_log.LOG_INFO,
}
"""DEBUG and NOISE are missing: they never go to syslog."""

_FACILITY = {
    "auth": system_log.LOG_AUTH,
    "authpriv": system_log.LOG_AUTHPRIV,
    "daemon": system_log.LOG_DAEMON,
    "user": system_log.LOG_USER,
    "local0": system_log.LOG_LOCAL0,
    "local1": system_log.LOG_LOCAL1,
    "local2": system_log.LOG_LOCAL2,
    "local3": system_log.LOG_LOCAL3,
    "local4": system_log.LOG_LOCAL4,
    "local5": system_log.LOG_LOCAL5,
    "local6": system_log.LOG_LOCAL6,
    "local7": system_log.LOG_LOCAL7,
}


class LogSettings(Protocol):
    """The settings of the log's destinations."""

    @property
    def logfile(self) -> str | None:
        """Path of the file to append to; empty for none."""

    @property
    def log_format(self) -> str:
        """``text`` or ``json``: the format of lines on stderr and in the file."""

    @property
    def syslog(self) -> int:
        """Nonzero to log to syslog as well."""

    @property
    def syslog_facility(self) -> str:
        """The name of a facility; an unknown one means ``daemon``."""

    @property
    def syslog_ident(self) -> str:
        """The program name that syslog shows."""


class Syslog(Protocol):
    """The interface of ``SystemLog``, with the functions of Python's syslog module."""

    dropped: int
    """Lines that could not be written and have not been reported yet."""

    def openlog(self, ident: str, logoption: int, facility: int) -> None:
        """Set the program name and the facility of the lines that follow."""

    def syslog(self, priority: int, message: str) -> None:
        """Send one line."""


class Log:
    """Formats messages and writes them to stderr, the log file and syslog.

    It does not need the reactor, but is used only in the reactor's thread.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbosity: int = 0,
        stderr: int = 2,
        clock: Callable[[], float] = time.time,
        syslog: Syslog | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Start with stderr alone; :meth:`configure` adds the rest.

        :param quiet: write nothing to stderr.
        :param verbosity: 0 to LOG, 1 to DEBUG, 2 and more to NOISE.
        :param stderr: file descriptor of the standard error stream.
        :param clock: seconds since the epoch.
        :param syslog: receives syslog lines; ``None`` for the machine's syslog.
        :param environ: the environment, in which systemd says whether stderr is the
            journal; ``None`` for our own.
        """
        self.quiet = quiet
        self.debug_enabled = False
        self.noise_enabled = False
        self._clock = clock
        self._stderr = Sink(stderr)
        self._file: Sink | None = None
        self._syslog: Syslog = syslog or SystemLog()
        self._to_syslog = False
        self._text_lines = TextLines()
        self._lines: Lines = self._text_lines
        environ = os.environ if environ is None else environ
        self._in_journal = is_journal(stderr, environ)
        self._stderr_lines: Lines = JournalLines() if self._in_journal else self._lines
        self.verbosity = verbosity

    @property
    def verbosity(self) -> int:
        """The lowest level logged: 0 for LOG, 1 for DEBUG, 2 or more for NOISE."""
        return self._verbosity

    @verbosity.setter
    def verbosity(self, value: int) -> None:
        self._verbosity = value
        self.debug_enabled = value >= 1
        self.noise_enabled = value >= 2  # noqa: PLR2004 - the count of -v

    @property
    def dropped(self) -> int:
        """Lines that could not be written and have not been reported yet."""
        in_file = self._file.dropped if self._file else 0
        return self._stderr.dropped + in_file + self._syslog.dropped

    # Levels.

    def fatal(self, message: str) -> None:
        """Log why the process is about to exit. The caller then ends it."""
        self._emit(Level.FATAL, message)

    def error(self, message: str) -> None:
        """Log that a requested operation failed."""
        self._emit(Level.ERROR, message)

    def warning(self, message: str) -> None:
        """Log a problem that does not stop the work."""
        self._emit(Level.WARNING, message)

    def log(self, message: str) -> None:
        """Log an event of normal operation that interests an operator."""
        self._emit(Level.LOG, message)

    def debug(self, message: str) -> None:
        """Log a detail, with ``-v``; check ``debug_enabled`` first."""
        if self.debug_enabled:
            self._emit(Level.DEBUG, message)

    def noise(self, message: str) -> None:
        """Log every detail, with ``-v -v``; check ``noise_enabled`` first."""
        if self.noise_enabled:
            self._emit(Level.NOISE, message)

    # Destinations.

    def configure(self, settings: LogSettings) -> None:
        """Open the destinations in the settings and close the previous ones.

        Called at the start and at each reload, so a file that log rotation has moved
        away is opened again.

        :raises OSError: the log file cannot be opened; the previous one stays open.
        """
        new = None
        if settings.logfile:
            new = Sink(_open_append(settings.logfile))
        old, self._file = self._file, new
        if old is not None:
            os.close(old.fd)
        is_json = settings.log_format == "json"
        self._lines = JsonLines() if is_json else self._text_lines
        if not self._in_journal:
            self._stderr_lines = self._lines
        self._to_syslog = bool(settings.syslog)
        if self._to_syslog:
            facility = _FACILITY.get(settings.syslog_facility, system_log.LOG_DAEMON)
            self._syslog.openlog(settings.syslog_ident, system_log.LOG_PID, facility)

    def close(self) -> None:
        """Close the log file; stderr stays open."""
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None

    # Writing.

    def _emit(self, level: Level, message: str) -> None:
        """Write a message to every destination; never raises."""
        try:
            if may_have_password(message):
                message = masked(message)
            now = self._clock()
            line = b""
            if not self.quiet:
                line = self._stderr_lines.entry(level, message, now)
                self._write(self._stderr, self._stderr_lines, line)
            if self._file is not None:
                if self._stderr_lines is not self._lines or not line:
                    line = self._lines.entry(level, message, now)
                self._write(self._file, self._lines, line)
            if self._to_syslog and level in _SYSLOG_PRIORITY:
                self._syslog.syslog(_SYSLOG_PRIORITY[level], clean(message))
        except Exception as error:  # noqa: BLE001 - logging must not fail its caller
            self._stderr.dropped += 1
            self._stderr.reason = repr(error)

    def _write(self, sink: Sink, lines: Lines, line: bytes) -> None:
        if not sink.write(line) or not sink.dropped:
            return
        dropped, sink.dropped = sink.dropped, 0
        text = f"{dropped} log lines could not be written: {sink.reason}"
        sink.write(lines.entry(Level.WARNING, text, self._clock()))


def socket_prefix(
    kind: str,
    ptr: int,
    database: str | None,
    user: str | None,
    address: object,
    *,
    peer_id: int = 0,
) -> str:
    """Return the prefix of log lines about one connection, without a final space.

    ``C-0x55d0c0ffee00: db/user@127.0.0.1:5432``

    :param kind: ``C`` for a client, ``S`` for a server connection.
    :param ptr: the ptr column of ``SHOW CLIENTS`` and ``SHOW SERVERS``.
    :param database: entry of ``[databases]``; ``None`` while unknown.
    :param user: login user, or the pool's user for a server; ``None`` while unknown.
    :param address: the remote end; str() gives its text (``types.Address``).
    :param peer_id: the peer's number, for a connection of a peer pool.
    """
    owner = f"{database or '(nodb)'}/{user or '(nouser)'}"
    if peer_id:
        owner = f"peer-{peer_id}"
    return f"{kind}-0x{ptr:x}: {owner}@{address}"


def _open_append(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return open_unplanted(path, flags, _LOGFILE_MODE)
