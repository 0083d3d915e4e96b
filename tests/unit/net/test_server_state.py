"""Tests of the states of server connections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgswitch.net.connection_states import SERVER_STATES, ServerEvent, ServerState
from pgswitch.state_table import IllegalTransitionError
from tests.fakes.world import World

ROOT = Path(__file__).parents[3] / "pgswitch"


def test_every_state_is_reached_and_left() -> None:
    """From LOGIN all other states can be reached, and CLOSED from each."""
    reached = {SERVER_STATES.initial}
    rows = list(SERVER_STATES)
    for _ in ServerState:
        reached |= {
            one for state, _, after in rows if state in reached for one in after
        }
    assert reached == set(ServerState)
    for ending in (ServerEvent.CLOSED, ServerEvent.LOST):
        left = {state for state, event, _ in rows if event is ending}
        assert left == set(ServerState) - {ServerState.CLOSED}


def test_every_event_has_a_place_and_one_outcome() -> None:
    """So that change_state needs nothing but the event."""
    assert {event for _, event, _ in SERVER_STATES} == set(ServerEvent)
    assert all(len(after) == 1 for _, _, after in SERVER_STATES)


def test_columns() -> None:
    """SHOW SERVERS has PgBouncer's words and no others."""
    assert {state.column for state in ServerState} == {
        "active",
        "being_canceled",
        "closed",
        "idle",
        "new",
        "tested",
        "used",
    }


def test_queries_of_ours_end_in_idle() -> None:
    """A state that runs one is left by its answer, or by the end."""
    events = (ServerEvent.QUERY_DONE, ServerEvent.CLOSED, ServerEvent.LOST)
    for state in ServerState:
        if state.runs_query:
            assert {e for s, e, _ in SERVER_STATES if s is state} == set(events)
            assert not state.serves_clients


def test_an_illegal_event_raises(world: World) -> None:
    """No internal query runs while another does."""
    world.client()
    server = world.server()
    server.backend.run("SELECT 1", lambda _error: None)
    with pytest.raises(IllegalTransitionError, match=r"TEST_SENT.* in .*TESTED"):
        server.backend.run("SELECT 2", lambda _error: None)


def test_only_change_state_assigns_the_state() -> None:
    """Whatever else happens goes through the table."""
    assigned = re.compile(r"\bstored_state\s*(:[^=\n]*)?=[^=]")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for _ in assigned.findall(path.read_text())
    ]
    assert found == ["net/backend.py"] * 2  # The first state, and change_state.
