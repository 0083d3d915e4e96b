"""The table of distinct statements, and what one server has of it."""

from __future__ import annotations

from pgswitch.wire.statements import ServerStatements, StatementTable


def test_one_for_all() -> None:
    """The same definition is the same statement, until nobody holds it."""
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
    server.by_sql[b"a"] = b"PREPARE a AS SELECT 1"
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
