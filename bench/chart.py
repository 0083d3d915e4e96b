"""The picture: CPU relative to PgBouncer, as an SVG file written by hand."""

from __future__ import annotations

from dataclasses import dataclass

from bench.rows import REFERENCE, ROWS, Goal
from bench.samples import Samples
from pgswitch.demo.chart import drawing, line, text

LEFT, WIDTH, RIGHT = 300, 440, 60
BAR, GAP, TOP, BOTTOM, LINE = 13, 12, 44, 10, 16
COLOURS = {"pgswitch": "#2b6cb0", "interpreted": "#90cdf4", "haproxy": "#a0aec0"}
OTHER_COLOUR = "#d69e2e"
MUST, AIM = "#c53030", "#2f855a"
FIGURE_WIDTH = 27
LIMIT = 4.0
"""Bars that are longer end here, with their figure beside them."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: whose, how long (the ratio to PgBouncer), and its goal, if any."""

    contender: str
    ratio: float
    goal: Goal | None


def groups(samples: Samples) -> list[tuple[str, list[Bar]]]:
    """Return the bars by row: every row in which less is better and PgBouncer ran."""
    found = []
    for row in samples.rows:
        if ROWS[row].more_is_better or not ROWS[row].unit.startswith("us/"):
            continue
        bars = [
            Bar(name, ratio, samples.goal_of(row, name))
            for name in samples.contenders
            if name != REFERENCE and (ratio := samples.ratio(row, name)) is not None
        ]
        if bars:
            found.append((row, bars))
    return found


def chart(samples: Samples, caption: str) -> str:
    """Return the SVG text; ``caption`` stands below, broken at each ``;``."""
    rows = groups(samples)
    longest = max((bar.ratio for _, bars in rows for bar in bars), default=1.0)
    scale = WIDTH / min(max(longest, 1.0), LIMIT)
    parts = [*_legend([name for name in samples.contenders if name != REFERENCE])]
    y = TOP
    for row, bars in rows:
        middle = y + BAR * len(bars) / 2 + 4
        parts.append(text(LEFT - 8, middle, row, "end"))
        for bar in bars:
            parts += _bar(bar, y, scale)
            y += BAR
        y += GAP
    x = LEFT + scale
    parts.append(line(x, TOP - 6, x, y - GAP + 6))
    for words in caption.split("; "):
        y += LINE
        parts.append(text(8, y, words, "start"))
    return drawing(LEFT + WIDTH + RIGHT, y + BOTTOM, parts)


def _legend(names: list[str]) -> list[str]:
    """Return a square and a name for each contender, and what the lines mean."""
    parts, x = [], 8
    for name in names:
        parts.append(_rect(x, 10, BAR - 1, BAR - 1, COLOURS.get(name, OTHER_COLOUR)))
        parts.append(text(x + BAR + 4, 20, name, "start"))
        x += 40 + 7 * len(name)
    words = "CPU; black: PgBouncer's, red: must, green: aim"
    parts.append(text(x + 10, 20, words, "start"))
    return parts


def _bar(bar: Bar, y: float, scale: float) -> list[str]:
    """Return a bar, the lines of its goal, and its figure."""
    end = LEFT + min(bar.ratio, LIMIT) * scale
    colour = COLOURS.get(bar.contender, OTHER_COLOUR)
    bounds = []
    if bar.goal is not None and not bar.goal.absolute:
        bounds = [(bar.goal.must, MUST), (bar.goal.aim, AIM)]
    lines = {LEFT + bound * scale: ink for bound, ink in bounds}
    parts = [_rect(LEFT, y, end - LEFT, BAR - 2, colour)]
    parts += [line(x, y - 2, x, y + BAR, ink, width=2) for x, ink in lines.items()]
    place = beside(end, [LEFT + scale, *lines])
    return [*parts, text(place, y + 10, f"{bar.ratio:.2f}", "start")]


def beside(end: float, lines: list[float]) -> float:
    """Return where the figure of a bar that ends at ``end`` crosses no line."""
    place = end + 5
    for at in sorted(lines):
        if place - 4 < at < place + FIGURE_WIDTH:
            place = at + 4
    return place


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}"'
        f' height="{height:.1f}" fill="{colour}"/>'
    )
