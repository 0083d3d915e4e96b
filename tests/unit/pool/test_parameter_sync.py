"""Parameters of a server made those of the client that is to have it."""

from __future__ import annotations

import pytest

from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    error,
    message,
    parameter,
    query,
)
from tests.fakes.world import Client, Server, World, WorldOf

ONE = "db = host=10.0.0.1 pool_size=1"
SET = "SET TimeZone='Europe/Oslo';"
DONE = parameter("TimeZone", "Europe/Oslo") + b"C\0\0\0\x08SET\0" + READY


def parameter_sync(world: World) -> tuple[Client, Server]:
    """Return a client of other parameters, and an idle server that is asked to SET."""
    _other, server = world.pair()
    client = world.client(timezone="Europe/Oslo")
    client.hear()
    client.say(query("SELECT now()"))
    assert server.hear() == query(SET)
    assert server.state() == "tested"
    return client, server


def test_set_before_the_first_query(world: World) -> None:
    """The client goes on when it is done, and sees nothing of it."""
    client, server = parameter_sync(world)
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
    values = client.frontend.stream.parameters
    assert tracking.value(values, "DateStyle") == "German, DMY"


def test_more_from_the_client_meanwhile(world: World) -> None:
    """It is kept, in order, and the client is read no further."""
    client, server = parameter_sync(world)
    client.say(query("SELECT 2"))
    assert not client.transport.reading
    server.say(DONE)
    assert server.hear() == query("SELECT now()") + query("SELECT 2")
    assert client.transport.reading


def test_refused(world: World) -> None:
    """Client and log get the reason; the server is unchanged, and serves others."""
    client, server = parameter_sync(world)
    server.say(error('invalid value for parameter "TimeZone"', "22023") + READY)
    assert client.is_gone()
    assert client.fault == "invalid server parameter"
    assert server.state() == "idle"
    assert world.logged(
        'varcache_apply failed: ERROR: invalid value for parameter "TimeZone"'
    )
    other = world.client()
    other.hear()
    other.say(query("SELECT 2"))
    assert server.hear() == query("SELECT 2")


def test_refused_while_another_waits(world_of: WorldOf) -> None:
    """It gets the server at once."""
    world = world_of(databases=ONE)
    client, server = parameter_sync(world)
    waiting = world.client(timezone="Asia/Tokyo")
    waiting.say(query("SELECT 2"))
    server.say(error("no").replace(b"XX000", b"22023") + READY)
    assert client.is_gone()
    assert server.hear() == query("SET TimeZone='Asia/Tokyo';")


def test_refused_after_the_client_has_left(world: World) -> None:
    """No client gets the error; the server stays in use."""
    client, server = parameter_sync(world)
    client.drop()
    server.say(error("no", "22023") + READY)
    assert server.state() == "idle"
    assert world.pool().idle_pool.idle == [server.backend.stream]


@pytest.mark.parametrize("sqlstate", ["XX000", "57P01", "58030", "08006"])
def test_refused_for_reasons_of_the_server(world: World, sqlstate: str) -> None:
    """It may be in a bad state, so it is closed."""
    client, server = parameter_sync(world)
    server.say(error("bad", sqlstate) + READY)
    assert client.is_gone()
    assert server.is_gone()


def test_a_transaction_is_left_open(world: World) -> None:
    """No internal query does that; the server is closed, the client gets the error."""
    client, server = parameter_sync(world)
    server.say(IN_TRANSACTION)
    assert server.is_gone()
    assert client.fault == "query of the pooler left a transaction open"


def test_the_client_leaves_meanwhile(world: World) -> None:
    """The server is as good as any, and serves the next."""
    client, server = parameter_sync(world)
    client.drop()
    assert server.state() == "tested"
    server.say(DONE)
    assert server.state() == "idle"
    assert world.pool().idle_pool.idle == [server.backend.stream]


def test_the_client_leaves_and_another_waits(world_of: WorldOf) -> None:
    """Which has different wishes again."""
    world = world_of(databases=ONE)
    client, server = parameter_sync(world)
    waiting = world.client()
    waiting.say(query("SELECT 2"))
    client.drop()
    server.say(DONE)
    assert server.hear() == query("SET TimeZone='UTC';")
    server.say(parameter("TimeZone", "UTC") + READY)
    assert server.hear() == query("SELECT 2")
    assert waiting.state() == "active"


def test_the_server_is_lost_meanwhile(world: World) -> None:
    """The client gets an error."""
    client, server = parameter_sync(world)
    server.drop()
    assert client.fault == "server conn crashed?"
    assert client.is_gone()


def test_the_server_shuts_down_in_the_chunk_that_answers(world: World) -> None:
    """It was no idle server: the client learns that its server is gone."""
    client, server = parameter_sync(world)
    server.say(DONE + error("terminating connection", "57P01", "FATAL"))
    assert server.is_gone()
    assert client.fault == "server conn crashed?"


def test_a_waiters_parameters_are_synced_too(world_of: WorldOf) -> None:
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
    """A server whose parameters are being synced has its client; no other gets it."""
    _client, server = parameter_sync(world)
    other = world.client()
    other.hear()
    other.say(query("SELECT 2"))
    assert len(world.attempts) == 1
    server.say(DONE)
    assert other.state() == "waiting"
    world.server()
    assert other.state() == "active"


def test_no_value_is_too_long(world_of: WorldOf) -> None:
    """Neither is another's left in force; a name is cut as a server cuts it."""
    world = world_of(settings="track_extra_parameters = search_path")
    _other, server = world.pair(search_path="another", application_name="another")
    long = "x" * 5000
    client = world.client(search_path=long, application_name=long)
    client.say(query())
    assert server.hear() == query(
        f"SET application_name='{'x' * 63}';"
        f"SELECT pg_catalog.set_config('search_path', '{long}', false);"
    )


def test_a_name_that_is_no_text(world_of: WorldOf) -> None:
    """A server would clean it; so do we, and the server takes it."""
    world = world_of()
    _other, server = world.pair()
    client = world.client(application_name="\udcff")
    assert parameter("application_name", "\\xff") in client.hear()
    client.say(query())
    assert server.hear() == query("SET application_name= E'\\\\xff';")


def test_half_a_date_style(world: World) -> None:
    """The other half is the server's default, not what the last client had."""
    other, server = world.pair(datestyle="sql, dmy")
    other.say(query())
    server.hear()
    server.say(parameter("DateStyle", "SQL, DMY") + READY)
    server.answer()
    client = world.client(datestyle="iso")
    assert parameter("DateStyle", "ISO, MDY") in client.hear()
    client.say(query())
    assert server.hear() == query("SET DateStyle='ISO, MDY';")


@pytest.mark.parametrize("verbosity", [1, 2])
def test_what_is_set_is_logged(world: World, verbosity: int) -> None:
    """At verbose=2: what is sent, and what a client's words have become."""
    _other, server = world.pair()
    world.captured.log.verbosity = verbosity
    client = world.client(datestyle="iso", timezone="Europe/Oslo")
    client.say(query())
    server.hear()
    done = message(b"C", b"SET\0") + READY
    server.say(parameter("TimeZone", "Europe/Oslo (as it says)") + done)
    style, sent, zone = (
        world.logged(f"NOISE {client.frontend.prefix} {what}")
        for what in (
            "setting DateStyle to its canonical version iso -> ISO, MDY",
            f"varcache_apply: {SET}",
            "setting TimeZone to its canonical version Europe/Oslo ->",
        )
    )
    assert style == sent == zone == (verbosity > 1)


def test_the_same_in_another_case_costs_nothing(world: World) -> None:
    """It is the server's spelling from then on, which is found the same at once."""
    _other, server = world.pair()
    client = world.client(timezone="utc")
    client.say(query())
    assert server.answer() == query()
    assert client.frontend.stream.parameters is server.backend.stream.parameters


# Parameters that are tracked and that the server does not report.

UNREPORTED = "track_extra_parameters = search_path"
ASK = "SELECT pg_catalog.set_config('search_path', '{}', false);"


def took(server: Server, text: str) -> None:
    """Let a server that was asked this do it, without a report."""
    assert server.hear() == query(text)
    server.say(ANSWER)


def test_what_is_not_reported_is_set_and_remembered(world_of: WorldOf) -> None:
    """Once, until a client wants another; one without a value gets the server's own."""
    world = world_of(settings=UNREPORTED)
    one, server = world.pair(search_path="one")
    two = world.client(search_path="two")
    none = world.client()
    for client in (two, none):
        client.hear()
    none.say(query())
    assert server.answer() == query()
    for _ in range(2):
        one.say(query("SELECT 1"))
        took(server, ASK.format("one"))
        assert server.answer() == query("SELECT 1")
        one.say(query("SELECT 1"))
        assert server.answer() == query("SELECT 1")
        two.say(query("SELECT 2"))
        took(server, ASK.format("two"))
        assert server.answer() == query("SELECT 2")
        none.say(query("SELECT 3"))
        took(server, "RESET search_path;")
        assert server.answer() == query("SELECT 3")
        none.say(query("SELECT 3"))
        assert server.answer() == query("SELECT 3")


def test_a_refusal_is_not_remembered(world_of: WorldOf) -> None:
    """The server still has what it had."""
    world = world_of(settings=UNREPORTED)
    one, server = world.pair(search_path="one")
    one.say(query("SELECT 1"))
    took(server, ASK.format("one"))
    server.answer()
    bad = world.client(search_path="a b")
    bad.hear()
    bad.say(query())
    server.hear()
    server.say(error("invalid", "22023") + READY)
    assert bad.is_gone()
    one.say(query("SELECT 1"))
    assert server.answer() == query("SELECT 1")


@pytest.mark.parametrize("tag", [b"DISCARD ALL\0", b"RESET\0"])
def test_a_reset_server_is_set_again(world_of: WorldOf, tag: bytes) -> None:
    """server_reset_query undoes what was set, or some of it."""
    world = world_of(
        settings=f"{UNREPORTED}\nserver_reset_query = DISCARD ALL\n"
        "server_reset_query_always = 1"
    )
    one, server = world.pair(search_path="one")
    for _ in range(2):
        one.say(query("SELECT 1"))
        took(server, ASK.format("one"))
        assert server.answer() == query("SELECT 1")
        assert server.hear() == query("DISCARD ALL")
        server.say(message(b"C", tag) + READY)


def test_a_client_that_discards_all(world_of: WorldOf) -> None:
    """It is then as after its login, which had its search_path."""
    world = world_of(settings=UNREPORTED)
    one, server = world.pair(search_path="one")
    one.say(query("SELECT 1"))
    took(server, ASK.format("one"))
    server.answer()
    one.say(query("DISCARD ALL"))
    server.hear()
    server.say(message(b"C", b"DISCARD ALL\0") + READY)
    one.say(query("SELECT 1"))
    took(server, ASK.format("one"))


# Values that are not ASCII.


def test_the_encoding_is_set_first(world_of: WorldOf) -> None:
    """In a query of its own; the client goes on after the second."""
    world = world_of(settings=UNREPORTED)
    _other, server = world.pair()
    client = world.client(search_path="\udce9", client_encoding="LATIN1")
    client.hear()
    client.say(query("SELECT 1"))
    assert server.hear() == query("SET client_encoding='LATIN1';")
    server.say(parameter("client_encoding", "LATIN1") + READY)
    assert server.state() == "tested"
    second = b"SELECT pg_catalog.set_config('search_path', '\xe9', false);"
    assert server.hear() == message(b"Q", second + b"\0")
    server.say(READY)
    assert server.hear() == query("SELECT 1")


def test_the_client_leaves_between_the_two(world_of: WorldOf) -> None:
    """What has been set is known; the server serves the next."""
    world = world_of(settings=UNREPORTED)
    other, server = world.pair()
    client = world.client(search_path="\udce9", client_encoding="LATIN1")
    client.hear()
    client.say(query())
    server.hear()
    client.drop()
    server.say(parameter("client_encoding", "LATIN1") + READY)
    server.hear()
    server.say(READY)
    assert server.state() == "idle"
    other.say(query())
    assert server.hear() == query("SET client_encoding='UTF8';RESET search_path;")


def test_the_second_is_refused(world_of: WorldOf) -> None:
    """The first holds, and nothing else."""
    world = world_of(settings=UNREPORTED)
    other, server = world.pair()
    client = world.client(search_path="\udce9", client_encoding="LATIN1")
    client.hear()
    client.say(query())
    server.hear()
    server.say(parameter("client_encoding", "LATIN1") + READY)
    server.hear()
    server.say(error("invalid byte sequence", "22021") + READY)
    assert client.is_gone()
    other.say(query())
    assert server.hear() == query("SET client_encoding='UTF8';")
