"""The parameters that are reported at the end of a login."""

from __future__ import annotations

import pytest

from pgswitch.wire import encode
from pgswitch.wire.params import Tracking, Welcome, reports

REPORTED = {"server_version": "18.0", "TimeZone": "UTC", "client_encoding": "UTF8"}


def test_reports() -> None:
    """AuthenticationOk, then the parameters in their order."""
    assert reports({"a": "1", "b": ""}) == (
        encode.auth_ok()
        + encode.parameter_status("a", "1")
        + encode.parameter_status("b", "")
    )


def test_what_a_client_wants_comes_before_what_servers_have() -> None:
    """Only tracked parameters are the client's to choose; the names stay."""
    tracking = Tracking()
    welcome = Welcome(REPORTED, tracking)
    wanted = tracking.collect({"timezone": "Asia/Tokyo", "application_name": "x"})
    values, told = welcome.to(wanted)
    assert told == reports(REPORTED | {"TimeZone": "Asia/Tokyo"})
    assert tracking.value(values, "TimeZone") == "Asia/Tokyo"
    assert tracking.value(values, "client_encoding") == "UTF8"
    assert tracking.value(values, "application_name") == "x"


def test_equal_wishes_are_answered_by_one_object() -> None:
    """So the second client costs only a lookup; a thousand others end that."""
    tracking = Tracking()
    welcome = Welcome(REPORTED, tracking)
    wanted = tracking.collect({"application_name": "x"})
    first = welcome.to(wanted)
    # Compiled, the pair itself is made again each time.
    assert welcome.to(tracking.collect({"application_name": "x"}))[1] is first[1]
    for number in range(1000):
        welcome.to(tracking.collect({"application_name": str(number)}))
    again = welcome.to(wanted)
    assert again[1] is not first[1]
    assert again == first


def test_long_welcomes_are_few() -> None:
    """What is kept for one pool is bounded in bytes, too."""
    tracking = Tracking()
    welcome = Welcome(REPORTED | {"long": "x" * 1_000_000}, tracking)
    most = 0
    for number in range(20):
        welcome.to(tracking.collect({"application_name": str(number)}))
        most = max(most, sum(len(told) for _, told in welcome._cache.values()))
    assert 1_000_000 < most < 5_000_000


def test_empty_values_are_values() -> None:
    """A client that asks for none has none, and that is reported."""
    tracking = Tracking(["search_path"])
    reported = REPORTED | {"search_path": "public", "application_name": "default"}
    welcome = Welcome(reported, tracking)
    wanted = tracking.collect({"search_path": "", "application_name": ""})
    values, told = welcome.to(wanted)
    assert told == reports(reported | {"search_path": "", "application_name": ""})
    assert tracking.value(values, "search_path") == ""
    assert tracking.value(values, "application_name") == ""


@pytest.mark.parametrize(
    ("version", "name"), [("18.6", "caf\\xc3\\xa9"), ("15.18 (Debian)", "caf??")]
)
def test_values_as_a_server_spells_them(version: str, name: str) -> None:
    """Clients get the reports that a server would send, and what is set later."""
    tracking = Tracking()
    reported = REPORTED | {
        "server_version": version,
        "DateStyle": "SQL, YMD",
        "application_name": "",
    }
    given = {
        "application_name": "café",
        "client_encoding": "latin-1",
        "DateStyle": "iso",
    }
    values, told = Welcome(reported, tracking).to(tracking.collect(given))
    spelled = {
        "application_name": name,
        "client_encoding": "LATIN1",
        "DateStyle": "ISO, YMD",
    }
    assert told == reports(reported | spelled)
    assert values == tracking.collect(reported | spelled)


def test_defaults_in_the_encoding_of_the_client() -> None:
    """The bytes that servers report are in the encoding of their login."""
    tracking = Tracking(["search_path"])
    welcome = Welcome(REPORTED | {"search_path": "sché"}, tracking)
    values, _told = welcome.to(tracking.collect({"client_encoding": "latin1"}))
    assert tracking.value(values, "search_path") == "sch\udce9"


def test_what_is_not_reported_is_not_made_up() -> None:
    """A client has what it asked for; another has none, whatever servers have."""
    tracking = Tracking(["search_path"])
    welcome = Welcome(REPORTED, tracking)
    values, told = welcome.to(tracking.collect({"search_path": "mine"}))
    assert tracking.value(values, "search_path") == "mine"
    assert told == reports(REPORTED)
    values, _told = welcome.to(tracking.unset)
    assert tracking.value(values, "search_path") is None


def test_changed() -> None:
    """Later clients get the present value."""
    tracking = Tracking()
    welcome = Welcome(REPORTED, tracking, since=5.0)
    later = welcome.changed("server_version", "18.1")
    assert later.to(tracking.unset)[1] == reports(REPORTED | {"server_version": "18.1"})
    assert later.since == 5.0
