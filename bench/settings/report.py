"""The tables of a run: a row for each setting, a column for each kind of work."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.report import aligned
from bench.settings.catalogue import (
    ALLOWANCES,
    BULK_CPU,
    CPU,
    KINDS,
    PAIRS,
    TIME,
    UNFIT,
    WAITS,
    named,
)
from bench.settings.plan import Row
from bench.settings.run import Cell, shown

WRONG = "wrong"


def tables(rows: Sequence[Row], cells: Sequence[Cell]) -> list[str]:
    """Return the table of times, and that of CPU if any cell has a CPU ratio."""
    made = [table(rows, cells)]
    if any(cell.cpu_ratio is not None for cell in cells):
        made.append(table(rows, cells, cpu=True))
    return made


def table(rows: Sequence[Row], cells: Sequence[Cell], *, cpu: bool = False) -> str:
    """Return the ratios of time (or CPU); slow cells have an exclamation mark.

    Rows are in the given order; those without cells are left out.
    """
    found = {(cell.row, cell.kind): cell for cell in cells}
    kinds = [kind for kind in KINDS if any(cell.kind == kind for cell in cells)]
    lines = [["CPU" if cpu else "time", *kinds]]
    for row in rows:
        of_row = [found.get((row.name, kind)) for kind in kinds]
        if any(of_row):
            lines.append([row.name, *(_text(cell, cpu=cpu) for cell in of_row)])
    return aligned(lines)


def _text(cell: Cell | None, *, cpu: bool) -> str:
    if cell is None:
        return ""
    if cell.wrong:
        return WRONG
    return shown(cell.cpu_ratio if cpu else cell.time_ratio) + "!" * cell.is_slow


def summary(cells: Sequence[Cell]) -> str:
    """Return the numbers of cells and bad ones, the median and maximum, in a line."""
    ratios = sorted(c.time_ratio for c in cells if c.time_ratio is not None)
    bad = sum(cell.is_bad for cell in cells)
    text = f"{len(cells)} cells, {bad} bad"
    if ratios:
        text += (
            f"; times the time: median {median(ratios):.2f}, maximum {ratios[-1]:.2f}"
        )
    return text


def allowances() -> str:
    """Return the table of what values may cost, and why."""
    lines = [["setting", "kinds of work", "time", "CPU", "why"]]
    lines += [
        [
            "any other",
            "all",
            f"{TIME:g}",
            f"{CPU:g}",
            "noise between two equal poolers",
        ],
        [
            "",
            "bulk",
            f"{TIME:g}",
            f"{BULK_CPU:g}",
            "depends on how much arrives at a time",
        ],
    ]
    for one in ALLOWANCES:
        name = named(one.setting, *one.values)
        kinds = ", ".join(one.kinds) or "all"
        lines.append([name, kinds, f"{one.time:g}", f"{one.cpu:g}", one.reason])
    lines += [
        [
            "several at once",
            "all",
            f"{PAIRS:g} times",
            "-",
            "the largest of their allowances",
        ],
        ["waiting", "all", f"{WAITS:g}", "-", "waiting must never cost"],
    ]
    for unfit in UNFIT:
        name = named(unfit.setting, *unfit.values)
        lines.append([name, ", ".join(unfit.kinds), "-", "-", unfit.reason])
    return aligned(lines)
