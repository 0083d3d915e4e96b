"""What answers of nodes say; how nodes like the questions: integration."""

from __future__ import annotations

from pgswitch.cluster.node_queries import FULL, LESS, SHORT, report_of, waiting_query
from pgswitch.cluster.nodes import NodeReport


def test_reports() -> None:
    """A writer's timeline is in the name of its WAL file; shorter answers do."""
    row = (False, 42, "0000000A0000000000000001", None)
    assert report_of(((), [row])) == NodeReport(in_recovery=False, timeline=10, lsn=42)
    assert report_of(((), [(True, 42, None, 1)])) == NodeReport(
        in_recovery=True, lsn=42, lag_s=1.0
    )
    assert report_of(((), [(True,)])) == NodeReport(in_recovery=True)
    assert report_of(((), [(True, None, None, None, "7")])).system == 7
    following = (True, 42, None, 0, "7", "streaming", "3")
    assert report_of(((), [following])) == NodeReport(
        in_recovery=True, lsn=42, lag_s=0.0, system=7, source="streaming", follows=3
    )


def test_patience() -> None:
    """The same question, with a limit in the server's own time."""
    question = waiting_query(FULL, 0.25)
    assert FULL in question
    assert "interval '0.250 s'" in question


def test_less_and_less() -> None:
    """Whoever refuses a question is asked less, down to the shortest."""
    assert LESS[LESS[FULL]] == SHORT
    assert SHORT not in LESS
