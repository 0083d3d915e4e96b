"""Every SHOW's columns, against those of a running PgBouncer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.admin import columns
from pgswitch.admin.show import SHOWS

OIDS = {"text": 25, "int4": 23, "int8": 20, "numeric": 1700, "bytea": 17}


def recorded() -> dict[str, list[tuple[str, int]]]:
    """Return the recorded columns: name of the SHOW to names and type OIDs."""
    lines = Path(__file__).with_name("recorded_columns.txt").read_text().splitlines()
    table = {}
    for line in lines[1:]:
        name, listed = line.split(": ")
        pairs = (one.split(" ") for one in listed.split(", "))
        table[name.lower()] = [(column, OIDS[kind]) for column, kind in pairs]
    return table


@pytest.mark.parametrize(("name", "expected"), recorded().items())
def test_columns_are_those_recorded(name: str, expected: list[tuple[str, int]]) -> None:
    """Names, order and types are the reference's."""
    assert [(one.name, one.oid) for one in SHOWS[name].columns] == expected


def test_no_other_show_exists() -> None:
    """The table of SHOWs holds what was recorded, and what is ours."""
    assert set(SHOWS) == {
        *recorded(),
        *("rules", "handover", "errors", "stats_percentiles"),
        *("topology", "switchovers"),
    }


def test_statistics_hold_each_counter_twice() -> None:
    """SHOW STATS has the database, twelve totals and twelve averages."""
    assert len(columns.STATS) == 25
