"""How often clients were told of which error, by database, SQLSTATE and cause."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_ROWS: Final = 1000
"""Names that strangers make up must not fill the memory."""
OTHERS: Final = ("(others)", "", "(others)")


class ErrorCount(NamedTuple):
    """One row: what was told how often, and when last."""

    database: str
    sqlstate: str
    cause: str
    number: int
    last_at: float
    """Seconds since the epoch."""


class ErrorCounts:
    """The errors that the pooler itself told clients of."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rows: dict[tuple[str, str, str], tuple[int, float]] = {}

    def note(self, database: str, sqlstate: str, cause: str, now: float) -> None:
        """Count one; ``now`` in seconds since the epoch."""
        key = (database, sqlstate, cause)
        if key not in self._rows and len(self._rows) >= MAX_ROWS:
            key = OTHERS
        count, _last = self._rows.get(key, (0, 0.0))
        self._rows[key] = count + 1, now

    def restore(self, failure: ErrorCount) -> None:
        """Take a row of another process, before there is one of ours."""
        self._rows[failure[:3]] = failure.number, failure.last_at

    def __iter__(self) -> Iterator[ErrorCount]:
        """Return the rows in order."""
        for key, (count, last_at) in sorted(self._rows.items()):
            yield ErrorCount(*key, count, last_at)
