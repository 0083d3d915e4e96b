"""What a client is told when its login ends."""

from __future__ import annotations

from pgswitch.wire import encode
from pgswitch.wire.params import Tracking
from pgswitch.wire.welcome import Welcome, reports

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
    """So the second client costs a look-up only; a thousand others end that."""
    tracking = Tracking()
    welcome = Welcome(REPORTED, tracking)
    wanted = tracking.collect({"application_name": "x"})
    first = welcome.to(wanted)
    # Compiled, the pair itself is made anew each time.
    assert welcome.to(tracking.collect({"application_name": "x"}))[1] is first[1]
    for number in range(1000):
        welcome.to(tracking.collect({"application_name": str(number)}))
    again = welcome.to(wanted)
    assert again[1] is not first[1]
    assert again == first
