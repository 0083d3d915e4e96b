"""What a client does, and how it leaves: decided by the seed and its number alone.

The order in which clients meet depends on the machine; what each does does not, so a
run with the same seed asks the same of the pooler.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

MOST_STEPS = 12


class Step(Enum):
    """Something that a logged-in client does."""

    QUERY = "simple query"
    PREPARED = "prepared statement"
    SQL_PREPARED = "PREPARE and EXECUTE as SQL"
    TRANSACTION = "transaction"
    ROLLBACK = "rolled-back transaction"
    FAILURE = "statement that fails"
    PIPELINE = "pipeline"
    FAILING_PIPELINE = "pipeline with a failure inside"
    COPY_OUT = "COPY out"
    COPY_IN = "COPY in"
    COPY_IN_FAILS = "COPY in, given up"
    LARGE_RESULT = "large result"
    PARAMETER = "session parameter"
    CANCEL = "cancelled query"
    STRAY_CANCEL = "cancel request while idle"
    FALSE_CANCEL = "cancel request with a false key"


class Leave(Enum):
    """How a client ends its connection."""

    POLITELY = "Terminate"
    HANGING_UP = "end of file"
    RESET = "reset"
    IN_LOGIN = "reset in the login"
    IN_QUERY = "reset while a query runs"
    IN_TRANSACTION = "reset inside a transaction"
    IN_COPY = "reset inside COPY in"
    IN_MESSAGE = "reset in the middle of a message"
    UNREAD = "reset before a large result is read"


_STEPS = {
    Step.QUERY: 20,
    Step.PREPARED: 20,
    Step.SQL_PREPARED: 8,
    Step.TRANSACTION: 10,
    Step.ROLLBACK: 3,
    Step.FAILURE: 3,
    Step.PIPELINE: 5,
    Step.FAILING_PIPELINE: 2,
    Step.COPY_OUT: 3,
    Step.COPY_IN: 3,
    Step.COPY_IN_FAILS: 2,
    Step.LARGE_RESULT: 2,
    Step.PARAMETER: 4,
    Step.CANCEL: 2,
    Step.STRAY_CANCEL: 1,
    Step.FALSE_CANCEL: 1,
}
_LEAVES = {
    Leave.POLITELY: 12,
    Leave.HANGING_UP: 4,
    Leave.RESET: 4,
    Leave.IN_LOGIN: 2,
    Leave.IN_QUERY: 2,
    Leave.IN_TRANSACTION: 2,
    Leave.IN_COPY: 1,
    Leave.IN_MESSAGE: 2,
    Leave.UNREAD: 1,
}
"""How often, in proportion."""


@dataclass(frozen=True, slots=True)
class Life:
    """One connection: pauses in seconds, each before the step beside it."""

    steps: tuple[tuple[float, Step], ...]
    leave: Leave


def lives(seed: int, number: int, longest_pause_s: float) -> Iterator[Life]:
    """Yield the lives of client ``number``, one after the other, without end."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - repeatable is what it must be
    while True:
        steps = random.choices(
            list(_STEPS), list(_STEPS.values()), k=random.randint(0, MOST_STEPS)
        )
        (leave,) = random.choices(list(_LEAVES), list(_LEAVES.values()))
        yield Life(
            tuple((random.uniform(0, longest_pause_s), step) for step in steps), leave
        )
