"""The layout of cancel keys, which PgBouncers read too."""

from __future__ import annotations

import pytest

from pgswitch.wire import cancel_key

RANDOM = bytes([0xFF, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x7C])


def test_without_peers() -> None:
    """All bits are random but the first."""
    assert cancel_key.make(RANDOM, 0) == b"\x7f" + RANDOM[1:]


@pytest.mark.parametrize(
    ("peer_id", "low", "high"), [(1, 1, 0), (0x102, 2, 1), (65535, 0xFF, 0xFF)]
)
def test_with_peers(peer_id: int, low: int, high: int) -> None:
    """The number of the peer, its low byte first, and a TTL of 3."""
    key = cancel_key.make(RANDOM, peer_id)
    assert key == bytes([0x7F, low, high, 0x33, 0x44, 0x55, 0x66, 0x7F])
    assert cancel_key.peer_of(key) == peer_id
    assert cancel_key.ttl_of(key) == 3


def test_passing_on() -> None:
    """Each hop takes one off; the original can be restored."""
    key = cancel_key.make(RANDOM, 5)
    passed = key
    for left in (2, 1, 0):
        passed = cancel_key.passed_on(passed)
        assert cancel_key.ttl_of(passed) == left
        assert passed[:7] == key[:7]
        assert cancel_key.as_issued(passed) == key
