"""Judges how well a standby follows the writer, from what both say and when.

A standby knows how far it is behind what it has received, not what it has missed: one
that receives nothing calls itself up to date.  So its position is also compared with
those at which the writer was seen.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgswitch.cluster.nodes import NodeReport

ARCHIVE, NONE, STREAMING = "archive", "none", "streaming"
"""Sources of a standby's WAL; others are what else the status of a receiver may be."""
MAX_POSITIONS = 512


@dataclass(slots=True)
class WalPositions:
    """Where the writer was, and when: of one writer, on one timeline."""

    _writer: tuple[str, int | None] = ("", None)
    horizon_s: float = 0.0
    """No longer lag is of interest."""
    _last: int | None = None
    """Where it was when it last said so."""
    _seen: list[tuple[float, int]] = field(default_factory=list)
    """When it was seen at a position for the first time, each beyond the one before."""
    _answered_at: tuple[float, float] = (float("-inf"), float("-inf"))
    """When the last two answers came."""
    _ahead: set[str] = field(default_factory=set)
    """Standbys that have what the writer has not written."""

    def note(self, writer: str, report: NodeReport, now: float) -> None:
        """Take the writer's answer."""
        if self._writer != (writer, report.timeline):
            self._writer = writer, report.timeline
            self._last = None
            self._seen.clear()
            self._ahead.clear()
            self._answered_at = float("-inf"), float("-inf")
        if report.lsn is None:
            return
        self._answered_at = self._answered_at[1], now
        self._last = report.lsn
        at, lsn = self._seen[-1] if self._seen else (float("-inf"), -1)
        # Twice the horizon fits in.
        if report.lsn > lsn and now - at >= 2 * self.horizon_s / MAX_POSITIONS:
            self._seen.append((now, report.lsn))
            del self._seen[:-MAX_POSITIONS]

    def behind(self, report: NodeReport) -> int | None:
        """Return by how many bytes a standby is behind; None: there is no telling."""
        if None in (self._last, report.lsn) or self._is_on_other_timeline(report):
            return None
        return max(0, (self._last or 0) - (report.lsn or 0))

    def lag_s(self, report: NodeReport, answered_at: float) -> float:
        """Return for how many seconds a standby has been behind, at least.

        ``answered_at`` is when it said what ``report`` says.
        """
        claimed = report.lag_s or 0.0
        behind = self.behind(report)
        if behind is None or report.lsn is None:
            return claimed
        if not behind:
            return 0.0
        passed = bisect_right(self._seen, report.lsn, key=itemgetter(1))
        if passed == len(self._seen):
            return claimed
        return max(claimed, answered_at - self._seen[passed][0])

    def not_following(self, name: str, report: NodeReport, answered_at: float) -> str:
        """Return why a standby does not follow the writer; empty if it may do so."""
        if report.source == NONE:
            return "no WAL receiver"
        if report.source not in (None, ARCHIVE, STREAMING):
            return f"its WAL receiver is {report.source}"
        if self._is_on_other_timeline(report):
            return (
                f"follows timeline {report.follows}, the writer is on {self._writer[1]}"
            )
        if self._is_ahead(name, report, answered_at):
            return "has what the writer has not written"
        return ""

    def _is_on_other_timeline(self, report: NodeReport) -> bool:
        """Tell whether a standby is on another timeline, as far as that is known."""
        return None not in (report.follows, self._writer[1]) and (
            report.follows != self._writer[1]
        )

    def _is_ahead(self, name: str, report: NodeReport, answered_at: float) -> bool:
        """Tell whether a standby has more than the writer had later.

        It takes two answers of the writer: the last question was put after the first
        of them, and so after the standby had answered.
        """
        if self._last is None or report.lsn is None or report.lsn <= self._last:
            self._ahead.discard(name)
        elif self._answered_at[0] >= answered_at:
            self._ahead.add(name)
        return name in self._ahead
