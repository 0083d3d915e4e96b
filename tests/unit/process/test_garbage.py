"""The collector of cycles, once everything is built."""

from __future__ import annotations

import gc
import subprocess
import sys


def test_what_is_there_is_not_looked_at_again() -> None:
    """In a process of its own: it is for good."""
    code = (
        "import gc, pgswitch.process.runner as g; kept = [[]]; g.tune_gc();"
        "print(any(o is kept for o in gc.get_objects()), gc.get_threshold()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False 20000\n"
    assert gc.isenabled()
