"""The command line: flags, texts and exit statuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pgswitch import cli
from pgswitch.cli import CommandLine, UsageError, main, parse
from pgswitch.errors.base import FatalError
from tests.unit.captured import CapturedLog

ALL_FLAGS = CommandLine(path="f.ini", daemon=True, quiet=True, reboot=True, verbosity=1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("f.ini", CommandLine(path="f.ini")),
        ("-d f.ini", CommandLine(path="f.ini", daemon=True)),
        ("--daemon f.ini", CommandLine(path="f.ini", daemon=True)),
        ("f.ini -d", CommandLine(path="f.ini", daemon=True)),
        ("-q f.ini", CommandLine(path="f.ini", quiet=True)),
        ("--quiet f.ini", CommandLine(path="f.ini", quiet=True)),
        ("-R f.ini", CommandLine(path="f.ini", reboot=True)),
        ("--reboot f.ini", CommandLine(path="f.ini", reboot=True)),
        ("-u me f.ini", CommandLine(path="f.ini", user="me")),
        ("-ume f.ini", CommandLine(path="f.ini", user="me")),
        ("--user=me f.ini", CommandLine(path="f.ini", user="me")),
        ("--user you -u me f.ini", CommandLine(path="f.ini", user="me")),
        ("-v f.ini", CommandLine(path="f.ini", verbosity=1)),
        ("-vv --verbose f.ini", CommandLine(path="f.ini", verbosity=3)),
        ("-dqRv f.ini", ALL_FLAGS),
        ("-- -v", CommandLine(path="-v")),
    ],
)
def test_parse(words: str, expected: CommandLine) -> None:
    """Every flag, short and long, before and after the file."""
    assert parse(words.split(), "pgswitch") == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", "no configuration file specified"),
        ("-d", "no configuration file specified"),
        ("a.ini b.ini", "no configuration file specified"),
        ("-x f.ini", "invalid option -- 'x'"),
        ("--nonsense f.ini", "unrecognized option '--nonsense'"),
        ("f.ini -u", "option requires an argument -- 'u'"),
    ],
)
def test_usage_error(words: str, text: str) -> None:
    """A wrong command line is refused with a reason."""
    with pytest.raises(UsageError) as caught:
        parse(words.split(), "pgswitch")
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("called", "name"), [("/usr/bin/pgbouncer", "pgbouncer"), ("cli.py", "pgswitch")]
)
def test_usage_error_goes_to_stderr(
    called: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 1, and a hint that names the program as it was called."""
    monkeypatch.setattr(sys, "argv", [called])
    assert main() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{name}: no configuration file specified",
        f'Try "{name} --help" for more information.',
    ]


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ("-V", "PgBouncer 1.25.2\npgswitch "),
        ("--version", "PgBouncer 1.25.2\npgswitch "),
        ("-V -d f.ini", "PgBouncer 1.25.2\npgswitch "),
        ("-h", "Usage: pgswitch [OPTION]... CONFIG_FILE\n"),
        ("--help", "Usage: pgswitch [OPTION]... CONFIG_FILE\n"),
    ],
)
def test_answers(words: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Version and help go to stdout, with status 0, whatever the other options."""
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert out.startswith(start)
    assert out.endswith("\n")
    assert err == ""


def test_help_names_every_option() -> None:
    """No flag is a secret."""
    for name in cli.LONG_OPTIONS:
        assert f"--{name.rstrip('=')}" in cli.HELP


def test_bad_file_is_fatal(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each problem is a line, the end of the start the last; status 1."""
    path = tmp_path / "bad.ini"
    path.write_text("[pgbouncer]\nlisten_port = many\npool_mode = never\n")
    assert main([str(path)]) == 1
    lines = [line.partition("] ")[2] for line in capfd.readouterr().err.splitlines()]
    assert [line.split()[0] for line in lines] == ["ERROR", "ERROR", "FATAL"]
    assert "listen_port" in lines[0]
    assert "pool_mode" in lines[1]
    assert lines[2] == "FATAL cannot load config file"


def test_quiet_is_quiet(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """-q says nothing on stderr, not even why."""
    assert main(["-q", str(tmp_path / "none.ini")]) == 1
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def good_file(tmp_path: Path) -> str:
    """Give a file that can be loaded."""
    path = tmp_path / "good.ini"
    path.write_text(
        f"[databases]\n* = host=127.0.0.1\n[pgbouncer]\nunix_socket_dir = {tmp_path}\n"
        "auth_type = any\nuser = somebody\n"
    )
    return str(path)


def test_reboot_without_a_socket(
    good_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-R asks the running process by its unix socket."""
    monkeypatch.setattr(cli, "drop_privileges", lambda *_arguments: None)
    path = Path(good_file)
    path.write_text(path.read_text() + "unix_socket_dir =\n")
    captured = CapturedLog()
    with pytest.raises(FatalError) as caught:
        cli.run(CommandLine(path=good_file, reboot=True), captured.log)
    assert captured.lines == [
        "WARNING Online restart is deprecated, use so_reuseport instead"
    ]
    assert caught.value.text == "cannot reboot if unix dir not configured"


@pytest.mark.parametrize(("asked", "taken"), [(None, "somebody"), ("me", "me")])
def test_user_of_the_command_line_wins(
    good_file: str, asked: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-u beats the file's user."""
    users: list[str | None] = []

    def claim(_configuration: object, user: str | None, _log: object) -> None:
        users.append(user)
        raise FatalError("far enough")

    monkeypatch.setattr(cli, "drop_privileges", claim)
    with pytest.raises(FatalError):
        cli.run(CommandLine(path=good_file, user=asked), CapturedLog().log)
    assert users == [taken]


def test_daemon_without_pidfile(
    good_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """-d needs the setting pidfile."""
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    monkeypatch.setattr("pgswitch.process.start.switch_user", lambda _name: None)
    assert main(["-d", good_file]) == 1
    assert "FATAL daemon needs pidfile configured" in capfd.readouterr().err
