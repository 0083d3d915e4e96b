"""One run of ``auth_query``: the request to a server, and the meaning of its answer.

The query goes out as one batch of the extended protocol with the user name as its only
parameter, so a name is never part of SQL.  The server's own parameters are restored
first (pool/internal_queries.py), so that no client's ``search_path`` changes the
meaning of the query.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import cut_text
from pgswitch.wire import decode, encode
from pgswitch.wire.constants import (
    DATA_ROW,
    ERROR_RESPONSE,
    NO_DATA,
    ROW_DESCRIPTION,
)
from pgswitch.wire.password import Secret

MAX_NAME_BYTES: Final = 127
"""Bytes of the user name that an answer is cut to, as PgBouncer does."""

_COLUMNS: Final = 2

IMPOSSIBLE: Final = Secret.of("")
"""The secret of a user whose second column is NULL: no password fits."""


class AuthQuery:
    """A query for a user; feed it every message up to ReadyForQuery."""

    def __init__(self, sql: str, user: str) -> None:
        """Take the setting ``auth_query`` and the user name in the start-up packet."""
        self.request = b"".join(
            (
                encode.parse("", sql),
                encode.bind("", "", [user]),
                encode.describe_portal(),
                encode.execute(),
                encode.sync(),
            )
        )
        self.name: str | None
        """The user that the answer names; None if it has no row."""
        self.secret: Secret
        self.complaint: str
        """What is wrong with the answer, for the log."""
        self.unfit: str
        """Why to close the server; empty if the answer is good."""
        self.begin_again()

    def begin_again(self) -> None:
        """Forget the answer so far: the query goes to another server."""
        self.name, self.secret = None, IMPOSSIBLE
        self.complaint = self.unfit = ""

    def message(self, kind: int, body: bytes) -> None:
        """Take one message of the answer; raises BrokenPacket for a broken one."""
        if kind == ERROR_RESPONSE:
            fields = decode.error_fields(body)
            severity, text = fields.get("S", "ERROR"), fields.get("M", "")
            self._fail(
                f"error in auth_query: {severity}: {text}",
                "error response from auth_query",
            )
        elif kind == NO_DATA:
            self._expect_columns(0)
        elif kind == ROW_DESCRIPTION:
            self._expect_columns(decode.column_count(body))
        elif kind == DATA_ROW and not self.unfit:
            self._row(*decode.data_row(body))

    def _expect_columns(self, count: int) -> None:
        if count != _COLUMNS:
            reason = f"expected {_COLUMNS} columns from auth_query, not {count}"
            self._fail(reason, reason)

    def _row(self, name: bytes | None, secret: bytes | None) -> None:
        """Take a row; the last one counts."""
        if name is None:
            reason = "auth_query response contained null user name"
            self._fail(reason, reason)
            return
        self.name = cut_text(decode.text(name), MAX_NAME_BYTES)
        self.secret = IMPOSSIBLE if secret is None else Secret.of(decode.text(secret))

    def _fail(self, complaint: str, unfit: str) -> None:
        """Keep the first error."""
        if not self.unfit:
            self.complaint, self.unfit = complaint, unfit
