"""``make demo-switchover`` and ``make bench-switchover`` end by themselves and tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.switchover import main as bench
from pgswitch.demo.switchover import main as demo
from tests.unit.demo.test_chart import dots


def test_demo_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A planned move and a crash, reported and drawn."""
    drawn = tmp_path / "demo.svg"
    assert demo(["--once", "--calm", "1", "--out", str(drawn)]) == 0
    told = capsys.readouterr().out
    assert told.count("  new_writer ") == 2
    assert "0 doubled" in told
    assert "connections lost: 0" in told
    assert len(dots(drawn.read_text())) > 100


def test_bench_of_one_move(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of each kind: every contender recovers, and nothing is doubled."""
    assert bench(["--moves", "1", "--idle", "0.1", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "switchover.json").read_text())
    lines = document["figures"]
    assert len(lines) == 6
    assert all(line["recovered"] == 1 for line in lines.values())
    assert all(line["doubled"] == 0 for line in lines.values())
    ours = lines["pgswitch, transaction, planned"]
    assert (ours["errors"], ours["connections_lost"], ours["missing"]) == ({}, 0, 0)
    assert "| pgswitch, transaction, planned | 1 of 1 |" in capsys.readouterr().out
    assert (tmp_path / "switchover.svg").stat().st_size
