"""Some cells of ``make settings``: are the answers right? Times are not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tried(*options: str) -> str:
    """Run it, and return what it prints."""
    finished = subprocess.run(
        [sys.executable, "-m", "bench.settings", "--untimed", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    "rows",
    [
        "TLS: none",
        "pool_size,db_connections=1,lifetime,check_delay,reset_query_always",
        "tcp_socket_buffer,verbose,pkt_buf,sbuf_loopcnt",
    ],
)
def test_answers_are_right(rows: str) -> None:
    """In every manner, with few servers and short lives, with all buffers."""
    kinds = "simple,prepared,connect,copy-in,result"
    assert " 0 bad" in tried("--quick", "--only", rows, "--kinds", kinds)


def test_nothing_to_do() -> None:
    """A row that does not exist is not silently good."""
    with pytest.raises(AssertionError, match="no such rows"):
        tried("--only", "tcp_socket_bufer")
