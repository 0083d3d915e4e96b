"""``make demo-switchover`` and ``make bench-switchover`` end by themselves and tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.demo.switchover import main as demo
from tests.unit.demo.test_picture import dots


def test_demo_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A planned move and a crash, reported and drawn."""
    drawn = tmp_path / "demo.svg"
    assert demo(["--once", "--calm", "1", "--out", str(drawn)]) == 0
    told = capsys.readouterr().out
    assert told.count("  new_writer ") == 2
    assert "0 doubled" in told
    assert "connections lost: 0" in told
    assert len(dots(drawn.read_text())) > 100
