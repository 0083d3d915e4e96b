"""Tracked parameters: what follows a client, and the SET that makes it so."""

from __future__ import annotations

import pytest

from pgswitch.wire.params import UNKNOWN, Tracking, quote_literal, set_statement


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
    """Whatever is not the same, however long; a server that has none is no reason."""
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
    assert tracking.differences(client, server) == [
        ("TimeZone", "Europe/Oslo"),
        ("application_name", "a" * 200),
        ("IntervalStyle", "iso_8601"),
    ]


@pytest.mark.parametrize(
    ("name", "wanted", "present", "expected"),
    [
        ("application_name", "App", "app", ["App"]),
        ("search_path", "Foo", "foo", ["Foo"]),
        ("my.tenant", "A", "a", ["A"]),
        ("search_path", "", "a", [""]),
        ("application_name", "", "a", [""]),
        ("search_path", "", '""', [""]),
        ("DateStyle", "iso, mdy", "ISO, MDY", []),
        ("client_encoding", "utf8", "UTF8", []),
        ("TimeZone", "europe/oslo", "Europe/Oslo", []),
        ("standard_conforming_strings", "ON", "on", []),
        ("IntervalStyle", "Postgres", "postgres", []),
        ("search_path", None, None, []),
        ("search_path", None, "another", [None]),
        ("search_path", None, UNKNOWN, [None]),
        ("search_path", "mine", None, ["mine"]),
        ("search_path", "mine", UNKNOWN, ["mine"]),
        ("search_path", "x" * 5000, "a", ["x" * 5000]),
    ],
)
def test_one_difference(
    name: str, wanted: str | None, present: str | None, expected: list[str | None]
) -> None:
    """Case matters where it does to a server; no client keeps another's value."""
    tracking = Tracking(["search_path", "IntervalStyle", "my.tenant"])
    client, server = (
        tracking.changed(tracking.unset, name, value) for value in (wanted, present)
    )
    assert tracking.differences(client, server) == [(name, one) for one in expected]


def test_the_same_bytes_in_another_encoding() -> None:
    """They are another value; those of ASCII are the same in all of them."""
    tracking = Tracking(["search_path"])
    given = {"search_path": "é", "application_name": "x", "client_encoding": "LATIN1"}
    client = tracking.collect(given)
    server = tracking.changed(client, "client_encoding", "UTF8")
    assert tracking.differences(client, server) == [
        ("client_encoding", "LATIN1"),
        ("search_path", "é"),
    ]
    same = tracking.changed(client, "client_encoding", "latin1")
    assert tracking.differences(client, same) == []


def test_values_in_another_encoding() -> None:
    """Their text stays the same, where it has a form there."""
    tracking = Tracking(["search_path", "my.tenant"])
    given = {"client_encoding": "UTF8", "search_path": "é", "my.tenant": "x"}
    values = tracking.collect(given)
    there = tracking.in_encoding(values, "LATIN1")
    expected = {"client_encoding": "LATIN1", "search_path": "\udce9"}
    assert there == tracking.collect(given | expected)
    assert tracking.in_encoding(there, "UTF8") == values
    assert tracking.in_encoding(values, "UTF8") is values
    assert tracking.in_encoding(tracking.unset, "UTF8") is tracking.unset


def test_a_reset_server() -> None:
    """What it does not report is as at its login, or unknown if a client had set it."""
    tracking = Tracking(["search_path", "role"])
    server = tracking.collect({"TimeZone": "UTC", "search_path": "a"})
    forgotten = tracking.forgotten(server, {"timezone"}, at_default=True)
    assert forgotten == tracking.collect({"TimeZone": "UTC"})
    forgotten = tracking.forgotten(server, {"timezone"}, at_default=False)
    assert forgotten == tracking.changed(server, "search_path", UNKNOWN)
    reported = {"timezone", "search_path"}
    assert tracking.forgotten(server, reported, at_default=True) is server


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
    """One query for all differences; a list of names is given as a list."""
    assert (
        set_statement([("TimeZone", "UTC"), ("search_path", '"a", b')])
        == "SET TimeZone='UTC';"
        "SELECT pg_catalog.set_config('search_path', '\"a\", b', false);"
    )
    for value in ("", '""', "x'; DROP TABLE y; --"):
        quoted = quote_literal(value)
        assert (
            set_statement([("Search_Path", value)])
            == f"SELECT pg_catalog.set_config('Search_Path', {quoted}, false);"
        )
    assert set_statement([("TimeZone", None)]) == "RESET TimeZone;"


def queries(client: dict[str, str], **server: str) -> list[str]:
    """Return what makes a server's parameters a client's."""
    tracking = Tracking(["my.tenant"])
    present = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
    return tracking.set_queries(
        tracking.collect(present | client), tracking.collect(present | server)
    )


def test_one_query_if_it_can_be_done() -> None:
    """Nothing for nothing; one for ASCII, and for bytes in the present encoding."""
    assert queries({}) == []
    assert queries({"client_encoding": "LATIN1", "my.tenant": "a\\"}) == [
        "SET client_encoding='LATIN1';SET my.tenant= E'a\\\\';"
    ]
    assert queries({"my.tenant": "é"}) == ["SET my.tenant='é';"]
    assert queries({"client_encoding": "SJIS"}, **{"my.tenant": "é"}) == [
        "SET client_encoding='SJIS';RESET my.tenant;"
    ]


def test_the_encoding_comes_first() -> None:
    """A query is read in the encoding that the server has when it comes."""
    assert queries({"client_encoding": "LATIN1", "my.tenant": "\udce9"}) == [
        "SET client_encoding='LATIN1';",
        "SET my.tenant='\udce9';",
    ]


@pytest.mark.parametrize("wanted", ["on", "off"])
def test_half_a_character_that_looks_like_a_backslash(wanted: str) -> None:
    """It is sent as it is, in a plain constant; the setting is then the client's."""
    client = {"my.tenant": "\udc83\\'", "standard_conforming_strings": wanted}
    assert queries(client, standard_conforming_strings="off") == [
        "SET standard_conforming_strings='on';",
        "SET my.tenant='\udc83\\"
        + "'" * 3
        + f";SET standard_conforming_strings='{wanted}';",
    ]
