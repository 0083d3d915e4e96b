"""Clients that lose their server to a switchover, each in the middle of something."""

from __future__ import annotations

import pytest

from pgswitch.pool.writer_route import WriterRoute
from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    RESULT,
    TERMINATE,
    error,
    kinds,
    message,
    query,
    split,
)
from tests.fakes.world import Client, Server, World, WorldOf
from tests.unit.pool.test_writer_route import OTHER, in_cluster

SHUT_DOWN = error("terminating connection", "57P01", "FATAL")
CRASHING = b"N" + error("immediate shutdown", "57P01", "WARNING")[1:]
INSERT = query("INSERT INTO t VALUES (1)")


def lose(world: World, server: Server, *, says: bytes = b"") -> None:
    """Close a server, optionally with a shutdown notice, because the writer moves."""
    if says:
        server.say(says)
    server.drop()
    world.turn()
    route = world.pool().route
    assert isinstance(route, WriterRoute)
    route.wait_for_writer(is_leaving=True)
    route.serve_from(OTHER, same=False)


def begin(client: Client, server: Server) -> None:
    """Open a transaction."""
    client.say(query("BEGIN"))
    server.say(RESULT, IN_TRANSACTION)
    client.hear()


def code_of(heard: bytes) -> str:
    """Return the SQLSTATE of an error."""
    body = next(body for kind, body in split(heard) if kind == "E")
    return body.partition(b"\0C")[2].partition(b"\0")[0].decode()


@pytest.fixture
def pair(world: World) -> tuple[Client, Server]:
    """Return an idle client and an idle server of a cluster."""
    client, server = world.pair()
    in_cluster(world)
    return client, server


def test_again_unseen(world: World, pair: tuple[Client, Server]) -> None:
    """One statement that the server gave up is asked of the next one."""
    client, server = pair
    client.say(INSERT)
    assert server.hear() == INSERT
    lose(world, server, says=SHUT_DOWN)
    assert client.hear() == b""
    assert client.state() == "waiting"
    other = world.server()
    assert other.hear() == INSERT
    other.say(ANSWER)
    assert client.hear() == ANSWER


def test_again_in_the_extended_protocol(
    world: World, pair: tuple[Client, Server]
) -> None:
    """What the server had answered before its shutdown notice is not shown."""
    client, server = pair
    asked = (
        encode.parse("", "INSERT INTO t VALUES (1)")
        + encode.bind("", "")
        + encode.execute()
        + encode.sync()
    )
    client.say(asked)
    lose(world, server, says=message(b"1") + message(b"2") + SHUT_DOWN)
    assert client.hear() == b""
    other = world.server()
    assert other.hear() == asked


@pytest.mark.parametrize("says", [b"", CRASHING, RESULT, RESULT + SHUT_DOWN])
def test_outcome_unknown(
    world: World, pair: tuple[Client, Server], says: bytes
) -> None:
    """A write was lost with an unknown outcome: the client gets an error, and stays."""
    client, server = pair
    client.say(INSERT)
    lose(world, server, says=says)
    heard = client.hear()
    assert code_of(heard) == "08007"
    assert heard.endswith(READY)
    client.say(query())
    assert world.server().hear() == query()


def test_reads_are_asked_again(world: World, pair: tuple[Client, Server]) -> None:
    """Even without a word."""
    client, server = pair
    client.say(query("SELECT a FROM t"))
    lose(world, server)
    assert world.server().hear() == query("SELECT a FROM t")


def test_no_retry(world_of: WorldOf) -> None:
    """The setting turns it off: the client gets the server's error at once."""
    world = world_of(settings="switchover_retry = 0")
    client, server = world.pair()
    in_cluster(world)
    client.say(INSERT)
    lose(world, server, says=SHUT_DOWN)
    heard = client.hear()
    assert code_of(heard) == "57P01"
    assert b"switchover_retry is off" in heard
    client.say(query("SELECT a FROM t"))
    lose(world, world.server())
    assert code_of(client.hear()) == "08007"


def test_in_a_transaction(world: World, pair: tuple[Client, Server]) -> None:
    """It is lost, and refused until the client ends it; then life goes on."""
    client, server = pair
    begin(client, server)
    client.say(INSERT)
    lose(world, server)
    heard = client.hear()
    assert code_of(heard) == "40001"
    assert heard.endswith(b"E")
    client.say(INSERT)
    assert code_of(client.hear()) == "25P02"
    client.say(query("ROLLBACK"))
    assert kinds(client.hear()) == "CZ"
    client.say(INSERT)
    assert world.server().hear() == INSERT


def test_a_long_answer_in_a_transaction(
    world: World, pair: tuple[Client, Server]
) -> None:
    """Part of it was seen; it was no COMMIT, so the transaction is lost for certain."""
    client, server = pair
    begin(client, server)
    client.say(query("SELECT a FROM t"))
    server.say(message(b"D", b"row"))
    assert kinds(client.hear()) == "D"
    lose(world, server)
    heard = client.hear()
    assert (code_of(heard), kinds(heard)) == ("40001", "EZ")
    assert heard.endswith(b"E")


def test_too_long_to_remember_in_a_transaction(
    world: World, pair: tuple[Client, Server]
) -> None:
    """The request is unknown: 08007, and nothing runs before the client ends it."""
    client, server = pair
    begin(client, server)
    client.say(query("INSERT INTO t VALUES ('" + "x" * 100_000 + "')"))
    lose(world, server)
    heard = client.hear()
    assert code_of(heard) == "08007"
    assert heard.endswith(b"E")
    client.say(query("ROLLBACK"))
    assert kinds(client.hear()) == "CZ"


def test_idle_in_a_transaction(world: World, pair: tuple[Client, Server]) -> None:
    """The error answers the next statement; a COMMIT does not count as done."""
    client, server = pair
    begin(client, server)
    lose(world, server)
    assert client.hear() == b""
    client.say(query("COMMIT"))
    heard = client.hear()
    assert code_of(heard) == "40001"
    assert heard.endswith(READY)


def test_commit_in_flight(world: World, pair: tuple[Client, Server]) -> None:
    """The outcome is unknown."""
    client, server = pair
    begin(client, server)
    client.say(query("COMMIT"))
    lose(world, server)
    heard = client.hear()
    assert code_of(heard) == "08007"
    assert heard.endswith(READY)


def test_in_the_middle_of_an_answer(world: World, pair: tuple[Client, Server]) -> None:
    """Half a message cannot be followed by anything."""
    client, server = pair
    client.say(query("SELECT a FROM t"))
    server.say(message(b"D", b"x" * 100_000)[:50_000])
    assert client.hear()
    lose(world, server)
    assert client.is_gone()


def test_an_answer_and_a_last_word(world: World, pair: tuple[Client, Server]) -> None:
    """The client sees its answer, and nothing of the end."""
    client, server = pair
    client.say(INSERT)
    server.say(ANSWER + SHUT_DOWN)
    assert client.hear() == ANSWER
    client.say(query())
    assert server.hear() == INSERT + TERMINATE
    assert world.server().hear() == query()


def test_lost_while_parameters_are_set(
    world: World, pair: tuple[Client, Server]
) -> None:
    """The client has asked that server nothing yet, so it waits for the next."""
    _first, server = pair
    client = world.client(TimeZone="Asia/Tokyo")
    client.hear()
    client.say(INSERT)
    assert b"TimeZone" in server.hear()
    lose(world, server)
    assert client.hear() == b""
    other = world.server()
    other.answer()
    assert other.hear() == INSERT


def test_the_writer_leaves(world: World, pair: tuple[Client, Server]) -> None:
    """Active queries get their answer, or the shutdown notice that allows a retry."""
    client, server = pair
    route = in_cluster(world)
    client.say(INSERT)
    route.wait_for_writer(is_leaving=True)
    server.say(ANSWER)
    assert client.hear() == ANSWER
    world.turn()
    assert server.is_gone()


def test_cancelled_in_the_gap(world: World, pair: tuple[Client, Server]) -> None:
    """The wait ends with 57014; requests that follow it wait on."""
    client, _server = pair
    route = in_cluster(world)
    route.wait_for_writer()
    client.say(INSERT + query("next"))
    client.say(query("last"))
    assert client.state() == "waiting"
    world.connect().say(encode.cancel_request(client.frontend.cancel_key))
    heard = client.hear()
    assert (kinds(heard), code_of(heard)) == ("EZ", "57014")
    assert client.state() == "waiting"
    route.serve_from(OTHER, same=False)
    assert world.server().hear() == query("next") + query("last")


def test_a_pipeline_cancelled_in_the_gap(
    world: World, pair: tuple[Client, Server]
) -> None:
    """Its rest is skipped up to the Sync."""
    client, _server = pair
    route = in_cluster(world)
    route.wait_for_writer()
    client.say(encode.parse("", "SELECT 1") + encode.bind("", ""))
    world.connect().say(encode.cancel_request(client.frontend.cancel_key))
    assert code_of(client.hear()) == "57014"
    client.say(encode.execute() + encode.sync() + query())
    assert client.hear() == READY
    route.serve_from(OTHER, same=False)
    assert world.server().hear() == query()


def test_a_session(world_of: WorldOf) -> None:
    """Its state on the server is gone: the error comes at once, so it reconnects."""
    world = world_of(settings="pool_mode = session")
    client, server = world.pair()
    route = in_cluster(world)
    client.say(query())
    server.answer()
    client.hear()
    route.wait_for_writer()
    world.turn()
    assert code_of(client.hear()) == "57P01"
    assert client.is_gone()


def test_a_pipeline_without_its_sync(world: World, pair: tuple[Client, Server]) -> None:
    """The error comes at once, ReadyForQuery with the Sync."""
    client, server = pair
    insert = encode.parse("", "INSERT INTO t VALUES (1)") + encode.bind("", "")
    client.say(insert + encode.execute())
    lose(world, server)
    assert kinds(client.hear()) == "E"
    client.say(encode.bind("", "") + encode.execute() + encode.sync())
    assert client.hear() == READY
    client.say(query())
    assert world.server().hear() == query()


LONG = message(b"F", b"\0\0\0\1" + b"x" * 50_000)
"""A Query of this length would be held until it is there: its words may matter."""
TOO_LONG = query("INSERT INTO t VALUES ('" + "x" * 100_000 + "')")
HALF = 40_000


def test_half_a_statement(world: World, pair: tuple[Client, Server]) -> None:
    """No server can have carried it out: it goes whole to the next one."""
    client, server = pair
    client.say(LONG[:HALF])
    assert server.hear() == LONG[:HALF]
    lose(world, server)
    assert client.state() == "waiting"
    other = world.server()
    assert other.hear() == LONG[:HALF]
    client.say(LONG[HALF:] + query())
    assert other.hear() == LONG[HALF:] + query()
    other.say(ANSWER, ANSWER)
    assert client.hear() == ANSWER + ANSWER


def test_the_rest_comes_in_the_gap(world: World, pair: tuple[Client, Server]) -> None:
    """It waits with the beginning."""
    client, server = pair
    client.say(LONG[:HALF])
    lose(world, server)
    client.say(LONG[HALF:])
    assert world.server().hear() == LONG


def test_half_a_statement_too_long_to_remember(
    world: World, pair: tuple[Client, Server]
) -> None:
    """The client gets an error, the rest is dropped, and it goes on."""
    client, server = pair
    client.say(TOO_LONG[:90_000])
    lose(world, server)
    heard = client.hear()
    assert (code_of(heard), kinds(heard)) == ("08007", "EZ")
    client.say(TOO_LONG[90_000:95_000])
    client.say(TOO_LONG[95_000:] + query())
    assert world.server().hear() == query()


def test_half_a_statement_in_a_transaction(
    world: World, pair: tuple[Client, Server]
) -> None:
    """The transaction is lost, and the rest of the statement dropped."""
    client, server = pair
    begin(client, server)
    client.say(LONG[:HALF])
    lose(world, server)
    heard = client.hear()
    assert (code_of(heard), kinds(heard)) == ("40001", "EZ")
    client.say(LONG[HALF:] + INSERT)
    assert code_of(client.hear()) == "25P02"
    client.say(query("ROLLBACK"))
    assert kinds(client.hear()) == "CZ"
    client.say(INSERT)
    assert world.server().hear() == INSERT


@pytest.mark.parametrize("cut", [3, 12])
def test_a_cut_behind_a_statement(
    world: World, pair: tuple[Client, Server], cut: int
) -> None:
    """The incomplete message held back is no part of what the server was asked."""
    client, server = pair
    asked = encode.parse("s", "SELECT 1")
    client.say(query("SELECT a FROM t") + asked[:cut])
    lose(world, server)
    other = world.server()
    assert other.hear() == query("SELECT a FROM t")
    other.say(ANSWER)
    assert client.hear() == ANSWER
    client.say(asked[cut:] + encode.sync())
    assert b"SELECT 1" in other.hear()


def test_half_a_row_of_copy(world: World, pair: tuple[Client, Server]) -> None:
    """The end of a COPY is reported at once; what still comes of it is dropped."""
    client, server = pair
    client.say(query("COPY t FROM STDIN"))
    server.say(message(b"G", b"\0\0\0"))
    client.hear()
    row = message(b"d", b"x" * 50_000)
    client.say(row[:HALF])
    lose(world, server)
    heard = client.hear()
    assert (code_of(heard), kinds(heard)) == ("08007", "EZ")
    client.say(row[HALF:] + message(b"d", b"y") + message(b"c") + query())
    assert world.server().hear() == query()


def test_the_rest_of_a_row_is_no_statement(
    world: World, pair: tuple[Client, Server]
) -> None:
    """A COPY fails in the middle of a row: the requests that follow it are unknown."""
    client, server = pair
    client.say(query("COPY t FROM STDIN"))
    server.say(message(b"G", b"\0\0\0"))
    row = message(b"d", b"x" * 50_000)
    client.say(row[:HALF])
    server.say(error("bad row", "22P02"), READY)
    client.hear()
    client.say(row[HALF:] + query("SELECT a FROM t"))
    assert server.hear().endswith(query("SELECT a FROM t"))
    lose(world, server)
    assert code_of(client.hear()) == "08007"
