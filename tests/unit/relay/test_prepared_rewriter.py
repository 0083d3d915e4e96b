"""Texts of SQL about prepared statements: what goes before them, and what passes."""

from __future__ import annotations

import pytest

from pgswitch.relay.client_stream import WAIT_FOR_WHOLE, ClientStream
from pgswitch.relay.prepared_rewriter import MAX_TEXT_LENGTH
from pgswitch.relay.server_stream import ServerStream
from pgswitch.wire.constants import QUERY
from pgswitch.wire.exchange import SQL
from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, message, query
from tests.unit.relay.pair import Stage

ERROR = message(b"E", b"C42601\0\0")


PREPARED = message(b"C", b"PREPARE\0") + READY


def released(stage: Stage, server: ServerStream) -> None:
    """Have a server that came back cleaned, and put it back."""
    assert stage.policy.calls.pop() == ("released", server)
    assert server.statements.cleaning()
    server.drop_release_check()
    stage.idle_pool.idle.append(server)


def prepared(text: str = "PREPARE a AS SELECT 1") -> tuple[Stage, ClientStream]:
    """Return a client that has prepared something, and a stage without that server."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query(text))
    first.take(PREPARED)
    assert stage.sent(client) == PREPARED
    assert stage.idle_pool.idle == []
    assert stage.policy.calls.pop() == ("released", first)
    return stage, client


def test_names_of_ones_own_are_closed_at_the_release() -> None:
    """The server is the policy's until that is done."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    assert client.exchange.queue == [QUERY | SQL]
    server.take(PREPARED)
    assert client.server is None
    assert stage.policy.calls == [("released", server)]
    assert server.needs_release_check
    assert server.statements.cleaning() == message(b"C", b"Sa\0")
    server.drop_release_check()
    assert not server.needs_release_check


def test_sql_statements_follow_a_client() -> None:
    """What its next server lacks goes before; the Query waits for that."""
    stage, client = prepared()
    second = stage.server()
    client.take(query("EXECUTE a"))
    assert stage.sent(second) == ours(b"PREPARE a AS SELECT 1") + SYNC
    assert client.paused == 0
    second.take(OF_OURS + READY)
    assert stage.sent(client) == b""
    assert stage.sent(second) == query("EXECUTE a")
    second.take(RESULT + READY)
    assert stage.sent(client) == RESULT + READY
    assert client.exchange.synthetic_count == 0
    released(stage, second)
    client.take(query("EXECUTE a;") + query("SELECT 1"))
    assert stage.sent(second) == ours(b"PREPARE a AS SELECT 1") + SYNC
    second.take(OF_OURS + READY)
    assert stage.sent(second) == query("EXECUTE a;") + query("SELECT 1")


def test_the_sql_step_runs_once_in_a_transaction() -> None:
    """While the client has the server it has the statement."""
    stage, client = prepared()
    second = stage.server()
    client.take(query("BEGIN"))
    second.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.take(query("EXECUTE a"))
    assert stage.sent(second) == query("BEGIN") + ours(b"PREPARE a AS SELECT 1") + SYNC
    second.take(OF_OURS + IN_TRANSACTION)
    assert stage.sent(second) == query("EXECUTE a")
    second.take(RESULT + IN_TRANSACTION)
    client.take(query("EXECUTE a"))
    assert stage.sent(second) == query("EXECUTE a")


def test_an_internal_query_that_fails() -> None:
    """Its error is the answer to the Query, which is not sent."""
    stage, client = prepared()
    second = stage.server()
    client.take(query("EXECUTE a") + query("SELECT 2"))
    stage.sent(second)
    second.take(message(b"3") + ERROR + READY)
    assert stage.sent(client) == ERROR + READY
    assert stage.sent(second) == query("SELECT 2")
    second.take(RESULT + READY)
    assert stage.sent(client) == RESULT + READY
    assert list(stage.idle_pool.idle) == [second]
    assert client.exchange.synthetic_count == 0


def test_an_internal_query_in_pieces() -> None:
    """However its answer comes, nothing of it reaches the client."""
    answer = OF_OURS + READY
    for cut in range(1, len(answer)):
        stage, client = prepared()
        second = stage.server()
        client.take(query("EXECUTE a"))
        stage.sent(second)
        second.take(answer[:cut])
        second.take(answer[cut:])
        assert stage.sent(client) == b""
        assert stage.sent(second) == query("EXECUTE a")


def test_behind_the_end_of_a_failed_transaction() -> None:
    """The end goes first, then what is needed, then the rest of the text."""
    stage, client = prepared()
    second = stage.server()
    client.take(query("BEGIN"))
    second.take(ERROR + b"Z\0\0\0\5E")
    stage.sent(second)
    stage.sent(client)
    client.take(query("ROLLBACK; EXECUTE a"))
    assert stage.sent(second) == query("ROLLBACK; ")
    second.take(message(b"C", b"ROLLBACK\0") + READY)
    assert stage.sent(second) == ours(b"PREPARE a AS SELECT 1") + SYNC
    second.take(OF_OURS + READY)
    assert stage.sent(second) == query("EXECUTE a")


def test_what_names_a_statement_waits() -> None:
    """Whether there is one is known when the PREPARE has its answer, and not before."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("BEGIN"))
    server.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    stage.sent(server)
    client.take(query("PREPARE a AS SELECT 1") + query("EXECUTE a") + query("SELECT 1"))
    assert stage.sent(server) == query("PREPARE a AS SELECT 1")
    assert client.suspended
    client.take(query("SELECT 2"))
    assert stage.sent(server) == b""
    assert client.paused
    answer = message(b"C", b"PREPARE\0") + IN_TRANSACTION
    server.take(answer[:-1])
    assert stage.sent(server) == b""
    server.take(answer[-1:])
    rest = query("EXECUTE a") + query("SELECT 1") + query("SELECT 2")
    assert stage.sent(server) == rest
    assert not client.paused
    assert not client.exchange.awaited
    assert client.exchange.synthetic_count == 0


def test_what_names_none_does_not_wait() -> None:
    """An ordinary query goes on after a PREPARE."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    client.take(query("DELETE FROM t"))
    client.take(query("SELECT 1"))
    assert stage.sent(server).endswith(query("SELECT 1"))


def test_sql_statements_that_fail() -> None:
    """The error is the answer to the whole, and nothing is taken for done."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE a AS SELECT 1"))
    first.take(ERROR + READY)
    assert stage.sent(client) == ERROR + READY
    assert list(stage.idle_pool.idle) == [first]
    stage.sent(first)
    client.take(query("EXECUTE a"))
    assert stage.sent(first) == query("EXECUTE a")


@pytest.mark.parametrize("size", range(1, len(query("PREPARE a AS SELECT 1"))))
def test_sql_statements_in_pieces(size: int) -> None:
    """A Query is looked at when it is whole, or much of it is there."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("BEGIN"))
    server.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    text = query("PREPARE a AS SELECT 1")
    client.take(text[:size])
    client.take(text[size:])
    assert stage.sent(server) == query("BEGIN") + text
    server.take(message(b"C", b"PREPARE\0") + IN_TRANSACTION)
    assert client.statements is not None
    assert list(client.statements.sql.texts) == [b"a"]


@pytest.mark.parametrize("text", ["DELETE FROM t", " \n ", "PREPARED", "end"])
def test_queries_that_only_begin_like_it(text: str) -> None:
    """They go on unchanged, in any number of pieces."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query(text))
    assert stage.sent(server) == query(text)


@pytest.mark.parametrize("text", ["PREPARE b AS SELECT '%s'", "SELECT '%s'"])
@pytest.mark.parametrize("has_some", [False, True])
def test_long_texts(text: str, *, has_some: bool) -> None:
    """They are buffered only where their words may matter."""
    stage = Stage()
    if has_some:
        stage, client = prepared()
    else:
        client = stage.client(prepared=10)
    server = stage.server()
    long = query(text % ("x" * MAX_TEXT_LENGTH))
    client.take(long[:WAIT_FOR_WHOLE])
    is_held = has_some or text.startswith("PREPARE")
    assert stage.sent(server) == (b"" if is_held else long[:WAIT_FOR_WHOLE])
    client.take(long[WAIT_FOR_WHOLE:])
    assert stage.sent(server) == (long if is_held else long[WAIT_FOR_WHOLE:])


def test_an_empty_message() -> None:
    """A Query without even its last byte is the server's to refuse."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(message(b"Q"))
    assert stage.sent(server) == message(b"Q")


def test_forgetting_all_where_nothing_is_known() -> None:
    """DISCARD ALL counts on any server."""
    stage, client = prepared()
    second = stage.server()
    client.take(query("DISCARD ALL"))
    second.take(message(b"C", b"DISCARD ALL\0") + READY)
    assert client.statements is not None
    assert client.statements.sql.texts == {}
    client.take(query("EXECUTE a"))
    assert stage.sent(second).endswith(query("EXECUTE a"))


# By the extended protocol.

SYNC, FLUSH = message(b"S"), message(b"H")
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
        + message(b"B", name + name + bytes(6))
        + message(b"E", name + bytes(4))
        + message(b"C", b"P" + name)
    )


OF_OURS = (
    message(b"3")
    + message(b"1")
    + message(b"2")
    + message(b"C", b"PREPARE\0")
    + message(b"3")
)
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
    assert stage.policy.calls == [("released", first)]


def test_executing_by_the_extended_protocol() -> None:
    """The missing statement goes before the Parse; messages that name it wait."""
    stage, client = prepared()
    second = stage.server()
    client.take(parse(b"EXECUTE a") + BOUND)
    sent = ours(b"PREPARE a AS SELECT 1") + parse(b"EXECUTE a")
    assert stage.sent(second) == sent + FLUSH
    second.take(OF_OURS)
    assert stage.sent(client) == b""
    assert stage.sent(second) == b""
    second.take(message(b"1"))
    assert stage.sent(second) == BOUND
    second.take(message(b"2") + RESULT + READY)
    assert stage.sent(client) == message(b"1") + message(b"2") + RESULT + READY
    released(stage, second)


def test_a_named_one_on_another_server() -> None:
    """Binding it there has what it names prepared first."""
    stage, client = prepared()
    first = stage.server()
    client.take(parse(b"EXECUTE a", b"x") + SYNC)
    name = b"PGBOUNCER_1"
    made = ours(b"PREPARE a AS SELECT 1")
    assert stage.sent(first) == made + parse(b"EXECUTE a", name) + SYNC
    first.take(OF_OURS + message(b"1") + READY)
    assert stage.sent(client) == message(b"1") + READY
    stage.policy.calls.clear()
    second = stage.server()
    client.take(bound(b"x"))
    sent = made + parse(b"EXECUTE a", name)
    binding = message(b"B", b"\0" + name + b"\0" + bytes(6))
    assert stage.sent(second) == sent + binding + FLUSH
    second.take(OF_OURS + message(b"1") + message(b"2"))
    assert stage.sent(second) == message(b"E", bytes(5)) + SYNC
    second.take(RESULT + READY)
    assert stage.sent(client) == message(b"2") + RESULT + READY
    released(stage, second)


def test_failing_by_the_extended_protocol() -> None:
    """All up to the Sync is undone."""
    stage, client = prepared()
    second = stage.server()
    client.take(parse(b"DEALLOCATE a") + BOUND)
    second.take(OF_OURS + message(b"1"))
    second.take(message(b"2") + ERROR + READY)
    assert stage.sent(client) == message(b"1") + message(b"2") + ERROR + READY
    assert client.statements is not None
    assert list(client.statements.sql.texts) == [b"a"]
    assert list(second.statements.own) == [b"a"]
    released(stage, second)


def test_another_statement_under_the_name() -> None:
    """Only the text that was parsed last counts."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(parse(b"PREPARE a AS SELECT 1") + parse(b"SELECT 1") + BOUND)
    server.take(message(b"1") + DONE)
    assert client.statements is not None
    assert client.statements.sql.texts == {}
    assert server.statements.has_unknown, "it said PREPARE, whatever that was"
    assert stage.policy.calls == [("released", server)]


# The unnamed statement.


BIND = message(b"B", bytes(8))
EXECUTE = message(b"E", bytes(5))
CLOSE_UNNAMED = message(b"C", b"S\0")


def test_the_unnamed_statement_of_another() -> None:
    """It is closed before the Bind, so that the server itself reports it as missing."""
    stage = Stage()
    server = stage.server()
    first, second = stage.client(prepared=10), stage.client(prepared=10)
    first.take(parse(b"SELECT 1") + BIND + EXECUTE + SYNC)
    server.take(message(b"1") + message(b"2") + RESULT + READY)
    stage.sent(server)
    second.take(BIND + EXECUTE + SYNC)
    assert stage.sent(server) == CLOSE_UNNAMED + BIND + EXECUTE + SYNC
    server.take(message(b"3") + ERROR + READY)
    assert stage.sent(second) == ERROR + READY
    assert list(stage.idle_pool.idle) == [server]


@pytest.mark.parametrize("first", [parse(b"SELECT 1"), query("SELECT 1")])
def test_the_unnamed_statement_of_ones_own(first: bytes) -> None:
    """Since the client has had the server it parsed one, or a Query left none."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("BEGIN"))
    server.take(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.take(first + (SYNC if first[:1] == b"P" else b""))
    stage.sent(server)
    client.take(BIND + EXECUTE + SYNC)
    assert stage.sent(server) == BIND + EXECUTE + SYNC


def test_the_unnamed_statement_behind_what_may_fail() -> None:
    """Whether a Parse was skipped shows in the answer, which is waited for."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    ahead = message(b"B", b"\0never\0" + bytes(6)) + parse(b"SELECT 1") + SYNC
    client.take(ahead)
    client.take(BIND + EXECUTE + SYNC)
    assert stage.sent(server) == ahead
    server.take(ERROR + READY)
    assert stage.sent(server) == CLOSE_UNNAMED + BIND + EXECUTE + SYNC


def test_a_buffered_bind_leaves_no_trace() -> None:
    """What would go before it is noted when it goes."""
    stage = Stage()
    first, client = stage.server(), stage.client(prepared=10)
    client.take(query("PREPARE q AS SELECT 1"))
    first.take(message(b"C", b"PREPARE\0") + READY)
    stage.idle_pool.idle.clear()
    second = stage.server()
    client.take(message(b"P", b"\0EXECUTE q\0\0\0") + message(b"S"))
    ran = message(b"C", b"PREPARE\0")
    second.take(
        b"".join(map(message, (b"3", b"1", b"2")))
        + ran
        + message(b"3")
        + message(b"1")
        + READY
    )
    stage.idle_pool.idle.clear()
    third = stage.server()
    missing = message(b"B", b"\0missing\0" + bytes(6)) + message(b"S")
    client.take(missing + message(b"B", bytes(8)) + message(b"S"))
    assert stage.sent(third) == missing
    exchange = client.exchange
    assert (exchange.outstanding(), exchange.awaited) == (2, True)
