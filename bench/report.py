"""Medians, ratios and targets, as a table, JSON and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from xml.sax.saxutils import escape

REFERENCE = "pgbouncer"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure relative to PgBouncer's must reach, and what is aimed at."""

    must: float
    aim: float
    more_is_better: bool = False

    def verdict(self, ratio: float) -> str:
        """Return ``aim``, ``must`` or ``missed``."""
        for bound, word in ((self.aim, "aim"), (self.must, "must")):
            if ratio >= bound if self.more_is_better else ratio <= bound:
                return word
        return "missed"


Samples = Mapping[str, Mapping[str, Sequence[float]]]
"""Figures of each round by work and contender."""


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    """Return the median by work and contender."""
    return {
        work: {name: median(values) for name, values in by_name.items() if values}
        for work, by_name in samples.items()
    }


def ratio(by_name: Mapping[str, float], name: str) -> float | None:
    """Return one contender's figure relative to PgBouncer's, None without either."""
    if name not in by_name or not by_name.get(REFERENCE):
        return None
    return by_name[name] / by_name[REFERENCE]


def table(samples: Samples, targets: Mapping[tuple[str, str], Target]) -> str:
    """Return the Markdown table: figure and ratio of each, verdicts where aimed."""
    figures = medians(samples)
    names = list(dict.fromkeys(name for by in figures.values() for name in by))
    lines = [
        "| work | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for work, by_name in figures.items():
        cells = []
        for name in names:
            if name not in by_name:
                cells.append("-")
                continue
            text = f"{by_name[name]:.4g}"
            relative = ratio(by_name, name)
            if relative is not None and name != REFERENCE:
                text += f" ({relative:.2f}"
                target = targets.get((work, name))
                if target is not None:
                    text += f", {target.verdict(relative)}"
                text += ")"
            cells.append(text)
        lines.append(f"| {work} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(samples: Samples, works: Sequence[str]) -> str:
    """Return an SVG bar chart of some works, relative to PgBouncer."""
    colours = {"pgswitch": "#2b6cb0", "interpreted": "#90cdf4", "haproxy": "#a0aec0"}
    rows = [
        (work, name, relative)
        for work, by_name in medians(samples).items()
        if work in works
        for name in by_name
        if name != REFERENCE and (relative := ratio(by_name, name)) is not None
    ]
    widest = max((relative for *_row, relative in rows), default=1.0)
    scale, left, height = 420 / max(widest, 1.0), 250, 18
    total = 40 + height * len(rows)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{total}"'
            ' font-family="sans-serif" font-size="12">'
        ),
        (
            f'<text x="{left}" y="14">relative to PgBouncer (line: 1.0; shorter is'
            " better)</text>"
        ),
    ]
    for number, (work, name, relative) in enumerate(rows):
        y = 24 + height * number
        parts += [
            (
                f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">'
                f"{escape(work)}, {escape(name)}</text>"
            ),
            (
                f'<rect x="{left}" y="{y}" width="{relative * scale:.1f}" height="14"'
                f' fill="{colours.get(name, "#d69e2e")}"/>'
            ),
            (
                f'<text x="{left + relative * scale + 5:.1f}" y="{y + 12}">'
                f"{relative:.2f}</text>"
            ),
        ]
    x = left + scale
    parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{total - 10}" stroke="#1a202c"/>'
    )
    return "\n".join([*parts, "</svg>\n"])
