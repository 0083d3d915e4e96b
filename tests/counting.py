"""Calls of Python functions, which are the same on every machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from pgswitch.compiled import is_compiled

only_interpreted = pytest.mark.skipif(
    is_compiled(), reason="compiled code makes no calls to be counted"
)


def calls_in(work: Callable[[], object]) -> int:
    """Return how many functions are called by a piece of work, the second time."""
    calls = -1  # the work itself

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    work()
    gc.disable()  # a collection would count too: Hypothesis has a callback at each
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls
