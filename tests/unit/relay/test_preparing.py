"""Texts of SQL about prepared statements: what goes before them, and what passes."""

from __future__ import annotations

import pytest

from pgswitch.relay.client import WAIT_FOR_WHOLE
from pgswitch.relay.preparing import LONGEST_TEXT
from tests.fakes.messages import READY, RESULT, message, query
from tests.unit.relay.pair import Stage

ERROR = message(b"E", b"C42601\0\0")


def test_sql_statements_follow_a_client() -> None:
    """What its next server lacks goes before, and the answer to that is swallowed."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(message(b"C", b"PREPARE\0") + READY)
    assert stage.sent(client) == message(b"C", b"PREPARE\0") + READY
    stage.rack.idle.clear()
    second = stage.server()
    client.take(query("EXECUTE a"))
    assert stage.sent(second) == query("PREPARE a AS SELECT 1\n;EXECUTE a")
    second.take(message(b"C", b"PREPARE\0") + RESULT + READY)
    assert stage.sent(client) == RESULT + READY
    assert list(stage.rack.idle) == [second]
    client.take(query("  EXECUTE a"))
    assert stage.sent(second) == query("  EXECUTE a")


def test_sql_statements_that_fail() -> None:
    """The error is the answer to the whole, and nothing is taken for done."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(ERROR + READY)
    assert stage.sent(client) == ERROR + READY
    assert list(stage.rack.idle) == [first]
    client.take(query("EXECUTE a"))
    assert stage.sent(first).endswith(query("EXECUTE a"))


@pytest.mark.parametrize("size", range(1, len(query("PREPARE a AS SELECT 1"))))
def test_sql_statements_in_pieces(size: int) -> None:
    """What has come of a message goes on at once, but not of one of these."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("BEGIN"))
    server.take(message(b"C", b"BEGIN\0") + b"Z\0\0\0\5T")
    text = query("PREPARE a AS SELECT 1")
    client.take(text[:size])
    client.take(text[size:])
    assert stage.sent(server) == query("BEGIN") + text
    assert client.statements is not None
    assert list(client.statements.sql.texts) == [b"a"]


@pytest.mark.parametrize("text", ["DELETE FROM t", " \n ", "PREPARED", "end"])
def test_queries_that_only_begin_like_it(text: str) -> None:
    """They go on as they are, in whatever pieces."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query(text))
    assert stage.sent(server) == query(text)


@pytest.mark.parametrize("text", ["PREPARE b AS SELECT '%s'", "SELECT '%s'"])
def test_long_texts(text: str) -> None:
    """They are not held, whoever sends them."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    server.take(message(b"C", b"PREPARE\0") + READY)
    stage.sent(server)
    long = query(text % ("x" * LONGEST_TEXT))
    client.take(long[:WAIT_FOR_WHOLE])
    assert stage.sent(server) == long[:WAIT_FOR_WHOLE]
    client.take(long[WAIT_FOR_WHOLE:])
    assert stage.sent(server) == long[WAIT_FOR_WHOLE:]


def test_an_empty_message() -> None:
    """A Query without even its last byte is the server's to refuse."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"Q"))
    assert stage.sent(server) == message(b"Q")


def test_forgetting_all_where_nothing_is_known() -> None:
    """DISCARD ALL counts on whatever server it runs."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(message(b"C", b"PREPARE\0") + READY)
    stage.rack.idle.clear()
    second = stage.server()
    client.take(query("DISCARD ALL"))
    second.take(message(b"C", b"DISCARD ALL\0") + READY)
    assert client.statements is not None
    assert client.statements.sql.texts == {}
    client.take(query("EXECUTE a"))
    assert stage.sent(second).endswith(query("EXECUTE a"))


# By the extended protocol.

SYNC = message(b"S")
BOUND = message(b"B", b"\0\0" + bytes(6)) + message(b"E", bytes(5)) + SYNC


def parse(text: bytes, name: bytes = b"") -> bytes:
    """Return a Parse."""
    return message(b"P", name + b"\0" + text + b"\0\0\0")


def bound(name: bytes) -> bytes:
    """Return Bind, Execute and Sync of a statement."""
    return (
        message(b"B", b"\0" + name + b"\0" + bytes(6)) + message(b"E", bytes(5)) + SYNC
    )


def ours(text: bytes) -> bytes:
    """Return the messages that run what goes before."""
    name = b"PGBOUNCER_0\0"
    return (
        message(b"C", b"S" + name)
        + parse(text, name[:-1])
        + message(b"B", b"\0" + name + bytes(6))
        + message(b"E", bytes(5))
    )


OF_OURS = message(b"3") + message(b"1") + message(b"2") + message(b"C", b"PREPARE\0")
DONE = message(b"1") + message(b"2") + message(b"C", b"PREPARE\0") + READY


def test_preparing_by_the_extended_protocol() -> None:
    """What is executed is noted, and not before that."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(parse(b"PREPARE a AS SELECT 1") + SYNC)
    first.take(message(b"1") + READY)
    assert client.statements is not None
    assert client.statements.sql.texts == {}
    client.take(parse(b"PREPARE a AS SELECT 1") + BOUND)
    assert stage.sent(first).endswith(parse(b"PREPARE a AS SELECT 1") + BOUND)
    first.take(DONE)
    assert client.statements.sql.texts == {b"a": b"PREPARE a AS SELECT 1"}
    assert stage.sent(client) == message(b"1") + READY + DONE
    assert list(stage.rack.idle) == [first]


def test_executing_by_the_extended_protocol() -> None:
    """What is missing goes before the Parse, so that Describe is right."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(message(b"C", b"PREPARE\0") + READY)
    stage.sent(client)
    stage.rack.idle.clear()
    second = stage.server()
    asked = parse(b"EXECUTE a") + BOUND
    client.take(asked)
    assert stage.sent(second) == ours(b"PREPARE a AS SELECT 1") + asked
    answer = message(b"1") + message(b"2") + RESULT + READY
    second.take(OF_OURS + answer)
    assert stage.sent(client) == answer
    assert list(stage.rack.idle) == [second]


def test_a_named_one_on_another_server() -> None:
    """Whoever binds it there has what it names prepared first."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(message(b"C", b"PREPARE\0") + READY)
    client.take(parse(b"EXECUTE a", b"x") + SYNC)
    first.take(message(b"1") + READY)
    stage.sent(client)
    stage.rack.idle.clear()
    second = stage.server()
    client.take(bound(b"x"))
    name = b"PGBOUNCER_1"
    assert stage.sent(second) == (
        ours(b"PREPARE a AS SELECT 1") + parse(b"EXECUTE a", name) + bound(name)
    )
    answer = message(b"2") + RESULT + READY
    second.take(OF_OURS + message(b"1") + answer)
    assert stage.sent(client) == answer
    assert list(stage.rack.idle) == [second]


def test_failing_by_the_extended_protocol() -> None:
    """All up to the Sync is undone."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(message(b"C", b"PREPARE\0") + READY)
    stage.sent(client)
    stage.rack.idle.clear()
    second = stage.server()
    client.take(parse(b"DEALLOCATE a") + BOUND)
    second.take(message(b"1") + message(b"3") + ERROR + READY)
    assert stage.sent(client) == message(b"1") + ERROR + READY
    assert list(stage.rack.idle) == [second]
    assert client.statements is not None
    assert list(client.statements.sql.texts) == [b"a"]
    assert second.statements.by_sql == {}


def test_another_statement_under_the_name() -> None:
    """Only the text that was parsed last counts."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(parse(b"PREPARE a AS SELECT 1") + parse(b"SELECT 1") + BOUND)
    server.take(message(b"1") + DONE)
    assert client.statements is not None
    assert client.statements.sql.texts == {}
    assert list(stage.rack.idle) == [server]
