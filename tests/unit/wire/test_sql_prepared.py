"""PREPARE, EXECUTE and DEALLOCATE of SQL: what goes before them, and what is noted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.stats.counters import Counters
from pgswitch.wire.constants import PARSE, QUERY, STATUS_IDLE, SYNC
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import INTERNAL, NAMED, SQL, SWALLOW, TYPE, Exchange
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.sql_text import read
from pgswitch.wire.statements import OURS, ServerStatements, StatementTable, run
from tests.fakes.messages import kinds, split

ONE, TWO = b"PREPARE a AS SELECT 1", b"PREPARE a AS SELECT 2"


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


def missing(
    client: ClientStatements, text: bytes, server: ServerStatements
) -> list[bytes]:
    """Return the names that a text needs and the server lacks."""
    return client.sql.missing(read(text), server)


def do(
    client: ClientStatements, text: bytes, server: ServerStatements, *tags: bytes
) -> None:
    """Have a server carry out a Query, with these tags."""
    client.query(read(text), 0)
    for tag in tags:
        client.done(tag, server)
    client.exchange.ready(STATUS_IDLE)
    if client.exchange.answered & SQL:
        client.settled(client.exchange.answered)
    assert client.exchange.clean
    assert not client.sql.under_way


def leave(server: ServerStatements) -> list[bytes]:
    """Have a server dropped what is its client's own; return the names."""
    return [body[1:-1] for _kind, body in split(server.cleaning())]


def test_preparing() -> None:
    """It is noted by the tag, not before, under the name as PostgreSQL folds it."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    text = b' prepare  "A""b"(int) as select $1 ; '
    client.query(read(text), 0)
    assert client.exchange.queue == [QUERY | SQL]
    assert client.must_wait()
    assert (client.sql.texts, server.own) == ({}, {})
    client.done(b"PREPARE", server)
    assert list(server.own) == [b'A"b']
    assert client.sql.texts[b'A"b'].strip() == text.strip(b"; ")
    client.exchange.ready(STATUS_IDLE)
    client.settled(client.exchange.answered)
    assert not client.must_wait()


def test_failing() -> None:
    """Without a tag nothing is noted, and the next Query is judged by itself."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    client.query(read(ONE), 0)
    client.undone(client.exchange.failed(), server)
    assert client.exchange.ready(STATUS_IDLE) == []
    client.settled(client.exchange.answered)
    assert (client.sql.texts, server.own) == ({}, {})
    assert not client.must_wait()
    assert not client.busy


def test_part_of_a_text() -> None:
    """What comes before an error in a text is done."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    do(client, ONE + b"; PREPARE b AS wrong; DEALLOCATE a", server, b"PREPARE")
    assert list(client.sql.texts) == list(server.own) == [b"a"]


def test_tags_that_skip() -> None:
    """A tag is that of the first action it may be of; an unknown one is remembered."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    do(client, ONE, server, b"PREPARE")
    do(client, b"DEALLOCATE a; " + TWO, server, b"DEALLOCATE", b"PREPARE")
    assert client.sql.texts[b"a"].strip() == TWO
    assert not server.has_unknown


def test_a_tag_of_nothing_that_was_seen() -> None:
    """Some code prepared a statement whose name is unknown."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    client.query(read(b"DEALLOCATE a"), 0)
    client.done(b"PREPARE", server)
    assert server.has_unknown
    assert server.needs_cleaning()


def test_executing() -> None:
    """A server that has it gets no more than the client's words; another one does."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server, b"PREPARE")
    assert missing(client, b"EXECUTE a(1)", server) == []
    assert missing(client, b"EXECUTE A(1)", other) == [b"a"]
    assert missing(client, b"EXECUTE never", other) == []
    client.query(read(b"EXECUTE a"), 0)
    assert client.exchange.queue == [QUERY]
    assert not client.must_wait(), "it changes nothing"


def test_an_internal_query() -> None:
    """What is missing is run ahead, and its own error is the answer to the Query."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server, b"PREPARE")
    sent = client.ensure_own([b"a"], other, may_fail=True)
    assert sent == run(client.sql.texts[b"a"])
    assert kinds(sent) == "CPBEC"
    assert all(entry & SWALLOW and entry & INTERNAL for entry in client.exchange.queue)
    assert client.must_wait()
    for entry in client.exchange.queue[:3]:
        assert client.exchange.take() == entry
    client.done(b"PREPARE", other)
    client.settled(client.exchange.take())
    assert client.exchange.take() & TYPE == ord("C")
    assert list(other.own) == [b"a"]
    assert not client.must_wait()
    assert client.exchange.synthetic_count == 0
    assert client.ensure_own([b"a"], other, may_fail=True) == b""


def test_a_failed_internal_query() -> None:
    """The client gets the error of the Sync, since it stands for the Query."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    do(client, ONE, server, b"PREPARE")
    client.ensure_own([b"a"], other, may_fail=True)
    exchange = client.exchange
    exchange.request(SYNC | SWALLOW | INTERNAL)
    client.undone(exchange.failed(), other)
    assert exchange.internal_query_failed
    assert exchange.queue[exchange.head :] == [SYNC]
    assert exchange.synthetic_count == 0
    assert other.own == {}
    assert list(client.sql.texts) == [b"a"]


def test_one_of_messages() -> None:
    """EXECUTE may run what a Parse has named: it is parsed under the client's name."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    client.parse(b"s\0SELECT 1\0\0\0", server)
    client.settled(client.exchange.completed(ord("1")))
    assert missing(client, b"EXECUTE s", server) == [b"s"]
    sent = client.ensure_own([b"s"], server, may_fail=False)
    assert sent == message(PARSE, b"s\0SELECT 1\0\0\0")
    assert client.exchange.queue == [PARSE | SWALLOW | NAMED]
    client.settled(client.exchange.completed(ord("1")))
    assert list(server.own) == [b"s"]
    do(client, b"DEALLOCATE s", server, b"DEALLOCATE")
    assert (client.names, server.own) == ({}, {})
    server.clear()
    assert len(scene.table) == 0


def test_leaving_with_one_of_messages() -> None:
    """Whatever was under way, nothing is left of it."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    client.parse(b"s\0SELECT 1\0\0\0", server)
    client.settled(client.exchange.completed(ord("1")))
    client.ensure_own([b"s"], server, may_fail=False)
    client.query(read(b"DEALLOCATE s"), 0)
    client.leave()
    server.clear()
    assert len(scene.table) == 0
    assert not client.sql.under_way


def test_nothing_is_left_for_the_next() -> None:
    """What one has under its own name is closed before another gets the server."""
    scene = Scene()
    first, second, server = scene.client(), scene.client(), scene.server()
    do(first, ONE, server, b"PREPARE")
    assert server.needs_cleaning()
    assert leave(server) == [b"a"]
    assert not server.needs_cleaning()
    do(second, TWO, server, b"PREPARE")
    assert second.sql.texts[b"a"].strip() == TWO
    assert first.sql.texts[b"a"].strip() == ONE
    leave(server)
    assert missing(first, b"DEALLOCATE a", server) == [b"a"]


def test_nothing_is_kept_without_shared_statements() -> None:
    """With max_prepared_statements = 0 a statement ends with the hold on its server."""
    scene = Scene(most=0)
    client, server = scene.client(), scene.server()
    do(client, ONE, server, b"PREPARE")
    assert list(server.own) == [b"a"]
    assert client.sql.texts == {}
    assert leave(server) == [b"a"]
    assert missing(client, b"EXECUTE a", server) == []


def test_texts_of_messages() -> None:
    """A Parse does nothing; an Execute of what was bound to it does."""
    scene = Scene()
    client, server, other = scene.client(), scene.server(), scene.server()
    assert client.parse_sql(b"", read(ONE), server) == b""
    assert client.bind_sql(b"", b"", server) == b""
    client.execute(b"")
    client.done(b"PREPARE", server)
    client.settled(client.exchange.take())
    assert list(client.sql.texts) == [b"a"]
    client.execute(b"other")
    assert client.exchange.take() & SQL == 0
    assert client.bind_sql(b"", b"", other) == run(client.sql.texts[b"a"])
    client.forget_unnamed()
    assert client.sql.parsed == {}
    client.bind_sql(b"", b"", other)
    assert client.sql.portals == {}


@pytest.mark.parametrize("text", [b"EXECUTE a", b"SELECT 1", b""])
def test_what_changes_nothing(text: bytes) -> None:
    """It is an ordinary query."""
    client = Scene().client()
    client.query(read(text), 0)
    assert client.exchange.queue == [QUERY]
    assert not client.must_wait()


def test_what_we_run_may_follow_a_failure() -> None:
    """Our statement and portal are closed first, and the portal at the end."""
    assert [kind + body[:1].decode() for kind, body in split(run(ONE)) if kind == "C"]
    assert run(ONE).startswith(message(ord("C"), b"S" + OURS))
    assert run(ONE).endswith(message(ord("C"), b"P" + OURS))


def test_discard_all() -> None:
    """Client and server forget."""
    scene = Scene()
    client, server = scene.client(), scene.server()
    do(client, ONE, server, b"PREPARE")
    server.clear()
    client.clear()
    assert (client.sql.texts, server.own) == ({}, {})
    assert not server.needs_cleaning()


# Whatever clients do, each sees what it would see alone on a server of its own.

PARTS = re.compile(rb"(PREPARE|EXECUTE|DEALLOCATE) \"?(\w+)\"?(?: AS (.*))?")


class Session:
    """What PostgreSQL does with such statements: names, and errors of three kinds."""

    def __init__(self) -> None:
        """Begin without statements."""
        self.has: dict[bytes, bytes] = {}

    def run(self, statement: bytes) -> bytes | None:
        """Return what a statement gives, None for an error."""
        found = PARTS.fullmatch(statement.strip(b" \0"))
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
    exchange = client.exchange
    for name in missing(client, text, server):
        client.ensure_own([name], server, may_fail=True)
        assert session.run(client.sql.texts[name]) == b"PREPARE"
        while exchange.outstanding():
            entry = exchange.take()
            if entry & SQL:
                client.done(b"PREPARE", server)
                client.settled(entry)
    assert not client.must_wait()
    client.query(read(text), 0)
    seen = session.run(text)
    if seen is None:
        client.undone(exchange.failed(), server)
    else:
        client.done(seen, server)
    exchange.ready(STATUS_IDLE)
    if exchange.answered & SQL:
        client.settled(exchange.answered)
    assert exchange.clean
    assert exchange.synthetic_count == 0
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
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 1),
            st.lists(STATEMENTS, min_size=1, max_size=3),
        ),
        max_size=20,
    )
)
def test_as_if_alone(steps: list[tuple[int, int, list[bytes]]]) -> None:
    """Three clients on two servers, each hold on any of them, of some statements."""
    scene = Scene()
    clients = [(scene.client(), Session()) for _ in range(3)]
    servers = [(scene.server(), Session()) for _ in range(2)]
    for which, where, statements in steps:
        client, alone = clients[which]
        server, session = servers[where]
        for statement in statements:
            seen = converse(client, statement, server, session)
            assert seen == alone.run(statement)
            assert set(server.own) == set(session.has)
            assert client.sql.texts.keys() == alone.has.keys()
        for name in leave(server):
            del session.has[name]
        assert session.has == {}, "nothing of one client's is there for the next"
