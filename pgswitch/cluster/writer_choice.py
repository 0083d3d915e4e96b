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


def candidates(
    answered: Iterable[NodeStatus], last: Lineage, latest: int
) -> list[NodeStatus]:
    """Return the nodes that take writes and are not behind.

    :param last: the lineage of the last writer.
    :param latest: the timeline that a standby follows, see :func:`latest_followed`.
    """
    return [
        one
        for one in answered
        if one.writes
        and (
            report_of(one).timeline is None or (report_of(one).timeline or 0) >= latest
        )
        and last.timelines_ahead(report_of(one)) >= 0
    ]


def best(
    writers: Iterable[NodeStatus], answered: Iterable[NodeStatus], last: Lineage
) -> NodeStatus:
    """Return the writer to take: of the same cluster as most, then the latest.

    Of equals the first in the order of the list or the entry.
    """
    systems = [report_of(one).system for one in answered]

    def rank(status: NodeStatus) -> tuple[bool, int, int]:
        report = report_of(status)
        # A node without a system identifier may belong to any cluster.
        alike = sum(
            None in (report.system, one) or one == report.system for one in systems
        )
        return not last.is_foreign(report), alike, report.timeline or 0

    return max(writers, key=rank)


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


def latest_followed(nodes: Iterable[NodeStatus]) -> int:
    """Return the latest timeline that a standby follows, 0 if that is unknown.

    Timelines can be compared only where all nodes belong to one cluster.
    """
    reports = [one.report for one in nodes if one.report is not None]
    if len({one.system for one in reports} - {None}) > 1:
        return 0
    return max((one.follows or 0 for one in reports), default=0)
