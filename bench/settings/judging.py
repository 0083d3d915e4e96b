"""The times of a cell, beside those of the defaults, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

LEAST_CPU_S = 0.002
"""Less CPU than this is not judged: an interrupt more is half of it."""
ROUNDS = (2, 3, 4, 8)
"""How often both do their work: at first, and further times while it looks bad."""


class Cost(NamedTuple):
    """What one piece of work took: the clock's time, and the pooler's CPU."""

    seconds: float
    cpu: float


@dataclass(slots=True)
class Cell:
    """One kind of work with some settings; ``rounds`` hold its cost and the other's.

    ``time`` and ``cpu`` are how many times as much it may cost; ``wrong`` is what was
    wrong with an answer, ``is_hung`` that there was none.
    """

    row: str
    kind: str
    time: float
    cpu: float
    rounds: list[tuple[Cost, Cost]] = field(default_factory=list)
    wrong: str = ""
    is_hung: bool = False
    tries: int = 0
    """How many pairs of processes it was measured with."""

    @property
    def time_ratio(self) -> float | None:
        """The median of the ratios within each round; None when there are none."""
        return _ratio([(ours.seconds, theirs.seconds) for ours, theirs in self.rounds])

    @property
    def cpu_ratio(self) -> float | None:
        """The same of the CPU; None also when there was too little to tell."""
        enough = [
            (ours.cpu, theirs.cpu)
            for ours, theirs in self.rounds
            if max(ours.cpu, theirs.cpu) >= LEAST_CPU_S and theirs.cpu > 0
        ]
        return _ratio(enough)

    @property
    def is_slow(self) -> bool:
        """Whether it took more than it may."""
        time, cpu = self.time_ratio, self.cpu_ratio
        return (time is not None and time > self.time) or (
            cpu is not None and cpu > self.cpu
        )

    @property
    def is_bad(self) -> bool:
        """Whether it is wrong, or slow."""
        return bool(self.wrong) or self.is_slow

    def verdict(self) -> str:
        """Return one line that says what is bad."""
        if self.wrong:
            return f"{self.row}, {self.kind}: {self.wrong}"
        return (
            f"{self.row}, {self.kind}: {shown(self.time_ratio)} times the time"
            f" (at most {shown(self.time)}), {shown(self.cpu_ratio)} times the CPU"
            f" (at most {shown(self.cpu)}), median of {len(self.rounds)}"
        )


def shown(ratio: float | None) -> str:
    """Return a ratio for a table."""
    return "-" if ratio is None else f"{ratio:.2f}"


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    return median(ours / theirs for ours, theirs in pairs) if pairs else None
