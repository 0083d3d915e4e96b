"""Deadlines: one by one, just before and just after."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.pool.maintenance import INTERVAL_S
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    RESULT,
    error_text,
    message,
    query,
    split,
)
from tests.fakes.world import Client, End, World, WorldOf

ONE = "db = host=10.0.0.1 pool_size=1"
BEGUN = message(b"C", b"BEGIN\0") + IN_TRANSACTION
SLACK_S = 2 * INTERVAL_S
"""A sweep comes within one interval; another for the steps of the clock."""


def waits_for_login(world: World) -> End:
    """Return a client whose login no server has answered."""
    return world.client()


def waits_in_queue(world: World) -> Client:
    """Return a client whose query waits."""
    world.asking()
    client = world.client()
    client.say(query())
    return client


def connects(world: World) -> End:
    """Return a server that has not answered the login."""
    world.client()
    return world.accept()


def runs(world: World) -> End:
    """Return a server that runs a query."""
    return world.asking()[1]


def idles_in_transaction(world: World) -> End:
    """Return a server that waits in a transaction for the next query."""
    _client, server = world.asking("BEGIN")
    server.say(BEGUN)
    return server


def is_reset(world: World) -> End:
    """Return a server that does not answer the reset."""
    client, server = world.asking()
    server.answer()
    world.leave(client)
    return server


def idles(world: World) -> End:
    """Return an idle server."""
    return world.pair()[1]


DEADLINES: list[tuple[str, Callable[[World], End], float, str]] = [
    ("client_login_timeout = 20", waits_for_login, 20, "client_login_timeout"),
    ("query_wait_timeout = 20", waits_for_login, 20, "query_wait_timeout"),
    ("query_wait_timeout = 20", waits_in_queue, 20, "query_wait_timeout"),
    ("query_timeout = 20", waits_in_queue, 20, "query_timeout"),
    ("server_connect_timeout = 20", connects, 20, "connect timeout"),
    ("query_timeout = 20", runs, 20, "query timeout"),
    ("transaction_timeout = 20", runs, 20, "transaction timeout"),
    ("transaction_timeout = 20", idles_in_transaction, 20, "transaction timeout"),
    (
        "idle_transaction_timeout = 20",
        idles_in_transaction,
        20,
        "idle transaction timeout",
    ),
    (
        "pool_mode = session\nserver_connect_timeout = 20",
        is_reset,
        20,
        "test query failed",
    ),
    ("pool_mode = session\nquery_timeout = 20", is_reset, 20, "test query failed"),
    ("server_idle_timeout = 20", idles, 20, "server idle timeout"),
    ("server_lifetime = 20", idles, 20, "server lifetime over"),
]


@pytest.mark.parametrize(("settings", "make", "limit", "reason"), DEADLINES)
def test_deadlines(
    world_of: WorldOf,
    settings: str,
    make: Callable[[World], End],
    limit: float,
    reason: str,
) -> None:
    """Nothing ends before its time, everything does soon after."""
    world = world_of(databases=ONE, settings=settings)
    end = make(world)
    world.wait(limit - 0.1)
    assert not end.is_gone()
    world.wait(0.1 + SLACK_S)
    assert end.is_gone()
    assert world.logged(f"closing because: {reason}")


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ("query_wait_timeout = 0", waits_in_queue),
        ("client_login_timeout = 0\nquery_wait_timeout = 0", waits_for_login),
        ("server_connect_timeout = 0", connects),
        ("", runs),
        ("", idles_in_transaction),
        ("pool_mode = session\nserver_connect_timeout = 0", is_reset),
        ("server_idle_timeout = 0\nserver_lifetime = 100000", idles),
    ],
)
def test_no_deadline(
    world_of: WorldOf, settings: str, make: Callable[[World], End]
) -> None:
    """0 stands for never."""
    world = world_of(databases=ONE, settings=settings)
    end = make(world)
    world.wait(1000)
    assert not end.is_gone()


def test_a_busy_transaction_is_not_idle(world_of: WorldOf) -> None:
    """idle_transaction_timeout counts from the last answer, not while one is due."""
    world = world_of(settings="idle_transaction_timeout = 20")
    client, server = world.asking("BEGIN")
    server.say(BEGUN)
    for _ in range(3):
        world.wait(15)
        client.say(query())
        world.wait(30)
        server.say(RESULT + IN_TRANSACTION)
    assert not server.is_gone()
    assert client.hear() == BEGUN + 3 * (RESULT + IN_TRANSACTION)


def test_telling_those_who_wait(world_of: WorldOf) -> None:
    """Once, when the time of query_wait_notify is over."""
    world = world_of(databases=ONE, settings="query_wait_notify = 5")
    client = waits_in_queue(world)
    client.hear()
    world.wait(5)
    assert client.hear() == b""
    world.wait(1 + SLACK_S)
    ((kind, body),) = split(client.hear())
    assert kind == "N"
    assert b"No server connection available" in body
    world.wait(20)
    assert client.hear() == b""
    (server,) = [one.stream for one in world.pool().backends()]
    server.take(ANSWER)
    assert client.state() == "active"
    server.take(ANSWER)
    client.hear()
    other = world.client()
    other.say(query())
    client.say(query())
    world.wait(6 + SLACK_S)
    assert split(client.hear())[0][0] == "N"


def test_no_client_to_notify(world_of: WorldOf) -> None:
    """Neither with 0 nor with less, however long they wait."""
    for least in (0, -1, -(2**31)):
        world = world_of(databases=ONE, settings=f"query_wait_notify = {least}")
        client = waits_in_queue(world)
        client.hear()
        world.wait(20)
        assert client.hear() == b""


def test_what_ended_clients_receive(world_of: WorldOf) -> None:
    """The name of the setting, as PgBouncer's words have it."""
    world = world_of(databases=ONE, settings="query_wait_timeout = 5")
    client = waits_in_queue(world)
    client.hear()
    world.wait(6)
    assert error_text(client.hear()) == "query_wait_timeout"


def test_a_wait_that_times_out_has_a_reason(world_of: WorldOf) -> None:
    """What befell the last attempt is the DETAIL, if there was one."""
    world = world_of(databases=ONE, settings="query_wait_timeout = 20")
    client = world.client()
    world.accept().refuse("too many clients", "53300")
    assert client.is_gone()
    client = world.client()
    world.wait(20 + SLACK_S)
    heard = client.hear()
    assert error_text(heard) == "query_wait_timeout"
    assert b"\0DThe last login failed: too many clients.\0" in heard


def test_lifetimes_end_one_after_the_other(world_of: WorldOf) -> None:
    """A pool that was opened at once is not closed at once."""
    world = world_of(
        databases="db = host=10.0.0.1 pool_size=4",
        settings="server_lifetime = 100\nserver_idle_timeout = 0",
    )
    clients = [world.asking()[0], *(world.client() for _ in range(3))]
    for client in clients[1:]:
        client.say(query())
    servers = [world.server() for _ in range(3)]
    for server in servers:
        server.say(ANSWER)
    world.wait(100 + SLACK_S)
    assert sum(server.is_gone() for server in servers) == 1
    world.wait(25)
    assert sum(server.is_gone() for server in servers) == 2


def test_a_used_server_is_not_too_old(world_of: WorldOf) -> None:
    """Its lifetime ends when it is released."""
    world = world_of(settings="server_lifetime = 20")
    client, server = world.asking()
    world.wait(30)
    assert not server.is_gone()
    server.answer()
    world.wait(SLACK_S)
    assert server.is_gone()
    assert client.hear().endswith(ANSWER)


def test_checking_what_was_idle_for_long(world_of: WorldOf) -> None:
    """After server_check_delay a server must answer the check before its next use."""
    world = world_of(settings="server_check_query = SELECT 5\nserver_check_delay = 10")
    client, server = world.pair()
    world.wait(9)
    assert server.state() == "idle"
    world.wait(1 + SLACK_S)
    assert server.state() == "used"
    client.say(query())
    assert server.state() == "tested"
    assert server.answer() == query("SELECT 5")
    assert server.hear() == query()


def test_min_pool_size(world_of: WorldOf) -> None:
    """As many are kept, also when one is lost; idle ones are not closed below it."""
    world = world_of(
        databases="db = host=10.0.0.1 min_pool_size=3",
        settings="server_idle_timeout = 10\nserver_lifetime = 100000",
    )
    world.pair()
    world.wait(SLACK_S)
    assert len(world.attempts) == 2
    servers = [world.server() for _ in range(2)]
    world.wait(60)
    assert len(world.pool().servers) == 3
    servers[0].drop()
    assert len(world.attempts) == 1


def test_a_smaller_pool(world_of: WorldOf) -> None:
    """After a reload, what is idle and too many is closed; what works stays."""
    world = world_of(databases="db = host=10.0.0.1 pool_size=3")
    _client, busy = world.asking()
    others = [world.client() for _ in range(2)]
    for one in others:
        one.say(query())
    servers = [world.server() for _ in range(2)]
    for server in servers:
        server.say(RESULT + READY)
    world.reload(databases=ONE)
    world.wait(SLACK_S)
    assert [server.is_gone() for server in servers] == [True, True]
    assert not busy.is_gone()
    assert world.logged("closing because: too many servers in the pool (")
