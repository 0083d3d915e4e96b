"""Drawings are well-formed, whatever their words are."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pgswitch.demo.svg import GRID, drawing, line, text

SVG = "{http://www.w3.org/2000/svg}"


def test_drawing() -> None:
    """The parts are on the sheet in their order."""
    parts = [line(0, 1, 2.25, 3, GRID, width=2), text(4, 5, "a < b & c", "end")]
    sheet = ET.fromstring(drawing(30, 20, parts))
    assert (sheet.get("width"), sheet.get("viewBox")) == ("30", "0 0 30 20")
    paper, drawn, words = sheet
    assert paper.tag == f"{SVG}rect"
    assert [drawn.get(name) for name in ("x1", "y1", "x2", "y2", "stroke-width")] == [
        *("0.0", "1.0", "2.2", "3.0", "2"),
    ]
    assert drawn.get("stroke") == GRID
    assert (words.text, words.get("text-anchor")) == ("a < b & c", "end")
