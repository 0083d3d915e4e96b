"""The chart of moved writers: every outage beyond the floor, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

from bench.moves import CRASH, PLANNED, Samples

LEFT, ROW, TOP, WIDTH, RIGHT = 210, 34, 40, 560, 40
INK, GRID = "#1a202c", "#e2e8f0"
COLOURS = {PLANNED: "#2b6cb0", CRASH: "#d69e2e"}
TICKS_MS = (1, 10, 30, 100, 1000, 10_000)
"""30 is the goal."""
LEAST_MS = 1.0


def chart(samples: Mapping[str, Mapping[str, Samples]]) -> str:
    """Return a row of dots for each contender and kind of move; less is better."""
    rows = [(name, how) for name in samples for how in (PLANNED, CRASH)]
    parts = []
    bottom = TOP + ROW * len(rows)
    for tick in TICKS_MS:
        x = _x(tick)
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"'
            f' stroke="{GRID}"/>'
        )
        parts.append(_text(x, bottom + 16, f"{tick} ms", "middle"))
    for at, (name, how) in enumerate(rows):
        y = TOP + ROW * at + ROW / 2
        parts.append(_text(LEFT - 8, y + 4, f"{name}, {how}", "end"))
        parts += [
            f'<circle cx="{_x(value):.1f}" cy="{y:.1f}" r="3.5" fill-opacity="0.5"'
            f' fill="{COLOURS[how]}"/>'
            for value in samples[name][how].excess_ms
        ]
    width, height = LEFT + WIDTH + RIGHT, bottom + 30
    title = "Outage of writing clients beyond the database's own, by move (log scale)"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{_text(LEFT, 22, title, 'start')}\n{body}\n</svg>\n"
    )


def _x(value_ms: float) -> float:
    share = math.log10(max(value_ms, LEAST_MS) / LEAST_MS)
    return LEFT + share / math.log10(TICKS_MS[-1] / LEAST_MS) * WIDTH


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">'
        f"{escape(words)}</text>"
    )
