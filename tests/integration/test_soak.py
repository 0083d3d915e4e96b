"""A short soak; the long one is ``make soak``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_soak() -> None:
    """Counts are right, and no client gets another's answer, in a few seconds."""
    size = ["--seconds", "5", "--clients", "60", "--servers", "4", "--pause", "0.4"]
    finished = subprocess.run(
        [sys.executable, "-m", "soak", *size],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
