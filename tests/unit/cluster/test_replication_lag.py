"""How well standbys follow the writer: what they say, and where the writer was."""

from __future__ import annotations

import pytest

from pgswitch.cluster.nodes import NodeReport
from pgswitch.cluster.replication_lag import MAX_POSITIONS, WalPositions


def writer(lsn: int | None, timeline: int | None = 1) -> NodeReport:
    """Return the answer of a writer at a position."""
    return NodeReport(in_recovery=False, timeline=timeline, lsn=lsn)


def standby(
    lsn: int | None,
    *,
    source: str | None = "streaming",
    follows: int | None = 1,
    lag_s: float | None = 0.0,
) -> NodeReport:
    """Return the answer of a standby at a position."""
    return NodeReport(
        in_recovery=True, lsn=lsn, lag_s=lag_s, source=source, follows=follows
    )


@pytest.fixture
def positions() -> WalPositions:
    """Return those of a writer that was at 100, 200, 300 at the times 1, 2, 3."""
    made = WalPositions()
    for at in (1, 2, 3):
        made.note("a", writer(at * 100), float(at))
    return made


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (standby(300), ""),
        (standby(300, source=None, follows=None), ""),
        (standby(300, source="archive", follows=None), ""),
        (standby(None, source=None, follows=None), ""),
        (standby(300, source="none", follows=None), "no WAL receiver"),
        (standby(300, source="waiting"), "its WAL receiver is waiting"),
        (standby(300, follows=2), "follows timeline 2, the writer is on 1"),
    ],
)
def test_who_follows(positions: WalPositions, report: NodeReport, words: str) -> None:
    """Standbys that receive the writer's timeline, or do not say which."""
    assert positions.not_following("b", report, 3.0) == words


def test_bytes(positions: WalPositions) -> None:
    """Only of one timeline."""
    assert positions.behind(standby(120)) == 180
    assert positions.behind(standby(400)) == 0
    assert positions.behind(standby(None)) is None
    assert positions.behind(standby(120, follows=2)) is None
    assert positions.behind(standby(120, follows=None)) == 180
    assert WalPositions().behind(standby(120)) is None


def test_seconds(positions: WalPositions) -> None:
    """Since the writer was first seen ahead, whatever the standby reports."""
    assert positions.lag_s(standby(120), 10.0) == 8.0
    assert positions.lag_s(standby(200), 10.0) == 7.0
    assert positions.lag_s(standby(250, lag_s=9.0), 10.0) == 9.0
    assert positions.lag_s(standby(250, lag_s=None), 2.0) == 0.0
    assert positions.lag_s(standby(300, lag_s=9.0), 10.0) == 0.0
    assert positions.lag_s(standby(None, lag_s=9.0), 10.0) == 9.0
    assert positions.lag_s(standby(100, follows=2, lag_s=4.0), 10.0) == 4.0


def test_a_writer_at_rest(positions: WalPositions) -> None:
    """What counts is when it was there first."""
    positions.note("a", writer(300), 9.0)
    assert positions.lag_s(standby(200), 10.0) == 7.0
    assert positions.lag_s(standby(300), 10.0) == 0.0


def test_another_writer(positions: WalPositions) -> None:
    """Positions of another one, or on another timeline, say nothing of this one."""
    positions.note("b", writer(150, 2), 4.0)
    assert positions.behind(standby(120, follows=2)) == 30
    assert positions.behind(standby(120)) is None
    assert positions.lag_s(standby(120, follows=2), 5.0) == 1.0
    positions.note("b", writer(None, 2), 5.0)
    assert positions.behind(standby(120, follows=2)) == 30


def test_more_than_the_writer_has() -> None:
    """It takes a question that was put later, and stays until that is no more so."""
    positions = WalPositions()
    odd = standby(400, source=None, follows=None)
    words = "has WAL that the writer has not written"
    positions.note("a", writer(300), 3.0)
    assert positions.not_following("b", odd, 3.5) == ""
    positions.note("a", writer(310), 4.0)
    assert positions.not_following("b", odd, 3.5) == ""
    positions.note("a", writer(320), 5.0)
    assert positions.not_following("b", odd, 3.5) == words
    later = standby(410, source=None, follows=None)
    assert positions.not_following("b", later, 5.5) == words
    assert positions.not_following("c", later, 5.5) == ""
    positions.note("a", writer(410), 6.0)
    assert positions.not_following("b", later, 5.5) == ""


def test_not_for_ever() -> None:
    """Few positions are kept, but enough for the lags that are of interest."""
    count = 10 * MAX_POSITIONS
    for horizon_s in (0.0, 2.0, count / 2):
        positions = WalPositions(horizon_s=horizon_s)
        for at in range(count):
            positions.note("a", writer(at * 10), float(at))
            assert len(positions._seen) <= MAX_POSITIONS
        for age in (20, count // 3, count - 5):
            lag = positions.lag_s(standby((count - age) * 10), float(count))
            assert min(age, horizon_s) - horizon_s / 200 - 1 <= lag <= age
        assert positions.behind(standby(0)) == (count - 1) * 10
