"""Tests of finding PostgreSQL's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.demo.postgres import Installation, find_installations


def make_programs(bindir: Path, answer: str) -> Path:
    """Make a folder whose ``postgres`` prints ``answer``."""
    bindir.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        program = bindir / name
        program.write_text(f"#!/bin/sh\necho '{answer}'\n")
        program.chmod(0o755)
    return bindir


@pytest.mark.parametrize(
    ("version", "major"), [("18.6", 18), ("9.6.24", 9), ("19beta1", 19), ("17", 17)]
)
def test_major_is_the_first_number(version: str, major: int) -> None:
    """The major version is read off every form that PostgreSQL prints."""
    assert Installation(Path("/x"), version, "system").major == major


def test_pgbin_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever PGBIN names is preferred."""
    bindir = make_programs(tmp_path / "bin", "postgres (PostgreSQL) 99.1 (Debian)")
    monkeypatch.setenv("PGBIN", str(bindir))
    first = find_installations()[0]
    assert first == Installation(bindir, "99.1", "PGBIN")
    assert str(first) == "99.1-PGBIN"
    assert first.program("psql") == str(bindir / "psql")


@pytest.mark.parametrize("broken", ["missing", "empty", "silent"])
def test_unusable_folders_are_left_out(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without working programs is no installation."""
    bindir = tmp_path / "bin"
    if broken == "empty":
        bindir.mkdir()
    elif broken == "silent":
        make_programs(bindir, "nothing of use")
    monkeypatch.setenv("PGBIN", str(bindir))
    assert "PGBIN" not in [found.source for found in find_installations()]


def test_one_folder_is_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGBIN may name, even by a symbolic link, a folder that is found anyway."""
    before = find_installations()
    stream = tmp_path / "bin"
    stream.symlink_to(before[0].bindir)
    monkeypatch.setenv("PGBIN", str(stream))
    assert [f.bindir for f in find_installations()] == [f.bindir for f in before]
