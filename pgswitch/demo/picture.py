"""The picture of a switchover: each client's write latency over time, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pgswitch.demo.svg import GRID, drawing, line, text
from pgswitch.demo.writers import Write

LEFT, TOP, WIDTH, HEIGHT, BOTTOM, RIGHT = 64, 40, 760, 260, 40, 16
COLOURS = ("#2b6cb0", "#d69e2e", "#2f855a", "#805ad5", "#c05621", "#319795")
MOVE = "#c53030"
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
        parts.append(line(LEFT, at, LEFT + WIDTH, at, GRID))
        parts.append(text(LEFT - 6, at + 4, f"{tick:g} ms", "end"))
    parts += [
        text(x(began + second), TOP + HEIGHT + 18, f"{second} s")
        for second in range(0, math.ceil(span), max(1, math.ceil(span / 10)))
    ]
    for mark in marks:
        parts.append(line(x(mark.at), TOP, x(mark.at), TOP + HEIGHT, MOVE))
        parts.append(text(x(mark.at) + 4, TOP + 12, mark.words, "start", MOVE))
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
    return drawing(width, height, [text(LEFT, 22, title, "start"), *parts])
