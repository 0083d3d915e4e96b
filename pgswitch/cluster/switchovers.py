"""Reports of switchovers: when what happened, and what clients saw of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class LossCounts:
    """What became of clients whose server was lost."""

    retried: int = 0
    """Statements that were run again, unseen."""
    lost: int = 0
    """Clients that were disconnected."""
    errors: Counter[str] = field(default_factory=Counter)
    """What clients were told, by SQLSTATE."""


@dataclass(slots=True)
class Switchover:
    """One switchover; times in seconds of the cluster's clock, 0.0: not yet."""

    cause: str
    old: str
    suspected_at: float
    """When the first sign was seen."""
    lost_at: float
    """When it was certain."""
    new: str = ""
    timeline: int | None = None
    found_at: float = 0.0
    served_at: float = 0.0
    """When the first server of the new writer was there for clients."""
    held: int = 0
    """Clients that waited when the new writer was found."""
    longest_wait: float = 0.0
    """The longest of their waits, in seconds."""
    loss_counts: LossCounts = field(default_factory=LossCounts)
