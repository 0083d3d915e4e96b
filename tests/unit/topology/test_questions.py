"""What answers of nodes say; how nodes like the questions: integration."""

from __future__ import annotations

from pgswitch.topology.machine import Report
from pgswitch.topology.questions import FULL, patient, report_of


def test_reports() -> None:
    """A writer's timeline is in the name of its WAL file; shorter answers do."""
    row = (False, 42, "0000000A0000000000000001", None)
    assert report_of(((), [row])) == Report(in_recovery=False, timeline=10, lsn=42)
    assert report_of(((), [(True, 42, None, 1)])) == Report(
        in_recovery=True, lsn=42, lag_s=1.0
    )
    assert report_of(((), [(True,)])) == Report(in_recovery=True)


def test_patience() -> None:
    """The patient question is the full one with a limit in the server's own time."""
    question = patient(0.25)
    assert FULL in question
    assert "interval '0.250 s'" in question
