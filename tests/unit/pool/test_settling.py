"""Parameters of a server made those of the client that is to have it."""

from __future__ import annotations

from tests.fakes.messages import ANSWER, IN_TRANSACTION, READY, error, parameter, query
from tests.fakes.world import Client, Server, World, WorldOf

ONE = "db = host=10.0.0.1 pool_size=1"
SET = "SET TimeZone='Europe/Oslo';"
DONE = parameter("TimeZone", "Europe/Oslo") + b"C\0\0\0\x08SET\0" + READY


def settling(world: World) -> tuple[Client, Server]:
    """Return a client from elsewhere, for whom an idle server is asked to SET."""
    _other, server = world.pair()
    client = world.client(timezone="Europe/Oslo")
    client.hear()
    client.say(query("SELECT now()"))
    assert server.hear() == query(SET)
    assert server.state() == "tested"
    return client, server


def test_set_before_the_first_query(world: World) -> None:
    """The client goes on when it is done, and sees nothing of it."""
    client, server = settling(world)
    assert client.state() == "active"
    server.say(DONE)
    assert server.hear() == query("SELECT now()")
    server.say(ANSWER)
    assert client.hear() == ANSWER
    client.say(query("SELECT 2"))
    assert server.hear() == query("SELECT 2")


def test_the_servers_spelling_is_kept(world: World) -> None:
    """What the server reports in its own words differs no more the next time."""
    _other, server = world.pair()
    client = world.client(datestyle="german")
    client.say(query())
    server.hear()
    server.say(parameter("DateStyle", "German, DMY") + READY)
    server.say(ANSWER)
    client.say(query("SELECT 2"))
    assert server.hear().endswith(query("SELECT 2"))
    assert server.state() == "active"
    tracking = world.context.tracking
    values = client.frontend.link.parameters
    assert tracking.value(values, "DateStyle") == "German, DMY"


def test_more_from_the_client_meanwhile(world: World) -> None:
    """It is kept, in order, and the client is read no further."""
    client, server = settling(world)
    client.say(query("SELECT 2"))
    assert not client.transport.reading
    server.say(DONE)
    assert server.hear() == query("SELECT now()") + query("SELECT 2")
    assert client.transport.reading


def test_refused(world: World) -> None:
    """Client and server are both closed; the log and the client hear why."""
    client, server = settling(world)
    server.say(error('invalid value for parameter "TimeZone"', "22023") + READY)
    assert client.is_gone()
    assert server.is_gone()
    assert client.fault == "invalid server parameter"
    assert world.logged(
        'varcache_apply failed: ERROR: invalid value for parameter "TimeZone"'
    )


def test_a_transaction_is_left_open(world: World) -> None:
    """No query of ours does that; the server is closed, the client hears of it."""
    client, server = settling(world)
    server.say(IN_TRANSACTION)
    assert server.is_gone()
    assert client.fault == "query of the pooler left a transaction open"


def test_the_client_leaves_meanwhile(world: World) -> None:
    """The server is as good as any, and serves the next."""
    client, server = settling(world)
    client.drop()
    assert server.state() == "tested"
    server.say(DONE)
    assert server.state() == "idle"
    assert world.pool().rack.idle == [server.backend.link]


def test_the_client_leaves_and_another_waits(world_of: WorldOf) -> None:
    """Which has different wishes again."""
    world = world_of(databases=ONE)
    client, server = settling(world)
    waiting = world.client()
    waiting.say(query("SELECT 2"))
    client.drop()
    server.say(DONE)
    assert server.hear() == query("SET TimeZone='UTC';")
    server.say(parameter("TimeZone", "UTC") + READY)
    assert server.hear() == query("SELECT 2")
    assert waiting.state() == "active"


def test_the_server_is_lost_meanwhile(world: World) -> None:
    """The client hears of it."""
    client, server = settling(world)
    server.drop()
    assert client.fault == "server conn crashed?"
    assert client.is_gone()


def test_a_waiter_is_settled_too(world_of: WorldOf) -> None:
    """A server that comes free for a client with other wishes."""
    world = world_of(databases=ONE)
    _first, server = world.asking()
    client = world.client(application_name="report")
    client.say(query("SELECT 2"))
    server.answer()
    assert server.hear() == query("SET application_name='report';")
    server.say(parameter("application_name", "report") + READY)
    assert server.hear() == query("SELECT 2")


def test_nothing_is_opened_for_it(world: World) -> None:
    """A server that is being settled has its client; others do not count on it."""
    _client, server = settling(world)
    other = world.client()
    other.hear()
    other.say(query("SELECT 2"))
    assert len(world.attempts) == 1
    server.say(DONE)
    assert other.state() == "waiting"
    world.server()
    assert other.state() == "active"


def test_a_value_that_cannot_be_set(world: World) -> None:
    """One that is too long is left alone; nothing else is to be done."""
    _other, server = world.pair()
    client = world.client(application_name="x" * 200)
    client.say(query())
    assert server.hear() == query()
