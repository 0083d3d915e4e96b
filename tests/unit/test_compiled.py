"""Compiled or interpreted, and which of the two is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pgswitch.compiled import HOT_FOLDERS, is_compiled


def test_pure_is_interpreted() -> None:
    """With PGSWITCH_PURE the sources run, whatever else is in the folder."""
    code = "from pgswitch.compiled import is_compiled; print(is_compiled())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PGSWITCH_PURE": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("folder", HOT_FOLDERS)
def test_a_folder_is_of_one_kind(folder: str) -> None:
    """What setup.py lists is compiled, all of it or nothing."""
    name = {
        "auth": "login_service",
        "config": "effective",
        "net": "frontend",
        "pool": "pool",
        "relay": "idle_pool",
        "rules": "evaluate",
        "stats": "counters",
        "wire": "exchange",
    }[folder]
    module = __import__(f"pgswitch.{folder}.{name}", fromlist=["x"])
    assert (not str(module.__file__).endswith(".py")) is is_compiled()
