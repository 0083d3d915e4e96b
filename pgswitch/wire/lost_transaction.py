"""Answers a client whose transaction was lost with its server, until it ends it.

As PostgreSQL does in a failed transaction (manual, "Transactions"): whatever comes
is refused with 25P02 until ROLLBACK or COMMIT, which both say ROLLBACK.  The first
refusal tells of the loss, with 40001 so that drivers try the transaction again.  A
COMMIT that is the first to hear of it is refused too: a client that does not look at
the command's tag must not take its work for done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

from pgswitch.errors import Fault, InFailedTransaction, TransactionLost
from pgswitch.wire import constants as c
from pgswitch.wire import encode

BIND_COMPLETE = encode.message(c.BIND_COMPLETE)
NO_DATA = encode.message(c.NO_DATA)
NO_PARAMETERS = encode.message(c.PARAMETER_DESCRIPTION, b"\0\0")

_ENDING = re.compile(
    rb"\s*(?:(rollback|abort)|commit|end)(?:\s+(?:work|transaction))?"
    rb"(?:\s+and\s+no\s+chain)?\s*;?\s*$",
    re.IGNORECASE,
)


class LostTransaction:
    """One client in that state; sans-IO."""

    def __init__(
        self,
        text_of: Callable[[bytes], bytes],
        *,
        told: bool,
        skipping: bool = False,
        over: bool = False,
    ) -> None:
        """Begin.

        ``text_of`` returns the text of a prepared statement, empty for unknown ones.
        ``told``: the client has had its 40001.  ``skipping``: it has been sent an
        error for a pipeline whose Sync is still to come.  ``over``: that pipeline was
        no transaction, so its Sync is the end.
        """
        self.faults: list[Fault] = []
        """What the client has been told, for whoever counts it."""
        self.detail: str | None = None
        """Goes with the 40001, instead of its usual DETAIL."""
        self._text_of = text_of
        self._told = told
        self._skipping = skipping
        self._over = over
        self._texts: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}

    def message(self, kind: int, body: bytes) -> tuple[bytes, bool]:
        """Take a message; return the answer, and whether normal life goes on."""
        if kind == c.SYNC:
            self._skipping = False
            return self._ready(), self._over
        if self._skipping:
            return b"", False
        if kind == c.QUERY:
            answer = self._statement(body.rstrip(b"\0"))
            return answer + self._ready(), self._over
        if kind == c.FUNCTION_CALL:
            return self._refusal() + self._ready(), False
        return self._part(kind, body), False

    def _part(self, kind: int, body: bytes) -> bytes:
        """Answer one message of the extended protocol."""
        act = self._PARTS.get(kind)
        if act is None:
            return b""  # Flush, and what is left of a COPY
        answer = act(self, body)
        if not answer:
            self._skipping = True
            answer = self._refusal()
        return answer

    def _on_parse(self, body: bytes) -> bytes:
        name, _, rest = body.partition(b"\0")
        text = rest.partition(b"\0")[0]
        if not _ENDING.match(text):
            return b""
        self._texts[name] = text
        return encode.parse_complete()

    def _on_bind(self, body: bytes) -> bytes:
        portal, _, rest = body.partition(b"\0")
        name = rest.partition(b"\0")[0]
        text = self._texts.get(name) or self._text_of(name)
        if not _ENDING.match(text):
            return b""
        self._portals[portal] = text
        return BIND_COMPLETE

    def _on_describe(self, body: bytes) -> bytes:
        return NO_PARAMETERS + NO_DATA if body[:1] == b"S" else NO_DATA

    def _on_execute(self, body: bytes) -> bytes:
        answer = self._statement(self._portals.get(body.partition(b"\0")[0], b""))
        self._skipping = not self._over
        return answer

    def _on_close(self, body: bytes) -> bytes:
        del body
        return encode.close_complete()

    def _statement(self, text: bytes) -> bytes:
        """Answer a whole statement."""
        ending = _ENDING.match(text)
        if ending is None:
            return self._refusal()
        self._over = True
        if not self._told and ending[1] is None:
            return self._refusal()
        return encode.command_complete("ROLLBACK")

    def _refusal(self) -> bytes:
        fault: Fault = InFailedTransaction()
        if not self._told:
            self._told = True
            fault = TransactionLost(detail=self.detail)
        self.faults.append(fault)
        return encode.error_response(fault)

    def _ready(self) -> bytes:
        return encode.ready_for_query(b"I" if self._over else b"E")

    _PARTS: ClassVar[Mapping[int, Callable[[LostTransaction, bytes], bytes]]] = (
        MappingProxyType(
            {
                c.PARSE: _on_parse,
                c.BIND: _on_bind,
                c.DESCRIBE: _on_describe,
                c.EXECUTE: _on_execute,
                c.CLOSE: _on_close,
            }
        )
    )
    """Message to its answer; an empty one refuses it and what follows up to Sync."""
