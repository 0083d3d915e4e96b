"""Replication clients: a server connection each, from the first message to the end."""

from __future__ import annotations

import pytest

from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, READY, error, kinds, message, query
from tests.fakes.world import Client, Server, World, WorldOf
from tests.unit.pool.test_writer_route import OTHER, in_cluster

COPY_BOTH = message(b"W", b"\0\0\0")
WAL = message(b"d", b"w")
COPY_DONE = message(b"c")
END = COPY_DONE + message(b"C", b"COPY 0\0") + READY


def replicator(world: World, word: str = "database", **more: str) -> Client:
    """Return a replication client, welcomed with an ordinary server's parameters."""
    world.leave(world.pair()[0])
    client = world.client(replication=word, **more)
    client.hear()
    return client


def streaming(world: World) -> tuple[Client, Server]:
    """Return a replication client and the server it streams from."""
    client = replicator(world)
    client.say(query("START_REPLICATION SLOT s LOGICAL 0/0"))
    server = world.server()
    server.say(COPY_BOTH)
    client.hear()
    server.hear()
    return client, server


def test_a_server_is_opened_at_the_first_message(world: World) -> None:
    """With the client's own parameters; the idle server is not for it."""
    client = replicator(
        world, application_name="standby", options="-c work_mem=1MB -x anything"
    )
    assert world.attempts == []
    client.say(query("IDENTIFY_SYSTEM"))
    server = world.accept()
    assert server.hear() == encode.startup_3_2(
        [
            ("user", "app"),
            ("database", "db"),
            ("replication", "database"),
            ("options", "-c work_mem=1MB -x anything"),
            ("application_name", "standby"),
        ]
    )
    server.log_in()
    assert server.hear() == query("IDENTIFY_SYSTEM")
    assert server.backend.replication == "logical"
    assert server.state() == client.state() == "active"


def test_the_welcome_of_a_first_client(world: World) -> None:
    """It comes from its own server: pg_basebackup names no real database."""
    client = world.client(replication="yes")
    assert client.state() == "waiting"
    server = world.accept()
    assert b"\0replication\0true\0" in server.hear()
    server.log_in(TimeZone="Asia/Tokyo")
    assert b"TimeZone\0Asia/Tokyo\0" in client.hear()
    client.say(query("IDENTIFY_SYSTEM"))
    assert server.hear() == query("IDENTIFY_SYSTEM")
    assert world.attempts == []
    assert world.pool().welcome is None


def test_both_ways(world: World) -> None:
    """Copy data goes both ways; after it commands again, on the same server."""
    client, server = streaming(world)
    server.say(WAL * 3)
    client.say(WAL)
    assert client.hear() == WAL * 3
    assert server.hear() == WAL
    client.say(COPY_DONE)
    server.say(END)
    assert client.hear() == END
    client.say(query("IDENTIFY_SYSTEM"))
    assert server.hear().endswith(query("IDENTIFY_SYSTEM"))


def test_nothing_is_set(world: World) -> None:
    """A walsender does not support SET, whatever parameters differ."""
    client = replicator(world, "true", TimeZone="Europe/Oslo")
    client.say(query("IDENTIFY_SYSTEM"))
    server = world.server()
    assert server.hear() == query("IDENTIFY_SYSTEM")


def test_the_server_goes_with_the_client(world: World) -> None:
    """No other client could use it."""
    client, server = streaming(world)
    client.drop()
    assert server.is_gone()
    assert world.logged("closing because: replication client disconnected")
    assert len(world.pool().servers) == 1


def test_a_server_without_a_stream_goes_too(world: World) -> None:
    """Its reason tells that nothing was broken off."""
    client = replicator(world)
    client.say(query("IDENTIFY_SYSTEM"))
    world.server().say(ANSWER)
    client.drop()
    assert world.logged("closing because: replication client was closed")


def test_the_client_goes_with_the_server(world: World) -> None:
    """The last message it received cannot be had again."""
    client, server = streaming(world)
    server.drop()
    assert client.fault == "server conn crashed?"
    assert client.is_gone()


def test_a_refused_login_is_the_clients_own(world: World) -> None:
    """Others, and the pool's memory of failures, are not concerned."""
    client = replicator(world)
    other = world.client()
    client.say(query("IDENTIFY_SYSTEM"))
    world.accept().refuse("no pg_hba.conf entry for replication", "28000")
    assert client.fault == "no pg_hba.conf entry for replication"
    assert client.is_gone()
    assert not other.is_gone()
    assert world.pool().failing == ""


def test_a_server_that_is_not_there(world: World) -> None:
    """The client gets the reason."""
    client = replicator(world)
    client.say(query("IDENTIFY_SYSTEM"))
    world.attempts[0].fail()
    assert client.fault == "connect failed"


@pytest.mark.parametrize("sqlstate", ["53300", "57P03", "57P01"])
def test_a_writer_that_refuses_for_now(world: World, sqlstate: str) -> None:
    """It is tried again, or the next one, as for any client of a cluster."""
    client = replicator(world)
    route = in_cluster(world)
    client.say(query("IDENTIFY_SYSTEM"))
    world.accept().refuse("not now", sqlstate)
    assert client.state() == "waiting"
    world.wait(0.5)
    (attempt,) = world.attempts
    attempt.fail()
    assert client.state() == "waiting"
    route.wait_for_writer()
    route.serve_from(OTHER, same=False)
    world.wait(0.5)
    server = world.server()
    assert server.backend.host == OTHER.host
    assert server.answer() == query("IDENTIFY_SYSTEM")
    assert client.hear() == ANSWER


def test_a_writer_that_does_not_let_it_in(world: World) -> None:
    """There is nothing to wait for."""
    client = replicator(world)
    in_cluster(world)
    client.say(query("IDENTIFY_SYSTEM"))
    world.accept().refuse("no pg_hba.conf entry for replication", "28000")
    assert client.fault == "no pg_hba.conf entry for replication"


def test_a_writer_that_goes_on_refusing(world_of: WorldOf) -> None:
    """For as long as any client may wait."""
    world = world_of(settings="query_wait_timeout = 2")
    client = replicator(world)
    in_cluster(world)
    client.say(query("IDENTIFY_SYSTEM"))
    for _ in range(3):
        world.accept().refuse("not now", "53300")
        world.wait(0.5)
    world.wait(1.0)
    assert client.fault == "query_wait_timeout"


def test_an_idle_server_makes_room(world_of: WorldOf) -> None:
    """A full pool evicts it; it waits for an active one."""
    world = world_of(settings="default_pool_size = 1")
    client = replicator(world)
    busy = world.client()
    busy.say(query())
    client.say(query("IDENTIFY_SYSTEM"))
    assert world.attempts == []
    (backend,) = world.pool().servers.values()
    assert client.state() == "waiting"
    Server(world, backend.transport).answer()  # type: ignore[arg-type] # a fake
    world.wait(1)
    assert world.logged("closing because: evicted")
    server = world.server()
    assert server.hear() == query("IDENTIFY_SYSTEM")


@pytest.mark.parametrize("least", [0, 1])
def test_a_server_that_is_to_be_checked_makes_room(
    world_of: WorldOf, least: int
) -> None:
    """No one else would check it; and the slot does not count for min_pool_size."""
    world = world_of(
        settings="default_pool_size = 1\nserver_check_delay = 0\n"
        f"min_pool_size = {least}"
    )
    busy, used = world.pair()
    world.leave(busy)
    world.wait(2)
    (backend,) = world.pool().servers.values()
    assert backend.state.column == "used"
    client = world.client(replication="database")
    client.hear()
    client.say(query("IDENTIFY_SYSTEM"))
    world.wait(1)
    assert used.is_gone()
    assert world.server().hear() == query("IDENTIFY_SYSTEM")


def test_reconnect_ends_a_stream(world: World) -> None:
    """The stream would never end on its own."""
    client, server = streaming(world)
    world.pool().expire_servers()
    world.wait(1)
    assert server.is_gone()
    assert client.fault == "database configuration changed"


def test_a_stream_is_no_slow_query(world_of: WorldOf) -> None:
    """The time limits of queries and transactions are not for it."""
    world = world_of(settings="query_timeout = 1\ntransaction_timeout = 1")
    client, _server = streaming(world)
    world.wait(5)
    assert not client.is_gone()


def test_a_pause_holds_it_back(world: World) -> None:
    """An attempt under way is given up, and made again after it."""
    client = replicator(world)
    client.say(query("IDENTIFY_SYSTEM"))
    world.context.paused = True
    world.pool().pause()
    assert world.attempts == []
    assert not client.is_gone()
    world.context.paused = False
    world.pool().resume()
    assert world.server().hear() == query("IDENTIFY_SYSTEM")


def test_waiting_has_the_usual_limit(world_of: WorldOf) -> None:
    """query_wait_timeout is for it too; so is the login's."""
    world = world_of(settings="query_wait_timeout = 4\nclient_login_timeout = 3")
    client = replicator(world)
    client.say(query("IDENTIFY_SYSTEM"))
    world.wait(5)
    assert client.fault == "query_wait_timeout"
    world.pool().expire_servers()
    for attempt in [*world.attempts]:
        attempt.fail()
    late = world.client(replication="database")
    world.wait(4)
    assert late.fault == "client_login_timeout (server down)"


def test_an_error_before_the_stream(world: World) -> None:
    """An ERROR of the walsender leaves both where they are."""
    client = replicator(world)
    client.say(query("START_REPLICATION SLOT none LOGICAL 0/0"))
    server = world.server()
    server.say(error("replication slot does not exist", "42704") + READY)
    assert kinds(client.hear()) == "EZ"
    assert not server.is_gone()
