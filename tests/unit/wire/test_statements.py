"""The table of distinct statements, and what one server has of it."""

from __future__ import annotations

from pgswitch.wire.statements import ServerStatements, StatementTable
from tests.fakes.messages import kinds, split


def test_one_for_all() -> None:
    """Equal definitions are one statement, as long as it has a reference."""
    table = StatementTable()
    first, second = table.hold(b"SELECT 1"), table.hold(b"SELECT 1")
    assert first is second
    assert (first.name, first.references, len(table)) == (b"PGBOUNCER_1", 2, 1)
    assert table.hold(b"SELECT 2").number == 2
    table.drop(first)
    table.drop(first)
    assert len(table) == 1
    assert table.hold(b"SELECT 1").number == 3


def test_what_a_server_has() -> None:
    """The longest unused first; all is gone with DISCARD ALL."""
    table = StatementTable()
    server = ServerStatements(table)
    one, two = table.hold(b"1"), table.hold(b"2")
    server.add(one)
    server.add(two)
    server.own[b"a"] = 1
    assert len(server) == 3
    assert server.oldest() is one
    assert server.touch(one)
    assert server.oldest() is two
    assert server.touch(one), "which stands at the end already"
    server.remove(one)
    assert not server.touch(one)
    server.add(one)
    server.remove(two)
    assert not server.touch(two)
    server.clear()
    assert len(server) == 0
    assert (one.references, two.references) == (1, 1)


def test_what_is_its_clients_own() -> None:
    """It is closed before the next client, by the client's names."""
    server = ServerStatements(StatementTable())
    assert not server.needs_cleaning()
    server.own[b"a"] = server.own[b"b"] = 1
    assert server.needs_cleaning()
    assert split(server.cleaning()) == [("C", b"Sa\0"), ("C", b"Sb\0")]
    assert not server.needs_cleaning()
    assert server.cleaning() == b""


def test_unseen_statements() -> None:
    """A statement that was prepared unseen is dropped with all others."""
    table = StatementTable()
    server = ServerStatements(table)
    one = table.hold(b"1")
    server.add(one)
    server.has_unknown = True
    server.own[b"a"] = 1
    assert server.needs_cleaning()
    sent = server.cleaning()
    assert kinds(sent) == "PBE"
    assert b"DEALLOCATE ALL" in sent
    assert len(server) == 0
    assert not server.needs_cleaning()
    assert one.references == 1


def test_doubts() -> None:
    """What a server refuses is not there any more, and is closed before a new Parse."""
    table = StatementTable()
    server = ServerStatements(table)
    one, two, three = (table.hold(text) for text in (b"1", b"2", b"3"))
    for statement in (one, two, three):
        server.add(statement)
    server.doubt(two)
    assert not server.touch(two)
    assert list(server.doubtful) == [2]
    server.doubt_number(99)
    assert list(server.doubtful) == [2, 99], "it may have it, from any client"
    server.touch(one)
    server.doubt_last()
    assert not server.touch(one)
    server.touch(three)
    server.remove(three)
    server.add(one)
    server.remove(one)
    server.add(three)
    server.doubt_all()
    assert len(server) == 0
    assert set(server.doubtful) == {1, 2, 3, 99}
    assert {one.references, two.references, three.references} == {1}
    server.clear()
    assert server.doubtful == {}


def test_the_last_is_not_known() -> None:
    """Then all of them are doubted."""
    table = StatementTable()
    server = ServerStatements(table)
    one, two = table.hold(b"1"), table.hold(b"2")
    server.add(one)
    server.add(two)
    server.remove(two)
    server.doubt_last()
    assert not server.touch(one)
