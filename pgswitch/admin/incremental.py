"""Long work cut into short steps, so that the event loop serves others in between.

A generator does the work, yields between two steps and returns the result.  A step
takes 10 to 100 microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

POOLS_PER_STEP: Final = 10
"""Pools to look at in one step, where each contributes only a few numbers."""
STEPS_PER_TURN: Final = 50
"""Steps in a turn of the loop, as many as the console takes for a slice."""


class DelayedCall(Protocol):
    """What a reactor's ``callLater`` returns."""

    def cancel(self) -> None:
        """Prevent the call."""


def run_all(steps: Generator[None, None, T]) -> T:
    """Take all steps at once; return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class BackgroundTask(Generic[T]):
    """Does one piece of work at a time, some steps in each turn of the loop."""

    def __init__(self, later: Callable[..., DelayedCall]) -> None:
        """Take the reactor's ``callLater``."""
        self._later = later
        self._call: DelayedCall | None = None

    @property
    def is_busy(self) -> bool:
        """Whether work is still under way."""
        return self._call is not None

    def do(self, steps: Generator[None, None, T], then: Callable[[T], object]) -> None:
        """Take the first steps now, the others later; pass the result to ``then``."""
        self._call = None
        for _ in range(STEPS_PER_TURN):
            try:
                next(steps)
            except StopIteration as end:
                then(end.value)
                return
        self._call = self._later(0, self.do, steps, then)

    def stop(self) -> None:
        """Abandon the work that is under way."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
