"""Figures of moved writers: what the outages of clients amount to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from pgswitch.demo.writers import WriteTally

PLANNED, CRASH = "planned", "crash"
HEAD = (
    "| contender, move | recovered | outage - floor p50 / p99 / max (ms) |"
    " first write behind the floor's p50 / p99 (ms) | errors | connections lost |"
    " rows missing | doubled |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(slots=True)
class Samples:
    """What was seen of one contender in one kind of move."""

    moves: int = 0
    recovered: int = 0
    excess_ms: list[float] = field(default_factory=list)
    """Outage minus floor, for each client and move."""
    behind_ms: list[float] = field(default_factory=list)
    """By how much it could write again later than the floor."""
    account: WriteTally = field(
        default_factory=lambda: WriteTally(0, 0, 0, Counter(), 0)
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """The same in short."""

    moves: int
    recovered: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    behind_p50_ms: float
    behind_p99_ms: float
    acknowledged: int
    missing: int
    doubled: int
    errors: dict[str, int]
    connections_lost: int

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


def figures(samples: Samples) -> Figures:
    """Sum samples up."""
    seen = samples.account
    return Figures(
        moves=samples.moves,
        recovered=samples.recovered,
        p50_ms=percentile(samples.excess_ms, 50),
        p99_ms=percentile(samples.excess_ms, 99),
        max_ms=max(samples.excess_ms, default=0.0),
        behind_p50_ms=percentile(samples.behind_ms, 50),
        behind_p99_ms=percentile(samples.behind_ms, 99),
        acknowledged=seen.acknowledged,
        missing=seen.missing,
        doubled=seen.doubled,
        errors=dict(sorted(seen.errors.items())),
        connections_lost=seen.reconnects,
    )


def percentile(values: Sequence[float], share: int) -> float:
    """Return the value that so many per cent do not exceed; 0.0 of none."""
    if not values:
        return 0.0
    at = -(-len(values) * share // 100) - 1
    return sorted(values)[max(at, 0)]


def table(lines: Mapping[str, Figures]) -> str:
    """Return the figures as a Markdown table."""
    return "\n".join([HEAD, *(_line(name, one) for name, one in lines.items())])


def _line(name: str, one: Figures) -> str:
    errors = ", ".join(f"{count} x {code}" for code, count in one.errors.items())
    return (
        f"| {name} | {one.recovered} of {one.moves}"
        f" | {one.p50_ms:.1f} / {one.p99_ms:.1f} / {one.max_ms:.1f}"
        f" | {one.behind_p50_ms:.1f} / {one.behind_p99_ms:.1f}"
        f" | {errors or 'none'} | {one.connections_lost}"
        f" | {one.missing} of {one.acknowledged} | {one.doubled} |"
    )
