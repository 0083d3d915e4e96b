"""The picture of a switchover: each client's write latency over time, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from pgswitch.demo.writers import Write

LEFT, TOP, WIDTH, HEIGHT, BOTTOM, RIGHT = 64, 40, 760, 260, 40, 16
COLOURS = ("#2b6cb0", "#d69e2e", "#2f855a", "#805ad5", "#c05621", "#319795")
INK, GRID, MOVE = "#1a202c", "#e2e8f0", "#c53030"
FAILED = 'stroke="#c53030"'
FLOOR_MS, TICKS_MS = 0.1, (0.1, 1, 10, 100, 1000, 10_000)
MOST_POINTS = 700
"""Of one client; of more, only those that matter most are drawn."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment worth a line: the beginning of a move."""

    at: float
    words: str


def picture(
    clients: Sequence[Sequence[Write]], marks: Sequence[Mark], title: str
) -> str:
    """Return an SVG; all times are of one clock, in seconds."""
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
        parts.append(_line(LEFT, at, LEFT + WIDTH, at, GRID))
        parts.append(_text(LEFT - 6, at + 4, f"{tick:g} ms", "end"))
    parts += [
        _text(x(began + second), TOP + HEIGHT + 18, f"{second} s")
        for second in range(0, math.ceil(span), max(1, math.ceil(span / 10)))
    ]
    for mark in marks:
        parts.append(_line(x(mark.at), TOP, x(mark.at), TOP + HEIGHT, MOVE))
        parts.append(_text(x(mark.at) + 4, TOP + 12, mark.words, "start", MOVE))
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
    """Return a write; without a colour one that failed."""
    look = f'r="1.4" fill="{colour}"' if colour else f'r="4" fill="none" {FAILED}'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}/>'


def _worth_drawing(writes: Sequence[Write]) -> list[Write]:
    """Return every error, the slowest writes, and some of the others."""
    if len(writes) <= MOST_POINTS:
        return list(writes)
    step = math.ceil(len(writes) / MOST_POINTS)
    by_latency = sorted(writes, key=lambda write: write.ended - write.began)
    slow = {write.key for write in by_latency[-MOST_POINTS // 10 :]}
    return [
        write
        for at, write in enumerate(writes)
        if write.sqlstate or write.key in slow or at % step == 0
    ]


def _frame(title: str, parts: list[str]) -> str:
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{_text(LEFT, 22, title, 'start')}\n{body}\n</svg>\n"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}"/>'
    )


def _text(
    x: float, y: float, words: str, anchor: str = "middle", colour: str = INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )
