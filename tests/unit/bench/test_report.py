"""The tables, the chart, the JSON file and the section of the page."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.metrics import Samples
from bench.report import (
    BEGIN,
    END,
    LEFT,
    LIMIT,
    MARK,
    NOTE,
    WIDTH,
    aligned,
    as_json,
    as_section,
    beside,
    chart,
    figures_table,
    goals_table,
    groups,
    number,
    with_section,
)
from tests.unit.bench.made_up import (
    EXTENDED,
    FACTS,
    NO_PREPARED,
    PREPARED,
    SIMPLE,
    small_run,
)


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
    """The report shows the measurement, the goal and a verdict."""
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


SVG = "{http://www.w3.org/2000/svg}"


def bars_of(drawn: str) -> list[ET.Element]:
    """Return the bars, without paper and legend."""
    rectangles = ET.fromstring(drawn).findall(f"{SVG}rect")
    return [one for one in rectangles if float(one.get("x", "0")) == LEFT]


def texts_of(drawn: str) -> list[str]:
    """Return every text."""
    return [text.text or "" for text in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_groups() -> None:
    """CPU metrics only, PgBouncer itself left out, goals where there are some."""
    found = groups(small_run())
    assert [metric for metric, _ in found] == [SIMPLE, EXTENDED, PREPARED]
    assert [(bar.pooler, round(bar.ratio, 2)) for bar in found[0][1]] == [
        ("pgswitch", 1.2),
        ("haproxy", 0.8),
    ]
    assert [bar.goal is not None for bar in found[0][1]] == [True, False]


def test_bars_are_in_proportion() -> None:
    """Well-formed; the longest fills the width; figures stand in the text."""
    drawn = chart(small_run(), "a <machine>; rounds")
    lengths = [float(bar.get("width", "0")) for bar in bars_of(drawn)]
    scale = WIDTH / 1.5
    assert lengths == pytest.approx([scale * r for r in (1.2, 0.8, 1.2, 1.5)], abs=0.1)
    assert {"1.20", "0.80", "1.50", "a <machine>", "rounds"} <= set(texts_of(drawn))


def test_very_long_bars_are_cut() -> None:
    """One bar of 40 would leave nothing to see of the others."""
    samples = Samples()
    samples.add(0, "pgswitch", {SIMPLE: 40.0})
    samples.add(0, "pgbouncer", {SIMPLE: 1.0})
    drawn = chart(samples, "")
    assert [float(bar.get("width", "0")) for bar in bars_of(drawn)] == [WIDTH]
    assert "40.00" in texts_of(drawn)
    assert LIMIT < 40


def test_nothing_measured() -> None:
    """An empty run is drawn too."""
    assert bars_of(chart(Samples(), "nothing")) == []


@pytest.mark.parametrize(
    ("end", "lines", "expected"),
    [
        (100, [], 105),
        (100, [50, 200], 105),
        (100, [110], 114),
        (100, [110, 120], 124),
        (100, [120, 110], 124),
        (100, [110, 150], 114),
    ],
)
def test_figures_cross_no_line(end: float, lines: list[float], expected: float) -> None:
    """A figure moves past each line in its way."""
    assert beside(end, lines) == expected


PAGE = Path(__file__).parents[3] / "docs" / "performance.md"


def test_json() -> None:
    """It holds every sample, ratio, goal and reason."""
    samples = small_run()
    samples.add(0, "other", {SIMPLE: 7.0})
    found = json.loads(as_json(FACTS, samples))
    assert found["schema"] == 2
    assert found["machine"]["processor"] == "Abacus"
    assert found["figures"][0] == {
        "metric": SIMPLE,
        "unit": "us/transaction",
        "pooler": "pgswitch",
        "samples": [12.0, 36.0, 12.0],
        "median": 12.0,
        "ratio": 1.2,
    }
    other = next(one for one in found["figures"] if one["pooler"] == "other")
    assert other["samples"] == [7.0, None, None]
    assert found["goals"][0] == {
        "metric": SIMPLE,
        "must": 1.35,
        "aim": 1.1,
        "pooler": "pgswitch",
        "absolute": False,
        "value": 1.2,
        "verdict": "must",
    }
    assert found["left_out"] == [
        {"metric": PREPARED, "pooler": "pgbouncer", "reason": NO_PREPARED}
    ]


def test_section() -> None:
    """Command, machine, picture and tables between the markers."""
    section = as_section(FACTS, small_run(), "performance.svg")
    assert section.startswith(BEGIN)
    assert section.endswith(END)
    for part in ("`make bench`", "2 cores (Abacus)", "(performance.svg)", "| 1.20 "):
        assert part in section


def test_only_the_part_between_the_markers_changes() -> None:
    """What people wrote around it stays."""
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    assert with_section(page, f"{BEGIN}\nnew\n{END}") == page.replace("old", "new")


@pytest.mark.parametrize(
    "page",
    ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}", f"{BEGIN}{END}{END}"],
)
def test_a_page_without_the_place_is_refused(page: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="the page needs"):
        with_section(page, "")


def test_our_page_has_the_place() -> None:
    """What ``--publish`` writes to can be written to."""
    assert with_section(PAGE.read_text(), "found").count("found")
