"""What goes along with a socket: packed, sent as JSON, unpacked."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pgswitch.cluster.cluster import LossCounts, Switchover
from pgswitch.cluster.cluster_state import Knowledge
from pgswitch.cluster.clusters import ClusterSnapshot
from pgswitch.cluster.nodes import Node
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import ServerStream
from pgswitch.takeover.serialize import (
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
    on_accept: Packed = json.loads(json.dumps(packed))
    return on_accept


def twin(stream: ClientStream, table: StatementTable) -> ClientStream:
    """Return a client without past, as it is made in another process."""
    made = ClientStream(stream.limit, stream.io, stream.frontend, stream.clock)
    if stream.statements is not None:
        made.track_statements(ClientStatements(table, made.exchange, 10, made.counters))
    return made


def gone_on(stream: ClientStream, now: float) -> tuple[ClientStream, StatementTable]:
    """Return what another process makes of a client."""
    table = StatementTable()
    other = twin(stream, table)
    unpack_client(other, sent(pack_client(stream, now)), table, NOW)
    return other, table


def facts(exchange: Exchange) -> tuple[object, ...]:
    """Return all that decides what an exchange does next."""
    return (
        exchange.queue[exchange.head :],
        *(exchange.status, exchange.clean, exchange.copying, exchange.skipping),
        *(
            exchange.synthetic_count,
            exchange.refusal,
            exchange.unsettled,
            exchange.open,
        ),
        *(exchange.awaited, exchange.internal_query, exchange.internal_query_failed),
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
    stream = client.frontend.stream
    other, table = gone_on(stream, world.context.clock())
    assert facts(other.exchange) == facts(stream.exchange)
    assert stream.statements is not None
    assert other.statements is not None
    names = {
        name: (one.number, one.definition)
        for name, one in stream.statements.names.items()
    }
    assert names == {
        name: (one.number, one.definition)
        for name, one in other.statements.names.items()
    }
    assert len(other.statements.notes) == len(stream.statements.notes)
    assert other.statements.sql.texts == stream.statements.sql.texts
    assert (other.statements.sealed, other.statements.busy) == (
        stream.statements.sealed,
        stream.statements.busy,
    )
    for name in ("parsed", "portals", "under_way"):
        assert getattr(other.statements.sql, name) == getattr(
            stream.statements.sql, name
        )
    assert [vars_of(note) for note in other.statements.notes] == [
        vars_of(note) for note in stream.statements.notes
    ]
    assert (other.suspended, other.held) == (stream.suspended, stream.held)
    assert other.sent == stream.sent
    other.statements.leave()
    assert len(table) == 0, "every reference has an owner"


def test_times_are_ages(world: World) -> None:
    """The clock of the other process shows something else."""
    client, _server = world.asking()
    world.wait(2)
    other, _ = gone_on(client.frontend.stream, world.context.clock())
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
    other, _ = gone_on(client.frontend.stream, world.context.clock())
    assert other.held == [query("SELECT 'é'")]
    assert other.waiting_since == pytest.approx(NOW)


def test_a_cluster() -> None:
    """Its writer, nodes and readers, and the names of their databases."""
    one, two = Node("one", "one.example", 5432), Node("two", None, 5433)
    knowledge = Knowledge("one", 5, 77, frozenset(("two",)), is_listed=True)
    loss_counts = LossCounts(retried=3, errors=Counter({"40001": 2}))
    event = Switchover("lost", "two", 1.0, 2.0, "one", 5, 3.0, loss_counts=loss_counts)
    for known in (
        ClusterSnapshot(),
        ClusterSnapshot(one, (one, two), (two,), {two: "two.db"}),
        ClusterSnapshot(None, (one,)),
        ClusterSnapshot(one, (one, two), knowledge=knowledge, events=(event,)),
    ):
        assert unpack_cluster(sent(pack_cluster(known, NOW)), NOW) == known
    # The names that processes of other versions use.
    (packed,) = pack_cluster(known, NOW)["events"]
    assert set(packed["tally"]) == {"retried", "lost", "errors"}
    assert unpack_cluster({}, NOW) == ClusterSnapshot()


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
    stream = server.backend.stream
    stream.close_needed = stream.unnamed_is_clients = stream.statements.has_unknown = (
        True
    )
    stream.statements.doubtful[7] = 1
    packed = sent(pack_server(stream, world.context.clock()))
    other_world, other = world, server.backend.stream
    made = ServerStream(
        stream.limit,
        stream.io,
        server.backend,
        type(other.statements)(StatementTable()),
        stream.clock,
    )
    unpack_server(made, packed, made.statements.table, NOW)
    assert [*made.statements.by_number] == [*stream.statements.by_number] == [2, 1]
    assert list(made.statements.own) == list(stream.statements.own) == [b"c"]
    assert list(made.statements.doubtful) == [7]
    assert made.statements.has_unknown
    assert made.unnamed_is_clients
    assert (made.close_needed, made.needs_release_check) == (True, True)
    assert made.ready_since == pytest.approx(NOW)
    assert other_world.context.statements.hold(b"new").number == 3
    assert made.statements.table.hold(b"new").number == 3


def test_what_was_not_said(world: World) -> None:
    """A PgBouncer says nothing: then nothing is under way."""
    client, server = world.pair()
    stream = client.frontend.stream
    other = twin(stream, StatementTable())
    unpack_client(other, {}, StatementTable(), NOW)
    assert facts(other.exchange) == facts(stream.exchange)
    unpack_server(server.backend.stream, {}, StatementTable(), NOW)
    assert not server.backend.stream.close_needed


def test_bytes_are_text() -> None:
    """Every byte comes back."""
    every = bytes(range(256))
    assert raw(json.loads(json.dumps(text(every)))) == every


def test_whose_the_unnamed_statement_is(world: World) -> None:
    """Goes over with the client that has parsed it."""
    client, _ = world.pair()
    stream = client.frontend.stream
    client.say(message(b"P", b"\0SELECT 1\0\0\0"))
    packed = pack_client(stream, world.context.clock())
    assert packed["owned"]
    other, _ = gone_on(stream, world.context.clock())
    assert other.rewriter is not None
    assert other.rewriter.parsed_here
