"""Compares nodes with the last writer, and writers with each other.

Pure functions of the nodes' answers and of what is known of the last writer; the
decisions are the machine's (``machine.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgswitch.cluster.cluster_state import ClusterInput
from pgswitch.cluster.nodes import NodeReport, NodeStatus


@dataclass(frozen=True, slots=True)
class Lineage:
    """Cluster and timeline of the last writer; None: unknown."""

    system: int | None
    timeline: int | None

    def is_foreign(self, report: NodeReport) -> bool:
        """Tell whether a node belongs to another cluster than the last writer."""
        return None not in (report.system, self.system) and (
            report.system != self.system
        )

    def timelines_ahead(self, report: NodeReport) -> int:
        """Return how far a node is ahead of the last writer; 0 if that is unknown."""
        if report.timeline is None or self.timeline is None:
            return 0
        return 0 if self.is_foreign(report) else report.timeline - self.timeline

    def continued_by(self, report: NodeReport) -> Lineage:
        """Return the lineage after an answer of the writer."""
        timeline = None if self.is_foreign(report) else self.timeline
        return Lineage(report.system or self.system, report.timeline or timeline)

    def kind_of(self, report: NodeReport, *, is_writer: bool) -> ClusterInput:
        """Return what an answer is; ``is_writer``: of the present or last writer."""
        if report.in_recovery:
            return ClusterInput.WRITER_DEMOTED if is_writer else ClusterInput.STANDBY
        if self.is_foreign(report):
            return ClusterInput.WRITER_REPLACED if is_writer else ClusterInput.FOREIGN
        ahead = self.timelines_ahead(report)
        if is_writer:
            return ClusterInput.WRITER_BEHIND if ahead < 0 else ClusterInput.WRITER
        if ahead < 0:
            return ClusterInput.RIVAL_BEHIND
        return ClusterInput.RIVAL_AHEAD if ahead else ClusterInput.RIVAL


def report_of(status: NodeStatus) -> NodeReport:
    """Return the answer of a node that has answered."""
    assert status.report is not None  # noqa: S101 - callers have seen to it
    return status.report


@dataclass(frozen=True, slots=True)
class WriterChoice:
    """The result of the first decision."""

    writer: NodeStatus | None
    """The node to take; None: no node takes writes, or all that do are behind."""
    rivals: list[NodeStatus]
    """The other nodes that take writes."""
    latest: int
    """The latest timeline that a standby follows; 0: unknown."""
    cause: str = "it takes writes"


def choose_writer(answered: Sequence[NodeStatus], last: Lineage) -> WriterChoice:
    """Choose among nodes that have answered: of the same cluster as most, the latest.

    Nodes behind the last writer, or behind the writer that a standby follows, are left
    out.  Of equals the first is taken, in the order of the list or the entry.
    """
    latest = _latest_followed(answered)
    writers = [one for one in answered if one.writes]
    ahead = [one for one in writers if not _is_behind(report_of(one), last, latest)]
    if not ahead:
        return WriterChoice(None, writers, latest)
    systems = [report_of(one).system for one in answered]

    def rank(status: NodeStatus) -> tuple[bool, int, int]:
        report = report_of(status)
        # A node without a system identifier may belong to any cluster.
        alike = sum(
            None in (report.system, one) or one == report.system for one in systems
        )
        return not last.is_foreign(report), alike, report.timeline or 0

    best = max(ahead, key=rank)
    behind = [one for one in writers if one not in ahead]
    rivals = [*behind, *(one for one in ahead if one is not best)]
    if len(ahead) == 1:
        return WriterChoice(best, rivals, latest)
    cause = "it takes writes, on the highest timeline of those that do"
    return WriterChoice(best, rivals, latest, cause)


def _is_behind(report: NodeReport, last: Lineage, latest: int) -> bool:
    """Tell whether a writer is behind the last one, or the one others follow."""
    is_old = report.timeline is not None and report.timeline < latest
    return is_old or last.timelines_ahead(report) < 0


def is_same_server(one: NodeStatus, other: NodeStatus) -> bool:
    """Tell whether two nodes are certainly one writer under two addresses."""
    mine, its = one.report, other.report
    if mine is None or its is None or mine.in_recovery or its.system is None:
        return False
    return (mine.system, mine.timeline) == (its.system, its.timeline)


def agreed_writer(listed: Sequence[NodeStatus]) -> NodeStatus | None:
    """Return the only writer among nodes most of which answer and none contradicts.

    A standby that follows another timeline contradicts.
    """
    reports = [one.report for one in listed if one.report is not None]
    writers = [one for one in listed if one.writes]
    if len(writers) != 1 or 2 * len(reports) <= len(listed):
        return None
    timeline = report_of(writers[0]).timeline
    if any(one.follows not in (None, timeline) for one in reports):
        return None
    return writers[0]


def _latest_followed(nodes: Iterable[NodeStatus]) -> int:
    """Return the latest timeline that a standby follows, 0 if that is unknown.

    Timelines can be compared only where all nodes belong to one cluster.
    """
    reports = [one.report for one in nodes if one.report is not None]
    if len({one.system for one in reports} - {None}) > 1:
        return 0
    return max((one.follows or 0 for one in reports), default=0)
