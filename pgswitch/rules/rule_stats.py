"""What is counted and timed about one function of the user.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from pgswitch.stats.times import Times


class RuleStats:
    """The row of SHOW RULES."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.times = Times()
        self.kept = 0
        """Answers given from the store of a cacheable module, without a call."""
        self.moves = 0
        self.rewrites = 0
        self.errors = 0
        self.refused = 0
        """Moves asked for inside a transaction, or clients ended for a failure."""
        self.unknown = 0
        """Keys that are no ``[databases]`` entry."""
        self.last_error = ""
