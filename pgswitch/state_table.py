"""State machines as tables: which event leads from which state to which.

A machine has one table and one function that changes its state, and that function asks
the table.  An event that the table does not have for a state is a bug of ours: it
raises.  ``docs/reference/states.md`` is drawn from the same tables.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)
Event = TypeVar("Event", bound=Hashable)


class IllegalTransitionError(Exception):
    """An event in a state that has no row for it."""


class StateTable(Generic[State, Event]):
    """The transitions of one machine."""

    def __init__(
        self,
        name: str,
        initial: State,
        rows: Mapping[State, Mapping[Event, State | tuple[State, ...]]],
    ) -> None:
        """Keep the rows.

        :param name: what the machine is of, for error messages and drawings.
        :param initial: the state that it begins in.
        :param rows: by state and event the next state; several where facts that are no
            event decide between them.  A state without a row is the last one.
        """
        self.name = name
        self.initial = initial
        self._rows: dict[tuple[State, Event], tuple[State, ...]] = {
            (state, event): after if isinstance(after, tuple) else (after,)
            for state, events in rows.items()
            for event, after in events.items()
        }

    def __iter__(self) -> Iterator[tuple[State, Event, tuple[State, ...]]]:
        """Yield (state, event, possible next states), in the order of the table."""
        for (state, event), after in self._rows.items():
            yield state, event, after

    def next(self, state: State, event: Event) -> State:
        """Return the state that follows.

        :raises IllegalTransitionError: the event has no place in this state, or leads
            to one of several.
        """
        after = self._rows.get((state, event), ())
        if len(after) != 1:
            raise IllegalTransitionError(f"{self.name}: {event!r} in {state!r}")
        return after[0]

    def check(self, state: State, event: Event, after: State) -> State:
        """Return ``after``, if it may follow.

        :raises IllegalTransitionError: it may not.
        """
        if after not in self._rows.get((state, event), ()):
            raise IllegalTransitionError(
                f"{self.name}: {event!r} leads from {state!r} not to {after!r}"
            )
        return after
