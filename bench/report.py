"""What a run leaves: tables, a chart, a JSON file, and figures in docs/performance.md.

The JSON file is one object::

    schema     2; grows with incompatible changes
    command    how the run was started
    machine    {"cores", "processor", "system", "python"}
    versions   {pooler or "PostgreSQL": version}
    rounds     how many
    figures    one for each metric and pooler:
               {"metric", "unit", "pooler", "samples" (a number for each round, null
               where there is none), "median", "ratio" (to PgBouncer, or null)}
    goals      one for each goal: {"metric", "pooler", "must", "aim", "absolute",
               "value" (or null), "verdict" ("aim", "must", "missed" or null)}
    left_out   {"metric", "pooler", "reason"} for what could not be measured
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.metrics import GOALS, METRICS, REFERENCE, Goal, Samples
from pgswitch.demo.switchover import drawing, line, text

MARK = "[1]"
NOTE = (
    f"{MARK} this PgBouncer cannot do it: the ratio is to its figure for the same"
    " queries without rules, or for extended queries instead of prepared ones"
)


def figures_table(samples: Samples) -> str:
    """Return the medians of all metrics, with their ratios to PgBouncer in brackets."""
    names = samples.poolers
    lines = [["measured", *names]]
    lines += [
        [METRICS[metric].label, *(_cell(samples, metric, name) for name in names)]
        for metric in samples.metrics
    ]
    text = aligned(lines)
    return f"{text}\n\n{NOTE}" if MARK in text else text


def goals_table(samples: Samples) -> str:
    """Return the goals and whether they were reached, one per line.

    Goals without any figure are left out.
    """
    lines = [["goal", "pooler", "measured", "must", "aim", "verdict"]]
    for goal in GOALS:
        if goal.metric not in samples.metrics:
            continue
        assessed = samples.assessed(goal)
        value, word = ("-", "-")
        if assessed is not None:
            value, word = f"{assessed[0]:.2f}", WORDS[assessed[1]]
            if (
                not goal.absolute
                and samples.reference_metric(goal.metric) != goal.metric
            ):
                value += f" {MARK}"
        sign = ">=" if METRICS[goal.metric].more_is_better else "<="
        kind = METRICS[goal.metric].unit if goal.absolute else "times PgBouncer's"
        lines.append(
            [
                f"{goal.metric}, {kind}" if kind else goal.metric,
                goal.pooler,
                value,
                f"{sign} {goal.must:g}",
                f"{sign} {goal.aim:g}",
                word,
            ]
        )
    text = aligned(lines)
    return f"{text}\n\n{NOTE}" if MARK in text else text


WORDS = {"aim": "pass, aim reached", "must": "pass", "missed": "missed"}
"""The verdicts as the table has them."""


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        )
        + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def number(value: float) -> str:
    """Return a figure with about three significant digits."""
    if value >= 100:  # noqa: PLR2004 - from here on, whole numbers are exact enough
        return f"{value:.0f}"
    return f"{value:.3g}"


def _cell(samples: Samples, metric: str, name: str) -> str:
    value = samples.median(metric, name)
    if value is None:
        return samples.reason_left_out(metric, name) or "-"
    ratio = samples.ratio(metric, name)
    if ratio is None or name == REFERENCE:
        return number(value)
    mark = f" {MARK}" if samples.reference_metric(metric) != metric else ""
    return f"{number(value)} ({ratio:.2f}{mark})"


LEFT, WIDTH, RIGHT = 300, 440, 60
BAR, GAP, TOP, BOTTOM, LINE = 13, 12, 44, 10, 16
COLOURS = {"pgswitch": "#2b6cb0", "interpreted": "#90cdf4", "haproxy": "#a0aec0"}
OTHER_COLOUR = "#d69e2e"
MUST, AIM = "#c53030", "#2f855a"
FIGURE_WIDTH = 27
LIMIT = 4.0
"""Longer bars are cut off here; their figures tell their length."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: the pooler, its ratio to PgBouncer, and its goal if it has one."""

    pooler: str
    ratio: float
    goal: Goal | None


def groups(samples: Samples) -> list[tuple[str, list[Bar]]]:
    """Return the bars of each CPU metric for which PgBouncer has a figure."""
    found = []
    for metric in samples.metrics:
        if METRICS[metric].more_is_better or not METRICS[metric].unit.startswith("us/"):
            continue
        bars = [
            Bar(name, ratio, samples.goal_of(metric, name))
            for name in samples.poolers
            if name != REFERENCE and (ratio := samples.ratio(metric, name)) is not None
        ]
        if bars:
            found.append((metric, bars))
    return found


def chart(samples: Samples, caption: str) -> str:
    """Return the SVG document; ``caption`` is at the bottom, broken at each ``;``."""
    metrics = groups(samples)
    longest = max((bar.ratio for _, bars in metrics for bar in bars), default=1.0)
    scale = WIDTH / min(max(longest, 1.0), LIMIT)
    parts = [*_legend([name for name in samples.poolers if name != REFERENCE])]
    y = TOP
    for metric, bars in metrics:
        middle = y + BAR * len(bars) / 2 + 4
        parts.append(text(LEFT - 8, middle, metric, "end"))
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
    """Return a square and a name for each pooler, and the meaning of the lines."""
    parts, x = [], 8
    for name in names:
        parts.append(_rect(x, 10, BAR - 1, BAR - 1, COLOURS.get(name, OTHER_COLOUR)))
        parts.append(text(x + BAR + 4, 20, name, "start"))
        x += 40 + 7 * len(name)
    words = "CPU; black: PgBouncer's, red: must, green: aim"
    parts.append(text(x + 10, 20, words, "start"))
    return parts


def _bar(bar: Bar, y: float, scale: float) -> list[str]:
    """Return a bar, the lines of its goal and its figure."""
    end = LEFT + min(bar.ratio, LIMIT) * scale
    colour = COLOURS.get(bar.pooler, OTHER_COLOUR)
    bounds = []
    if bar.goal is not None and not bar.goal.absolute:
        bounds = [(bar.goal.must, MUST), (bar.goal.aim, AIM)]
    lines = {LEFT + bound * scale: ink for bound, ink in bounds}
    parts = [_rect(LEFT, y, end - LEFT, BAR - 2, colour)]
    parts += [line(x, y - 2, x, y + BAR, ink, width=2) for x, ink in lines.items()]
    place = beside(end, [LEFT + scale, *lines])
    return [*parts, text(place, y + 10, f"{bar.ratio:.2f}", "start")]


def beside(end: float, lines: list[float]) -> float:
    """Return where a figure next to a bar's ``end`` does not cross a line."""
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


BEGIN = "<!-- figures: begin (written by `make bench ARGS=--publish`) -->"
END = "<!-- figures: end -->"
SCHEMA = 2


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a reader of the figures must know about a run."""

    command: str
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    rounds: int
    remarks: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """Return machine and versions in one line."""
        machine = self.machine
        rounds = "one round" if self.rounds == 1 else f"medians of {self.rounds} rounds"
        versions = ", ".join(f"{name} {text}" for name, text in self.versions.items())
        return (
            f"{machine['cores']} cores ({machine['processor']}), {machine['system']},"
            f" Python {machine['python']}; {versions}; {rounds}"
        )


def as_json(info: RunInfo, samples: Samples) -> str:
    """Return the text of the JSON file."""
    cells = [(metric, name) for metric in METRICS for name in samples.poolers]
    found = {
        "schema": SCHEMA,
        "command": info.command,
        "machine": dict(info.machine),
        "versions": dict(info.versions),
        "rounds": info.rounds,
        "remarks": info.remarks,
        "figures": [
            {
                "metric": metric,
                "unit": METRICS[metric].unit,
                "pooler": name,
                "samples": [values.get(n) for n in range(info.rounds)],
                "median": samples.median(metric, name),
                "ratio": samples.ratio(metric, name),
            }
            for metric, name in cells
            if (values := samples.of(metric, name))
        ],
        "goals": [
            {
                **asdict(goal),
                "value": assessed[0] if assessed else None,
                "verdict": assessed[1] if assessed else None,
            }
            for goal in GOALS
            for assessed in [samples.assessed(goal)]
        ],
        "left_out": [
            {"metric": metric, "pooler": name, "reason": reason}
            for metric, name in cells
            if (reason := samples.reason_left_out(metric, name))
        ],
    }
    return json.dumps(found, indent=1) + "\n"


def as_section(info: RunInfo, samples: Samples, picture: str) -> str:
    """Return the generated part of docs/performance.md, markers included.

    ``picture`` is the path of the chart relative to that file.
    """
    lines = [
        BEGIN,
        f"Made by `{info.command}`: {info.sentence()}.",
        *info.remarks,
        "",
        goals_table(samples),
        "",
        f"![CPU relative to PgBouncer]({picture})",
        "",
        "All figures, with the ratio to PgBouncer in brackets:",
        "",
        figures_table(samples),
        "",
        END,
    ]
    return "\n".join(lines)


def with_section(page: str, section: str) -> str:
    """Return a page with the part between the markers replaced.

    Raises ValueError unless the page has each marker once, in this order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or END in before or BEGIN in after or END in after:
        raise ValueError(f"the page needs {BEGIN} and, after it, {END}, once each")
    return before + section + after
