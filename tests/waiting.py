"""Waiting for something to become true, in place of sleeping for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """Call ``condition`` until it returns something true, and return that.

    ``what`` completes the sentence "waited for ..." of the AssertionError that ends a
    wait of more than ``timeout_s``; the error also shows the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"waited {timeout_s:g} s for {what}; the last value was {value!r}"
            )
        time.sleep(POLL_S)  # noqa: TID251 - the one place where tests sleep
