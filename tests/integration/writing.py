"""Waiting for clients that write without end (pgswitch/demo/writers.py)."""

from __future__ import annotations

from collections.abc import Sequence

from pgswitch.demo.writers import Writer
from tests.waiting import wait_until

GOES_ON_S = 10.0


def wait_for_writes(writers: Sequence[Writer], what: str = "writes of all") -> None:
    """Wait until each has written some more; ``what`` is for the error."""
    before = [writer.acknowledged() for writer in writers]
    wait_until(
        lambda: all(
            writer.acknowledged() > count + 3
            for writer, count in zip(writers, before, strict=True)
        ),
        what,
        GOES_ON_S,
    )
