"""The client's end: when a server is taken, what is passed on, what is refused."""

from __future__ import annotations

import pytest

from pgswitch.relay.client_stream import WAIT_FOR_WHOLE, ClientStream
from pgswitch.wire.actions import CLIENT_UNRELAYED
from pgswitch.wire.constants import BIND, EXECUTE, PARSE, QUERY
from pgswitch.wire.constants import SYNC as SYNC_TYPE
from pgswitch.wire.exchange import BATCH, MAYBE
from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, message, query
from tests.unit.relay.pair import Stage

PARSED = message(b"P", b"\0SELECT $1\0\0\0")
BOUND = message(b"B", bytes(8))
END = message(b"D", b"P\0") + message(b"E", bytes(5)) + message(b"S")
ANSWER = message(b"1") + message(b"2") + RESULT
COPY_IN = message(b"G", b"\0\0\0")


def test_a_query_there_and_back() -> None:
    """The chunk as it is, both ways; then the server is idle again."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    assert stage.sent(server) == query()
    assert list(stage.idle_pool.idle) == []
    server.take(RESULT + READY)
    assert stage.sent(client) == RESULT + READY
    assert list(stage.idle_pool.idle) == [server]


def test_counters() -> None:
    """One transaction of two queries, and the bytes of both ways."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    server.take(RESULT + b"Z\0\0\0\5T")
    client.take(query() + query())
    server.take(RESULT + b"Z\0\0\0\5T" + RESULT + READY)
    counters = stage.idle_pool.counters
    assert counters.server_assignment_count == 1
    assert counters.xact_count == 1
    assert counters.query_count == 2
    assert counters.client_bytes == 3 * len(query())
    assert counters.server_bytes == 3 * len(RESULT + READY)


@pytest.mark.parametrize("size", range(1, len(query())))
def test_a_cut_message_takes_no_server(size: int) -> None:
    """Until its first message is whole, a client needs none."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query()[:size])
    assert client.server is None
    client.take(query()[size:])
    assert stage.sent(server) == query()


def test_a_long_message_is_not_awaited() -> None:
    """A message above the buffer limit streams to a server."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    text = query("x" * WAIT_FOR_WHOLE)
    client.take(text[:100])
    assert stage.sent(server) == text[:100]
    client.take(text[100:])
    assert stage.sent(server) == text[100:]


def test_waiting() -> None:
    """What comes meanwhile is kept in order, and reading stops."""
    stage = Stage()
    client = stage.client()
    client.take(query("one"))
    client.take(query("two"))
    assert stage.sockets[client].done == ["pause"]
    server = stage.server()
    stage.idle_pool.idle.clear()
    stage.idle_pool.put_back(server)
    assert stage.sent(server) == query("one") + query("two")
    assert stage.sockets[client].done == ["pause", "resume"]


def test_violations_while_waiting() -> None:
    """They come out when the client is served, and its own frontend is called."""
    stage = Stage()
    client = stage.client()
    client.take(query() + message(b"y"))
    server = stage.server()
    stage.idle_pool.idle.clear()
    stage.idle_pool.put_back(server)
    assert stage.calls(client) == [("faulted", "unknown pkt")]
    assert stage.calls(server) == []
    assert stage.sent(server) == b""


@pytest.mark.parametrize("kind", [b"d", b"c", b"f", b"H"])
def test_late_messages_are_dropped(kind: bytes) -> None:
    """COPY data after an error, or a lone Flush: no server, no answer."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    late = message(kind, b"x" * 50)
    for piece in (late[:20], late[20:] + query()):
        client.take(piece)
    assert stage.sent(server) == query()
    assert stage.sent(client) == b""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (message(b"y"), "unknown pkt"),
        (message(b"p", b"x\0"), "unknown pkt"),
        (b"Q\0\0\0\3", "bad packet header: '5100000003'"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_violations(data: bytes, text: str, *, linked: bool) -> None:
    """The frontend is called, and nothing reaches the server."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    if linked:
        client.take(query())
        stage.sent(server)
    client.take(data)
    assert stage.calls(client)[0][:2] == ("faulted", text)
    assert stage.sent(server) == b""


def test_terminate() -> None:
    """What comes before is passed on and answered, what follows is not."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query("BEGIN"))
    stage.sent(server)
    client.take(query() + message(b"X") + query("never"))
    assert stage.sent(server) == query()
    assert stage.calls(client) == []
    server.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION + RESULT)
    assert stage.calls(client) == []
    server.take(IN_TRANSACTION)
    assert stage.sent(client) == (
        message(b"C", b"BEGIN\0") + IN_TRANSACTION + RESULT + IN_TRANSACTION
    )
    assert stage.calls(client) == [("terminated",)]
    assert stage.sent(server) == b""


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"", b""),
        (message(b"P", b"\0SELECT 1\0\0\0"), b""),
        (message(b"P", b"\0SELECT 1\0\0\0"), message(b"E", b"SERROR\0\0")),
        (query("COPY t FROM STDIN"), message(b"G", b"\0\0\0")),
        (query("BEGIN"), message(b"C", b"BEGIN\0") + IN_TRANSACTION),
    ],
)
def test_terminate_without_an_answer_to_come(asked: bytes, answered: bytes) -> None:
    """What would never be answered is not waited for."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(asked)
    server.take(answered)
    client.take(message(b"X"))
    assert stage.calls(client) == [("terminated",)]


def test_terminate_without_a_server() -> None:
    """It needs none."""
    stage = Stage()
    client = stage.client()
    client.take(message(b"X"))
    assert stage.calls(client) == [("terminated",)]


def test_before_the_login_messages_are_the_controls() -> None:
    """The control gets them whole, one by one, in any number of pieces."""
    stage = Stage()
    client = stage.client()
    client.relaying = False
    client.actions = b"\2" * 256
    data = message(b"p", b"secret\0")
    client.take(data[:3])
    client.take(data[3:])
    assert stage.calls(client) == [("message", "p", b"secret\0")]


def test_prepared_statements_are_renamed() -> None:
    """In however many pieces the messages come."""
    stage = Stage()
    data = (
        message(b"P", b"mine\0SELECT 1\0\0\0")
        + message(b"B", b"\0mine\0\0\0\0\0\0\0")
        + message(b"D", b"Smine\0")
        + message(b"E", b"\0\0\0\0\0")
        + message(b"S")
    )
    for step in (1, 7, len(data)):
        server, client = stage.server(), stage.client(prepared=10)
        for at in range(0, len(data), step):
            client.take(data[at : at + step])
        sent = stage.sent(server)
        assert b"mine" not in sent
        assert sent.count(b"PGBOUNCER_1\0") == 3
        server.take(b"1\0\0\0\42\0\0\0\4" + RESULT + READY)
        assert stage.sent(client) == b"1\0\0\0\42\0\0\0\4" + RESULT + READY
        stage.idle_pool.idle.clear()


def test_a_statement_the_server_has() -> None:
    """The pooler sends ParseComplete itself, before the server has said anything."""
    stage = Stage()
    server = stage.server()
    parse = message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S")
    first, second = stage.client(prepared=10), stage.client(prepared=10)
    first.take(parse)
    server.take(b"1\0\0\0\4" + READY)
    stage.sent(server)
    second.take(parse)
    assert stage.sent(server) == message(b"S")
    server.take(READY)
    assert stage.sent(second) == b"1\0\0\0\4" + READY


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (message(b"P", b"mine\0SELECT 1"), "Parse"),
        (message(b"B", b"\0mine"), "Bind"),
        (message(b"D", b"Smine"), "Describe"),
        (message(b"C", b"Smine"), "Close"),
    ],
)
def test_broken_bodies(data: bytes, name: str) -> None:
    """A name without its end is refused, and no server sees it."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(data)
    assert stage.calls(client) == [("faulted", f"broken {name} packet")]
    assert stage.sent(server) == b""


@pytest.mark.parametrize("body", [b"", b"S"])
def test_a_close_of_nothing(body: bytes) -> None:
    """A Close too short to name anything is left to the server to refuse."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"C", body))
    assert stage.sent(server) == message(b"C", body)


def test_a_second_start_up_packet() -> None:
    """During the login it is refused as soon as its header is there."""
    stage = Stage()
    client = stage.client()
    client.relaying = False
    client.actions = CLIENT_UNRELAYED
    client.take(b"\0\0\0\x29\0\3\0\0user\0")
    assert stage.calls(client) == [("faulted", "client re-sent startup pkt")]


def test_close_needs_no_server() -> None:
    """It is answered at once, in the order of its coming."""
    stage = Stage()
    client = stage.client(prepared=10)
    client.take(message(b"C", b"Smine\0"))
    assert stage.sent(client) == b"3\0\0\0\4"


# A client that waits is refused.

ERROR = message(b"E", b"C57014\0\0")


def refuse(stage: Stage, client: ClientStream) -> None:
    """Refuse a client that waits, as the pool does."""
    stage.idle_pool.waiters.remove(client)
    client.refuse(ERROR)


def test_refusing_a_query() -> None:
    """It is answered by the error, and is over; what follows it waits on."""
    stage = Stage()
    client = stage.client()
    client.take(query("one"))
    client.take(query("two"))
    refuse(stage, client)
    assert stage.sent(client) == ERROR + READY
    assert client.suspended
    server = stage.server()
    stage.idle_pool.idle.clear()
    stage.idle_pool.put_back(server)
    assert stage.sent(server) == query("two")


PIPELINE = message(b"P", b"\0SELECT 1\0\0\0") + message(b"B", b"\0\0" + bytes(6))
SYNC = message(b"S")


@pytest.mark.parametrize("size", range(1, len(PIPELINE + SYNC)))
def test_refusing_a_pipeline(size: int) -> None:
    """All is skipped up to the Sync, however it comes; then the client is as before."""
    stage = Stage()
    client = stage.client()
    client.take(message(b"P", b"\0BEGIN\0\0\0") + (PIPELINE + SYNC)[:size])
    refuse(stage, client)
    assert stage.sent(client) == ERROR
    client.take((PIPELINE + SYNC)[size:])
    assert stage.sent(client) == READY
    server = stage.server()
    client.take(query())
    assert stage.sent(server) == query()


def test_refusing_what_is_still_coming() -> None:
    """The rest of a long query is dropped."""
    stage = Stage()
    client = stage.client()
    text = query("x" * WAIT_FOR_WHOLE)
    client.take(text[:100])
    refuse(stage, client)
    assert stage.sent(client) == ERROR + READY
    server = stage.server()
    client.take(text[100:200])
    client.take(text[200:] + query())
    assert stage.sent(server) == query()


def test_leaving_a_refused_pipeline() -> None:
    """Terminate is no message to skip; nor is one with a bad length."""
    stage = Stage()
    client = stage.client()
    client.take(PIPELINE)
    refuse(stage, client)
    client.take(message(b"X"))
    assert stage.controls[client].calls == [("terminated",)]
    client = stage.client()
    client.take(PIPELINE + b"S\0\0\0\0")
    refuse(stage, client)
    ((kind, text),) = stage.controls[client].calls
    assert (kind, str(text)[:17]) == ("faulted", "bad packet header")


# Whole queries, sent as one.


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
    assert client.exchange.queue == [EXECUTE, SYNC_TYPE | MAYBE]
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
    """The server itself reports it, and the name stays as it is."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(named(b"unknown") + END)
    assert stage.sent(server) == named(b"unknown") + END


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
