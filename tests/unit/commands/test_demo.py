"""``pgswitch demo``: how it is found; test_demo.py of the integration tests runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pgswitch import cli
from pgswitch.demo import pooling, switchover


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("demo", (pooling, [], "pgswitch demo")),
        ("demo --once", (pooling, ["--once"], "pgswitch demo")),
        ("demo switchover", (switchover, [], "pgswitch demo switchover")),
        (
            "demo switchover --once",
            (switchover, ["--once"], "pgswitch demo switchover"),
        ),
    ],
)
def test_which_demo(
    words: str,
    expected: tuple[object, list[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The first word chooses; the rest is for that demo."""
    run: list[object] = []
    for demo in (pooling, switchover):

        def note(arguments: list[str], program: str, demo: object = demo) -> int:
            run.append((demo, arguments, program))
            return 7

        monkeypatch.setattr(demo, "main", note)
    monkeypatch.setattr(sys, "argv", ["pgswitch"])
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) == 7
    assert run == [expected]


def test_a_configuration_file_of_that_name(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Alone, the word still means the file when there is one."""
    (tmp_path / "demo").write_text("[pgbouncer]\nno such setting\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 1
    assert "cannot load config file" in capfd.readouterr().err


def test_without_its_packages(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error says what to install."""
    for name in [one for one in sys.modules if one.startswith("pgswitch.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setattr(sys, "argv", ["pgswitch"])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 1
    assert "pip install 'pgswitch[demo]'" in capsys.readouterr().err
