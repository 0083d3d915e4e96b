"""When the log is told of a node that cannot be asked."""

from __future__ import annotations

from pgswitch.cluster.node_failure_log import AGAIN_S, LONG_S, NodeFailureLog


def line(
    trouble: NodeFailureLog,
    now: float,
    words: str = "refused",
    *,
    at_once: bool = False,
) -> str:
    """Return what an attempt that began at ``now`` leads to."""
    return trouble.line(words, now, now, at_once=at_once)


def test_soon_and_now_and_again() -> None:
    """Not of a restart; then once, and each minute; an answer ends it."""
    trouble = NodeFailureLog()
    assert line(trouble, 100.0) == ""
    assert line(trouble, 100.0 + LONG_S) == "cannot be asked, for 2 s: refused"
    assert line(trouble, 100.0 + LONG_S + AGAIN_S - 1) == ""
    said = line(trouble, 100.0 + LONG_S + AGAIN_S, "no answer")
    assert said == "cannot be asked, for 62 s: no answer"
    trouble.over()
    assert line(trouble, 200.0) == ""
    assert line(trouble, 200.0 + LONG_S) == "cannot be asked, for 2 s: refused"


def test_at_once() -> None:
    """What a node says itself is told when it is new."""
    trouble = NodeFailureLog()
    said = line(trouble, 1.0, "password authentication failed", at_once=True)
    assert said.startswith("cannot be asked: password authentication failed; the mon")
    assert line(trouble, 1.5, "password authentication failed", at_once=True) == ""
    assert line(trouble, 1.6, "no such function", at_once=True) == (
        "cannot be asked: no such function"
    )
    assert line(trouble, 63.0, "no such function", at_once=True) == (
        "cannot be asked, for 62 s: no such function"
    )
