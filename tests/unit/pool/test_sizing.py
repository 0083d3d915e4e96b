"""When connections are opened, and how many; which are closed for others."""

from __future__ import annotations

from typing import Any

import pytest

from pgswitch.pool.connection_limits import (
    Demand,
    EvictionCandidate,
    LaunchPlan,
    Supply,
    eviction_candidates,
    plan,
)

QUIET = Demand(wants_minimum=True, has_welcome=True)
TEN = Supply(pool_size=10, since_attempt=100.0, login_retry=15.0)


def planned(**changes: Any) -> LaunchPlan:  # noqa: ANN401 - values of both kinds of facts
    """Return what is planned when all is quiet but for some facts."""
    demand = {name: changes.pop(name) for name in [*changes] if hasattr(QUIET, name)}
    return plan(QUIET._replace(**demand), TEN._replace(**changes))


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
        ({"waiting": 4, "blocked": True}, 0),
        ({"waiting": 4, "failing": True}, 1),
        ({"waiting": 4, "failing": True, "since_attempt": 14.9}, 0),
        ({"waiting": 4, "failing": True, "logging_in": 1, "total": 1}, 0),
        ({"failing": True}, 0),
        ({"waiting": 4, "total": 10, "has_welcome": False}, 1),
        ({"waiting": 4, "total": 11, "has_welcome": False, "logging_in": 1}, 0),
    ],
)
def test_for_those_who_wait(changes: dict[str, int], expected: int) -> None:
    """As many as wait and are not served by what comes anyway, up to pool_size."""
    assert planned(**changes) == LaunchPlan(expected, 0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0, 0)),
        ({"overdue": 1}, (0, 1)),
        ({"overdue": 3}, (0, 2)),
        ({"overdue": 3, "total": 9}, (1, 2)),
        ({"overdue": 3, "total": 11}, (0, 1)),
        ({"overdue": 3, "total": 12}, (0, 0)),
        ({"overdue": 3, "total": 5}, (4, 0)),
        ({"overdue": 3, "reserve_size": 0}, (0, 0)),
        ({"overdue": 3, "free": 2}, (0, 1)),
        ({"overdue": 1, "logging_in": 1}, (0, 0)),
        ({"overdue": 3, "pool_size": 0}, (4, 0)),
        ({"overdue": 3, "blocked": True}, (0, 0)),
        ({"overdue": 3, "failing": True}, (0, 1)),
        ({"overdue": 3, "failing": True, "since_attempt": 14.9}, (0, 0)),
    ],
)
def test_the_reserve(changes: dict[str, int], expected: tuple[int, int]) -> None:
    """Beyond pool_size only for clients that waited long, up to reserve_size."""
    usual = {"waiting": 4, "total": 10, "reserve_size": 2}
    assert planned(**(usual | changes)) == LaunchPlan(*expected, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0, 3)),
        ({"total": 2}, (0, 1)),
        ({"total": 2, "logging_in": 1}, (0, 1)),
        ({"total": 3, "logging_in": 1}, (0, 0)),
        ({"waiting": 2}, (2, 1)),
        ({"waiting": 5}, (5, 0)),
        ({"min_pool_size": 30}, (0, 10)),
        ({"min_pool_size": 30, "pool_size": 0}, (0, 30)),
        ({"min_pool_size": 2**31 - 1, "pool_size": 0}, (0, 100)),
        (
            {"min_pool_size": 2**31 - 1, "pool_size": 2**31 - 1, "logging_in": 60},
            (0, 40),
        ),
        ({"min_pool_size": 2**31 - 1, "pool_size": 0, "logging_in": 100}, (0, 0)),
        ({"min_pool_size": 900, "pool_size": 0, "waiting": 120}, (120, 0)),
        ({"wants_minimum": False}, (0, 0)),
        ({"blocked": True}, (0, 0)),
        ({"failing": True}, (0, 1)),
        ({"waiting": 2, "failing": True}, (1, 0)),
    ],
)
def test_min_pool_size(changes: dict[str, int], expected: tuple[int, int]) -> None:
    """As many are kept, counting those that are opened for clients."""
    regular, spare = expected
    assert planned(**({"min_pool_size": 3} | changes)) == LaunchPlan(regular, 0, spare)


SPARES = [
    EvictionCandidate(1, 50.0, is_idle=True, is_awaited=False),
    EvictionCandidate(2, 20.0, is_idle=True, is_awaited=True),
    EvictionCandidate(3, 10.0, is_idle=False, is_awaited=True),
    EvictionCandidate(4, 30.0, is_idle=False, is_awaited=False),
]


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [2]), (2, [2, 4]), (3, [2, 4, 1]), (4, [])]
)
def test_victims(count: int, expected: list[int]) -> None:
    """The longest unused first; none whose own clients wait for its check."""
    assert eviction_candidates(SPARES, count) == expected
