"""The users of auth_file: read when changed, forgotten when removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgswitch.auth.auth_file import AuthFile
from pgswitch.config.model import Settings
from pgswitch.config.userlist import Userlist, read_userlist
from pgswitch.logs import Log
from pgswitch.types import AuthType
from pgswitch.wire.password import Secret
from pgswitch.wire.scram import make_verifier
from tests.unit.captured import CapturedLog

VERIFIER = str(make_verifier("secret", b"salt", 1))


@pytest.fixture
def store() -> AuthFile:
    """Return a store without users."""
    return AuthFile(Log(quiet=True))


def load(store: AuthFile, path: Path, text: str | None = None) -> None:
    """Write the file, if there is a text, and have it read."""
    if text is not None:
        path.write_text(text)
    store.load(replace(Settings(), auth_file=str(path)))


def test_users(store: AuthFile, tmp_path: Path) -> None:
    """Each has its secret; others are unknown."""
    load(store, tmp_path / "users", '"a" "secret"\n"b" ""\n')
    assert store.users() == ["a", "b"]
    assert store.secret("a") == Secret.of("secret")
    assert store.secret("c") is None


def test_a_removed_user_is_forgotten(store: AuthFile, tmp_path: Path) -> None:
    """And the others are not."""
    load(store, tmp_path / "users", '"a" "one"\n"b" "two"\n')
    load(store, tmp_path / "users", '"b" "two"\n"c" "and more"\n')
    assert store.secret("a") is None
    assert store.secret("b") == Secret.of("two")


def test_an_unreadable_file_changes_nothing(store: AuthFile, tmp_path: Path) -> None:
    """The users before stay."""
    load(store, tmp_path / "users", '"a" "one"\n')
    load(store, tmp_path / "missing")
    assert store.users() == ["a"]


def test_looked_at_again_and_again(tmp_path: Path) -> None:
    """A missing file is logged once, until that changes."""
    log = CapturedLog()
    store = AuthFile(log.log)
    settings = replace(Settings(), auth_file=str(tmp_path / "users"))
    for _ in range(3):
        store.load(settings, again=True)
    assert len(log.lines) == 1
    (tmp_path / "users").write_text('"a" "one"\n')
    store.load(settings, again=True)
    assert store.users() == ["a"]
    (tmp_path / "users").unlink()
    for _ in range(3):
        store.load(settings, again=True)
    assert len(log.lines) == 2
    assert store.users() == ["a"]


@pytest.mark.parametrize(
    ("secrets", "any_scram", "only_scram"),
    [
        ((), False, False),
        (("clear",), False, False),
        ((VERIFIER,), True, True),
        (("clear", VERIFIER), True, False),
    ],
)
def test_kinds_of_secrets(
    store: AuthFile,
    tmp_path: Path,
    secrets: tuple[str, ...],
    *,
    any_scram: bool,
    only_scram: bool,
) -> None:
    """What unknown users are asked depends on the secrets of the known ones."""
    lines = [f'"{number}" "{text}"\n' for number, text in enumerate(secrets)]
    load(store, tmp_path / "users", "".join(lines))
    assert (store.any_scram, store.only_scram) == (any_scram, only_scram)


def test_a_broken_line(tmp_path: Path) -> None:
    """Each is logged with its number; the other lines are valid."""
    log = CapturedLog()
    store = AuthFile(log.log)
    path = tmp_path / "users"
    load(store, path, '"a" "one"\n# no comment here\n"b" "two"\n"c" = "d"\n')
    assert store.users() == ["a", "b"]
    assert len(log.lines) == 2
    for line, number in zip(log.lines, (2, 4), strict=True):
        assert line.startswith("ERROR broken auth file; accepted: ")
        assert line.endswith(f"(line {number}) in auth_file {path}")


def test_a_file_of_broken_lines(tmp_path: Path) -> None:
    """It locks out no user of before; a file without lines does."""
    log = CapturedLog()
    store = AuthFile(log.log)
    path = tmp_path / "users"
    load(store, path, "a one\n")
    assert store.users() == []
    assert log.lines[-1] == (f"ERROR no line of auth_file {path} can be read")
    settings = replace(Settings(), auth_file=str(path))
    assert store.problems(store.read(settings)) == []
    load(store, path, '"a" "one"\n')
    load(store, path, "a one; b two\n")
    assert store.users() == ["a"]
    assert log.lines[-1] == (
        f"ERROR no line of auth_file {path} can be read, keeping the users of before"
    )
    problems = store.problems(store.read(settings))
    assert problems[-1] == f"no line of auth_file {path} can be read"
    assert problems[0].endswith(f"(line 1) in auth_file {path}")
    number = len(log.lines)
    load(store, path)
    assert len(log.lines) == number
    load(store, path, "; nobody\n")
    assert store.users() == []


def test_no_problems(store: AuthFile, tmp_path: Path) -> None:
    """Of a file that is good, missing, or not needed."""
    path = tmp_path / "users"
    load(store, path, '"a" "one"\n')
    for settings in (
        replace(Settings(), auth_file=str(path)),
        replace(Settings(), auth_file=str(tmp_path / "missing")),
        replace(Settings(), auth_file=None),
        replace(Settings(), auth_file=str(path), auth_type=AuthType.ANY),
    ):
        assert store.problems(store.read(settings)) == []


def test_any_needs_no_file(store: AuthFile) -> None:
    """The file is not even looked for."""
    store.load(replace(Settings(), auth_type=AuthType.ANY, auth_file="/nowhere/at/all"))
    assert store.users() == []


def test_read_once(
    store: AuthFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been judged comes in force, and a file that is what it was is not read.

    Nor does a file that is not there count as other users each time.
    """
    read: list[str] = []

    def counted(path: str) -> Userlist:
        read.append(path)
        return read_userlist(path)

    monkeypatch.setattr("pgswitch.auth.auth_file.read_userlist", counted)
    path = tmp_path / "users"
    path.write_text('"a" "one"\n')
    settings = replace(Settings(), auth_file=str(path))
    reading = store.read(settings)
    path.write_text("it is half written\n")
    assert store.problems(reading) == []
    store.take(reading)
    assert store.users() == ["a"]
    assert len(read) == 1
    for _ in range(3):
        store.load(settings, again=True)
    assert len(read) == 2
    assert store.problems(store.read(settings))
    assert len(read) == 2
    for _ in range(3):
        store.load(replace(settings, auth_file=None), again=True)
    assert store.users() == []
    assert store.generation == 2


@pytest.mark.parametrize(
    "rest", ['"b" "tw', '"b" "two', '"b" ', '"b"', '"b', '"', '"b" "tw\n\n']
)
def test_a_file_that_is_cut(tmp_path: Path, rest: str) -> None:
    """It changes nothing: the missing users are unknown."""
    log = CapturedLog()
    store = AuthFile(log.log)
    path = tmp_path / "users"
    settings = replace(Settings(), auth_file=str(path))
    load(store, path, '"a" "one"\n"b" "two"\n"c" "three"\n')
    path.write_text(f'"a" "other"\n{rest}')
    cut = f"auth_file {path} ends in the midst of a line"
    assert store.problems(store.read(settings))[-1] == cut
    store.load(settings, again=True)
    assert log.lines[-1] == f"ERROR {cut}, keeping the users of before"
    assert store.users() == ["a", "b", "c"]
    assert store.secret("a") == Secret.of("one")
    # One that does is none of its users' business, nor is a comment's end.
    for end in ('"b" "tw"', '"b" "tw" "rest', '"c" = "d"\n', "# no comment"):
        load(store, path, f'"a" "other"\n{end}')
        assert store.secret("a") == Secret.of("other")
        assert store.secret("c") is None
