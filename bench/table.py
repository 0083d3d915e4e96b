"""The tables, in Markdown, which reads well on a terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from bench.rows import GOALS, REFERENCE, ROWS
from bench.samples import Samples

MARK = "[1]"
NOTE = (
    f"{MARK} this PgBouncer does no such thing: the ratio is to its figure of the same"
    " queries without rules, of extended queries for prepared ones"
)


def figures_table(samples: Samples) -> str:
    """Return the medians of all rows, each with its ratio to PgBouncer in brackets."""
    names = samples.contenders
    lines = [["measured", *names]]
    lines += [
        [ROWS[row].label, *(_cell(samples, row, name) for name in names)]
        for row in samples.rows
    ]
    text = aligned(lines)
    return f"{text}\n\n{NOTE}" if MARK in text else text


def goals_table(samples: Samples) -> str:
    """Return what was to be reached and whether it was, one line for each goal.

    Goals of rows that nobody has a figure in are left out.
    """
    lines = [["goal", "contender", "measured", "must", "aim", "verdict"]]
    for goal in GOALS:
        if goal.row not in samples.rows:
            continue
        judged = samples.judged(goal)
        value, word = ("-", "-")
        if judged is not None:
            value, word = f"{judged[0]:.2f}", WORDS[judged[1]]
            if not goal.absolute and samples.reference_row(goal.row) != goal.row:
                value += f" {MARK}"
        sign = ">=" if ROWS[goal.row].more_is_better else "<="
        kind = ROWS[goal.row].unit if goal.absolute else "times PgBouncer's"
        lines.append(
            [
                f"{goal.row}, {kind}" if kind else goal.row,
                goal.contender,
                value,
                f"{sign} {goal.must:g}",
                f"{sign} {goal.aim:g}",
                word,
            ]
        )
    text = aligned(lines)
    return f"{text}\n\n{NOTE}" if MARK in text else text


WORDS = {"aim": "pass, aim reached", "must": "pass", "missed": "missed"}
"""How the goals' table puts a verdict."""


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is the heading, columns are padded."""
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
    """Return a figure with about three digits that count."""
    if value >= 100:  # noqa: PLR2004 - from here on, whole numbers are exact enough
        return f"{value:.0f}"
    return f"{value:.3g}"


def _cell(samples: Samples, row: str, name: str) -> str:
    value = samples.median(row, name)
    if value is None:
        return samples.why_not(row, name) or "-"
    ratio = samples.ratio(row, name)
    if ratio is None or name == REFERENCE:
        return number(value)
    mark = f" {MARK}" if samples.reference_row(row) != row else ""
    return f"{number(value)} ({ratio:.2f}{mark})"
