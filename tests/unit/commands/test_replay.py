"""``pgswitch replay``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.cli import main
from pgswitch.cluster import recording
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.nodes import NodeReport, ProbeFailure, named


def test_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each input in one line, what it leads to below."""
    file = tmp_path / "moves"
    lines = [
        recording.begun("db", 1.0, Machine(named([("a", 1)]))),
        recording.answered("db", 2.0, "a", NodeReport(in_recovery=False, timeline=1)),
        recording.list_failed("db", 2.0, "a"),
        recording.ticked("db", 3.0),
        recording.failed("db", 3.5, "a", ProbeFailure.SILENT, ""),
    ]
    file.write_text("\n".join(lines))
    assert main(["replay", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1].endswith("db: a answers: writes, timeline 1 [starting ]")
    assert told[2] == "    read the list of nodes from a"
    assert told[3].endswith("db: a has no list of nodes [known a]")
    assert told[4] == "    serve from a: it takes writes"
    assert told[-1] == "    hold clients, a is lost: no answer in time"


def test_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said, with status 1; so is a file that is not there."""
    file = tmp_path / "moves"
    file.write_text("nothing")
    assert main(["replay", str(file)]) == 1
    assert "line 1 is no recorded input" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "none")]) == 1
