"""A pool mode that changes while clients are connected."""

from __future__ import annotations

import pytest

from tests.fakes.messages import ANSWER, IN_TRANSACTION, READY, RESULT, message, query
from tests.fakes.world import Client, Server, World, WorldOf

SYNC = message(b"S")
EXECUTE = message(b"E", b"\0" + bytes(4))
SESSION, TRANSACTION, STATEMENT = (
    f"pool_mode = {mode}" for mode in ("session", "transaction", "statement")
)
SHARED = (TRANSACTION, STATEMENT)


def parse(name: bytes, text: bytes = b"SELECT 1") -> bytes:
    """Return a Parse."""
    return message(b"P", name + b"\0" + text + b"\0\0\0")


def bind(name: bytes) -> bytes:
    """Return a Bind to the unnamed portal."""
    return message(b"B", b"\0" + name + b"\0" + bytes(6))


def reload(world: World, **sections: str) -> None:
    """Have a configuration read, and let happen what follows."""
    assert world.reload(**sections)
    world.turn()


def prepared(world: World, name: bytes = b"mine") -> tuple[Client, Server]:
    """Return a client that has prepared a statement, and the server it has used."""
    client, server = world.pair()
    client.say(parse(name) + SYNC)
    server.hear()
    server.say(message(b"1") + READY)
    client.hear()
    return client, server


def runs_as_shared(world: World, client: Client, name: bytes) -> None:
    """See that a client's statement gets a pgswitch name, on a new server."""
    client.hear()
    client.say(parse(name, b"SELECT 2") + SYNC)
    server = world.server()
    assert b"PGBOUNCER_" in server.hear()
    server.say(message(b"1") + READY)
    assert client.hear() == message(b"1") + READY
    assert server.state() == "idle"


@pytest.mark.parametrize("to", SHARED)
@pytest.mark.parametrize("by", ["RELOAD", "SET", "database", "user"])
def test_from_session_to_shared(world_of: WorldOf, to: str, by: str) -> None:
    """An idle client releases its server, which no other client gets."""
    world = world_of(settings=SESSION)
    client, server = prepared(world)
    assert server.state() == "active"
    word = to.rsplit(maxsplit=1)[-1]
    if by == "RELOAD":
        reload(world, settings=to)
    elif by == "SET":
        admin = world.console()
        admin.say(query(f"SET pool_mode = '{word}'"))
    elif by == "database":
        entry = f"db = host=10.0.0.1 pool_mode={word}"
        reload(world, settings=SESSION, databases=entry)
    else:
        reload(world, settings=SESSION, users=f"app = pool_mode={word}")
    assert server.is_gone()
    assert client.state() == "idle"
    runs_as_shared(world, client, b"mine")


@pytest.mark.parametrize("to", SHARED)
def test_amid_a_query(world_of: WorldOf, to: str) -> None:
    """The server goes with its answer."""
    world = world_of(settings=SESSION)
    client, server = world.asking()
    reload(world, settings=to)
    assert server.state() == "active"
    server.say(ANSWER)
    assert client.hear() == ANSWER
    assert server.is_gone()
    runs_as_shared(world, client, b"mine")


@pytest.mark.parametrize("to", SHARED)
def test_amid_a_transaction(world_of: WorldOf, to: str) -> None:
    """It goes on to its end, with the statements that the server has from before."""
    world = world_of(settings=SESSION)
    client, server = prepared(world)
    client.say(query("BEGIN"))
    server.say(RESULT + IN_TRANSACTION)
    reload(world, settings=to)
    assert server.state() == "active"
    client.hear()
    server.hear()
    client.say(bind(b"mine") + SYNC)
    assert server.hear() == bind(b"mine") + SYNC, "by the name that it has there"
    server.say(message(b"2") + IN_TRANSACTION)
    client.say(parse(b"new") + bind(b"new") + SYNC)
    assert b"PGBOUNCER_" in server.hear()
    server.say(message(b"1") + message(b"2") + IN_TRANSACTION)
    client.say(query("COMMIT"))
    server.say(RESULT + READY)
    assert server.is_gone()
    assert not client.is_gone()
    client.hear()
    client.say(bind(b"new") + SYNC)
    last = world.server()
    assert b"SELECT 1" in last.hear(), "it is parsed where it is used next"
    last.say(message(b"1") + message(b"2") + READY)
    assert client.hear() == message(b"2") + READY


def test_amid_a_message(world_of: WorldOf) -> None:
    """What has come of a request is asked where the rest of it goes."""
    world = world_of(settings=SESSION)
    client, server = prepared(world)
    asked = query("SELECT " + "x" * 100_000)
    client.say(asked[:20_000])
    reload(world, settings=TRANSACTION)
    client.say(asked[20_000:])
    assert server.hear() == asked
    server.say(ANSWER)
    assert client.hear() == ANSWER
    assert server.is_gone()


def test_waiting(world_of: WorldOf) -> None:
    """Who waits for a server gets one by the new mode."""
    world = world_of(settings=SESSION, databases="db = host=10.0.0.1 pool_size=1")
    client, server = world.asking()
    waiting, last = world.client(), world.client()
    for one in (waiting, last):
        one.hear()
        one.say(parse(b"mine") + SYNC)
    server.say(ANSWER)
    assert waiting.state() == last.state() == "waiting"
    reload(world, settings=TRANSACTION, databases="db = host=10.0.0.1 pool_size=1")
    assert server.is_gone()
    shared = world.server()
    assert b"PGBOUNCER_" in shared.hear()
    shared.say(message(b"1") + READY)
    assert waiting.hear() == message(b"1") + READY
    shared.say(READY)
    assert last.hear() == message(b"1") + READY
    assert client.state() == "idle"


@pytest.mark.parametrize("before", SHARED)
def test_from_shared_to_session(world_of: WorldOf, before: str) -> None:
    """A client keeps its statements, and, from its next query on, its server."""
    world = world_of(settings=before)
    client, server = prepared(world)
    reload(world, settings=SESSION)
    assert server.answer() == query("DISCARD ALL"), "as sessions begin"
    client.say(bind(b"mine") + SYNC)
    assert b"PGBOUNCER_" in server.hear()
    server.say(message(b"2") + READY)
    assert server.state() == "active"
    reload(world, settings=before)
    assert server.is_gone(), "and back"


def test_from_transaction_to_session_amid_a_transaction(world_of: WorldOf) -> None:
    """The transaction's server is released, and reset for the next client."""
    world = world_of()
    client, server = world.asking("BEGIN")
    server.say(RESULT + IN_TRANSACTION)
    reload(world, settings=SESSION)
    client.say(query("COMMIT"))
    server.hear()
    server.say(RESULT + READY)
    assert server.answer() == query("DISCARD ALL")
    client.say(query())
    server.answer()
    assert server.state() == "active"


def test_between_shared_modes(world_of: WorldOf) -> None:
    """A transaction under way may finish; the next one is decided afresh."""
    world = world_of()
    client, server = world.asking("BEGIN")
    server.say(RESULT + IN_TRANSACTION)
    reload(world, settings=STATEMENT)
    client.say(query("COMMIT"))
    server.say(RESULT + READY)
    assert server.state() == "idle"
    client.say(query("BEGIN"))
    reload(world, settings=TRANSACTION)
    server.say(RESULT + IN_TRANSACTION)
    assert not client.is_gone()


def test_sessions_without_a_reset(world_of: WorldOf) -> None:
    """Their leftover state must not reach a client of a shared mode."""
    unreset = "\nserver_reset_query ="
    world = world_of(settings=SESSION + unreset)
    client, server = prepared(world)
    world.leave(client)
    assert server.state() == "idle"
    reload(world, settings=TRANSACTION + unreset)
    assert server.is_gone()


@pytest.mark.parametrize("by", ["RELOAD", "SET"])
def test_a_lower_limit_of_statements(world_of: WorldOf, by: str) -> None:
    """Servers drop what is too many at the next use, by the short way too."""
    world = world_of(settings="max_prepared_statements = 3")
    client, server = world.pair()
    for name in (b"a", b"b", b"c"):
        client.say(parse(name, b"SELECT " + name) + SYNC)
        server.hear()
        server.say(message(b"1") + READY)
    whole = bind(b"c") + EXECUTE + SYNC
    ours = bind(b"PGBOUNCER_3") + EXECUTE + SYNC
    client.say(whole)
    assert server.hear() == ours
    server.say(message(b"2") + ANSWER)
    if by == "SET":
        world.console().say(query("SET max_prepared_statements = 2"))
    else:
        reload(world, settings="max_prepared_statements = 2")
    client.hear()
    client.say(whole)
    assert server.hear() == message(b"C", b"SPGBOUNCER_1\0") + ours
    server.say(message(b"3") + message(b"2") + ANSWER)
    assert client.hear() == message(b"2") + ANSWER
    assert server.backend.stream.statements.by_number.keys() == {2, 3}
    client.say(whole)
    assert server.hear() == ours


@pytest.mark.parametrize("more", [0, 1])
def test_more_and_fewer_statements(world_of: WorldOf, more: int) -> None:
    """max_prepared_statements applies to connected clients; 0 takes nothing away."""
    limit = "max_prepared_statements = {}".format
    world = world_of(settings=limit(0 if more else 1))
    client, server = world.pair()
    if not more:
        client.say(parse(b"one") + SYNC)
        server.hear()
        server.say(message(b"1") + READY)
    reload(world, settings=limit(2 if more else 0))
    client.say(parse(b"two", b"SELECT 2") + SYNC)
    assert server.hear().startswith(
        parse(b"PGBOUNCER_1" if more else b"two", b"SELECT 2")
    )
    server.say(message(b"1") + READY)
    statements = client.frontend.stream.statements
    assert statements is not None
    assert statements.limit == (2 if more else 0)
    assert not statements.notes
