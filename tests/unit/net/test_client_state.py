"""The states of clients: the table, and the one function that follows it."""

from __future__ import annotations

import pytest

from pgswitch.net.connection_states import (
    CLIENT_STATES,
    SHOW_WORDS,
    ClientEvent,
    ClientState,
)
from pgswitch.state_table import IllegalTransitionError
from pgswitch.wire import encode
from pgswitch.wire.client_auth import CLIENT_AUTH_STATES, ClientAuthState
from pgswitch.wire.server_auth import SERVER_AUTH_STATES, ServerAuthState
from tests.fakes.messages import ANSWER, query
from tests.fakes.world import World

TABLES = [
    (CLIENT_STATES, ClientState, ClientState.CLOSED),
    (CLIENT_AUTH_STATES, ClientAuthState, ClientAuthState.DONE),
    (SERVER_AUTH_STATES, ServerAuthState, ServerAuthState.DONE),
]


@pytest.mark.parametrize(("table", "states", "last"), TABLES)
def test_every_state_is_in_the_table(table: object, states: object, last: int) -> None:
    """Each but the last leads on, and to the last in one step; each can be reached."""
    rows = list(table)  # type: ignore[call-overload]
    begin = table.initial  # type: ignore[attr-defined]
    assert {state for state, _, _ in rows} == set(states) - {last}  # type: ignore[call-overload]
    assert {one for _, _, after in rows for one in after} | {begin} == set(states)  # type: ignore[call-overload]
    assert all(
        any(state == one and last in after for one, _, after in rows)
        for state, _, _ in rows
    )


def test_every_state_has_a_word() -> None:
    """SHOW CLIENTS can name each of them."""
    assert set(SHOW_WORDS) == set(ClientState)


def test_a_client_in_its_states(world: World) -> None:
    """From the connection to its end; what the stream decides is derived."""
    client = world.connect()
    frontend = client.frontend
    states = [frontend.state]
    client.say(encode.startup([("user", "app"), ("database", "db")]))
    states.append(frontend.state)
    server = world.server()
    states.append(frontend.state)
    client.say(query())
    states.append(frontend.state)
    server.say(ANSWER)
    states.append(frontend.state)
    client.drop()
    states.append(frontend.state)
    assert states == [
        ClientState.LOGIN,
        ClientState.WAITING_LOGIN,
        ClientState.IDLE,
        ClientState.ACTIVE,
        ClientState.IDLE,
        ClientState.CLOSED,
    ]


@pytest.mark.parametrize("event", [ClientEvent.LOGIN_DONE, ClientEvent.CANCEL_SENT])
def test_an_event_out_of_place(world: World, event: ClientEvent) -> None:
    """Such an event is a bug and raises."""
    client = world.client()
    world.server()
    with pytest.raises(IllegalTransitionError):
        client.frontend._change_state(event)
    assert client.state() == "idle"
