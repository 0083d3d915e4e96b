"""What an answer means given the last writer, and which writer is taken first."""

from __future__ import annotations

import pytest

from pgswitch.cluster.cluster_state import ClusterInput
from pgswitch.cluster.nodes import NodeReport, NodeStatus, named
from pgswitch.cluster.writer_choice import Lineage, agreed_writer, choose_writer

LAST = Lineage(system=1, timeline=5)
UNKNOWN = Lineage(system=None, timeline=None)


def status(name: str, report: NodeReport | None) -> NodeStatus:
    """Return a node with this answer."""
    (node,) = named([(name, 1)])
    return NodeStatus(node, report)


@pytest.mark.parametrize(
    ("report", "of_writer", "of_another"),
    [
        (
            NodeReport(in_recovery=True),
            ClusterInput.WRITER_DEMOTED,
            ClusterInput.STANDBY,
        ),
        (
            NodeReport(in_recovery=False, timeline=5, system=1),
            ClusterInput.WRITER,
            ClusterInput.RIVAL,
        ),
        (NodeReport(in_recovery=False), ClusterInput.WRITER, ClusterInput.RIVAL),
        (
            NodeReport(in_recovery=False, timeline=6),
            ClusterInput.WRITER,
            ClusterInput.RIVAL_AHEAD,
        ),
        (
            NodeReport(in_recovery=False, timeline=4),
            ClusterInput.WRITER_BEHIND,
            ClusterInput.RIVAL_BEHIND,
        ),
        (
            NodeReport(in_recovery=False, timeline=9, system=2),
            ClusterInput.WRITER_REPLACED,
            ClusterInput.FOREIGN,
        ),
    ],
)
def test_kinds_of_answers(
    report: NodeReport, of_writer: ClusterInput, of_another: ClusterInput
) -> None:
    """By recovery, system identifier and timeline; what is unknown decides nothing."""
    assert LAST.kind_of(report, is_writer=True) is of_writer
    assert LAST.kind_of(report, is_writer=False) is of_another
    if not report.in_recovery:
        assert UNKNOWN.kind_of(report, is_writer=False) is ClusterInput.RIVAL


def test_the_writer_continues_the_lineage() -> None:
    """Unknown values keep the old ones; another system begins its own timelines."""
    assert LAST.continued_by(NodeReport(in_recovery=False)) == LAST
    assert LAST.continued_by(NodeReport(in_recovery=False, timeline=6)) == Lineage(1, 6)
    assert LAST.continued_by(NodeReport(in_recovery=False, system=2)) == Lineage(
        2, None
    )


def test_the_first_choice() -> None:
    """The latest writer on the newest timeline; the others are rivals."""
    a, b, c = (
        status(name, NodeReport(in_recovery=False, timeline=n))
        for n, name in enumerate("abc", 4)
    )
    choice = choose_writer([a, b, c], Lineage(None, 5))
    assert (choice.writer, choice.rivals) == (c, [a, b])
    assert choice.cause == "it takes writes, on the highest timeline of those that do"
    standby = status("d", NodeReport(in_recovery=True, follows=7))
    choice = choose_writer([a, b, c, standby], UNKNOWN)
    assert (choice.writer, choice.rivals, choice.latest) == (None, [a, b, c], 7)


def test_an_agreement() -> None:
    """Most nodes answer, one takes writes, and no standby follows another timeline."""
    writer = status("a", NodeReport(in_recovery=False, timeline=5))
    standby = status("b", NodeReport(in_recovery=True, follows=5))
    ahead = status("c", NodeReport(in_recovery=True, follows=6))
    silent = [status("d", None), status("e", None)]
    assert agreed_writer([writer, standby]) is writer
    assert agreed_writer([writer, standby, ahead]) is None
    assert agreed_writer([writer, standby, *silent]) is None
    assert agreed_writer([standby]) is None
