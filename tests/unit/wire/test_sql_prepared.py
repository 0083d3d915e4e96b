"""PREPARE, EXECUTE and DEALLOCATE: what is recognised, and what the server gets."""

from __future__ import annotations

import pytest

from pgswitch.stats.counters import Counters
from pgswitch.wire.exchange import NAMED, SWALLOW, Exchange
from pgswitch.wire.prepared import ClientStatements, ServerStatements, StatementTable
from pgswitch.wire.sql_prepared import Asked, Verb, asked, rewritten

PREPARE, EXECUTE, DEALLOCATE = Verb


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PREPARE a AS SELECT 1", Asked(PREPARE, b"a", b"AS SELECT 1")),
        (" prepare A as select 1 ; ", Asked(PREPARE, b"a", b"as select 1")),
        (
            'PREPARE "A b""c" (int, numeric(10,2)) AS SELECT $1',
            Asked(PREPARE, b'A b"c', b"(int, numeric(10,2)) AS SELECT $1"),
        ),
        ("PREPARE a AS SELECT ';'", Asked(PREPARE, b"a", b"AS SELECT ';'")),
        (
            "PREPARE a AS SELECT E'\\';', $$;$$, $x$;$$;$x$ -- ;\n /* ; */;",
            Asked(
                PREPARE, b"a", b"AS SELECT E'\\';', $$;$$, $x$;$$;$x$ -- ;\n /* ; */"
            ),
        ),
        ("PREPARE a AS SELECT 1; SELECT 2", None),
        ("PREPARE a AS SELECT 'it''s'; EXECUTE a", None),
        ("PREPARE TRANSACTION 'a'", None),
        ("PREPARE a", None),
        ("EXECUTE a", Asked(EXECUTE, b"a", b"")),
        ("EXECUTE a;", Asked(EXECUTE, b"a", b"")),
        ("execute a (1, 'x;y') ;", Asked(EXECUTE, b"a", b"(1, 'x;y')")),
        ("EXECUTE a(1); EXECUTE a(2)", None),
        ("EXECUTE a; SELECT 1", None),
        ("DEALLOCATE a", Asked(DEALLOCATE, b"a", b"")),
        ("deallocate prepare A;", Asked(DEALLOCATE, b"a", b"")),
        ("DEALLOCATE ALL", None),
        ("DEALLOCATE PREPARE ALL;", None),
        ("DEALLOCATE a; SELECT 1", None),
        ("DELETE FROM a", None),
        ("SELECT 'EXECUTE a'", None),
        ("EXECUTED a", None),
        ("", None),
        ("PREPARE a AS SELECT '" + ";" * 20_000 + "'", None),
    ],
)
def test_asked(text: str, expected: Asked | None) -> None:
    """One statement alone, however it is written."""
    assert asked(text.encode()) == expected


def test_a_long_name() -> None:
    """PostgreSQL keeps 63 bytes of it."""
    what = asked(b"DEALLOCATE " + b"a" * 70)
    assert what is not None
    assert what.name == b"a" * 63


class Joined:
    """A client and a server whose answers the test decides about."""

    def __init__(self, most: int = 10) -> None:
        """Begin with nothing prepared."""
        self.table = StatementTable()
        self.exchange = Exchange()
        self.client = ClientStatements(self.table, self.exchange, most, Counters())
        self.server = ServerStatements(self.table)

    def ask(self, text: str) -> list[str] | None:
        """Ask; return the messages that the server gets, texts of Queries bare."""
        data = rewritten(text.encode() + b"\0", self.client, self.server)
        if data is None:
            return None
        found = []
        while data:
            size = int.from_bytes(data[1:5], "big") + 1
            body = data[5:size].rstrip(b"\0").decode()
            found.append(body if data[:1] == b"Q" else data[:1].decode() + body)
            data = data[size:]
        return found

    def answered(self, *replies: str) -> str:
        """Let the server answer; return the kinds of what the client sees."""
        seen = ""
        for reply in replies:
            if reply == "Z":
                self.client.undone(self.exchange.ready(ord("I")), self.server)
            elif reply == "E":
                self.client.undone(self.exchange.failed(), self.server)
            else:
                entry = self.exchange.completed(ord(reply))
                if entry & NAMED:
                    self.client.settled()
                if entry & SWALLOW:
                    continue
            seen += reply
        assert self.exchange.outstanding() == 0
        assert self.exchange.clean
        assert self.exchange.special == 0
        assert self.client.notes == []
        return seen

    def other_server(self) -> None:
        """Meet a server that has nothing prepared."""
        self.server.clear()
        self.server = ServerStatements(self.table)


NOTHING = 'PREPARE "PGBOUNCER_0" AS SELECT 1; DEALLOCATE "PGBOUNCER_0"'


def test_from_one_server_to_another() -> None:
    """Prepared where it is missing, in the Query that executes it."""
    link = Joined()
    assert link.ask("PREPARE a (int) AS SELECT $1") == [
        'PREPARE "PGBOUNCER_1" (int) AS SELECT $1'
    ]
    assert link.answered("C", "Z") == "CZ"
    assert link.ask("EXECUTE a(1);") == ['EXECUTE "PGBOUNCER_1"(1)']
    assert link.answered("T", "D", "C", "Z") == "TDCZ"
    link.other_server()
    assert link.ask("EXECUTE a(2)") == [
        'PREPARE "PGBOUNCER_1" (int) AS SELECT $1\n; EXECUTE "PGBOUNCER_1"(2)'
    ]
    assert link.answered("C", "T", "D", "C", "Z") == "TDCZ"
    assert link.ask("EXECUTE a(3)") == ['EXECUTE "PGBOUNCER_1"(3)']
    assert link.answered("C", "Z") == "CZ"
    assert link.ask("DEALLOCATE a") == [NOTHING]
    assert link.answered("C", "C", "Z") == "CZ"
    assert link.client.names == {}
    assert link.ask("EXECUTE a(4)") is None
    link.server.clear()
    assert len(link.table) == 0


def test_what_the_server_has_from_another_client() -> None:
    """Is not prepared again; the client hears of PREPARE all the same."""
    link = Joined()
    link.ask("PREPARE a AS SELECT 1")
    link.answered("C", "Z")
    assert link.ask("PREPARE b AS SELECT 1") == [NOTHING]
    assert link.answered("C", "C", "Z") == "CZ"
    assert link.ask("EXECUTE b") == ['EXECUTE "PGBOUNCER_1"']
    assert link.answered("C", "Z") == "CZ"


def test_failures() -> None:
    """Nothing is kept of what the server refused, nothing lost of what it has."""
    link = Joined()
    link.ask("PREPARE a AS SELEC")
    assert link.answered("E", "Z") == "EZ"
    assert link.client.names == {}
    assert len(link.table) == 0
    link.ask("PREPARE a AS SELECT 1")
    link.answered("C", "Z")
    link.ask("PREPARE b AS SELECT 1")
    assert link.answered("E", "Z") == "EZ"
    assert len(link.client.names) == len(link.server) == 1
    link.ask("DEALLOCATE a")
    assert link.answered("E", "Z") == "EZ"
    assert len(link.client.names) == 1
    link.other_server()
    link.ask("EXECUTE a")
    assert link.answered("E", "Z") == "EZ"
    assert len(link.server) == 0
    link.ask("EXECUTE a")
    assert link.answered("C", "E", "Z") == "EZ"
    assert len(link.server) == 1


def test_a_name_in_use() -> None:
    """The server itself refuses it, also one that lacks the statement."""
    link = Joined()
    link.ask("PREPARE a AS SELECT 1")
    link.answered("C", "Z")
    again = 'PREPARE "PGBOUNCER_1" AS SELECT 1'
    assert link.ask("PREPARE a AS SELECT 2") == [again]
    assert link.answered("E", "Z") == "EZ"
    link.other_server()
    assert link.ask("PREPARE a AS SELECT 2") == [f"{again}\n; {again}"]
    assert link.answered("C", "E", "Z") == "EZ"
    assert len(link.client.names) == len(link.server) == len(link.table) == 1


def test_too_many() -> None:
    """The one unused for longest is closed, in front of the Query."""
    link = Joined(most=1)
    link.ask("PREPARE a AS SELECT 1")
    link.answered("C", "Z")
    assert link.ask("PREPARE b AS SELECT 2") == [
        "CSPGBOUNCER_1",
        'PREPARE "PGBOUNCER_2" AS SELECT 2',
    ]
    assert link.answered("3", "C", "Z") == "CZ"
    assert link.ask("EXECUTE a") == [
        "CSPGBOUNCER_2",
        'PREPARE "PGBOUNCER_1" AS SELECT 1\n; EXECUTE "PGBOUNCER_1"',
    ]
    assert link.answered("3", "C", "C", "Z") == "CZ"
    assert len(link.server) == 1


def test_statements_of_messages() -> None:
    """DEALLOCATE ends them too, as PDO and others do it; the names do not mix."""
    link = Joined()
    link.client.parse(b"a\0SELECT 1\0\0\0", link.server)
    link.exchange.request(ord("S"))
    link.answered("1", "Z")
    assert link.ask("EXECUTE a") is None
    link.ask("PREPARE a AS SELECT 2")
    link.answered("C", "Z")
    for left in (1, 0):
        assert link.ask("DEALLOCATE a") == [NOTHING]
        assert link.answered("C", "C", "Z") == "CZ"
        assert len(link.client.names) == left
    assert link.ask("DEALLOCATE a") is None
