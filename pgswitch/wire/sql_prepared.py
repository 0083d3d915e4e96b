"""Tracks SQL's PREPARE, EXECUTE and DEALLOCATE on shared servers.

Such a statement has the client's own name on the server.  The extended protocol and SQL
share one name space, as in PostgreSQL: EXECUTE can run a statement from Parse, and Bind
one from PREPARE.

* An action is recorded only when the server reports it by the tag of CommandComplete:
  a PREPARE may fail, by itself or because of the statement before it.  Until then all
  messages that name a statement are held back (``ClientStatements.must_wait``).
* Missing statements are sent before a text: for each of the client's statements that
  the text mentions and the server lacks, a PREPARE or Parse under the client's name.
  An error there is the answer to the text.
* When the client releases the server, all statements under its own names are dropped
  there (``ServerStatements.cleaning``).  So no text can use another client's statement.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
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
"""Name of the statement and the portal that run a statement before the client's."""
RUN_REQUESTS: Final = (CLOSE, PARSE, BIND, EXECUTE, CLOSE)
"""The messages of :func:`run`."""


class SqlStatements:
    """One client's statements from SQL's PREPARE."""

    def __init__(self, names: dict[bytes, Statement]) -> None:
        """``names`` has the client's statements of the extended protocol."""
        self.names = names
        self.texts: dict[bytes, bytes] = {}
        """Texts of PREPARE, by name."""
        self.remembers = True
        """Statements survive a change of the server."""
        self.under_way: deque[deque[Action]] = deque()
        """Actions still to be reported, for each pending request with SQL, in order."""
        self.parsed: dict[bytes, SqlText] = {}
        """Texts about prepared statements, by the name of their Parse."""
        self.portals: dict[bytes, SqlText] = {}
        """Those of the texts that are bound, by portal."""

    def is_idle(self) -> bool:
        """Return whether the client has no such statements."""
        return not self.texts and not self.parsed and not self.under_way

    def begin(self, text: SqlText) -> None:
        """Record that a text was sent to the server."""
        self.under_way.append(deque(text.actions))

    def done(self, tag: bytes, server: ServerStatements) -> Statement | None:
        """Record the action of the first pending request that a command tag reports.

        Returns a statement of the extended protocol that this has deallocated.
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
        """Record that the first pending request has ended."""
        self.under_way.popleft()

    def missing(self, text: SqlText, server: ServerStatements) -> list[bytes]:
        """Return the client's statements that a text needs and the server lacks."""
        return [
            name
            for name in text.mentioned
            if (name in self.texts or name in self.names) and name not in server.own
        ]


def run(text: bytes) -> bytes:
    """Return the messages that run a statement, even after one that has failed."""
    return (
        message(CLOSE, b"S" + OURS)
        + message(PARSE, OURS + text + b"\0\0\0")
        + message(BIND, OURS + OURS + bytes(6))
        + message(EXECUTE, OURS + bytes(4))
        + message(CLOSE, b"P" + OURS)
    )
