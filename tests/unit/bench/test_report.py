"""Medians, ratios, verdicts, the table and the picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.report import Target, medians, picture, ratio, table

SAMPLES = {
    "CPU us per simple": {
        "pgswitch": [9.0, 12.0, 100.0],
        "pgbouncer": [10.0, 10.0, 11.0],
    },
    "CPU us per prepared": {"pgswitch": [5.0]},
}
TARGETS = {("CPU us per simple", "pgswitch"): Target(1.35, 1.1)}


def test_medians_bear_an_outlier() -> None:
    """One slow round of a shared machine changes nothing."""
    assert medians(SAMPLES)["CPU us per simple"] == {
        "pgswitch": 12.0,
        "pgbouncer": 10.0,
    }


def test_ratio() -> None:
    """There is none where either is missing."""
    figures = medians(SAMPLES)
    assert ratio(figures["CPU us per simple"], "pgswitch") == pytest.approx(1.2)
    assert ratio(figures["CPU us per prepared"], "pgswitch") is None


@pytest.mark.parametrize(
    ("target", "value", "word"),
    [
        (Target(1.35, 1.1), 1.1, "aim"),
        (Target(1.35, 1.1), 1.2, "must"),
        (Target(1.35, 1.1), 1.36, "missed"),
        (Target(0.85, 1.0, more_is_better=True), 1.0, "aim"),
        (Target(0.85, 1.0, more_is_better=True), 0.9, "must"),
        (Target(0.85, 1.0, more_is_better=True), 0.84, "missed"),
    ],
)
def test_verdicts(target: Target, value: float, word: str) -> None:
    """The bound itself is met."""
    assert target.verdict(value) == word


def test_table() -> None:
    """Figures, ratios, verdicts, and a dash for what could not be done."""
    assert table(SAMPLES, TARGETS).splitlines() == [
        "| work | pgswitch | pgbouncer |",
        "|---|---|---|",
        "| CPU us per simple | 12 (1.20, must) | 10 |",
        "| CPU us per prepared | 5 | - |",
    ]


def test_picture() -> None:
    """Well-formed, a bar for each figure that has a ratio."""
    drawn = ET.fromstring(picture(SAMPLES, list(SAMPLES)))
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 1
