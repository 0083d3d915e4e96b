"""The printed tables."""

from __future__ import annotations

import pytest

from bench.table import MARK, NOTE, aligned, figures_table, goals_table, number
from tests.unit.bench.made_up import NO_PREPARED, small_run


def cells(table: str) -> list[list[str]]:
    """Return the table's cells by line, without heading and rule."""
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_figures() -> None:
    """Median, ratio in brackets, why there is none, or a dash."""
    assert cells(figures_table(small_run())) == [
        ["simple query, CPU (us/transaction)", "12 (1.20)", "10", "8 (0.80)"],
        ["extended query, CPU (us/transaction)", "24 (1.20)", "20", "-"],
        [
            "prepared query, CPU (us/transaction)",
            f"30 (1.50 {MARK})",
            NO_PREPARED,
            "-",
        ],
        ["memory (kB/idle client)", "5", "-", "-"],
    ]


def test_goals() -> None:
    """What was measured beside what was wanted, with a word of judgement."""
    found = cells(goals_table(small_run()))
    assert found[0][1:] == ["pgswitch", "1.20", "<= 1.35", "<= 1.1", "pass"]
    assert found[2][1:] == ["pgswitch", f"1.50 {MARK}", "<= 1.35", "<= 1.1", "missed"]
    simple = [line for line in found if line[0].startswith("simple query, CPU")]
    assert simple[1][1:] == ["interpreted", "-", "<= 1.9", "<= 1.5", "-"]
    memory = next(line for line in found if line[0] == "memory, kB/idle client")
    assert memory[1:] == ["pgswitch", "5.00", "<= 12", "<= 6", "pass, aim reached"]


def test_the_mark_is_explained_where_it_stands() -> None:
    """A note follows both tables, and only if they have the mark."""
    samples = small_run()
    assert figures_table(samples).endswith(NOTE)
    assert goals_table(samples).endswith(NOTE)
    for round_number in range(3):
        samples.add(round_number, "pgbouncer", {"prepared query, CPU": 20.0})
    assert MARK not in figures_table(samples) + goals_table(samples)


def test_columns_are_padded() -> None:
    """All lines are of one length."""
    assert aligned([["a", "bbb"], ["cc", "d"]]).splitlines() == [
        "| a  | bbb |",
        "| -- | --- |",
        "| cc | d   |",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234.56, "1235"), (100.4, "100"), (99.94, "99.9"), (0.02653, "0.0265")],
)
def test_numbers(value: float, expected: str) -> None:
    """Three digits that count, and never an exponent for large ones."""
    assert number(value) == expected
