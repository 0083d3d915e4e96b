"""Tables of transitions: what may follow, and what may not."""

from __future__ import annotations

import pytest

from pgswitch.state_table import IllegalTransitionError, StateTable

DOOR: StateTable[str, str] = StateTable(
    "a door",
    "open",
    {
        "open": {"push": "shut"},
        "shut": {"pull": "open", "turn the key": ("shut", "locked")},
    },
)


def test_what_follows() -> None:
    """The table tells the next state, or checks the one that facts have chosen."""
    assert DOOR.next("open", "push") == "shut"
    assert DOOR.check("shut", "turn the key", "locked") == "locked"
    assert list(DOOR)[-1] == ("shut", "turn the key", ("shut", "locked"))


@pytest.mark.parametrize(
    ("state", "event"),
    [("open", "pull"), ("locked", "pull"), ("shut", "turn the key")],
)
def test_what_does_not_follow(state: str, event: str) -> None:
    """No row, a last state, and an event that alone does not tell."""
    with pytest.raises(IllegalTransitionError, match="a door"):
        DOOR.next(state, event)


def test_a_choice_that_is_not_in_the_table() -> None:
    """Facts may choose among the states of a row only."""
    with pytest.raises(IllegalTransitionError, match="not to 'locked'"):
        DOOR.check("open", "push", "locked")
