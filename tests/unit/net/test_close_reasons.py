"""Tests of the reasons to close a server."""

from __future__ import annotations

import pytest

from pgswitch.errors import ServerClosed, ServerConnCrashed
from pgswitch.net.connection_states import CloseReason


def test_texts_are_different() -> None:
    """Members with one value would be one member: each has a text of its own."""
    texts = [reason.text for reason in CloseReason.__members__.values()]
    assert len(set(texts)) == len(texts)
    assert all(texts)


def test_switchovers() -> None:
    """Clients of a cluster are served on where the server is lost for these."""
    assert [reason.text for reason in CloseReason if reason.is_switchover] == [
        "server conn crashed?",
        "writer lost",
        "writer moved",
        "node lost",
    ]


def test_no_failures() -> None:
    """These say nothing about the server."""
    assert {reason.text for reason in CloseReason if not reason.is_failure} == {
        "close unsafe file descriptors on suspend",
        "connect string changed",
        "database configuration changed",
        "database removed",
        "node lost",
        "pause mode",
        "suspend_timeout",
        "writer lost",
        "writer moved",
    }


@pytest.mark.parametrize("reason", CloseReason)
def test_faults(reason: CloseReason) -> None:
    """A client is sent the reason; a crash has an error of its own, as in PgBouncer."""
    if reason.fault is ServerClosed:
        assert ServerClosed(reason=reason.text).text == reason.text
    else:
        assert reason is CloseReason.CRASHED
        assert reason.fault is ServerConnCrashed
        assert ServerConnCrashed.text == reason.text
