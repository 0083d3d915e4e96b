"""Findings as people read them, and as they are played again."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.protocol.judging import Finding
from tests.fuzz.protocol.report import read, side_by_side, written
from tests.fuzz.protocol.script import Case, Group, Round, Script, Step

QUERY = Group((Step("Q", ("select 1",)),))
CASE = Case(
    "rules-1",
    (
        Round(1, (Script(0, (QUERY,)),)),
        Round(2, (Script(0, (QUERY,)), Script(2, (QUERY, QUERY)))),
    ),
)
FOUND = Finding("difference", "answers differ", 2, 0, ("1", "Z I"), ("1", "Z E", "2"))


def test_a_report_can_be_played_again(tmp_path: Path) -> None:
    """It holds the case."""
    path = tmp_path / "report.txt"
    path.write_text(written(CASE, FOUND, 77, "the log"))
    assert read(path) == CASE


def test_what_a_report_tells() -> None:
    """The finding, how to reproduce it, all actions: the finding's client first."""
    lines = written(CASE, FOUND, 77, "the log").splitlines()
    assert lines[0] == "difference: answers differ"
    assert "seed 77, variant rules-1, 4 steps" in lines
    groups = [line.strip() for line in lines if ", cut: " in line]
    assert groups == [
        "client 0, group 0, cut: one",
        "client 2, group 0, cut: one",
        "client 0, group 0, cut: one",
    ]
    assert "the log" in lines


def test_side_by_side() -> None:
    """One mark, at the first difference, however long the lines."""
    lines = side_by_side(("1", "D " + "x" * 500), ("1", "2", "3"))
    assert [line[0] for line in lines[1:]] == [" ", ">", " "]
    assert {line.index("|") for line in lines} == {63}
    assert lines[-1].endswith("| 3")
