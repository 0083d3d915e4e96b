"""When failed probes of a node are logged."""

from __future__ import annotations

from pgswitch.cluster.node_poll import LOG_AFTER_S, LOG_EVERY_S, NodeFailureLog


def line(
    failures: NodeFailureLog,
    now: float,
    words: str = "refused",
    *,
    at_once: bool = False,
) -> str:
    """Return what an attempt that began at ``now`` leads to."""
    return failures.line(words, now, now, at_once=at_once)


def test_soon_and_now_and_again() -> None:
    """Not of a restart; then once, and each minute; an answer ends it."""
    failures = NodeFailureLog()
    assert line(failures, 100.0) == ""
    assert line(failures, 100.0 + LOG_AFTER_S) == "health check failed for 2 s: refused"
    assert line(failures, 100.0 + LOG_AFTER_S + LOG_EVERY_S - 1) == ""
    logged = line(failures, 100.0 + LOG_AFTER_S + LOG_EVERY_S, "no answer")
    assert logged == "health check failed for 62 s: no answer"
    failures.reset()
    assert line(failures, 200.0) == ""
    assert line(failures, 200.0 + LOG_AFTER_S) == "health check failed for 2 s: refused"


def test_at_once() -> None:
    """An error from the node itself is logged when it is new."""
    failures = NodeFailureLog()
    logged = line(failures, 1.0, "password authentication failed", at_once=True)
    assert logged.startswith(
        "health check failed: password authentication failed; the mon"
    )
    assert line(failures, 1.5, "password authentication failed", at_once=True) == ""
    assert line(failures, 1.6, "no such function", at_once=True) == (
        "health check failed: no such function"
    )
    assert line(failures, 63.0, "no such function", at_once=True) == (
        "health check failed for 62 s: no such function"
    )
