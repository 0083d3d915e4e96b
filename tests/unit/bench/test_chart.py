"""The picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.chart import LEFT, LIMIT, WIDTH, beside, chart, groups
from bench.samples import Samples
from tests.unit.bench.made_up import EXTENDED, PREPARED, SIMPLE, small_run

SVG = "{http://www.w3.org/2000/svg}"


def bars_of(drawn: str) -> list[ET.Element]:
    """Return the bars, without paper and legend."""
    rectangles = ET.fromstring(drawn).findall(f"{SVG}rect")
    return [one for one in rectangles if float(one.get("x", "0")) == LEFT]


def texts_of(drawn: str) -> list[str]:
    """Return every text."""
    return [text.text or "" for text in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_groups() -> None:
    """CPU rows only, PgBouncer itself left out, goals where there are some."""
    found = groups(small_run())
    assert [row for row, _ in found] == [SIMPLE, EXTENDED, PREPARED]
    assert [(bar.contender, round(bar.ratio, 2)) for bar in found[0][1]] == [
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
    """A figure moves behind each line in its way."""
    assert beside(end, lines) == expected
