"""Decides which nodes are fit for readers, from the positions of writer and standbys.

A standby knows how far it is behind what it has received, not what it has missed: a
standby that receives nothing reports itself as up to date.  So its position is also
compared with the positions that the writer has reported, and when.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from pgswitch.cluster.cluster_state import WriterState

if TYPE_CHECKING:
    from pgswitch.cluster.machine import Machine
    from pgswitch.cluster.nodes import NodeReport, NodeStatus

ARCHIVE, NONE, STREAMING = "archive", "none", "streaming"
"""Sources of a standby's WAL; other values are other states of its WAL receiver."""
MAX_POSITIONS = 512


@dataclass(slots=True)
class WalPositions:
    """Where the writer was, and when; of one writer, on one timeline."""

    _writer: tuple[str, int | None] = ("", None)
    horizon_s: float = 0.0
    """Lags beyond this are not of interest."""
    _last: int | None = None
    """The position that it reported last."""
    _seen: list[tuple[float, int]] = field(default_factory=list)
    """Positions and when each was first seen, in ascending order."""
    _answered_at: tuple[float, float] = (float("-inf"), float("-inf"))
    """When the last two answers came."""
    _ahead: set[str] = field(default_factory=set)
    """Standbys that have WAL that the writer has not written."""

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
        """Return by how many bytes a standby is behind; None: unknown."""
        if None in (self._last, report.lsn) or self._is_on_other_timeline(report):
            return None
        return max(0, (self._last or 0) - (report.lsn or 0))

    def lag_s(self, report: NodeReport, answered_at: float) -> float:
        """Return for how many seconds at least a standby has been behind.

        :param answered_at: when it sent ``report``.
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
        """Return why a standby does not follow the writer; empty: it may follow it."""
        if report.source == NONE:
            return "no WAL receiver"
        if report.source not in (None, ARCHIVE, STREAMING):
            return f"its WAL receiver is {report.source}"
        if self._is_on_other_timeline(report):
            return (
                f"follows timeline {report.follows}, the writer is on {self._writer[1]}"
            )
        if self._is_ahead(name, report, answered_at):
            return "has WAL that the writer has not written"
        return ""

    def _is_on_other_timeline(self, report: NodeReport) -> bool:
        """Tell whether a standby is known to be on another timeline."""
        return None not in (report.follows, self._writer[1]) and (
            report.follows != self._writer[1]
        )

    def _is_ahead(self, name: str, report: NodeReport, answered_at: float) -> bool:
        """Tell whether a standby has more WAL than the writer had later.

        This takes two answers of the writer: the last query was sent after the first of
        them, and so after the standby had answered.
        """
        if self._last is None or report.lsn is None or report.lsn <= self._last:
            self._ahead.discard(name)
        elif self._answered_at[0] >= answered_at:
            self._ahead.add(name)
        return name in self._ahead


@dataclass(slots=True)
class ReaderFitness:
    """Decides which nodes of a cluster are fit for readers."""

    machine: Machine
    max_lag: float = 0.0
    """How far a reader may be behind in seconds, and in bytes; 0: any."""
    max_lag_bytes: int = 0
    positions: WalPositions = field(default_factory=WalPositions)
    """Where the writer was lately."""

    def note_writer(self, name: str, report: NodeReport, now: float) -> None:
        """Take the writer's answer."""
        self.positions.horizon_s = self.max_lag
        self.positions.note(name, report, now)

    def unfit(self, status: NodeStatus) -> str:
        """Return why a node is not fit for readers; empty if it is."""
        report = status.report
        if report is None:
            return status.failure or "no answer yet"
        if not report.in_recovery:
            is_start = self.machine.writer_state is WriterState.STARTING
            if is_start and not status.fenced:
                return "takes writes; other nodes have not answered yet"
            return "fenced" if status.fenced else "writer"
        return self._not_following(status, report) or self._too_far_behind(
            status, report
        )

    def lag_bytes(self, status: NodeStatus) -> int | None:
        """Return how far a node was behind the writer when both last answered.

        None if that is unknown: positions on different timelines cannot be compared.
        """
        return None if status.report is None else self.positions.behind(status.report)

    def _not_following(self, status: NodeStatus, report: NodeReport) -> str:
        """Return why a standby does not follow the writer; empty: it may follow it."""
        machine = self.machine
        if None not in (report.system, machine.system) and (
            report.system != machine.system
        ):
            return "a node of another cluster"
        if machine.writer_state is not WriterState.KNOWN:
            return ""  # Without a writer, no node has anything newer.
        return self.positions.not_following(
            status.node.name, report, status.answered_at
        )

    def _too_far_behind(self, status: NodeStatus, report: NodeReport) -> str:
        """Return by how much a standby is too far behind; empty if it is not."""
        behind = self.positions.behind(report)
        limit = self.max_lag_bytes
        if limit and behind is not None and behind > limit:
            return f"{behind} bytes behind"
        lag_s = report.lag_s or 0.0
        if self.machine.writer_state is WriterState.KNOWN:
            lag_s = self.positions.lag_s(report, status.answered_at)
        if self.max_lag and lag_s > self.max_lag:
            return f"{lag_s:.0f} s behind"
        return ""
