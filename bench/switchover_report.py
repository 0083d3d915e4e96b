"""The results of bench.switchover: figures of outages, a table, a chart, a page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from pgswitch.demo.switchover import GRID, drawing, line, text
from pgswitch.demo.writers import WriteTally

PLANNED, CRASH = "planned", "crash"
HEAD = (
    "| clients of, move | recovered | outage - floor p50 / p99 / max (ms) |"
    " first write behind the floor's p50 / p99 (ms) | errors | connections lost |"
    " rows missing | doubled |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(slots=True)
class Samples:
    """The samples of one endpoint in one kind of move."""

    moves: int = 0
    recovered: int = 0
    excess_ms: list[float] = field(default_factory=list)
    """Outage minus floor, for each client and move."""
    behind_ms: list[float] = field(default_factory=list)
    """How much later than the ideal client it could write again."""
    writes: WriteTally = field(
        default_factory=lambda: WriteTally(0, 0, 0, Counter(), 0)
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """A summary of samples."""

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
    """Summarise samples."""
    seen = samples.writes
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
    """Return a percentile (nearest rank); 0.0 without values."""
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


LEFT, ROW, TOP, WIDTH, RIGHT = 210, 34, 40, 560, 40
COLOURS = {PLANNED: "#2b6cb0", CRASH: "#d69e2e"}
TICKS_MS = (1, 10, 30, 100, 1000, 10_000)
"""30 is the goal."""
MIN_MS = 1.0


def chart(samples: Mapping[str, Mapping[str, Samples]]) -> str:
    """Return a row of dots for each endpoint and kind of move; less is better."""
    rows = [(name, how) for name in samples for how in (PLANNED, CRASH)]
    title = "Outage of writing clients beyond the database's own, by move (log scale)"
    parts = [text(LEFT, 22, title, "start")]
    bottom = TOP + ROW * len(rows)
    for tick in TICKS_MS:
        x = _x(tick)
        parts.append(line(x, TOP, x, bottom, GRID))
        parts.append(text(x, bottom + 16, f"{tick} ms"))
    for at, (name, how) in enumerate(rows):
        y = TOP + ROW * at + ROW / 2
        parts.append(text(LEFT - 8, y + 4, f"{name}, {how}", "end"))
        parts += [
            f'<circle cx="{_x(value):.1f}" cy="{y:.1f}" r="3.5" fill-opacity="0.5"'
            f' fill="{COLOURS[how]}"/>'
            for value in samples[name][how].excess_ms
        ]
    return drawing(LEFT + WIDTH + RIGHT, bottom + 30, parts)


def _x(value_ms: float) -> float:
    share = math.log10(max(value_ms, MIN_MS) / MIN_MS)
    return LEFT + share / math.log10(TICKS_MS[-1] / MIN_MS) * WIDTH


BEGIN = "<!-- switchover: written by `make bench-switchover ARGS=--publish` -->"
END = "<!-- end of switchover -->"
HEADING = "## When the writer moves"
EXPLANATION = """\
All clients write through the same moves of a three-node cluster, together with an
ideal client that knows the next writer, is already connected to it and tries it every
2 ms: its outage is the *floor*, that of the database itself. There are two clients of
each kind, so with 20 moves p99 is the worst of 40. After a crash (SIGKILL of the
postmaster) the old writer's backends still answer for some 10 ms: the ideal client
still writes there, rows that no standby receives, while pgswitch holds its clients as
soon as the postmaster refuses connections. The next column compares when each could
write again. Rows missing after a crash had not reached a standby; replication is
asynchronous here. In session mode a client that holds a server gets an error that asks
it to reconnect (57P01), which it does at once."""


def with_moves(page: str, section: str) -> str:
    """Return the page with its section of switchovers replaced, or added at the end."""
    block = f"{BEGIN}\n{HEADING}\n\n{EXPLANATION}\n\n{section}\n{END}"
    before, begin, rest = page.partition(BEGIN)
    if not begin:
        return f"{page.rstrip()}\n\n{block}\n"
    return f"{before}{block}{rest.partition(END)[2]}"
