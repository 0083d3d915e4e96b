"""Reports begin with nothing having happened to clients."""

from __future__ import annotations

from pgswitch.topology.events import Event


def test_reports_are_apart() -> None:
    """What one counts, another does not."""
    one, other = Event("x", "a", 1.0, 2.0), Event("y", "b", 3.0, 4.0)
    one.tally.errors["08007"] += 1
    assert other.tally.errors == {}
    assert (other.new, other.served_at, other.held) == ("", 0.0, 0)
