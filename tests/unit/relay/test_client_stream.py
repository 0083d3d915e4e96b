"""The client's end: when a server is taken, what is passed on, what is refused."""

from __future__ import annotations

import pytest

from pgswitch.relay.client_stream import WAIT_FOR_WHOLE, ClientStream
from pgswitch.wire.actions import CLIENT_UNRELAYED
from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, message, query
from tests.unit.relay.pair import Stage


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
    """What is longer than is held for anybody streams to a server."""
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
    """They come out when the client is served, and are told to its own control."""
    stage = Stage()
    client = stage.client()
    client.take(query() + message(b"y"))
    server = stage.server()
    stage.idle_pool.idle.clear()
    stage.idle_pool.put_back(server)
    assert stage.told(client) == [("faulted", "unknown pkt")]
    assert stage.told(server) == []
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
    """The control hears of it, and nothing reaches the server."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    if linked:
        client.take(query())
        stage.sent(server)
    client.take(data)
    assert stage.told(client)[0][:2] == ("faulted", text)
    assert stage.sent(server) == b""


def test_terminate() -> None:
    """What comes before is passed on and answered, what follows is not."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query("BEGIN"))
    stage.sent(server)
    client.take(query() + message(b"X") + query("never"))
    assert stage.sent(server) == query()
    assert stage.told(client) == []
    server.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION + RESULT)
    assert stage.told(client) == []
    server.take(IN_TRANSACTION)
    assert stage.sent(client) == (
        message(b"C", b"BEGIN\0") + IN_TRANSACTION + RESULT + IN_TRANSACTION
    )
    assert stage.told(client) == [("terminated",)]
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
    assert stage.told(client) == [("terminated",)]


def test_terminate_without_a_server() -> None:
    """It needs none."""
    stage = Stage()
    client = stage.client()
    client.take(message(b"X"))
    assert stage.told(client) == [("terminated",)]


def test_before_the_login_messages_are_the_controls() -> None:
    """Whole, one by one, whatever the pieces."""
    stage = Stage()
    client = stage.client()
    client.relaying = False
    client.actions = b"\2" * 256
    data = message(b"p", b"secret\0")
    client.take(data[:3])
    client.take(data[3:])
    assert stage.told(client) == [("message", "p", b"secret\0")]


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
    """ParseComplete is ours, before the server has said anything."""
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
    assert stage.told(client) == [("faulted", f"broken {name} packet")]
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
    assert stage.told(client) == [("faulted", "client re-sent startup pkt")]


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
    assert stage.controls[client].told == [("terminated",)]
    client = stage.client()
    client.take(PIPELINE + b"S\0\0\0\0")
    refuse(stage, client)
    ((kind, text),) = stage.controls[client].told
    assert (kind, str(text)[:17]) == ("faulted", "bad packet header")
