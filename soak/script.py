"""What a client does and how it disconnects, determined by the seed and its number.

The timing depends on the machine, but what each client does does not: a run with the
same seed demands the same of the pooler.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

DATABASE = "soak"
USERS = ("soak", "second")
MAX_STEPS = 12


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
    COPY_IN_FAILS = "COPY in that the client fails"
    LARGE_RESULT = "large result"
    PARAMETER = "session parameter"
    CANCEL = "cancelled query"
    STRAY_CANCEL = "cancel request while idle"
    FALSE_CANCEL = "cancel request with a wrong key"


class Disconnect(Enum):
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
_DISCONNECTS = {
    Disconnect.POLITELY: 12,
    Disconnect.HANGING_UP: 4,
    Disconnect.RESET: 4,
    Disconnect.IN_LOGIN: 2,
    Disconnect.IN_QUERY: 2,
    Disconnect.IN_TRANSACTION: 2,
    Disconnect.IN_COPY: 1,
    Disconnect.IN_MESSAGE: 2,
    Disconnect.UNREAD: 1,
}
"""Relative frequencies."""


@dataclass(frozen=True, slots=True)
class Session:
    """One connection: steps, each with the pause in seconds before it."""

    steps: tuple[tuple[float, Step], ...]
    disconnect: Disconnect


def sessions(seed: int, number: int, max_pause_s: float) -> Iterator[Session]:
    """Yield the sessions of client ``number``, without end."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - repeatable is what it must be
    while True:
        steps = random.choices(
            list(_STEPS), list(_STEPS.values()), k=random.randint(0, MAX_STEPS)
        )
        (disconnect,) = random.choices(list(_DISCONNECTS), list(_DISCONNECTS.values()))
        yield Session(
            tuple((random.uniform(0, max_pause_s), step) for step in steps),
            disconnect,
        )
