"""Passing on what is asked: whole queries as one thing, all else message by message."""

from __future__ import annotations

import pytest

from pgswitch.wire.constants import BIND, EXECUTE, PARSE, QUERY, SYNC
from pgswitch.wire.exchange import BATCH, MAYBE
from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, message, query
from tests.unit.relay.pair import Stage

PARSED = message(b"P", b"\0SELECT $1\0\0\0")
BOUND = message(b"B", bytes(8))
END = message(b"D", b"P\0") + message(b"E", bytes(5)) + message(b"S")
ANSWER = message(b"1") + message(b"2") + RESULT
COPY_IN = message(b"G", b"\0\0\0")


def named(name: bytes) -> bytes:
    """Return a Bind of a statement to the unnamed portal."""
    return message(b"B", b"\0" + name + b"\0" + bytes(6))


@pytest.mark.parametrize(
    ("chunk", "noted"),
    [
        (query(), [QUERY]),
        (PARSED + BOUND + END, [BATCH]),
        (PARSED + BOUND, [PARSE, BIND]),
        (query() * 2, [QUERY, QUERY]),
    ],
)
def test_what_is_noted(chunk: bytes, noted: list[int]) -> None:
    """A whole query is one entry; of part of one each message is."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(chunk)
    assert client.exchange.queue == noted
    assert stage.sent(server) == chunk


def test_a_transaction_of_batches() -> None:
    """Inside of a transaction they are noted alike, and all is counted."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query("BEGIN"))
    server.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.take(PARSED + BOUND + END)
    assert client.exchange.queue == [BATCH]
    server.take(ANSWER + IN_TRANSACTION)
    assert stage.idle_pool.idle == []
    committed = message(b"C", b"COMMIT\0") + READY
    client.take(query("COMMIT"))
    server.take(committed)
    assert stage.idle_pool.idle == [server]
    counters = stage.idle_pool.counters
    assert (counters.query_count, counters.xact_count) == (3, 1)
    assert stage.sent(client).endswith(
        ANSWER + IN_TRANSACTION + message(b"C", b"COMMIT\0") + READY
    )


@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_an_error_in_a_batch(step: int) -> None:
    """It goes to the client as it is, and the server comes back, however it is cut."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    answer = message(b"1") + message(b"E", b"SERROR\0C22012\0\0") + READY
    client.take(PARSED + BOUND + END)
    for begin in range(0, len(answer), step):
        assert stage.idle_pool.idle == []
        server.take(answer[begin : begin + step])
    assert stage.sent(client) == answer
    assert stage.idle_pool.idle == [server]


def test_a_batch_that_copies_in() -> None:
    """The server ignores its Sync, so it stays until the next one is answered."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(PARSED + BOUND + END)
    server.take(message(b"1") + message(b"2") + COPY_IN)
    assert client.exchange.queue == [EXECUTE, SYNC | MAYBE]
    client.take(message(b"d", b"1\n") + message(b"c") + message(b"S"))
    server.take(message(b"C", b"COPY 1\0"))
    assert stage.idle_pool.idle == []
    server.take(READY)
    assert stage.idle_pool.idle == [server]


def test_a_known_statement() -> None:
    """Its name is rewritten, its use counted, and nothing else of the chunk changes."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    server.take(message(b"1") + READY)
    stage.sent(server)
    client.take(named(b"mine") + END)
    assert stage.sent(server) == named(b"PGBOUNCER_1") + END
    assert client.exchange.queue == [BATCH]
    assert stage.idle_pool.counters.bind_count == 1
    server.take(message(b"2") + RESULT + READY)
    assert stage.idle_pool.idle == [server]


def test_a_statement_the_server_lacks() -> None:
    """It is parsed first, so the messages are looked at one by one."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    server.take(message(b"1") + READY)
    stage.idle_pool.idle.clear()
    other = stage.server()
    client.take(named(b"mine") + END)
    parse = message(b"P", b"PGBOUNCER_1\0SELECT 1\0\0\0")
    assert stage.sent(other) == parse + named(b"PGBOUNCER_1") + END
    assert len(client.exchange.queue) == 5


def test_an_unknown_statement() -> None:
    """The server itself says so, and the name stays as it is."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(named(b"nobody's") + END)
    assert stage.sent(server) == named(b"nobody's") + END


def test_what_may_be_asked_again() -> None:
    """Of a server that may be lost, what the client said is kept, not our version."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    server.tracks_loss = True
    client.take(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    server.take(message(b"1") + READY)
    client.take(named(b"mine") + END)
    assert b"".join(client.sent) == named(b"mine") + END
    server.take(message(b"2") + RESULT + READY)
    assert client.sent == []
    assert stage.idle_pool.idle == [server]
