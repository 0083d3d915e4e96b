"""Work cut into steps, between which everybody else may be served.

A generator does the work, yields between two steps and returns what has come of it.
A step takes some 10 to 100 microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")

POOLS_A_STEP: Final = 10
"""Pools that are looked at in one step, if it is only for numbers that they have."""
STEPS_A_TURN: Final = 50
"""Steps in a turn of the loop, as many as the console takes for a slice."""


class DelayedCall(Protocol):
    """What a reactor's ``callLater`` returns."""

    def cancel(self) -> None:
        """Have it not called."""


def finished(steps: Generator[None, None, T]) -> T:
    """Take all steps at once; return what has come of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def shown(found: Iterable[T | None]) -> list[T]:
    """Return what there is to show, without the pauses in between."""
    return [one for one in found if one is not None]


class Background(Generic[T]):
    """Has one thing done at a time, some steps in each turn of the loop."""

    def __init__(self, later: Callable[..., DelayedCall]) -> None:
        """Take what calls back after some seconds."""
        self._later = later
        self._call: DelayedCall | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is still being done."""
        return self._call is not None

    def do(self, steps: Generator[None, None, T], then: Callable[[T], object]) -> None:
        """Take the first steps now, the others later; hand over what comes of them."""
        self._call = None
        for _ in range(STEPS_A_TURN):
            try:
                next(steps)
            except StopIteration as end:
                then(end.value)
                return
        self._call = self._later(0, self.do, steps, then)

    def stop(self) -> None:
        """Leave undone what is not done yet."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
