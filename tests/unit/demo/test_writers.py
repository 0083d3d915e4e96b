"""What writers remember; how they write: tests/integration/test_switchover.py."""

from __future__ import annotations

from collections import Counter

import pytest

from pgswitch.demo.writers import Write, Writer, WriteTally, tally_writes


def writer(*writes: Write) -> Writer:
    """Return one that has done this."""
    made = Writer(1, pytest.fail)
    made.writes = list(writes)
    return made


def test_outage() -> None:
    """The longest gap between two acknowledgements around a time."""
    one = writer(
        Write(1, 0.0, 1.0),
        Write(2, 1.0, 4.0),
        Write(3, 4.0, 5.0, "08007"),
        Write(4, 5.0, 5.5),
        Write(5, 5.5, 9.0),
    )
    assert one.outage(0.0, 10.0) == (3.5, 9.0)
    assert one.outage(0.0, 5.2) == (3.0, 4.0)
    assert one.outage(5.0, 5.2) == (1.5, 5.5)
    assert one.outage(9.5, 10.0) == (0.0, 9.5)
    assert one.acknowledged() == 4


def test_tally() -> None:
    """Rows that are missing, rows that are there twice, errors."""
    one = writer(Write(1, 0, 1), Write(2, 1, 2), Write(3, 2, 3, "08007"))
    there = Counter([1, 3, 3])
    assert tally_writes([one], there) == WriteTally(2, 1, 1, Counter({"08007": 1}), 0)
