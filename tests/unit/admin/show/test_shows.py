"""Every SHOW's columns, against those of a running PgBouncer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.admin.statements import SHOWS, find
from tests.unit.admin.fakes import fake_view
from tests.unit.admin.reading import rows_of

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
    """Names, order and types are PgBouncer's."""
    assert [(one.name, one.type.oid) for one in SHOWS[name].columns] == expected


def test_no_other_show_exists() -> None:
    """SHOWS holds the recorded results and those that pgswitch adds."""
    assert set(SHOWS) == {
        *recorded(),
        *("rules", "handover", "errors", "stats_percentiles"),
        *("topology", "switchovers"),
    }


def test_statistics_hold_each_counter_twice() -> None:
    """SHOW STATS has the database, twelve totals and twelve averages."""
    assert len(SHOWS["stats"].columns) == 25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_encoding", "UTF-8"),
        ("default_transaction_isolation", "read committed"),
        ("standard_conforming_strings", "on"),
        ("DateStyle", "ISO"),
        ("TIMEZONE", "GMT"),
    ],
)
def test_what_drivers_ask_is_answered(name: str, value: str) -> None:
    """A few session settings are shown, each as one text column of its name."""
    found = find(name)
    assert found is not None
    assert [(one.name, one.type.oid) for one in found.columns] == [(name.lower(), 25)]
    assert rows_of(name, fake_view()) == [(value,)]


@pytest.mark.parametrize("name", ["", "nosuch", "default_pool_size", "hba"])
def test_there_is_no_other_show(name: str) -> None:
    """An unknown name gives None, for the console to refuse."""
    assert find(name) is None


@pytest.mark.parametrize("name", SHOWS)
def test_everything_has_its_sentence(name: str) -> None:
    """Each table and each column says what it means, in one sentence."""
    texts = [SHOWS[name].meaning, *(one.meaning for one in SHOWS[name].columns)]
    assert all(text.endswith(".") and "|" not in text for text in texts)
