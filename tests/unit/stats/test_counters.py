"""The counters and their names."""

from __future__ import annotations

from pgswitch.stats.counters import NAMES, Counters


def test_values_are_in_the_order_of_the_names() -> None:
    """Each name is an attribute, and stands where its value does."""
    counters = Counters()
    for number, name in enumerate(NAMES):
        setattr(counters, name, number)
    assert counters.values() == tuple(range(len(NAMES)))
