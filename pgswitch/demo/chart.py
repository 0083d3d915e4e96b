"""SVG charts: a sheet, text and lines, and the latency of writes over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from pgswitch.demo.writers import Write

INK, PAPER, GRID = "#1a202c", "#ffffff", "#e2e8f0"


def drawing(width: float, height: float, parts: Sequence[str]) -> str:
    """Return an SVG document of this size in pixels; later parts cover earlier ones."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n{body}\n</svg>\n'
    )


def text(
    x: float, y: float, words: str, anchor: str = "middle", colour: str = INK
) -> str:
    """Return a line of text whose ``anchor`` (start, middle or end) is at ``x``."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str = INK, *, width: int = 1
) -> str:
    """Return a line from one point to another."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"/>'
    )


LEFT, TOP, WIDTH, HEIGHT, BOTTOM, RIGHT = 64, 40, 760, 260, 40, 16
COLOURS = ("#2b6cb0", "#d69e2e", "#2f855a", "#805ad5", "#c05621", "#319795")
MOVE = "#c53030"
FAILED = 'stroke="#c53030"'
FLOOR_MS, TICKS_MS = 0.1, (0.1, 1, 10, 100, 1000, 10_000)
MAX_POINTS = 700
"""For each client; of more writes, the slow ones, the failed ones and some others."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment to mark with a line: the start of a switchover or a crash."""

    at: float
    words: str


def latency_chart(
    clients: Sequence[Sequence[Write]], markers: Sequence[Marker], title: str
) -> str:
    """Return the latency of each client's writes; times in seconds of one clock."""
    writes = [write for client in clients for write in client]
    if not writes:
        return _frame(title, [])
    began = min(write.began for write in writes)
    span = max(max(write.ended for write in writes) - began, 0.001)
    longest = max((write.ended - write.began) * 1000 for write in writes)
    top_ms = next((tick for tick in TICKS_MS if tick >= longest), TICKS_MS[-1])

    def x(at: float) -> float:
        return LEFT + (at - began) / span * WIDTH

    def y(latency_ms: float) -> float:
        share = math.log10(max(latency_ms, FLOOR_MS) / FLOOR_MS)
        return TOP + HEIGHT - share / math.log10(top_ms / FLOOR_MS) * HEIGHT

    parts = []
    for tick in (tick for tick in TICKS_MS if tick <= top_ms):
        at = y(tick)
        parts.append(line(LEFT, at, LEFT + WIDTH, at, GRID))
        parts.append(text(LEFT - 6, at + 4, f"{tick:g} ms", "end"))
    parts += [
        text(x(began + second), TOP + HEIGHT + 18, f"{second} s")
        for second in range(0, math.ceil(span), max(1, math.ceil(span / 10)))
    ]
    for event in markers:
        parts.append(line(x(event.at), TOP, x(event.at), TOP + HEIGHT, MOVE))
        parts.append(text(x(event.at) + 4, TOP + 12, event.words, "start", MOVE))
    parts += [
        _dot(
            x(write.ended),
            y((write.ended - write.began) * 1000),
            "" if write.sqlstate else COLOURS[number % len(COLOURS)],
        )
        for number, client in enumerate(clients)
        for write in _worth_drawing(client)
    ]
    return _frame(title, parts)


def _dot(x: float, y: float, colour: str) -> str:
    """Return the mark of a write; without a colour, that of a failed one."""
    look = f'r="1.4" fill="{colour}"' if colour else f'r="4" fill="none" {FAILED}'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}/>'


def _worth_drawing(writes: Sequence[Write]) -> list[Write]:
    """Return every failed write, the slowest ones and a sample of the others."""
    if len(writes) <= MAX_POINTS:
        return list(writes)
    step = math.ceil(len(writes) / MAX_POINTS)
    by_latency = sorted(writes, key=lambda write: write.ended - write.began)
    slow = {write.key for write in by_latency[-MAX_POINTS // 10 :]}
    return [
        write
        for at, write in enumerate(writes)
        if write.sqlstate or write.key in slow or at % step == 0
    ]


def _frame(title: str, parts: list[str]) -> str:
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    return drawing(width, height, [text(LEFT, 22, title, "start"), *parts])
