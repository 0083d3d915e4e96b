"""PREPARE, EXECUTE and DEALLOCATE of SQL, when servers are shared.

Such a statement has the client's own name on the server.  Names of the extended
protocol and of SQL are one name space, as in PostgreSQL: EXECUTE runs what a Parse has
named, and a Bind what PREPARE has.

* What a text does is noted when the server says so by the tag of CommandComplete, not
  before: a PREPARE may fail, alone or because of the statement before it.  Until then
  whatever else names a statement is held back (``ClientStatements.must_wait``).
* What a text needs goes before it: for each statement of the client's that it mentions
  and that the server lacks, a PREPARE or Parse under the client's name.  An error there
  is the answer to the text.
* When the client lets the server go, everything under names of its own is dropped
  there (``ServerStatements.cleaning``).  So no text can meet another client's, whatever
  it says and wherever it says it.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from pgswitch.wire.constants import BIND, CLOSE, EXECUTE, PARSE
from pgswitch.wire.encode import message
from pgswitch.wire.sql_text import DEALLOCATE, PREPARE, Action, SqlText

if TYPE_CHECKING:
    from pgswitch.wire.statements import ServerStatements, Statement

OURS: Final = b"PGBOUNCER_0\0"
"""Name of the statement and the portal that run what goes before."""
RUN_REQUESTS: Final = (CLOSE, PARSE, BIND, EXECUTE, CLOSE)
"""The messages of :func:`run`."""


class SqlStatements:
    """The statements that one client has prepared by SQL."""

    def __init__(self, names: dict[bytes, Statement]) -> None:
        """``names`` are the client's of the extended protocol."""
        self.names = names
        self.texts: dict[bytes, bytes] = {}
        """The PREPARE of each, by name."""
        self.remembers = True
        """Statements outlive the client's hold on a server."""
        self.under_way: deque[deque[Action]] = deque()
        """What each request in the exchange that carries SQL may still do, in order."""
        self.parsed: dict[bytes, SqlText] = {}
        """Texts about prepared statements, by the name of their Parse."""
        self.portals: dict[bytes, SqlText] = {}
        """Those of them that are bound, by portal."""

    def is_idle(self) -> bool:
        """Tell whether the client has nothing to do with any of this."""
        return not self.texts and not self.parsed and not self.under_way

    def begin(self, text: SqlText) -> None:
        """Note that the server has been asked to run a text."""
        self.under_way.append(deque(text.actions))

    def done(self, tag: bytes, server: ServerStatements) -> Statement | None:
        """Note what the first request under way has done, as a tag says it.

        Returns a statement of the extended protocol that the client let go of.
        """
        kind = tag.decode("ascii", "replace")
        actions = self.under_way[0] if self.under_way else deque()
        passed = 0
        for action in actions:
            if action.kind == kind:
                break
            passed += 1
        if passed == len(actions):
            if kind == PREPARE:
                server.has_unknown = True
            return None
        action = actions.popleft()
        while action.kind != kind:
            action = actions.popleft()
        name = action.name
        if kind == PREPARE:
            server.own[name] = 1
            if self.remembers:
                self.texts[name] = action.text
        elif kind == DEALLOCATE:
            server.own.pop(name, None)
            self.texts.pop(name, None)
            return self.names.pop(name, None)
        return None

    def ended(self) -> None:
        """Note that the first request under way does nothing more."""
        self.under_way.popleft()

    def missing(self, text: SqlText, server: ServerStatements) -> list[bytes]:
        """Return the client's statements that a text needs and the server lacks."""
        return [
            name
            for name in text.mentioned
            if (name in self.texts or name in self.names) and name not in server.own
        ]


def run(text: bytes) -> bytes:
    """Return the messages that run a statement; they may follow one that failed."""
    return (
        message(CLOSE, b"S" + OURS)
        + message(PARSE, OURS + text + b"\0\0\0")
        + message(BIND, OURS + OURS + bytes(6))
        + message(EXECUTE, OURS + bytes(4))
        + message(CLOSE, b"P" + OURS)
    )
