"""The tables."""

from __future__ import annotations

from bench.settings.plan import Row
from bench.settings.report import allowances, summary, table, tables
from bench.settings.run import Cell
from bench.settings.workload import Cost

ROWS = [
    Row("settings", name, {}, ("simple", "result")) for name in ("b=1", "a=0", "unseen")
]


def cell(row: str, kind: str, seconds: float, cpu: float = 0.0) -> Cell:
    """Return a cell of one round that follows one second."""
    rounds = [(Cost(seconds, cpu), Cost(1.0, cpu))]
    return Cell(row, kind, 1.3, 1.5, rounds)


def test_rows_and_columns() -> None:
    """Rows in their order, columns as the kinds stand in the catalogue, bad marked."""
    wrong = cell("b=1", "result", 1.0)
    wrong.wrong = "hung"
    made = table(ROWS, [cell("a=0", "result", 2.0), cell("a=0", "simple", 1.0), wrong])
    assert made.splitlines() == [
        "| time | simple | result |",
        "| ---- | ------ | ------ |",
        "| b=1  |        | wrong  |",
        "| a=0  | 1.00   | 2.00!  |",
    ]


def test_cpu_has_a_table_of_its_own() -> None:
    """Where any of it can be judged."""
    assert len(tables(ROWS, [cell("a=0", "simple", 1.0)])) == 1
    made = tables(ROWS, [cell("a=0", "simple", 1.2, cpu=0.01)])
    assert made[1].splitlines()[0].startswith("| CPU ")
    assert "1.00" in made[1]


def test_summary() -> None:
    """How many, how many bad."""
    cells = [cell("a=0", "simple", 1.0), cell("a=0", "result", 2.0)]
    assert summary(cells) == "2 cells, 1 bad; times the time: median 1.50, maximum 2.00"
    assert summary([]) == "0 cells, 0 bad"


def test_allowances_have_reasons() -> None:
    """The last column is never empty."""
    for line in allowances().splitlines():
        assert line.split("|")[-2].strip()
