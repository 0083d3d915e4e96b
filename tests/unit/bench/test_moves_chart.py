"""The chart of moved writers is well-formed; slower is further right."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bench.moves import CRASH, PLANNED, Samples
from bench.moves_chart import chart

SVG = "{http://www.w3.org/2000/svg}"


def test_chart() -> None:
    """One dot for each sample."""
    samples = {
        "a & b": {PLANNED: Samples(2, 2, [-1.0, 50.0]), CRASH: Samples(1, 1, [500.0])}
    }
    dots = ET.fromstring(chart(samples)).findall(f"{SVG}circle")
    places = [float(dot.get("cx") or 0) for dot in dots]
    assert places == sorted(places)
    assert len(set(places)) == 3
