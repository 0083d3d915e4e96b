"""PREPARE, EXECUTE and DEALLOCATE of SQL, when servers are shared.

Such a statement has the client's own name on the server, so its next server may not
have it, or have another client's of that name.  Nothing of the client's text is
changed; what is missing goes before it, in the same Query or as messages of our own:

=====================================  =========================================
client sends                           goes before it, if need be
=====================================  =========================================
PREPARE                                DEALLOCATE of another client's
EXECUTE, anywhere in a query           DEALLOCATE of another client's, PREPARE
EXECUTE of a name that is not its own  DEALLOCATE, so that the server's error
                                       tells that there is none
DEALLOCATE                             PREPARE where the server lacks it; also for a
                                       name of the extended protocol
=====================================  =========================================

The answers to what goes before are swallowed.  An error there is the answer to the
whole, as it would be in a Query of several statements, and undoes the rest.

A PREPARE that comes together with other statements, or with a backslash (so that the
end of its strings cannot be told at a glance), passes as it is and is not remembered;
so does a text of more than 64 KiB.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BIND,
    CLOSE,
    EXECUTE,
    PARSE,
    QUERY,
    SQL,
    SWALLOW,
    Exchange,
)

if TYPE_CHECKING:
    from pgswitch.wire.statements import Statement

    Texts = dict[bytes, bytes]
    """By name."""
    Protocol = dict[bytes, Statement]
    """By name."""

OURS: Final = b"PGBOUNCER_0\0"
"""Name of the statement that runs what goes before."""

LONGEST_NAME: Final = 63
"""Bytes of an identifier that PostgreSQL looks at (NAMEDATALEN - 1)."""

_NAME = rb'("(?:[^"]|"")+"|[a-z_\x80-\xff][\w$\x80-\xff]*)'
_PREPARE = re.compile(rb"\s*prepare\s+" + _NAME + rb"(?=[\s(])", re.IGNORECASE)
_TWO_PHASE = re.compile(rb"\s*prepare\s+transaction\s*'", re.IGNORECASE)
_DEALLOCATE = re.compile(
    rb"\s*deallocate\s+(?:prepare\s+)?(?!all\b)" + _NAME + rb"[\s;]*\0?$",
    re.IGNORECASE,
)
_DEALLOCATE_ANYWHERE = re.compile(
    rb"\bdeallocate\s+(?:prepare\s+)?" + _NAME, re.IGNORECASE
)
_EXECUTE = re.compile(rb"\bexecute\s+" + _NAME, re.IGNORECASE)
_QUOTED = re.compile(
    rb"'[^']*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/", re.DOTALL
)


class SqlNote(NamedTuple):
    """What a statement of ours or of the client's changes: the state before it."""

    name: bytes
    on_server: bytes | None
    by_client: bytes | None
    by_protocol: Statement | None = None


class SqlStatements:
    """The statements that one client has prepared by SQL."""

    def __init__(self, exchange: Exchange, most: int) -> None:
        """``most`` is max_prepared_statements, here the names on one server."""
        self.texts: dict[bytes, bytes] = {}
        """The PREPARE of each, by name."""
        self._exchange = exchange
        self._most = most
        self._is_simple = True
        self.notes: deque[SqlNote] = deque()
        """One for each request in the exchange that carries SQL, in order."""

    # ``server`` are the statements of SQL that the server has, the longest unused
    # first; ``protocol`` the client's of the extended protocol.

    def keep_at_most(self, most: int) -> None:
        """Take another max_prepared_statements."""
        self._most = most

    def query(self, text: bytes, server: Texts, protocol: Protocol) -> bytes:
        """Note the requests of a simple Query; return what must go before its text."""
        self._is_simple = True
        said = [one + b"\n;" for one in self._before(text, server, protocol)]
        self._own(text, server, protocol)
        self._exchange.request(QUERY)
        # On a new line, because a text may end with a comment.
        return b"".join(said)

    def before_bind(self, text: bytes, server: Texts, protocol: Protocol) -> bytes:
        """Return the messages that must go before the Bind of such a statement."""
        self._is_simple = False
        return b"".join(map(_run, self._before(text, server, protocol)))

    def before_parse(self, text: bytes, server: Texts) -> bytes:
        """Return those before its Parse, so that Describe tells of the right rows."""
        self._is_simple = False
        if _PREPARE.match(text) or _DEALLOCATE.match(text):
            return b""
        return b"".join(map(_run, self._use(text, server)))

    def execute(self, text: bytes, server: Texts, protocol: Protocol) -> None:
        """Note the request Execute for such a statement."""
        if not self._own(text, server, protocol):
            self._exchange.request(EXECUTE)

    def _before(self, text: bytes, server: Texts, protocol: Protocol) -> list[bytes]:
        """Return what the server must run first, noted as requests."""
        prepared, dropped = _PREPARE.match(text), _DEALLOCATE.match(text)
        if prepared is not None:
            return self._before_prepare(text, _folded(prepared[1]), server)
        if dropped is not None:
            name = _folded(dropped[1])
            if name in self.texts:
                return self._ensure(name, server)
            if name not in protocol:
                return self._forget(name, server)
            # So that the server has something to drop.
            pretended = b"PREPARE " + _quoted(name) + b" AS SELECT"
            return [] if name in server else self._send(name, pretended, server)
        return self._use(text, server)

    def _before_prepare(self, text: bytes, name: bytes, server: Texts) -> list[bytes]:
        if not _is_alone(text):
            return []
        if name in self.texts:
            # The server knows the rules of a duplicate name best: let it see one.
            return self._ensure(name, server)
        return [*self._forget(name, server), *self._make_room(server)]

    def _own(self, text: bytes, server: Texts, protocol: Protocol) -> bool:
        """Note what the client's own statement does; False: nothing."""
        if (prepared := _PREPARE.match(text)) is not None:
            name = _folded(prepared[1])
            if name in self.texts or not _is_alone(text):
                return False
            self._note(name, server)
            server[name] = self.texts[name] = _trimmed(text)
            return True
        if (dropped := _DEALLOCATE.match(text)) is not None:
            name = _folded(dropped[1])
            statement = None if name in self.texts else protocol.get(name)
            if name in self.texts or statement is not None:
                self._note(name, server, statement)
                server.pop(name, None)
                self.texts.pop(name, None)
                if statement is not None:
                    del protocol[name]
                return True
        return False

    def _use(self, text: bytes, server: Texts) -> list[bytes]:
        said = []
        for written in _EXECUTE.findall(text):
            name = _folded(written)
            if name in self.texts:
                said += self._ensure(name, server)
            else:
                said += self._forget(name, server)
        for written in _DEALLOCATE_ANYWHERE.findall(text):
            name = _folded(written)
            if name in self.texts:
                said += self._ensure(name, server)
                # Not noted: whether the text comes so far cannot be told in advance.
                del self.texts[name], server[name]
        return said

    def _ensure(self, name: bytes, server: Texts) -> list[bytes]:
        """Have the server prepare a statement of ours that it lacks."""
        text = self.texts[name]
        if server.get(name) == text:
            server[name] = server.pop(name)
            return []
        said = [*self._forget(name, server), *self._make_room(server)]
        return [*said, *self._send(name, text, server)]

    def _make_room(self, server: Texts) -> list[bytes]:
        said = []
        while len(server) >= self._most:
            said += self._forget(next(iter(server)), server)
        return said

    def _send(self, name: bytes, text: bytes, server: Texts) -> list[bytes]:
        self._note(name, server, swallow=True)
        server[name] = text
        return [text]

    def _forget(self, name: bytes, server: Texts) -> list[bytes]:
        """Have the server drop a statement, if it has one of this name."""
        if name not in server:
            return []
        self._note(name, server, swallow=True)
        del server[name]
        return [b"DEALLOCATE " + _quoted(name)]

    # The server's answers.

    def settled(self) -> Statement | None:
        """Note that the next statement with a note succeeded.

        Returns what the client let go of by that, if it was of the extended protocol.
        """
        return self.notes.popleft().by_protocol

    def undone(self, count: int, server: Texts, protocol: Protocol) -> None:
        """Note that so many statements failed or were not run."""
        notes = [self.notes.popleft() for _ in range(count)]
        for note in reversed(notes):
            _put_back(server, note.name, note.on_server)
            _put_back(self.texts, note.name, note.by_client)
            if note.by_protocol is not None:
                protocol[note.name] = note.by_protocol

    def given_up(self) -> Iterator[Statement]:
        """Forget what is not answered; return what was to be let go of by that."""
        notes, self.notes = self.notes, deque()
        return (one.by_protocol for one in notes if one.by_protocol is not None)

    def _note(
        self,
        name: bytes,
        server: Texts,
        statement: Statement | None = None,
        *,
        swallow: bool = False,
    ) -> None:
        """Note a statement that will be answered, before its effect is noted."""
        note = SqlNote(name, server.get(name), self.texts.get(name), statement)
        self.notes.append(note)
        if not swallow:
            self._exchange.request(EXECUTE | SQL)
            return
        if not self._is_simple:
            for request in (CLOSE, PARSE, BIND):
                self._exchange.request(request | SWALLOW)
        self._exchange.request(EXECUTE | SQL | SWALLOW)


def _run(text: bytes) -> bytes:
    """Return the messages that run a statement; they may follow one that failed."""
    return (
        message(CLOSE, b"S" + OURS)
        + message(PARSE, OURS + text + b"\0\0\0")
        + message(BIND, b"\0" + OURS + bytes(6))
        + message(EXECUTE, bytes(5))
    )


def _put_back(texts: Texts, name: bytes, text: bytes | None) -> None:
    if text is None:
        texts.pop(name, None)
    else:
        texts[name] = text


def _trimmed(text: bytes) -> bytes:
    return text.rstrip(b"\0; \t\r\n\f")


def _is_alone(text: bytes) -> bool:
    """Tell whether a text is surely one PREPARE of a statement, and nothing else."""
    if _TWO_PHASE.match(text) or b"\\" in text:
        return False
    return b";" not in _QUOTED.sub(b"", _trimmed(text))


def _folded(name: bytes) -> bytes:
    """Return an identifier as PostgreSQL stores it (manual, "Identifiers")."""
    if name.startswith(b'"'):
        return name[1:-1].replace(b'""', b'"')[:LONGEST_NAME]
    return name.lower()[:LONGEST_NAME]


def _quoted(name: bytes) -> bytes:
    return b'"' + name.replace(b'"', b'""') + b'"'
