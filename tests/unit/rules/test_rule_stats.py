"""What is counted of a function of the user."""

from __future__ import annotations

from pgswitch.rules.rule_function import RuleStats


def test_none() -> None:
    """At first all is zero."""
    stats = RuleStats()
    assert (stats.times.count, stats.moves, stats.last_error) == (0, 0, "")
