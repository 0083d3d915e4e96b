"""What clients can do that have lost a transaction, or a part of a pipeline."""

from __future__ import annotations

import pytest

from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    RESULT,
    close_statement,
    error,
    error_code,
    kinds,
    message,
    query,
    split,
)
from tests.fakes.world import Client, Server, World
from tests.unit.pool.test_writer_route import in_cluster

FAILED = b"Z\0\0\0\5E"
ROLLED_BACK = encode.command_complete("ROLLBACK")
FLUSH = message(b"H")
DONE = message(b"1") + message(b"2") + message(b"C", b"INSERT 0 1\0")
INSERT = "INSERT INTO t VALUES (1)"


def run(text: str, name: str = "") -> bytes:
    """Return the messages that run a statement by the extended protocol."""
    return encode.parse(name, text) + encode.bind("", name) + encode.execute()


def begin(client: Client, server: Server) -> None:
    """Open a transaction."""
    client.say(query("BEGIN"))
    server.say(RESULT, IN_TRANSACTION)
    client.hear()


def lose(world: World, server: Server) -> None:
    """Let a server go."""
    server.drop()
    world.turn()


@pytest.fixture
def pair(world: World) -> tuple[Client, Server]:
    """Return an idle client and an idle server of a cluster."""
    client, server = world.pair()
    in_cluster(world)
    return client, server


@pytest.fixture
def client(world: World, pair: tuple[Client, Server]) -> Client:
    """Return a client that has lost a transaction and knows it."""
    client, server = pair
    begin(client, server)
    client.say(query())
    lose(world, server)
    assert error_code(client.hear()) == "40001"
    return client


@pytest.mark.parametrize(
    "asked",
    [
        query(f"ROLLBACK; {INSERT}"),
        query(f"/* x */ ABORT -- y\n; {INSERT}"),
        query("ROLLBACK") + query(INSERT),
        run("ROLLBACK") + run(INSERT) + encode.sync(),
        query("COMMIT AND CHAIN"),
    ],
)
def test_what_stands_behind_a_rollback_may_be_done(
    world: World, pair: tuple[Client, Server], asked: bytes
) -> None:
    """It was outside of the transaction: that nothing was committed is not certain."""
    client, server = pair
    begin(client, server)
    client.say(asked)
    lose(world, server)
    heard = client.hear()
    assert error_code(heard) == "08007"
    assert heard.endswith(READY)
    client.say(query())
    assert world.server().hear() == query()


def test_the_rest_of_a_text(world: World, client: Client) -> None:
    """The next server executes it; the messages that follow wait their turn."""
    client.say(query(f"ROLLBACK; {INSERT}; SELECT 1") + query("SELECT 2"))
    assert client.hear() == ROLLED_BACK
    server = world.server()
    assert server.hear() == query(f" {INSERT}; SELECT 1") + query("SELECT 2")
    server.say(ANSWER, ANSWER)
    assert client.hear() == ANSWER * 2
    assert client.state() == "idle"


def test_the_rest_of_a_text_about_statements(world: World, client: Client) -> None:
    """It is looked at as any text is."""
    client.say(query("ROLLBACK; PREPARE a AS SELECT 1; SELECT 2"))
    server = world.server()
    assert server.hear() == query(" PREPARE a AS SELECT 1; SELECT 2")
    server.say(encode.command_complete("PREPARE"), RESULT, READY)
    client.hear()
    assert server.state() != "idle"  # until what it has prepared is dropped


def test_a_text_that_comes_in_pieces(world: World, client: Client) -> None:
    """One byte at a time, followed by a message."""
    for byte in query("ROLLBACK; SELECT 1") + query("SELECT 2"):
        client.say(bytes((byte,)))
    server = world.server()
    server.say(ANSWER)
    assert server.hear() == query(" SELECT 1") + query("SELECT 2")
    server.say(ANSWER)
    assert client.hear() == ROLLED_BACK + ANSWER * 2


@pytest.mark.parametrize("flushed", [b"", FLUSH])
def test_the_rest_of_a_pipeline(world: World, client: Client, flushed: bytes) -> None:
    """It goes to the next server from the first message that needs one."""
    follows = run(INSERT) + encode.sync()
    client.say(run("ROLLBACK") + flushed + follows + query())
    assert client.hear() == message(b"1") + message(b"2") + ROLLED_BACK
    server = world.server()
    assert server.hear() == follows + query()
    server.say(DONE, READY, ANSWER)
    assert client.hear() == DONE + READY + ANSWER


def test_a_rollback_needs_no_server(world: World, client: Client) -> None:
    """It is answered whether there is one or not."""
    client.say(run("ROLLBACK") + encode.sync())
    heard = message(b"1") + message(b"2") + ROLLED_BACK + READY
    assert client.hear() == heard
    assert client.state() == "idle"
    begin_again = query("/* x */ BEGIN")
    client.say(begin_again)
    assert world.server().hear() == begin_again


def test_a_name_prepared_in_between(world: World, client: Client) -> None:
    """It is there afterwards, on any server."""
    client.say(encode.parse("back", "ROLLBACK") + encode.sync())
    assert client.hear() == message(b"1") + FAILED
    use = encode.bind("", "back") + encode.execute() + encode.sync()
    client.say(use)
    assert client.hear() == message(b"2") + ROLLED_BACK + READY
    client.say(use)
    heard = split(world.server().hear())
    assert [kind for kind, _ in heard] == ["P", "B", "E", "S"]
    assert heard[0][1].startswith(b"PGBOUNCER_1\0ROLLBACK\0")
    assert heard[1][1].startswith(b"\0PGBOUNCER_1\0")


def test_a_name_closed_in_between(world: World, pair: tuple[Client, Server]) -> None:
    """It can be used again, and means what it was given then."""
    client, server = pair
    client.say(encode.parse("n", "SELECT 1") + encode.sync())
    server.say(message(b"1"), READY)
    begin(client, server)
    lose(world, server)
    client.say(query())
    client.hear()
    client.say(close_statement("n") + encode.sync() + query("ROLLBACK"))
    assert client.hear() == message(b"3") + FAILED + ROLLED_BACK + READY
    client.say(encode.parse("n", "SELECT 2") + encode.sync())
    heard = world.server().hear()
    assert b"\0SELECT 2\0" in heard
    assert b"\0SELECT 1\0" not in heard


@pytest.mark.parametrize(
    "follows", [encode.sync(), run(INSERT) + encode.sync(), query(), FLUSH + query()]
)
def test_a_pipeline_lost_between_its_messages(
    world: World, pair: tuple[Client, Server], follows: bytes
) -> None:
    """Its Sync would commit what was done: it must not seem to."""
    client, server = pair
    client.say(run(INSERT) + FLUSH)
    server.say(DONE)
    assert client.hear() == DONE
    lose(world, server)
    assert client.hear() == b""
    client.say(follows)
    heard = client.hear()
    assert error_code(heard) == "40001"
    assert kinds(heard) == "EZ"
    assert heard.endswith(READY)
    client.say(query())
    assert world.server().hear() == query()


@pytest.mark.parametrize("follows", [encode.sync(), run("SELECT a FROM t")])
def test_a_pipeline_lost_with_its_end(
    world: World, pair: tuple[Client, Server], follows: bytes
) -> None:
    """The Sync may have been read; what was done before is not done again."""
    client, server = pair
    client.say(run(INSERT) + FLUSH)
    server.say(DONE)
    client.say(follows)
    lose(world, server)
    assert error_code(client.hear()) == "08007"


def test_a_pipeline_that_had_only_parsed(
    world: World, pair: tuple[Client, Server]
) -> None:
    """Nothing is lost but the unnamed statement, which has no copy."""
    client, server = pair
    client.say(encode.parse("", INSERT) + FLUSH)
    server.say(message(b"1"))
    lose(world, server)
    client.say(encode.bind("", "") + encode.execute() + encode.sync())
    assert kinds(client.hear()) == "1"
    assert kinds(world.server().hear()) == "CBES"


def test_two_losses(world: World, pair: tuple[Client, Server]) -> None:
    """What the first has taken is no matter of the second."""
    client, server = pair
    client.say(run(INSERT))
    lose(world, server)
    client.say(encode.sync())
    assert error_code(client.hear()) == "08007"
    client.say(encode.parse("", INSERT) + FLUSH)
    server = world.server()
    server.say(message(b"1"))
    lose(world, server)
    client.say(encode.sync())
    assert client.hear() == message(b"1")
    server = world.server()
    assert server.hear() == encode.sync()
    server.say(READY)
    assert client.hear() == READY


@pytest.mark.parametrize("in_transaction", [True, False])
def test_a_pipeline_that_had_failed(
    world: World,
    pair: tuple[Client, Server],
    in_transaction: bool,  # noqa: FBT001
) -> None:
    """What is left of it is skipped, as the server would have skipped it."""
    client, server = pair
    if in_transaction:
        begin(client, server)
    client.say(run(INSERT) + FLUSH)
    server.say(error("division by zero", "22012"))
    assert error_code(client.hear()) == "22012"
    lose(world, server)
    client.say(run(INSERT) + encode.sync())
    assert client.hear() == (FAILED if in_transaction else READY)
    client.say(query("ROLLBACK"))
    if in_transaction:
        assert client.hear() == ROLLED_BACK + READY
    else:
        assert world.server().hear() == query("ROLLBACK")
