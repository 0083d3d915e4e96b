"""A server logs in, or is lost: what its pool and their clients make of it."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol

from pgswitch.errors import ServerConnCrashed
from pgswitch.net.connection_states import CloseReason
from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    READY,
    RESULT,
    error,
    parameter,
    query,
)
from tests.fakes.transports import FakeTransport
from tests.fakes.world import PARAMETERS, Client, Server, World, WorldOf
from tests.unit.pool.test_writer_route import OTHER, in_cluster

HALF = RESULT[:-3]


def lose(server: Server, client: Client, when: str) -> str:
    """Bring both to a state and end the server; return what the client receives."""
    if when != "idle":
        if when == "not taken":
            server.transport.socket.room = 3
        client.say(query())
    if when == "in a message":
        server.say(HALF)
        client.hear()
    server.drop()
    # Half a row was sent: an error would land inside it.
    return "" if when in ("idle", "in a message") else "server conn crashed?"


def test_connect_query(world_of: WorldOf) -> None:
    """It runs before the first client; its failure is logged and forgiven."""
    world = world_of(databases="db = host=10.0.0.1 connect_query='SET a=1'")
    client = world.client()
    server = world.server()
    assert server.hear() == query("SET a=1")
    assert client.state() == "waiting"
    server.say(error("no a"), READY)
    assert client.state() == "idle"
    assert world.logged("error while executing exec_on_query: ERROR: no a")


def test_connect_query_that_hangs(world_of: WorldOf) -> None:
    """It is the last part of a login, whose time it shares."""
    world = world_of(
        settings="server_connect_timeout = 3\nserver_login_retry = 5",
        databases="db = host=10.0.0.1 connect_query='SELECT pg_sleep(9)'",
    )
    client = world.client()
    world.wait(1)
    server = world.server()
    world.wait(1)
    assert not server.is_gone()
    world.wait(2)
    assert server.is_gone()
    assert world.logged("closing because: connect timeout (age=")
    assert world.pool().failing == "connect timeout"
    assert client.state() == "waiting"
    assert not world.attempts
    world.wait(2)
    assert len(world.attempts) == 1


def test_one_login_fails_while_another_server_serves(world: World) -> None:
    """Waiting clients go on waiting for the server that works."""
    _first, server = world.asking()
    second = world.client()
    second.say(query())
    world.accept().refuse("too many", "53300")
    assert second.state() == "waiting"
    server.say(ANSWER)
    assert second.frontend.stream.server is server.backend.stream


@pytest.mark.parametrize("when", ["idle", "serving", "in a message", "not taken"])
def test_a_server_is_lost(world: World, when: str) -> None:
    """Its client goes with it, and gets an error unless it is inside a message."""
    client, server = world.pair()
    told = lose(server, client, when)
    assert world.pool().servers.keys() == {
        attempt.protocol.number  # type: ignore[attr-defined]
        for attempt in world.attempts
    }
    assert world.pool().idle_pool.idle == []
    assert client.frontend.closed is (when != "idle")
    heard = client.hear()
    assert (
        heard.endswith(encode.error_response(ServerConnCrashed()))
        if told
        else heard == b""
    )


def test_a_server_is_lost_behind_a_slow_client(world: World) -> None:
    """What the client has not taken is dropped with it; nothing is mixed in."""
    client, server = world.asking()
    client.transport.socket.room = 5
    server.say(RESULT)
    server.backend.close(CloseReason.QUERY_TIMEOUT)
    assert client.hear() == RESULT[:5]
    assert client.transport.aborted


def test_a_server_is_lost_in_its_reset(world_of: WorldOf) -> None:
    """No client gets an error; the next client has another server."""
    world = world_of(settings="pool_mode = session\ndefault_pool_size = 1")
    first, server = world.asking()
    server.answer()
    second = world.client()
    second.say(query("second"))
    world.leave(first)
    server.drop()
    assert world.server().hear() == query("second")


# Parameters that later clients receive from their servers.


def told(world: World, **parameters: str) -> bytes:
    """Return the welcome of a client that connects now and leaves again."""
    client = world.client(**parameters)
    data = client.hear()
    world.leave(client)
    return data


def test_a_later_login_renews_the_welcome(world_of: WorldOf) -> None:
    """An upgrade, ALTER DATABASE SET: the newest server's values count."""
    world = world_of(settings="default_pool_size = 2")
    first, server = world.asking()
    first.say(query("SELECT 2"))
    second = world.client()
    second.hear()
    second.say(query())
    before = world.pool().welcome
    later = world.server(TimeZone="Asia/Tokyo", server_version="18.1")
    data = told(world)
    assert parameter("TimeZone", "Asia/Tokyo") in data
    assert parameter("server_version", "18.1") in data
    assert parameter("TimeZone", "Asia/Oslo") in told(world, timezone="Asia/Oslo")
    # A client that was sent a value before keeps it, on the new server too.
    assert later.hear() == query("SET TimeZone='UTC';")
    assert world.pool().welcome is not before
    assert server.state() == "active"


def test_the_same_again_renews_nothing(world_of: WorldOf) -> None:
    """So that what was made for other clients is used on."""
    world = world_of(settings="default_pool_size = 2")
    world.asking()
    second = world.client()
    second.hear()
    second.say(query())
    before = world.pool().welcome
    world.server()
    assert world.pool().welcome is before


def test_a_server_that_reports_nothing(world: World) -> None:
    """Clients are welcomed all the same."""
    client = world.client()
    world.accept().say(encode.auth_ok(), READY)
    assert client.state() == "idle"


def test_connect_query_counts(world_of: WorldOf) -> None:
    """What it sets is what clients find, so it is in their welcome."""
    world = world_of(databases="db = host=10.0.0.1 connect_query='SET a=1'")
    client = world.client()
    server = world.server()
    server.say(parameter("TimeZone", "Asia/Tokyo") + READY)
    assert parameter("TimeZone", "Asia/Tokyo") in client.hear()


def test_a_stale_server_says_nothing_of_the_others(world: World) -> None:
    """RECONNECT came while it logged in; or it is used for the last time."""
    client, server = world.asking()
    world.service.operations.reconnect("db")
    server.say(parameter("in_hot_standby", "on"))
    assert world.pool().welcome is None
    client.hear()
    other = world.client()
    world.server(server_version="19.0")
    assert parameter("server_version", "19.0") in other.hear()
    server.say(parameter("in_hot_standby", "off"))
    assert parameter("in_hot_standby", "off") not in told(world)


@pytest.mark.parametrize("is_linked", [True, False])
def test_a_promotion_is_reported(world: World, *, is_linked: bool) -> None:
    """No client can SET it, so it holds for all; its server stays."""
    client = world.client()
    server = world.server(in_hot_standby="on")
    assert parameter("in_hot_standby", "on") in client.hear()
    if is_linked:
        client.say(query())
        server.hear()
    server.say(parameter("in_hot_standby", "off"))
    assert parameter("in_hot_standby", "off") in told(world)
    assert server.state() == ("active" if is_linked else "idle")
    # A later server that says the same renews nothing.
    assert server.backend.parameters["in_hot_standby"] == "off"


def test_a_promotion_is_so_for_all_servers_there(world: World) -> None:
    """Also for those that have answered nothing since, if they are taken over."""
    client, server = world.asking()
    second = world.client()
    second.hear()
    second.say(query())
    idle = world.server(in_hot_standby="on")
    idle.say(ANSWER)
    server.say(parameter("in_hot_standby", "off") + ANSWER)
    assert idle.backend.parameters["in_hot_standby"] == "off"
    client.hear()


def test_what_a_client_sets_is_its_own(world: World) -> None:
    """Others get the values that servers report at their logins."""
    client, server = world.asking("SET timezone = 'Asia/Tokyo'")
    server.say(parameter("TimeZone", "Asia/Tokyo"), parameter("is_superuser", "on"))
    server.say(ANSWER)
    data = told(world)
    assert parameter("TimeZone", "UTC") in data
    assert b"is_superuser" not in data
    server.say(parameter("in_hot_standby", "on"))
    data = told(world)
    assert parameter("TimeZone", "UTC") in data
    assert parameter("in_hot_standby", "on") in data
    client.hear()


def test_a_standby_connection_may_report_anything(world: World) -> None:
    """No client has set anything there; its values are sent when it is used."""
    client, _server = world.pair()
    route = in_cluster(world)
    route.standbys.set_nodes([OTHER])
    opened = [world.server(in_hot_standby="on") for _ in range(2)]
    for one in opened:
        one.say(parameter("TimeZone", "Asia/Tokyo"))
        one.say(parameter("in_hot_standby", "off"))
        assert one.state() == "idle"
    assert b"in_hot_standby" not in told(world)
    # It was connected to long before the last writer was.
    for one in opened:
        one.backend.connected_at -= 100
    route.wait_for_writer()
    route.serve_from(OTHER, same=False)
    for one in opened:
        one.answer()
    data = told(world)
    assert parameter("in_hot_standby", "off") in data
    assert parameter("TimeZone", "Asia/Tokyo") in data
    client.say(query())
    assert any(one.hear() == query("SET TimeZone='UTC';") for one in opened)


def test_the_welcome_of_inherited_servers(world: World) -> None:
    """The newest connection counts, whatever their order."""
    world.pair()
    pool = world.pool()
    pool.welcome = None
    now = world.context.clock()
    for age, zone in ((20.0, "Etc/GMT+1"), (5.0, "Asia/Tokyo"), (10.0, "Etc/GMT+2")):
        backend = pool.server_connections.create()
        peer = IPv4Address("TCP", "10.0.0.1", 5432)
        number = next(world.numbers)
        backend.inherit(
            FakeTransport(world.reactor, Protocol(), peer, number=number),
            reported=PARAMETERS | {"TimeZone": zone},
            parameters=world.context.tracking.collect(PARAMETERS | {"TimeZone": "UTC"}),
            cancel_key=b"",
        )
        backend.connected_at = now - age
        pool.inherit_server(backend, is_idle=True)
    assert parameter("TimeZone", "Asia/Tokyo") in told(world)
    backend.stream.close_needed = True
    backend.connected_at = now
    pool.inherit_server(backend, is_idle=True)
    assert parameter("TimeZone", "Asia/Tokyo") in told(world)
