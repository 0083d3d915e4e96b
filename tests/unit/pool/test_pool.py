"""One pool: checkout, release, resets, checks, lost servers."""

from __future__ import annotations

import pytest

from pgswitch.errors import AdminForcedDisconnect
from pgswitch.net.connection_states import CloseReason
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    RESULT,
    TERMINATE,
    kinds,
    message,
    query,
)
from tests.fakes.world import World, WorldOf

DISCARD = query("DISCARD ALL")
HALF = RESULT[:-3]


# ------------------------------------------------------------- logins and launches


def test_the_first_client(world: World) -> None:
    """Its login waits for a server's, and tells what that server reports."""
    client = world.client()
    assert client.state() == "waiting"
    assert client.hear() == b""
    world.server(TimeZone="Europe/Oslo")
    welcome = client.hear()
    assert kinds(welcome) == "RSSSSSSSSKZ"
    assert b"TimeZone\0Europe/Oslo\0" in welcome
    assert client.state() == "idle"


def test_the_next_client_is_welcomed_at_once(world: World) -> None:
    """Servers are known by now; none is opened for a login."""
    world.pair()
    assert kinds(world.client().hear()) == "RSSSSSSSSKZ"
    assert world.attempts == []


def test_many_first_clients_cost_one_login(world: World) -> None:
    """One server answers for all of them."""
    clients = [world.client() for _ in range(5)]
    assert len(world.attempts) == 1
    world.server()
    assert [client.state() for client in clients] == ["idle"] * 5


def test_a_connection_for_each_that_waits(world_of: WorldOf) -> None:
    """All at once, up to pool_size; the rest wait in the order they came."""
    world = world_of(settings="default_pool_size = 3")
    first, server = world.pair()
    clients = [first, *(world.client() for _ in range(4))]
    for at, client in enumerate(clients):
        client.say(query(str(at)))
    assert len(world.attempts) == 2
    assert server.hear() == query("0")
    assert [world.server().hear() for _ in range(2)] == [query("1"), query("2")]
    server.say(ANSWER)
    assert server.hear() == query("3")
    server.say(ANSWER)
    assert server.hear() == query("4")
    assert world.attempts == []


def test_what_upkeep_asks_of_an_empty_pool(world_of: WorldOf) -> None:
    """min_pool_size holds while clients are there, not for a pool that had some."""
    world = world_of(settings="min_pool_size = 2")
    client, _server = world.pair()
    world.wait(1)
    assert len(world.attempts) == 1
    world.server()
    world.leave(client)
    for backend in world.pool().backends():
        backend.close(CloseReason.LIFETIME_OVER)
    world.wait(1)
    assert world.attempts == []


def test_more_than_can_be_opened(world_of: WorldOf) -> None:
    """Whatever min_pool_size is, a turn has an end, and the rest follows."""
    world = world_of(settings=f"min_pool_size = {2**31 - 1}\ndefault_pool_size = 0")
    world.pair()
    world.wait(1)
    assert len(world.attempts) == 100
    for _ in range(30):
        world.server()
    world.wait(1)
    assert len(world.attempts) == 100


# ------------------------------------------------------------------ clients leave


def test_a_client_leaves_before_its_welcome(world: World) -> None:
    """The login goes on for the next clients."""
    client = world.client()
    client.drop()
    assert world.pool().login_waiters == []
    world.server()
    assert world.pool().clients == {}
    assert len(world.pool().idle_pool.idle) == 1


def test_a_client_leaves_the_queue(world_of: WorldOf) -> None:
    """The next one has its turn."""
    world = world_of(settings="default_pool_size = 1")
    _busy, server = world.asking()
    gone, next_ = world.client(), world.client()
    gone.say(query("gone"))
    next_.say(query("next"))
    gone.drop()
    server.say(ANSWER)
    assert server.hear() == query() + query("next")


LEAVING = {
    "idle": ("", b"", b""),
    "query in progress": (
        "client disconnected with query in progress",
        query(),
        b"",
    ),
    "hearing": (
        "client disconnected with query in progress",
        query(),
        HALF,
    ),
    "not heard": ("", query(), ANSWER),
    "in a transaction": (
        "client disconnect while server was not ready",
        query("BEGIN"),
        RESULT + IN_TRANSACTION,
    ),
}
"""What closes the server (nothing: it is kept), what was asked and answered."""


@pytest.mark.parametrize("politely", [False, True])
@pytest.mark.parametrize("when", LEAVING)
def test_a_client_leaves(world: World, when: str, *, politely: bool) -> None:
    """In every state: the server is kept only when nothing is left of the client."""
    reason, asked, answered = LEAVING[when]
    client, server = world.pair()
    if when == "not heard":
        client.transport.socket.room = 0
    if asked:
        client.say(asked)
    if answered:
        server.say(answered)
    if politely:
        client.say(TERMINATE)
        if when in ("query in progress", "hearing"):
            # What comes before it is answered first.
            assert not client.frontend.closed
            server.say(ANSWER[len(answered) :])
            assert client.hear() == ANSWER
            reason = ""
    else:
        client.drop()
    assert client.frontend.closed
    assert world.pool().clients == {}
    assert server.backend.close_text == reason
    assert server.is_gone() is bool(reason)
    assert (server.backend.stream in world.pool().idle_pool.idle) is not bool(reason)
    assert server.backend.stream.peer is None


def test_the_server_of_a_client_that_left_serves_the_next(world_of: WorldOf) -> None:
    """In session mode, after it was reset."""
    world = world_of(settings="pool_mode = session\ndefault_pool_size = 1")
    first, server = world.asking()
    server.answer()
    second = world.client()
    second.say(query("second"))
    assert server.hear() == b""
    world.leave(first)
    assert server.hear() == DISCARD
    assert server.state() == "tested"
    server.say(ANSWER)
    assert server.hear() == query("second")


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (False, "client disconnect before everything was sent to the server"),
        (True, "client disconnect while server was not ready"),
    ],
)
def test_a_client_is_sent_away_before_its_server_has_taken_all(
    world_of: WorldOf, *, cut: bool, reason: str
) -> None:
    """What the server has not got would land in the next client's session."""
    world = world_of(settings="pool_mode = session")
    client, server = world.asking()
    server.answer()
    if not cut:
        server.transport.socket.room = 0
    client.say(b"d\0\0\1\0" if cut else message(b"H"))
    client.frontend.disconnect(AdminForcedDisconnect())
    assert server.backend.close_text == reason
    assert server.transport.aborted is not cut


def test_a_fault_in_what_a_waiting_client_had_sent(world_of: WorldOf) -> None:
    """It is the client's own; the server that came free serves the next one."""
    world = world_of(settings="default_pool_size = 1")
    _first, server = world.asking()
    bad, good = world.client(), world.client()
    bad.hear()
    bad.say(query() + message(b"y"))
    good.say(query("good"))
    server.answer()
    assert bad.fault == "unknown pkt"
    assert bad.frontend.closed
    assert not world.service.pools.busy_servers("other")
    world.wait(1)
    if server.is_gone():
        server = world.server()
    assert server.hear().endswith(query("good"))


# --------------------------------------------------------------- transactions


def test_statement_mode(world_of: WorldOf) -> None:
    """A transaction costs both the client and the server."""
    world = world_of(settings="pool_mode = statement")
    client, server = world.asking("BEGIN")
    server.say(IN_TRANSACTION)
    text = "transaction blocks not allowed in statement pooling mode"
    assert client.fault == text
    assert client.frontend.closed
    assert server.backend.close_text == text
