"""The chart of moved writers: every outage beyond the floor, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.moves import CRASH, PLANNED, Samples
from pgswitch.demo.chart import GRID, drawing, line, text

LEFT, ROW, TOP, WIDTH, RIGHT = 210, 34, 40, 560, 40
COLOURS = {PLANNED: "#2b6cb0", CRASH: "#d69e2e"}
TICKS_MS = (1, 10, 30, 100, 1000, 10_000)
"""30 is the goal."""
LEAST_MS = 1.0


def chart(samples: Mapping[str, Mapping[str, Samples]]) -> str:
    """Return a row of dots for each contender and kind of move; less is better."""
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
    share = math.log10(max(value_ms, LEAST_MS) / LEAST_MS)
    return LEFT + share / math.log10(TICKS_MS[-1] / LEAST_MS) * WIDTH
