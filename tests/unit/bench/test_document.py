"""The JSON file and the generated part of the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.document import BEGIN, END, as_json, as_section, with_section
from tests.unit.bench.made_up import (
    FACTS,
    NO_PREPARED,
    PREPARED,
    SIMPLE,
    small_run,
)

PAGE = Path(__file__).parents[3] / "docs" / "performance.md"


def test_json() -> None:
    """It holds every sample, ratio, goal and reason."""
    samples = small_run()
    samples.add(0, "other", {SIMPLE: 7.0})
    found = json.loads(as_json(FACTS, samples))
    assert found["schema"] == 1
    assert found["machine"]["processor"] == "Abacus"
    assert found["figures"][0] == {
        "row": SIMPLE,
        "unit": "us/transaction",
        "contender": "pgswitch",
        "samples": [12.0, 36.0, 12.0],
        "median": 12.0,
        "ratio": 1.2,
    }
    other = next(one for one in found["figures"] if one["contender"] == "other")
    assert other["samples"] == [7.0, None, None]
    assert found["goals"][0] == {
        "row": SIMPLE,
        "must": 1.35,
        "aim": 1.1,
        "contender": "pgswitch",
        "absolute": False,
        "value": 1.2,
        "verdict": "must",
    }
    assert found["left_out"] == [
        {"row": PREPARED, "contender": "pgbouncer", "reason": NO_PREPARED}
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
