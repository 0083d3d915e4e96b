"""The counters and their names."""

from __future__ import annotations

from pgswitch.stats.counters import MAX_CODES, NAMES, Counters


def test_values_are_in_the_order_of_the_names() -> None:
    """Each name is an attribute, and stands where its value does."""
    counters = Counters()
    for number, name in enumerate(NAMES):
        setattr(counters, name, number)
    assert counters.values() == tuple(range(len(NAMES)))


def test_waits() -> None:
    """Summed up, and in the histogram."""
    counters = Counters()
    counters.waited(5)
    counters.waited(7)
    assert (counters.wait_time, counters.wait_times.count) == (12, 2)


def test_errors_of_servers() -> None:
    """By code; a server that makes codes up fills no memory."""
    counters = Counters()
    for number in range(MAX_CODES + 5):
        counters.failed(b"%05d" % number)
    counters.failed(b"00000")
    assert len(counters.errors) == MAX_CODES
    assert counters.errors[b"00000"] == 2
