"""Tracked parameters: what follows a client, and the SET that makes it so."""

from __future__ import annotations

import pytest

from pgswitch.wire.params import Tracking, quote_literal, set_statement


@pytest.fixture
def tracking() -> Tracking:
    """Return the usual tracking, with one more parameter."""
    return Tracking(["IntervalStyle", "datestyle"])


def test_names(tracking: Tracking) -> None:
    """Five always, the extra ones once, whatever their case."""
    assert tracking.names == (
        *("DateStyle", "client_encoding", "TimeZone", "standard_conforming_strings"),
        *("application_name", "IntervalStyle"),
    )
    assert "TIMEZONE" in tracking
    assert "work_mem" not in tracking


def test_equal_values_are_one_object(tracking: Tracking) -> None:
    """So that the hot path compares identities."""
    one = tracking.collect({"TimeZone": "UTC", "application_name": "x"})
    other = tracking.changed(tracking.collect({"timezone": "UTC"}), "x", "y")
    other = tracking.changed(other, "application_name", "x")
    assert one is other
    assert tracking.collect({"work_mem": "1GB"}) is tracking.unset


def test_filled(tracking: Tracking) -> None:
    """A client's own values go before those of the server."""
    client = tracking.collect({"TimeZone": "Europe/Oslo"})
    server = tracking.collect({"TimeZone": "UTC", "DateStyle": "ISO, MDY"})
    filled = tracking.filled(client, server)
    assert tracking.value(filled, "timezone") == "Europe/Oslo"
    assert tracking.value(filled, "DateStyle") == "ISO, MDY"
    assert tracking.value(filled, "application_name") is None


def test_differences(tracking: Tracking) -> None:
    """Where both have a value and they differ in more than case."""
    client = tracking.collect(
        {
            "TimeZone": "Europe/Oslo",
            "client_encoding": "utf8",
            "application_name": "a" * 200,
            "IntervalStyle": "iso_8601",
        }
    )
    server = tracking.collect(
        {"TimeZone": "UTC", "client_encoding": "UTF8", "application_name": ""}
    )
    assert tracking.differences(client, server) == [("TimeZone", "Europe/Oslo")]


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("plain", "'plain'"),
        ("it's", "'it''s'"),
        ("back\\slash", " E'back\\\\slash'"),
        ("'; DROP TABLE x; --", "'''; DROP TABLE x; --'"),
    ],
)
def test_quoting(value: str, quoted: str) -> None:
    """A value cannot leave its constant, whatever the server's settings."""
    assert quote_literal(value) == quoted


def test_set_statement() -> None:
    """One query for all differences; a search_path is a list already."""
    assert (
        set_statement([("TimeZone", "UTC"), ("search_path", '"a", b')])
        == "SET TimeZone='UTC';SET search_path=\"a\", b;"
    )
    assert set_statement([("search_path", '""')]) == "SET search_path='';"
