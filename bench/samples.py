"""The figures of all rounds, and what is read out of them.

A time on a shared machine says little. So a ratio is taken within a round, where both
poolers ran one after the other, and the median of these ratios is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bench.rows import GOALS, REFERENCE, ROWS, Goal, verdict


class Samples:
    """Figures by row, contender and round, and what could not be measured."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = {}
        self._missing: dict[tuple[str, str], str] = {}

    def add(self, number: int, contender: str, figures: Mapping[str, float]) -> None:
        """Note one contender's figures of round ``number``, by row name."""
        for row, value in figures.items():
            self._values.setdefault((row, contender), {})[number] = value

    def leave_out(self, row: str, contender: str, reason: str) -> None:
        """Note why a contender has no figure in a row."""
        self._missing.setdefault((row, contender), reason)

    def of(self, row: str, contender: str) -> Mapping[int, float]:
        """Return the figures by round; empty when there are none."""
        return self._values.get((row, contender), {})

    def why_not(self, row: str, contender: str) -> str:
        """Return why there is no figure; empty when nothing is known."""
        return self._missing.get((row, contender), "")

    @property
    def contenders(self) -> list[str]:
        """All that have a figure, in the order in which they first ran."""
        return list(dict.fromkeys(name for _, name in self._values))

    @property
    def rows(self) -> list[str]:
        """All rows with a figure, in the order of the tables."""
        present = {row for row, _ in self._values}
        return [row for row in ROWS if row in present]

    def median(self, row: str, contender: str) -> float | None:
        """Return the median over the rounds, None when there is no figure."""
        values = self.of(row, contender).values()
        return median(values) if values else None

    def ratio(self, row: str, contender: str) -> float | None:
        """Return the figure relative to PgBouncer's; None without either.

        It is the median of the ratios within the rounds in which both were measured.
        """
        if ROWS[row].is_ratio:
            return None
        ours = self.of(row, contender)
        theirs = self.of(self.reference_row(row), REFERENCE)
        ratios = [
            value / theirs[number]
            for number, value in ours.items()
            if theirs.get(number)
        ]
        return median(ratios) if ratios else None

    def reference_row(self, row: str) -> str:
        """Return the row that PgBouncer's figure comes from: this or its stand-in."""
        stand_in = ROWS[row].stand_in
        return stand_in if stand_in and not self.of(row, REFERENCE) else row

    def judged(self, goal: Goal) -> tuple[float, str] | None:
        """Return value and verdict for a goal; None when nothing was measured."""
        read = self.median if goal.absolute else self.ratio
        value = read(goal.row, goal.contender)
        if value is None:
            return None
        return value, verdict(ROWS[goal.row], goal, value)

    def goal_of(self, row: str, contender: str) -> Goal | None:
        """Return the goal that a contender has in a row, if it has one."""
        for goal in GOALS:
            if (goal.row, goal.contender) == (row, contender):
                return goal
        return None
