"""PREPARE, EXECUTE and DEALLOCATE of SQL: what goes before them, and what is noted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.stats.counters import Counters
from pgswitch.wire.exchange import EXECUTE, QUERY, SQL, SWALLOW, Exchange
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.statements import ServerStatements, StatementTable

OURS, THEIRS = EXECUTE | SQL | SWALLOW, EXECUTE | SQL
ONE, TWO = b"PREPARE a AS SELECT 1", b"PREPARE a AS SELECT 2"
COMPLETE = 0x43


class Scene:
    """Clients with statements, and servers that answer as a test says."""

    def __init__(self, most: int = 10) -> None:
        """Know nothing."""
        self.table = StatementTable()
        self.most = most

    def client(self) -> ClientStatements:
        """Return a new client's statements."""
        return ClientStatements(self.table, Exchange(), self.most, Counters())

    def server(self) -> ServerStatements:
        """Return a new server's."""
        return ServerStatements(self.table)


def ask(
    client: ClientStatements, text: bytes, server: ServerStatements
) -> tuple[bytes, list[int]]:
    """Return what goes before a query, and the requests noted for it."""
    before = client.sql.query(text + b"\0", server.by_sql, client.names)
    return before, client.exchange.queue[client.exchange.head :]


def succeed(client: ClientStatements) -> None:
    """Have all that was asked succeed."""
    exchange = client.exchange
    while exchange.outstanding() > 1:
        entry = exchange.completed(COMPLETE)
        assert entry & SQL
        client.settled(entry)
    exchange.ready(ord("I"))


def fail(client: ClientStatements, server: ServerStatements) -> None:
    """Have the next statement fail."""
    skipped = client.exchange.failed()
    client.undone(skipped, server)
    client.exchange.ready(ord("I"))
    assert client.exchange.clean
    assert client.exchange.special == 0


def do(client: ClientStatements, text: bytes, server: ServerStatements) -> bytes:
    """Return what goes before a query that succeeds."""
    before, _entries = ask(client, text, server)
    succeed(client)
    return before


def test_preparing() -> None:
    """The client's own words, noted by the name as PostgreSQL folds it."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    text = b' prepare  "A""b"(int) as select $1 ; '
    assert ask(client, text, server) == (b"", [THEIRS, QUERY])
    succeed(client)
    assert client.sql.texts == server.by_sql == {b'A"b': text.rstrip(b" ;")}
    assert do(client, b"PREPARE Foo AS SELECT 1", server) == b""
    assert list(client.sql.texts)[-1] == b"foo"


def test_executing() -> None:
    """A server that has it gets no more than the client's words; another one does."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server)
    assert ask(client, b"EXECUTE a(1)", server) == (b"", [QUERY])
    succeed(client)
    before, entries = ask(client, b"EXECUTE A(1)", other)
    assert (before, entries) == (ONE + b"\n;", [OURS, QUERY])
    succeed(client)
    assert other.by_sql == {b"a": ONE}


@pytest.mark.parametrize(
    "text",
    [
        b"EXPLAIN ANALYZE EXECUTE a",
        b"CREATE TEMP TABLE t AS execute a",
        b"SELECT 1; EXECUTE a; SELECT 2",
        b'EXECUTE "a"',
    ],
)
def test_execute_anywhere(text: bytes) -> None:
    """It need not stand at the beginning."""
    scene = Scene()
    client, other = scene.client(), scene.server()
    do(client, ONE, scene.server())
    assert do(client, text, other) == ONE + b"\n;"


def test_the_same_name_for_two() -> None:
    """Each gets its own, one after the other on one server."""
    scene = Scene()
    first, second, server = scene.client(), scene.client(), scene.server()
    do(first, ONE, server)
    before, entries = ask(second, TWO, server)
    assert (before, entries) == (b'DEALLOCATE "a"\n;', [OURS, THEIRS, QUERY])
    succeed(second)
    assert do(second, b"EXECUTE a", server) == b""
    assert do(first, b"EXECUTE a", server) == b'DEALLOCATE "a"\n;' + ONE + b"\n;"
    assert do(first, ONE, scene.server()) == ONE + b"\n;"


def test_the_same_statement_for_two() -> None:
    """It is prepared once on a server."""
    scene = Scene()
    first, second, server = scene.client(), scene.client(), scene.server()
    do(first, ONE, server)
    do(second, ONE, scene.server())
    assert do(second, b"EXECUTE a", server) == b""


def test_somebody_elses_statement() -> None:
    """It is not to be found."""
    scene = Scene()
    first, second, server = scene.client(), scene.client(), scene.server()
    do(first, ONE, server)
    assert ask(second, b"EXECUTE a", server) == (b'DEALLOCATE "a"\n;', [OURS, QUERY])
    succeed(second)
    assert server.by_sql == {}
    do(first, b"EXECUTE a", server)
    assert do(second, b"DEALLOCATE a", server) == b'DEALLOCATE "a"\n;'


def test_a_duplicate_name() -> None:
    """The server is to refuse it, and nothing changes."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server)
    assert ask(client, TWO, server) == (b"", [QUERY])
    fail(client, server)
    assert ask(client, TWO, other) == (ONE + b"\n;", [OURS, QUERY])
    assert client.sql.texts == {b"a": ONE}


@pytest.mark.parametrize("text", [b"DEALLOCATE a", b"deallocate PREPARE A ;"])
def test_dropping(text: bytes) -> None:
    """The server's own answer, also where it did not have the statement."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server)
    do(client, b"EXECUTE a", other)
    assert ask(client, text, other) == (b"", [THEIRS, QUERY])
    succeed(client)
    assert (client.sql.texts, other.by_sql, server.by_sql) == ({}, {}, {b"a": ONE})
    do(client, TWO, server)
    third = scene.server()
    assert ask(client, text, third) == (TWO + b"\n;", [OURS, THEIRS, QUERY])
    succeed(client)
    assert (client.sql.texts, third.by_sql) == ({}, {})


def test_dropping_one_of_the_extended_protocol() -> None:
    """The name is free, and the statement forgotten."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    client.parse(b"pdo_1\0SELECT 1\0\0\0", server)
    client.settled(client.exchange.completed(ord("1")))
    client.exchange.ready(ord("I"))
    before, entries = ask(client, b"DEALLOCATE pdo_1", server)
    assert before == b'PREPARE "pdo_1" AS SELECT\n;'
    assert entries == [OURS, THEIRS, QUERY]
    succeed(client)
    assert (client.names, server.by_sql) == ({}, {})
    server.clear()
    assert len(scene.table) == 0


def test_failing_to_drop_one_of_the_extended_protocol() -> None:
    """In a failed transaction nothing is dropped."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    client.parse(b"s\0SELECT 1\0\0\0", server)
    client.settled(client.exchange.completed(ord("1")))
    client.exchange.ready(ord("I"))
    ask(client, b"DEALLOCATE s", server)
    fail(client, server)
    assert list(client.names) == [b"s"]
    ask(client, b"DEALLOCATE s", server)
    client.leave()
    server.clear()
    assert len(scene.table) == 0


def test_failures() -> None:
    """Whatever did not happen is undone, and no more than that."""
    scene = Scene()
    first, second, server = scene.client(), scene.client(), scene.server()
    ask(first, ONE, server)
    fail(first, server)
    assert (first.sql.texts, server.by_sql) == ({}, {})
    do(first, ONE, server)
    ask(second, TWO, server)
    fail(second, server)
    assert (second.sql.texts, server.by_sql) == ({}, {b"a": ONE})
    ask(second, TWO, server)
    second.settled(second.exchange.completed(COMPLETE))
    fail(second, server)
    assert (second.sql.texts, server.by_sql) == ({}, {})
    ask(first, b"DEALLOCATE a", server)
    fail(first, server)
    assert (first.sql.texts, server.by_sql) == ({b"a": ONE}, {})


def test_a_failure_does_not_touch_the_next_query() -> None:
    """Simple queries are not skipped after an error."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    ask(client, ONE, server)
    ask(client, b"PREPARE b AS SELECT 1", server)
    client.undone(client.exchange.failed(), server)
    client.exchange.ready(ord("I"))
    assert not client.exchange.clean
    succeed(client)
    assert list(client.sql.texts) == [b"b"]


def test_no_more_than_there_may_be() -> None:
    """A server drops the one unused for longest."""
    scene = Scene(most=2)
    client, server = scene.client(), scene.server()
    for name in (b"a", b"b"):
        do(client, b"PREPARE %s AS SELECT 1" % name, server)
    do(client, b"EXECUTE a", server)
    assert do(client, b"PREPARE c AS SELECT 1", server) == b'DEALLOCATE "b"\n;'
    assert list(server.by_sql) == [b"a", b"c"]
    assert do(client, b"EXECUTE b", server).startswith(b'DEALLOCATE "a"\n;PREPARE b')


def test_dropping_among_others() -> None:
    """The name is free; a server that lacked it had it for a moment."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server)
    before, entries = ask(client, b"SELECT 1; DEALLOCATE a; SELECT 2", other)
    assert (before, entries) == (ONE + b"\n;", [OURS, QUERY])
    succeed(client)
    assert (client.sql.texts, other.by_sql) == ({}, {})
    assert do(client, TWO, server) == b'DEALLOCATE "a"\n;'


@pytest.mark.parametrize(
    "text",
    [
        b"PREPARE a AS SELECT 1; EXECUTE a",
        b"PREPARE a AS SELECT E'\\';'",
        b"PREPARE TRANSACTION 'a'",
        b"PREPARE",
        b"DEALLOCATE ALL",
        b"DEALLOCATE",
        b"EXECUTE",
        b"EXPLAIN SELECT 1",
        b"",
    ],
)
def test_what_passes(text: bytes) -> None:
    """It is an ordinary query."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    assert ask(client, text, server) == (b"", [QUERY])
    assert (client.sql.texts, server.by_sql) == ({}, {})


@pytest.mark.parametrize(
    "text",
    [
        b"PREPARE a AS SELECT ';'",
        b'PREPARE a AS SELECT 1 AS ";"',
        b"PREPARE a AS SELECT $x$;$x$ -- ; or so",
        b"PREPARE a AS SELECT 1 /* ; */",
        b"PREPARE a AS SELECT 'it''s;'",
    ],
)
def test_semicolons_inside(text: bytes) -> None:
    """They do not make two statements of one."""
    scene = Scene()
    client = scene.client()
    do(client, text, scene.server())
    assert do(client, b"EXECUTE a", scene.server()) == text + b"\n;"


def test_long_names() -> None:
    """They are one up to the 63rd byte."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    do(client, b"PREPARE %s AS SELECT 1" % (b"n" * 70), server)
    do(client, b"DEALLOCATE %s" % (b"n" * 64), server)
    assert client.sql.texts == {}


def test_discard_all() -> None:
    """Client and server forget."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    do(client, ONE, server)
    server.clear()
    client.clear()
    assert (client.sql.texts, server.by_sql) == ({}, {})


# Whatever clients do, each sees what it would see alone on a server of its own.

PARTS = re.compile(rb"(PREPARE|EXECUTE|DEALLOCATE) \"?(\w+)\"?(?: AS (.*))?")


class Session:
    """What PostgreSQL does with such statements: names, and errors of three kinds."""

    def __init__(self) -> None:
        """Begin without statements."""
        self.has: dict[bytes, bytes] = {}

    def run(self, statement: bytes) -> bytes | None:
        """Return what a statement gives, None for an error."""
        found = PARTS.fullmatch(statement)
        assert found is not None, statement
        verb, name, text = found.groups()
        if verb == b"PREPARE":
            if name in self.has or text == b"BAD":
                return None
            self.has[name] = text
            return b"PREPARE"
        if verb == b"EXECUTE":
            return self.has.get(name)
        return None if self.has.pop(name, None) is None else b"DEALLOCATE"


def converse(
    client: ClientStatements, text: bytes, server: ServerStatements, session: Session
) -> bytes | None:
    """Have a client's statement run by a server; return what the client sees."""
    before = client.sql.query(text + b"\0", server.by_sql, client.names)
    exchange = client.exchange
    seen: bytes | None = None
    for statement in [*before.split(b"\n;")[:-1], text]:
        seen = session.run(statement)
        if seen is None:
            client.undone(exchange.failed(), server)
            break
        entry = exchange.completed(COMPLETE)
        if entry & SQL:
            client.settled(entry)
    assert client.exchange.ready(ord("I")) == []
    assert exchange.clean
    assert exchange.special == 0
    assert len(session.has) <= client.most
    return seen


NAMES = st.sampled_from([b"a", b"b", b"c"])
STATEMENTS = st.one_of(
    st.builds(
        lambda name, text: b"PREPARE %s AS %s" % (name, text),
        NAMES,
        st.sampled_from([b"ONE", b"TWO", b"BAD"]),
    ),
    st.builds(lambda name: b"EXECUTE " + name, NAMES),
    st.builds(lambda name: b"DEALLOCATE " + name, NAMES),
)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), STATEMENTS), max_size=40),
    st.integers(1, 3),
)
def test_as_if_alone(steps: list[tuple[int, int, bytes]], most: int) -> None:
    """Three clients on two servers, each step on any of them."""
    scene = Scene(most)
    clients = [(scene.client(), Session()) for _ in range(3)]
    servers = [(scene.server(), Session()) for _ in range(2)]
    for which, where, statement in steps:
        client, alone = clients[which]
        server, session = servers[where]
        seen = converse(client, statement, server, session)
        assert seen == alone.run(statement)
        texts = {name: text.split(b" AS ")[1] for name, text in server.by_sql.items()}
        assert texts == session.has
        assert client.sql.texts.keys() == alone.has.keys()
