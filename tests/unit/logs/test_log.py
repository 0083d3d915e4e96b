"""Line format, levels, limits and destinations of the log."""

from __future__ import annotations

import json
import os
import re
import syslog as system_log
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgswitch.logs import Log, socket_prefix
from pgswitch.types import Address
from tests.unit.captured import CapturedLog

LEVELS = ["fatal", "error", "warning", "log", "debug", "noise"]


@dataclass
class Destinations:
    """The settings of the log."""

    logfile: str = ""
    log_format: str = "text"
    syslog: int = 0
    syslog_facility: str = "daemon"
    syslog_ident: str = "pgbouncer"


@dataclass
class NotedSyslog:
    """A syslog that records its lines."""

    opened: list[tuple[str, int, int]] = field(default_factory=list)
    sent: list[tuple[int, str]] = field(default_factory=list)
    dropped: int = 0

    def openlog(self, ident: str, logoption: int, facility: int) -> None:
        """Keep who opened it."""
        self.opened.append((ident, logoption, facility))

    def syslog(self, priority: int, message: str) -> None:
        """Keep a line."""
        self.sent.append((priority, message))


def say_all(log: Log) -> None:
    """Say one word at each level."""
    for level in LEVELS:
        getattr(log, level)("word")


def test_line_is_as_the_reference_writes_it(tmp_path: Path, other_zone: None) -> None:
    """Local time to the millisecond, zone, process id, level, message."""
    path = tmp_path / "log"
    log = Log(quiet=True, clock=lambda: 1_783_686_896.7895)
    log.configure(Destinations(logfile=str(path)))
    log.log("listening on 127.0.0.1:6432")
    expected = f"2026-07-10 15:34:56.789 ABC [{os.getpid()}] LOG listening on 127.0"
    assert path.read_text().startswith(expected)
    assert path.read_text().endswith(".0.1:6432\n")


@pytest.mark.parametrize(("verbosity", "heard"), [(0, 4), (1, 5), (2, 6), (3, 6)])
def test_verbosity_decides_what_is_heard(verbosity: int, heard: int) -> None:
    """-v adds DEBUG, a second one NOISE."""
    captured = CapturedLog(verbosity)
    say_all(captured.log)
    assert captured.lines == [f"{level.upper()} word" for level in LEVELS[:heard]]
    assert captured.log.debug_enabled == (heard >= 5)
    assert captured.log.noise_enabled == (heard >= 6)


def test_verbosity_can_change_later() -> None:
    """A reloaded setting takes effect at once."""
    captured = CapturedLog()
    captured.log.verbosity = 1
    captured.log.debug("now")
    captured.log.verbosity = 0
    captured.log.debug("no more")
    assert captured.lines == ["DEBUG now"]


def test_quiet_keeps_stderr_silent_but_not_the_file(tmp_path: Path) -> None:
    """-q concerns stderr alone."""
    path = tmp_path / "log"
    captured = CapturedLog()
    captured.log.configure(Destinations(logfile=str(path)))
    captured.log.quiet = True
    captured.log.log("word")
    assert captured.lines == []
    assert "LOG word" in path.read_text()


def test_logfile_is_appended_to_and_opened_anew(tmp_path: Path) -> None:
    """After a rotation, a reload makes a new file at the old name."""
    path = tmp_path / "log"
    path.write_text("before\n")
    log = Log(quiet=True)
    log.configure(Destinations(logfile=str(path)))
    log.log("first")
    path.rename(tmp_path / "log.1")
    log.log("second")
    log.configure(Destinations(logfile=str(path)))
    log.log("third")
    old = (tmp_path / "log.1").read_text()
    assert re.fullmatch(r"before\n.* first\n.* second\n", old)
    assert re.fullmatch(r".* third\n", path.read_text())


def test_logfile_that_cannot_be_opened_leaves_the_former_one(tmp_path: Path) -> None:
    """A wrong path raises, and lines still go where they went."""
    path = tmp_path / "log"
    log = Log(quiet=True)
    log.configure(Destinations(logfile=str(path)))
    with pytest.raises(FileNotFoundError):
        log.configure(Destinations(logfile=str(tmp_path / "no" / "log")))
    log.log("still here")
    assert "still here" in path.read_text()


def test_closed_file_gets_nothing(tmp_path: Path) -> None:
    """After close, only stderr is written to; closing twice is harmless."""
    captured = CapturedLog()
    captured.log.configure(Destinations(logfile=str(tmp_path / "log")))
    captured.log.close()
    captured.log.close()
    captured.log.log("word")
    assert captured.lines == ["LOG word"]
    assert not (tmp_path / "log").read_text()


def test_full_disk_costs_lines_and_is_reported_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Failed writes are counted, never raised, and reported when writing works."""
    captured = CapturedLog()
    real_write = os.write

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    captured.log.log("lost")
    captured.log.log("lost too")
    assert captured.log.dropped == 2
    monkeypatch.setattr(os, "write", real_write)
    captured.log.log("back")
    captured.log.log("again")
    assert captured.lines == [
        "LOG back",
        "WARNING 2 log lines could not be written: No space left on device",
        "LOG again",
    ]
    assert captured.log.dropped == 0


def test_line_cut_by_a_short_write_is_ended_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next line does not continue a torn one."""
    captured = CapturedLog()
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:-5]))
    captured.log.log("a torn message")
    monkeypatch.setattr(os, "write", real_write)
    captured.log.log("next")
    assert captured.lines == [
        "LOG a torn mes",
        "LOG next",
        "WARNING 1 log lines could not be written: short write",
    ]


def test_closed_stderr_stops_nothing(tmp_path: Path) -> None:
    """A process whose stderr is gone goes on, file lines included."""
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    log = Log(stderr=writing)
    log.configure(Destinations(logfile=str(tmp_path / "log")))
    # The descriptor's number may be the file's by now: use one that cannot be open.
    log._stderr.fd = 1_000_000
    log.log("word")
    assert "LOG word" in (tmp_path / "log").read_text()


def test_syslog_gets_the_message_alone_up_to_log() -> None:
    """No date, no level word, and nothing below LOG."""
    noted = NotedSyslog()
    log = Log(quiet=True, verbosity=2, syslog=noted)
    log.configure(Destinations(syslog=1))
    say_all(log)
    assert noted.sent == [
        (system_log.LOG_CRIT, "word"),
        (system_log.LOG_ERR, "word"),
        (system_log.LOG_WARNING, "word"),
        (system_log.LOG_INFO, "word"),
    ]


@pytest.mark.parametrize(
    ("facility", "number"),
    [("local3", system_log.LOG_LOCAL3), ("nonsense", system_log.LOG_DAEMON)],
)
def test_syslog_is_opened_as_set(facility: str, number: int) -> None:
    """Name and facility are those of the settings; unknown words mean daemon."""
    noted = NotedSyslog()
    log = Log(quiet=True, syslog=noted)
    log.configure(Destinations(syslog=1, syslog_facility=facility, syslog_ident="me"))
    assert noted.opened == [("me", system_log.LOG_PID, number)]


def test_syslog_can_be_switched_off_by_a_reload() -> None:
    """A reload without syslog ends it."""
    noted = NotedSyslog()
    log = Log(quiet=True, syslog=noted)
    log.configure(Destinations(syslog=1))
    log.configure(Destinations(syslog=0))
    log.log("word")
    assert noted.sent == []


@pytest.mark.parametrize(
    ("database", "user", "address", "peer_id", "prefix"),
    [
        ("db", "me", Address("127.0.0.1", 5432), 0, "db/me@127.0.0.1:5432"),
        ("db", "me", Address("::1", 5432), 0, "db/me@[::1]:5432"),
        ("db", "me", Address("unix", 6432, 4711), 0, "db/me@unix(4711):6432"),
        ("db", "me", Address("unix", 6432), 0, "db/me@unix:6432"),
        (None, None, Address("1.2.3.4", 5), 0, "(nodb)/(nouser)@1.2.3.4:5"),
        (None, None, Address("1.2.3.4", 5), 2, "peer-2@1.2.3.4:5"),
    ],
)
def test_socket_prefix(
    database: str | None, user: str | None, address: Address, peer_id: int, prefix: str
) -> None:
    """Each line about a connection begins with its kind, number, owner and address."""
    made = socket_prefix("C", 0x55D0C0FFEE00, database, user, address, peer_id=peer_id)
    assert made == f"C-0x55d0c0ffee00: {prefix}"


def test_json_on_stderr_and_in_the_file(tmp_path: Path) -> None:
    """From the configuration on; syslog keeps the message alone."""
    path = tmp_path / "log"
    noted = NotedSyslog()
    fd = os.memfd_create("stderr")
    log = Log(stderr=fd, syslog=noted)
    log.configure(Destinations(logfile=str(path), log_format="json", syslog=1))
    log.warning("word")
    written = os.pread(fd, 1000, 0)
    assert json.loads(written) == json.loads(path.read_text())
    assert json.loads(written)["message"] == "word"
    assert noted.sent[-1][1] == "word"
    log.configure(Destinations(logfile=str(path)))
    log.warning("word")
    assert path.read_text().endswith("WARNING word\n")
    os.close(fd)


def test_stderr_in_the_journal(tmp_path: Path) -> None:
    """The file has its own form."""
    path = tmp_path / "log"
    fd = os.memfd_create("stderr")
    status = os.fstat(fd)
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    log = Log(stderr=fd, environ=environ)
    log.configure(Destinations(logfile=str(path), log_format="json"))
    log.error("word")
    assert os.pread(fd, 1000, 0) == b"<3>word\n"
    assert json.loads(path.read_text())["level"] == "ERROR"
    os.close(fd)


class BrokenSyslog(NotedSyslog):
    """A syslog that fails with an unforeseen error."""

    def syslog(self, priority: int, message: str) -> None:
        """Raise."""
        raise ValueError(priority, message)


def test_logging_never_raises() -> None:
    """Whatever goes wrong costs the line; the next one tells of it."""
    captured = CapturedLog()
    log = Log(stderr=captured.descriptor, syslog=BrokenSyslog())
    log.configure(Destinations(syslog=1))
    log.log("one")
    assert log.dropped == 1
    log.configure(Destinations())
    log.log("two")
    assert log.dropped == 0
    text = "WARNING 1 log lines could not be written: ValueError(6, 'one')"
    assert captured.lines == ["LOG one", "LOG two", text]


def test_passwords_in_queries() -> None:
    """Code that logs the text of a query need not think of passwords."""
    captured = CapturedLog()
    captured.log.error("failed: ALTER ROLE u PASSWORD 'hush'")
    assert captured.lines == ["ERROR failed: ALTER ROLE u PASSWORD ***"]
