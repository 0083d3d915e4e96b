"""Reports begin with nothing having happened to clients."""

from __future__ import annotations

from pgswitch.cluster.switchovers import Switchover


def test_reports_are_apart() -> None:
    """What one counts, another does not."""
    one, other = Switchover("x", "a", 1.0, 2.0), Switchover("y", "b", 3.0, 4.0)
    one.loss_counts.errors["08007"] += 1
    assert other.loss_counts.errors == {}
    assert (other.new, other.served_at, other.held) == ("", 0.0, 0)
