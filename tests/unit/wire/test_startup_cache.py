"""Start-up packets judged once."""

from __future__ import annotations

import pytest

from pgswitch.errors import UnsupportedStartupParameter
from pgswitch.wire import encode
from pgswitch.wire.params import Tracking
from pgswitch.wire.startup import FirstPacketReader, Startup, StartupCache


def packet(parameters: dict[str, str], version: int = 0x00030000) -> Startup:
    """Return a start-up packet as a client sends it."""
    found = FirstPacketReader().feed(encode.startup(parameters, version))
    assert found is not None
    assert isinstance(found[0], Startup)
    return found[0]


def test_startup_cache() -> None:
    """The facts, what to negotiate and the tracked values are all there."""
    tracking = Tracking()
    cache = StartupCache(tracking, ("extra_float_digits",))
    parsed_startup = cache.parse(
        packet({"user": "u", "timezone": "UTC", "extra_float_digits": "3"}, 0x00030002)
    )
    assert parsed_startup.facts.user == parsed_startup.facts.database == "u"
    assert parsed_startup.negotiation.is_needed
    assert tracking.value(parsed_startup.parameters, "TimeZone") == "UTC"


def test_equal_packets_are_parsed_once() -> None:
    """The second is looked up; one parameter more makes it another packet."""
    cache = StartupCache(Tracking(), ())
    first = cache.parse(packet({"user": "u"}))
    assert cache.parse(packet({"user": "u"})) is first
    other = cache.parse(packet({"user": "u", "database": "d"}))
    assert other.facts.database == "d"


def test_a_parsed_packet_is_not_parsed_again() -> None:
    """The reader knows it by its bytes, also when they come in pieces."""
    cache = StartupCache(Tracking(), ())
    first = packet({"user": "u"})
    cache.parse(first)
    for cut in (0, 5):
        reader = FirstPacketReader(cache.packets)
        assert not cut or reader.feed(first.raw[:cut]) is None
        found = reader.feed(first.raw[cut:])
        assert found is not None
        assert found[0] is first
        assert reader.is_empty


def test_long_packets_are_not_kept() -> None:
    """Packets do not fill the memory, neither by their size nor by their number."""
    cache = StartupCache(Tracking(), ())
    long = packet({"user": "u", "application_name": "x" * 500})
    assert cache.parse(long) is not cache.parse(long)
    first = cache.parse(packet({"user": "u"}))
    for number in range(1000):
        cache.parse(packet({"user": f"u{number}"}))
    assert cache.parse(packet({"user": "u"})) is not first


def test_a_refused_packet_is_refused_again() -> None:
    """A fault is not kept, nor does it take a place."""
    cache = StartupCache(Tracking(), ())
    for _ in range(2):
        with pytest.raises(UnsupportedStartupParameter):
            cache.parse(packet({"user": "u", "strange": "1"}))
