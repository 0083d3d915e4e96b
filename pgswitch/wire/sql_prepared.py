"""PREPARE, EXECUTE and DEALLOCATE as SQL, when servers are shared.

In a simple Query of one statement the client's name is replaced by one of ours, as
prepared.py does it for messages, and a server that lacks the statement is told to
prepare it in front of EXECUTE, in the same Query:

=====================  ==========================================================
client sends           server gets
=====================  ==========================================================
PREPARE, new to it     PREPARE under our name
PREPARE, it has it     something that is answered by PREPARE too
EXECUTE                EXECUTE under our name, PREPARE in front where it lacks
DEALLOCATE             something that is answered by DEALLOCATE; our statement
                       stays with the server until it is evicted
anything else, or of   the Query as it is, so that the server's own error
no known name          answers it
=====================  ==========================================================

To the exchange such a Query is a row of Executes, for each CommandComplete one, and a
Sync for ReadyForQuery: they end and fail as those do.  DEALLOCATE also ends a
statement that was prepared by a message, as drivers do it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from pgswitch.wire.encode import message
from pgswitch.wire.exchange import EXECUTE, NAMED, QUERY, SWALLOW, SYNC
from pgswitch.wire.prepared import (
    ClientStatements,
    Note,
    ServerStatements,
    Statement,
)

SQL: Final = b"\0"
"""Before the names of such statements, which are apart from those of messages."""
LONGEST_NAME: Final = 63
"""Bytes that PostgreSQL keeps of a name."""
MOST_SEARCHED: Final = 16384
"""Bytes of a text in which the end of a statement is looked for."""
_NEXT: Final = b"\n; "
"""Between two statements; the first may end with a comment."""
_DUMMY: Final = b'"PGBOUNCER_0"'
_NOTHING: Final = b"PREPARE %s AS SELECT 1; DEALLOCATE %s" % (_DUMMY, _DUMMY)
"""Changes nothing; is answered by PREPARE, then by DEALLOCATE."""

_NAME: Final = rb'(?P<name>"(?:[^"]|"")+"|[a-z_\x80-\xff][\w$\x80-\xff]*)'
_ASKED: Final = re.compile(
    rb"\s*(?:"
    rb"(?P<prepare>prepare)\s+"
    + _NAME.replace(b"name", b"new")
    + rb"\s*(?P<definition>(?:\((?:[^()]|\([^()]*\))*\)\s*)?as\b.*)"
    rb"|(?P<execute>execute)\s+"
    + _NAME.replace(b"name", b"known")
    + rb"\s*(?P<values>(?:[(;].*)?)"
    rb"|(?P<deallocate>deallocate)\s+(?:prepare\s+)?"
    + _NAME.replace(b"name", b"old")
    + rb"\s*;?"
    rb")\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_PIECES: Final = re.compile(
    rb"(?:"
    rb"e'(?:[^'\\]|\\.|'')*'"
    rb"|'(?:[^']|'')*'"
    rb'|"(?:[^"]|"")*"'
    rb"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
    rb"|--[^\n]*|/\*.*?\*/"
    rb"|\w+|[^;]"
    rb")*",
    re.IGNORECASE | re.DOTALL,
)
"""Everything up to a semicolon that stands outside of literals and comments."""


class Verb(Enum):
    """What is asked."""

    PREPARE = "prepare"
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"


class Asked(NamedTuple):
    """One statement about a prepared statement."""

    verb: Verb
    name: bytes
    """As the server would store it."""
    rest: bytes
    """What follows the name: types, AS and the text; or values in parentheses."""


def asked(text: bytes) -> Asked | None:
    """Return what a Query asks of a prepared statement; None if nothing, or more.

    ``text`` is without the NUL at its end.  DEALLOCATE ALL is of no one statement.
    """
    found = _ASKED.match(text)
    if found is None:
        return None
    part = found.groupdict(b"")
    if part["deallocate"]:
        is_all = part["old"].lower() == b"all"
        return None if is_all else Asked(Verb.DEALLOCATE, _stored(part["old"]), b"")
    verb, name, rest = Verb.EXECUTE, part["known"], part["values"]
    if part["prepare"]:
        verb, name, rest = Verb.PREPARE, part["new"], part["definition"]
    only = _only(rest)
    return None if only is None else Asked(verb, _stored(name), only)


def rewritten(
    query: bytes, statements: ClientStatements, server: ServerStatements
) -> bytes | None:
    """Note what a Query asks; return what the server gets for it.

    ``query`` is its body.  None: it is an ordinary one, and nothing was noted.
    """
    what = asked(query[:-1])
    if what is None:
        return None
    key = SQL + what.name
    if what.verb is Verb.PREPARE:
        return _prepare(key, what.rest, statements, server)
    if what.verb is Verb.DEALLOCATE:
        return _deallocate(key, statements)
    statement = statements.names.get(key)
    if statement is None:
        return None
    execute = b"EXECUTE " + _quoted(statement) + what.rest
    if server.touch(statement):
        statements.exchange.request(QUERY)
        return _query(execute)
    closes = _add(statement, None, statements, server)
    statements.exchange.request(EXECUTE | SWALLOW | NAMED)
    statements.exchange.request(SYNC)
    return closes + _query(_prepared_as(statement) + _NEXT + execute)


def _prepare(
    key: bytes,
    definition: bytes,
    statements: ClientStatements,
    server: ServerStatements,
) -> bytes:
    exchange = statements.exchange
    held = statements.names.get(key)
    if held is not None:
        return _prepare_again(held, statements, server)
    statement = statements.table.hold(definition)
    statements.names[key] = statement
    if server.touch(statement):
        statements.notes.append(Note(statement, key, parses=False))
        exchange.request(EXECUTE | NAMED)
        exchange.request(EXECUTE | SWALLOW)
        exchange.request(SYNC)
        return _query(_NOTHING)
    closes = _add(statement, key, statements, server)
    exchange.request(EXECUTE | NAMED)
    exchange.request(SYNC)
    return closes + _query(_prepared_as(statement))


def _prepare_again(
    statement: Statement, statements: ClientStatements, server: ServerStatements
) -> bytes:
    """Have the server refuse a name that the client uses already."""
    exchange = statements.exchange
    again = _prepared_as(statement)
    if server.touch(statement):
        exchange.request(QUERY)
        return _query(again)
    closes = _add(statement, None, statements, server)
    exchange.request(EXECUTE | SWALLOW | NAMED)
    exchange.request(EXECUTE)
    exchange.request(SYNC)
    return closes + _query(again + _NEXT + again)


def _deallocate(key: bytes, statements: ClientStatements) -> bytes | None:
    """End a name of SQL, else one of messages."""
    names = statements.names
    if key not in names:
        key = key[len(SQL) :]
    statement = names.pop(key, None)
    if statement is None:
        return None
    statements.notes.append(Note(statement, key, closes=True))
    statements.exchange.request(EXECUTE | SWALLOW)
    statements.exchange.request(EXECUTE | NAMED)
    statements.exchange.request(SYNC)
    return _query(_NOTHING)


def _add(
    statement: Statement,
    client_name: bytes | None,
    statements: ClientStatements,
    server: ServerStatements,
) -> bytes:
    """Note that the server will have the statement; return Closes of what it must drop.

    They go in front: behind a Query they would need a Sync of their own.
    """
    server.add(statement)
    statements.counters.server_parse_count += 1
    closes = statements.evict(server)
    statements.notes.append(Note(statement, client_name))
    return closes


def _prepared_as(statement: Statement) -> bytes:
    return b"PREPARE " + _quoted(statement) + b" " + statement.definition


def _quoted(statement: Statement) -> bytes:
    return b'"' + statement.name + b'"'


def _query(text: bytes) -> bytes:
    return message(QUERY, text + b"\0")


def _stored(name: bytes) -> bytes:
    """Return a name as PostgreSQL stores it (manual, "Identifiers and Key Words")."""
    if name[:1] == b'"':
        return name[1:-1].replace(b'""', b'"')[:LONGEST_NAME]
    return name.lower()[:LONGEST_NAME]


def _only(text: bytes) -> bytes | None:
    """Return a text without semicolons at its end; None if something follows one."""
    text = text.rstrip()
    while text.endswith(b";"):
        text = text[:-1].rstrip()
    if b";" not in text:
        return text
    if len(text) > MOST_SEARCHED:
        return None
    found = _PIECES.match(text)
    return text if found is not None and found.end() == len(text) else None
