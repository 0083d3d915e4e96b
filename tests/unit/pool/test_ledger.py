"""When connections are opened, and how many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgswitch.pool.ledger import Facts, launches

QUIET = Facts(
    waiting=0,
    logging_in=0,
    free=0,
    total=0,
    pool_size=10,
    min_pool_size=0,
    is_wanted=True,
    failing=False,
    since_attempt=100.0,
    login_retry=15.0,
    held=False,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"waiting": 1}, 1),
        ({"waiting": 4}, 4),
        ({"waiting": 4, "logging_in": 3, "total": 3}, 1),
        ({"waiting": 4, "free": 2, "total": 2}, 2),
        ({"waiting": 4, "total": 8}, 2),
        ({"waiting": 4, "total": 10}, 0),
        ({"waiting": 4, "total": 12}, 0),
        ({"waiting": 40, "pool_size": 0}, 40),
        ({"waiting": 4, "held": True}, 0),
        ({"min_pool_size": 3}, 3),
        ({"min_pool_size": 3, "total": 2}, 1),
        ({"min_pool_size": 3, "total": 2, "logging_in": 1}, 1),
        ({"min_pool_size": 3, "total": 3, "logging_in": 1}, 0),
        ({"min_pool_size": 30}, 10),
        ({"min_pool_size": 3, "is_wanted": False}, 0),
        ({"waiting": 4, "failing": True}, 1),
        ({"waiting": 4, "failing": True, "since_attempt": 14.9}, 0),
        ({"waiting": 4, "failing": True, "logging_in": 1, "total": 1}, 0),
        ({"failing": True}, 0),
    ],
)
def test_launches(changes: dict[str, int], expected: int) -> None:
    """From facts to a number, a row each."""
    assert launches(replace(QUIET, **changes)) == expected  # type: ignore[arg-type]
