"""Charts are well-formed SVG and show what matters."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pgswitch.demo.switchover import (
    GRID,
    MAX_POINTS,
    Marker,
    drawing,
    latency_chart,
    line,
    text,
)
from pgswitch.demo.writers import Write

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


def dots(text: str) -> list[ET.Element]:
    """Return the writes in a picture."""
    return ET.fromstring(text).findall(f"{SVG}circle")


def test_what_it_shows() -> None:
    """A dot for each write, a ring for each that failed, the marks in words."""
    client = [Write(1, 0.0, 0.001), Write(2, 0.1, 0.3), Write(3, 0.4, 0.41, "08007")]
    text = latency_chart([client], [Marker(0.1, "a < b")], "title")
    assert [dot.get("r") for dot in dots(text)] == ["1.4", "1.4", "4"]
    assert "a &lt; b" in text
    assert ">100 ms<" in text


def test_few_points_of_many() -> None:
    """The slowest and the failed are always among them."""
    client = [Write(at, at / 1000, at / 1000 + 0.0005) for at in range(20_000)]
    client[7_001] = Write(7_001, 7.0, 7.2)
    client[7_003] = Write(7_003, 7.2, 7.3, "08007")
    drawn = dots(latency_chart([client], [], "many"))
    assert len(drawn) < 2 * MAX_POINTS
    assert [dot.get("r") for dot in drawn].count("4") == 1
    assert len({dot.get("cy") for dot in drawn}) > 1


def test_nothing_to_show() -> None:
    """No writes: a frame with the title."""
    assert dots(latency_chart([], [], "nothing")) == []
