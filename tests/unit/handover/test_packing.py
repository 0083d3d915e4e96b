"""What goes along with a socket: packed, sent as JSON, unpacked."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pgswitch.handover.packing import (
    Packed,
    age,
    moment,
    pack_client,
    pack_cluster,
    pack_server,
    raw,
    text,
    unpack_client,
    unpack_cluster,
    unpack_server,
)
from pgswitch.relay.client import ClientLink
from pgswitch.relay.server import ServerLink
from pgswitch.topology.clusters import Known
from pgswitch.topology.events import Event, Tally
from pgswitch.topology.facts import Knowledge
from pgswitch.topology.nodes import Node
from pgswitch.wire import encode
from pgswitch.wire.exchange import Exchange
from pgswitch.wire.prepared import ClientStatements, Note
from pgswitch.wire.statements import StatementTable
from tests.fakes.messages import ANSWER, IN_TRANSACTION, READY, message, query
from tests.fakes.world import World

NOW = 50.0
SYNC = message(b"S")
PARSED = message(b"1")


def sent(packed: Packed) -> Packed:
    """Return what arrives of it."""
    arrived: Packed = json.loads(json.dumps(packed))
    return arrived


def twin(link: ClientLink, table: StatementTable) -> ClientLink:
    """Return a client without past, as it is made in another process."""
    made = ClientLink(link.limit, link.io, link.frontend)
    if link.statements is not None:
        made.statements = ClientStatements(table, made.exchange, 10, made.counters)
    return made


def gone_on(link: ClientLink, now: float) -> tuple[ClientLink, StatementTable]:
    """Return what another process makes of a client."""
    table = StatementTable()
    other = twin(link, table)
    unpack_client(other, sent(pack_client(link, now)), table, NOW)
    return other, table


def facts(exchange: Exchange) -> tuple[object, ...]:
    """Return all that decides what an exchange does next."""
    return (
        exchange.queue[exchange.head :],
        *(exchange.status, exchange.clean, exchange.copying, exchange.skipping),
        *(exchange.special, exchange.refusal, exchange.unsettled, exchange.open),
        *(exchange.awaited, exchange.errand, exchange.errand_failed),
        *(exchange.copy_end_sent(), exchange.wants_fence(), exchange.will_answer()),
    )


def vars_of(note: Note) -> tuple[object, ...]:
    """Return what a note says."""
    statement = note.statement
    return (
        None if statement is None else (statement.number, statement.definition),
        *(note.kind, note.name, note.was_own, note.text, note.home),
    )


COPY = encode.parse("", "COPY t FROM STDIN") + encode.bind("", "") + encode.execute()
COPYING = PARSED + message(b"2") + message(b"G", b"\0\0\0")
FAILED = message(b"E", b"SERROR\0C22P02\0Mx\0\0")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"", b""),
        (query(), b""),
        (query("BEGIN"), message(b"C", b"BEGIN\0") + IN_TRANSACTION),
        (query("COPY t FROM STDIN"), message(b"G", b"\0\0\0")),
        (encode.parse("a", "SELECT 1") + SYNC, b""),
        (encode.parse("a", "SELECT 1") + SYNC, PARSED + READY),
        (encode.parse("a", "SELECT 1"), message(b"E", b"SERROR\0C1\0Mx\0\0")),
        (query() * 3, ANSWER),
        (query("PREPARE a AS SELECT 1"), b""),
        (query("PREPARE a AS SELECT 1"), message(b"C", b"PREPARE\0") + READY),
        (encode.parse("", "EXECUTE a") + encode.bind("", "") + SYNC, b""),
        (
            encode.parse("a", "SELECT 1") + SYNC + query("DEALLOCATE a"),
            PARSED + READY,
        ),
        (encode.parse("a", "SELECT 1") + encode.parse("a", "SELECT 2") + SYNC, b""),
        (encode.parse("a", "SELECT 1") + message(b"C", b"Sa\0") + SYNC, b""),
        (query("PREPARE a AS SELECT 1") + query("EXECUTE a"), b""),
        (
            encode.parse("", "PREPARE a AS SELECT 1")
            + encode.bind("", "")
            + encode.execute()
            + SYNC,
            PARSED + message(b"2"),
        ),
        (COPY + SYNC + message(b"d", b"x"), COPYING),
        (COPY + SYNC + message(b"d", b"x"), COPYING + FAILED),
        (COPY + SYNC + message(b"c") + SYNC, COPYING + FAILED + READY),
        (COPY + SYNC + message(b"c") + SYNC, COPYING),
    ],
)
def test_a_client(world: World, asked: bytes, answered: bytes) -> None:
    """Wherever it stands in its conversation."""
    client, server = world.pair()
    if asked:
        client.say(asked)
    if answered:
        server.say(answered)
    link = client.frontend.link
    other, table = gone_on(link, world.context.clock())
    assert facts(other.exchange) == facts(link.exchange)
    assert link.statements is not None
    assert other.statements is not None
    names = {
        name: (one.number, one.definition)
        for name, one in link.statements.names.items()
    }
    assert names == {
        name: (one.number, one.definition)
        for name, one in other.statements.names.items()
    }
    assert len(other.statements.notes) == len(link.statements.notes)
    assert other.statements.sql.texts == link.statements.sql.texts
    assert (other.statements.sealed, other.statements.busy) == (
        link.statements.sealed,
        link.statements.busy,
    )
    for name in ("parsed", "portals", "under_way"):
        assert getattr(other.statements.sql, name) == getattr(link.statements.sql, name)
    assert [vars_of(note) for note in other.statements.notes] == [
        vars_of(note) for note in link.statements.notes
    ]
    assert (other.halted, other.held) == (link.halted, link.held)
    assert other.sent == link.sent
    other.statements.leave()
    assert len(table) == 0, "every reference is somebody's"


def test_times_are_ages(world: World) -> None:
    """The clock of the other process shows something else."""
    client, _server = world.asking()
    world.wait(2)
    other, _ = gone_on(client.frontend.link, world.context.clock())
    assert other.exchange.query_start == pytest.approx(NOW - 2)
    assert other.exchange.transaction_start == pytest.approx(NOW - 2)
    assert other.last_request == pytest.approx(NOW - 2)
    assert other.waiting_since == 0.0
    assert moment(age(0.0, 7.0), 9.0) == 0.0


def test_what_a_waiting_client_asked(world: World) -> None:
    """It is asked in the new process."""
    client = world.client()
    world.server()
    world.service.operations.pause("db")
    client.say(query("SELECT 'é'"))
    other, _ = gone_on(client.frontend.link, world.context.clock())
    assert other.held == [query("SELECT 'é'")]
    assert other.waiting_since == pytest.approx(NOW)


def test_a_cluster() -> None:
    """Its writer, nodes and readers, and the names of their databases."""
    one, two = Node("one", "one.example", 5432), Node("two", None, 5433)
    knowledge = Knowledge("one", 5, 77, frozenset(("two",)), is_listed=True)
    tally = Tally(retried=3, errors=Counter({"40001": 2}))
    event = Event("lost", "two", 1.0, 2.0, "one", 5, 3.0, tally=tally)
    for known in (
        Known(),
        Known(one, (one, two), (two,), {two: "two.db"}),
        Known(None, (one,)),
        Known(one, (one, two), knowledge=knowledge, events=(event,)),
    ):
        assert unpack_cluster(sent(pack_cluster(known, NOW)), NOW) == known
    assert unpack_cluster({}, NOW) == Known()


def test_a_server(world: World) -> None:
    """Its statements keep their numbers, the longest unused first."""
    client, server = world.pair()
    for name in "ab":
        client.say(encode.parse(name, f"SELECT '{name}'") + SYNC)
        server.say(PARSED + READY)
    client.say(encode.bind("", "a") + encode.execute() + SYNC)
    server.say(message(b"2") + message(b"C", b"SELECT 1\0") + READY)
    client.say(query("BEGIN"))
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.say(query("PREPARE c AS SELECT 1"))
    server.say(message(b"C", b"PREPARE\0") + IN_TRANSACTION)
    link = server.backend.link
    link.stale = link.owned = link.statements.has_unknown = True
    link.statements.doubtful[7] = 1
    packed = sent(pack_server(link, world.context.clock()))
    other_world, other = world, server.backend.link
    made = ServerLink(
        link.limit, link.io, server.backend, type(other.statements)(StatementTable())
    )
    unpack_server(made, packed, made.statements.table, NOW)
    assert [*made.statements.by_number] == [*link.statements.by_number] == [2, 1]
    assert list(made.statements.own) == list(link.statements.own) == [b"c"]
    assert list(made.statements.doubtful) == [7]
    assert made.statements.has_unknown
    assert made.owned
    assert (made.stale, made.watched) == (True, True)
    assert made.ready_since == pytest.approx(NOW)
    assert other_world.context.statements.hold(b"new").number == 3
    assert made.statements.table.hold(b"new").number == 3


def test_what_was_not_said(world: World) -> None:
    """A PgBouncer says nothing: then nothing is under way."""
    client, server = world.pair()
    link = client.frontend.link
    other = twin(link, StatementTable())
    unpack_client(other, {}, StatementTable(), NOW)
    assert facts(other.exchange) == facts(link.exchange)
    unpack_server(server.backend.link, {}, StatementTable(), NOW)
    assert not server.backend.link.stale


def test_bytes_are_text() -> None:
    """Every byte comes back."""
    every = bytes(range(256))
    assert raw(json.loads(json.dumps(text(every)))) == every


def test_whose_the_unnamed_statement_is(world: World) -> None:
    """Goes over with the client that has parsed it."""
    client, _ = world.pair()
    link = client.frontend.link
    client.say(message(b"P", b"\0SELECT 1\0\0\0"))
    packed = pack_client(link, world.context.clock())
    assert packed["owned"]
    other, _ = gone_on(link, world.context.clock())
    assert other.parsed_here
