"""What is counted of a function of the user."""

from __future__ import annotations

from pgswitch.rules.measures import Measures


def test_none() -> None:
    """At first all is zero."""
    measures = Measures()
    assert (measures.times.count, measures.moves, measures.last_error) == (0, 0, "")
