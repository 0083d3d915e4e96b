"""Counting errors."""

from __future__ import annotations

from pgswitch.stats.counters import MAX_ROWS, ErrorCount, ErrorCounts


def test_counting() -> None:
    """By database, code and cause, in this order."""
    failures = ErrorCounts()
    failures.note("b", "08P01", "why", 1.0)
    failures.note("a", "08P01", "why", 2.0)
    failures.note("b", "08P01", "why", 3.0)
    assert list(failures) == [
        ErrorCount("a", "08P01", "why", 1, 2.0),
        ErrorCount("b", "08P01", "why", 2, 3.0),
    ]


def test_memory_is_bounded() -> None:
    """Names that clients invent end in one row."""
    failures = ErrorCounts()
    for number in range(MAX_ROWS + 5):
        failures.note(f"db{number:04}", "3D000", "no such database", float(number))
    rows = list(failures)
    assert len(rows) == MAX_ROWS + 1
    assert rows[0] == ErrorCount("(others)", "", "(others)", 5, float(MAX_ROWS + 4))
    failures.note("db0001", "3D000", "no such database", 9.0)
    assert next(row for row in failures if row.database == "db0001").number == 2
