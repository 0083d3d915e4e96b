"""The server's end: replies passed on, swallowed or put in, and the release."""

from __future__ import annotations

import pytest

from pgswitch.types import SESSION_POOLING, STATEMENT_POOLING, PoolMode
from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, message, query
from tests.unit.relay.pair import Stage

PARSED, BOUND, CLOSED = b"1\0\0\0\4", b"2\0\0\0\4", b"3\0\0\0\4"


def test_modes_are_those_of_the_enumeration() -> None:
    """The hot path's integers are the enumeration's."""
    assert int(PoolMode.SESSION) == SESSION_POOLING
    assert int(PoolMode.STATEMENT) == STATEMENT_POOLING


@pytest.mark.parametrize("step", [1, 3, 11, 1000])
def test_released_at_the_end_of_the_answer(step: int) -> None:
    """However it is cut; not before its last byte."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    answer = RESULT + READY
    for at in range(0, len(answer), step):
        assert list(stage.idle_pool.idle) == []
        server.take(answer[at : at + step])
    assert list(stage.idle_pool.idle) == [server]
    assert stage.sent(client) == answer


@pytest.mark.parametrize(
    ("mode", "answer", "released"),
    [
        (PoolMode.TRANSACTION, READY, True),
        (PoolMode.TRANSACTION, IN_TRANSACTION, False),
        (PoolMode.TRANSACTION, b"Z\0\0\0\5E", False),
        (PoolMode.STATEMENT, READY, True),
        (PoolMode.SESSION, READY, False),
    ],
)
def test_modes(mode: PoolMode, answer: bytes, *, released: bool) -> None:
    """Session pooling keeps the server, an open transaction does."""
    stage = Stage(mode)
    server, client = stage.server(), stage.client()
    client.take(query())
    server.take(RESULT + answer)
    assert (client.server is None) is released


def test_statement_mode_forbids_transactions() -> None:
    """The backend is called."""
    stage = Stage(PoolMode.STATEMENT)
    server, client = stage.server(), stage.client()
    client.take(query("BEGIN"))
    server.take(IN_TRANSACTION)
    assert stage.calls(server) == [("statement mode",)]


def test_a_notice_behind_the_answer() -> None:
    """A server that is in the middle of a message is not released."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    notice = message(b"N", b"SNOTICE\0\0")
    server.take(READY + notice[:7])
    assert list(stage.idle_pool.idle) == []
    server.take(notice[7:])
    assert list(stage.idle_pool.idle) == [server]


def test_a_client_in_the_middle_of_a_message() -> None:
    """COPY data half passed on must go to the server that got the first half."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query("COPY t FROM STDIN"))
    server.take(message(b"G", b"\0\0\0"))
    data = message(b"d", b"x" * 100)
    client.take(data[:50])
    server.take(message(b"E", b"SERROR\0\0") + READY)
    assert list(stage.idle_pool.idle) == []
    client.take(data[50:])
    assert list(stage.idle_pool.idle) == [server]
    assert stage.sent(server).endswith(data)


def test_parameters_are_reported() -> None:
    """ParameterStatus goes to the backend and to the client."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    status = message(b"S", b"TimeZone\0UTC\0")
    server.take(status[:9])
    server.take(status[9:] + READY)
    assert stage.calls(server) == [("parameter", b"TimeZone\0UTC\0")]
    assert stage.sent(client) == status + READY


def test_an_unknown_message() -> None:
    """The backend is called."""
    stage = Stage()
    server, client = stage.server(), stage.client()
    client.take(query())
    server.take(message(b"?"))
    assert stage.calls(server) == [("faulted", "unknown pkt")]


def test_unlinked_messages_are_the_controls() -> None:
    """Whole, one by one."""
    stage = Stage()
    server = stage.server()
    data = message(b"N", b"SNOTICE\0\0")
    server.take(data[:4])
    server.take(data[4:])
    assert stage.calls(server) == [("message", "N", b"SNOTICE\0\0")]


@pytest.mark.parametrize("step", [1, 4, 9, 1000])
def test_our_own_parse_is_swallowed(step: int) -> None:
    """A Bind on a new server: its client sees only what it asked for."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    server.take(PARSED + READY)
    stage.idle_pool.idle.clear()
    other = stage.server()
    stage.sent(client)
    client.take(message(b"B", b"\0mine\0\0\0\0\0\0\0") + message(b"S"))
    assert stage.sent(other).startswith(b"P")
    answer = PARSED + BOUND + READY
    for at in range(0, len(answer), step):
        other.take(answer[at : at + step])
    assert stage.sent(client) == BOUND + READY
    assert client.server is None


def test_a_made_reply_comes_in_its_turn() -> None:
    """CloseComplete follows the reply that comes before it."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(
        message(b"P", b"mine\0SELECT 1\0\0\0")
        + message(b"C", b"Smine\0")
        + message(b"S")
    )
    assert stage.sent(client) == b""
    server.take(PARSED + READY)
    assert stage.sent(client) == PARSED + CLOSED + READY


@pytest.mark.parametrize("tag", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_forgetting_all_statements(tag: str) -> None:
    """Both the server's list and the client's names are emptied."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"P", b"mine\0SELECT 1\0\0\0") + message(b"S"))
    server.take(PARSED + READY)
    client.take(query(tag))
    server.take(message(b"C", tag.encode() + b"\0") + READY)
    assert len(server.statements) == 0
    assert client.statements is not None
    assert client.statements.names == {}
    assert len(stage.table) == 0
