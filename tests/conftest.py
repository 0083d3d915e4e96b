"""What holds for every test: a time limit, an orderly end, hypothesis's profile."""

from __future__ import annotations

import signal
from collections.abc import Generator
from types import FrameType

import pytest
from hypothesis import settings

LIMIT_S = 60.0
"""No single test takes a tenth of it; what takes longer hangs."""


def pytest_configure() -> None:
    """Make SIGTERM end a run as Ctrl-C does, with every fixture taken down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell has its background jobs ignore it; tests, and their children, need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A busy machine must not fail a property for being slow.
    settings.register_profile("pgswitch", deadline=None, print_blob=True)
    settings.load_profile("pgswitch")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that takes longer than the limit."""

    def too_long(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"{item.nodeid} took longer than {LIMIT_S:g} s")

    earlier = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
