"""Answers a client whose transaction was lost with its server, until it ends it.

As PostgreSQL does in a failed transaction (manual, "Transactions"): whatever comes is
refused with 25P02 until a statement that ends the transaction, which says ROLLBACK
whatever it was.  What stands behind that in the same text or pipeline is outside of the
transaction, and is for the next server.  Statements that can be prepared in a failed
transaction, and those that are closed, are the client's from then on.

Three things differ:

* The first refusal tells of the loss, with 40001 so that drivers try the transaction
  again.  A COMMIT that is the first to hear of it is refused too: a client that does
  not look at the command's tag must not take its work for done.
* AND CHAIN ends the transaction with 40001: the next would have the characteristics of
  the lost one (isolation level and so on), which nobody knows any more.
* Savepoints are lost as well, so ROLLBACK TO does not help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple, Protocol

from pgswitch.errors import (
    BrokenPacket,
    Fault,
    InFailedTransaction,
    MultipleCommands,
    NoSuchStatement,
    StatementInUse,
    TransactionLost,
    TransactionNotChained,
)
from pgswitch.wire import constants as c
from pgswitch.wire import encode
from pgswitch.wire.sql_steps import CHAINS, ENDS, Does, first_step, is_one

BIND_COMPLETE = encode.message(c.BIND_COMPLETE)
NO_DATA = encode.message(c.NO_DATA)
NO_PARAMETERS = encode.message(c.PARAMETER_DESCRIPTION, b"\0\0")

_PREPARABLE: Final = ENDS | {Does.ROLLS_BACK_TO}
"""What may be parsed and bound in a failed transaction."""
_ANSWERED: Final = (c.SYNC, c.QUERY, c.FUNCTION_CALL)
"""Messages whose answer ends with ReadyForQuery."""


class PreparedStatements(Protocol):
    """A client's prepared statements; see wire/prepared.py."""

    def text_of(self, name: bytes) -> bytes | None:
        """Return the text of a statement, None if there is none of that name."""

    def introduce(self, name: bytes, definition: bytes) -> bool:
        """Take a statement that no server has been told of; False: the name is used."""

    def forget(self, name: bytes) -> None:
        """Forget a statement that is closed, if there is one."""


class Response(NamedTuple):
    """What comes of a message."""

    data: bytes = b""
    """For the client."""
    is_over: bool = False
    """Normal life goes on."""
    ahead: bytes = b""
    """With this message, before anything else of the client's."""


class LostTransaction:
    """One client in that state; sans-IO."""

    def __init__(
        self,
        statements: PreparedStatements | None,
        *,
        told: bool,
        skipping: bool = False,
        over: bool = False,
    ) -> None:
        """Begin.

        ``statements``: None for a client whose statements nobody keeps.

        ``told``: the client has had its 40001.  ``skipping``: it has been sent an
        error for a pipeline whose Sync is still to come.  ``over``: that pipeline was
        no transaction block, so its Sync is the end; not told, its next message is
        refused.
        """
        self._statements = statements
        self.faults: list[Fault] = []
        """What the client has been told, for whoever counts it."""
        self.detail: str | None = None
        """Goes with the 40001, instead of its usual DETAIL."""
        self._told = told
        self._skipping = skipping
        self._over = over
        self._texts: dict[bytes, bytes] = {}
        """Those parsed here; as ever the unnamed one is gone when another is parsed, or
        with a Query."""
        self._portals: dict[bytes, Does] = {}

    def message(self, kind: int, body: bytes) -> Response:
        """Take a message."""
        if kind == c.SYNC and (self._skipping or not self._over):
            self._skipping = False
            return Response(self._ready(), self._over)
        if self._skipping:
            return Response()
        if self._over:
            return self._behind(kind, body)
        if kind == c.QUERY:
            return self._query(body.rstrip(b"\0"))
        if kind == c.FUNCTION_CALL:
            return Response(self._error(self._refusal()) + self._ready())
        return Response(self._part(kind, body))

    def _part(self, kind: int, body: bytes) -> bytes:
        """Answer one message of the extended protocol."""
        act = self._PARTS.get(kind)
        if act is None:
            return b""  # Flush, and what is left of a COPY
        answer = act(self, body)
        if isinstance(answer, Fault):
            self._skipping = True
            return self._error(answer)
        return answer

    def _behind(self, kind: int, body: bytes) -> Response:
        """Take a message of a pipeline that is outside of any transaction by now."""
        if not self._told and (kind in _ANSWERED or kind in self._PARTS):
            error = self._error(self._refusal())
            if kind in _ANSWERED:
                return Response(error + self._ready(), is_over=True)
            self._skipping = True
            return Response(error)
        if kind == c.SYNC:
            return Response(self._ready(), is_over=True)
        if kind == c.CLOSE:
            return Response(self._on_close(body))
        if kind in _ANSWERED or kind in self._PARTS:
            return Response(b"", is_over=True, ahead=encode.message(kind, body))
        return Response()

    def _query(self, text: bytes) -> Response:
        self._texts.pop(b"", None)
        step = first_step(text)
        if step is None:
            return Response(encode.empty_query_response() + self._ready())
        answer = self._carry_out(step.does)
        if isinstance(answer, Fault):
            return Response(self._error(answer) + self._ready(), self._over)
        rest = text[step.rest :]
        if first_step(rest) is None:
            return Response(answer + self._ready(), is_over=True)
        ahead = encode.message(c.QUERY, rest + b"\0")
        return Response(answer, is_over=True, ahead=ahead)

    def _carry_out(self, does: Does | None) -> bytes | Fault:
        """Carry out a statement that stands first; None: it is not known."""
        if does not in ENDS:
            return self._refusal()
        self._over = True
        self._portals.clear()
        if not self._told and does is not Does.ROLLS_BACK:
            return self._refusal()
        self._told = True
        if does in CHAINS:
            return TransactionNotChained()
        return encode.command_complete("ROLLBACK")

    # The messages of the extended protocol; a fault refuses all up to the Sync.

    def _on_parse(self, body: bytes) -> bytes | Fault:
        name, _, definition = body.partition(b"\0")
        text, end, _ = definition.partition(b"\0")
        if not end:
            raise BrokenPacket(message="Parse")
        if not name:
            self._texts.pop(name, None)
        step = first_step(text)
        if step is not None:
            if step.does not in _PREPARABLE:
                return self._refusal()
            if not is_one(text):
                return MultipleCommands()
        if name and not self._introduce(name, definition):
            return StatementInUse(name=_shown(name))
        self._texts[name] = text
        return encode.parse_complete()

    def _introduce(self, name: bytes, definition: bytes) -> bool:
        if name in self._texts:
            return False
        statements = self._statements
        return statements is None or statements.introduce(name, definition)

    def _on_bind(self, body: bytes) -> bytes | Fault:
        portal, _, rest = body.partition(b"\0")
        name, end, rest = rest.partition(b"\0")
        if not end:
            raise BrokenPacket(message="Bind")
        text = self._text(name)
        if text is None:
            return self._missing(name)
        step = first_step(text)
        formats = int.from_bytes(rest[:2], "big")
        has_values = any(rest[2 + 2 * formats :][:2])
        if step is None or step.does not in _PREPARABLE or has_values:
            return self._refusal()
        self._portals[portal] = step.does
        return BIND_COMPLETE

    def _on_describe(self, body: bytes) -> bytes | Fault:
        name = body[1:].rstrip(b"\0")
        if body[:1] == b"P":
            return NO_DATA if name in self._portals else self._refusal()
        text = self._text(name)
        if text is None:
            return self._missing(name)
        step = first_step(text)
        if step is not None and step.does not in _PREPARABLE:
            return self._refusal()
        return NO_PARAMETERS + NO_DATA

    def _on_execute(self, body: bytes) -> bytes | Fault:
        return self._carry_out(self._portals.get(body.partition(b"\0")[0]))

    def _on_close(self, body: bytes) -> bytes:
        name = body[1:].rstrip(b"\0")
        if body[:1] == b"P":
            self._portals.pop(name, None)
        else:
            self._texts.pop(name, None)
            if name and self._statements is not None:
                self._statements.forget(name)
        return encode.close_complete()

    def _text(self, name: bytes) -> bytes | None:
        """Return the text of a statement, None if it is not known."""
        if name in self._texts:
            return self._texts[name]
        known = self._statements if name else None
        return None if known is None else known.text_of(name)

    def _missing(self, name: bytes) -> Fault:
        """Return what refuses an unknown statement, once the client knows the rest."""
        return NoSuchStatement(name=_shown(name)) if self._told else self._refusal()

    # What is said.

    def _refusal(self) -> Fault:
        if self._told:
            return InFailedTransaction()
        return TransactionLost(detail=self.detail)

    def _error(self, fault: Fault) -> bytes:
        self._told = self._told or isinstance(fault, TransactionLost)
        self.faults.append(fault)
        return encode.error_response(fault)

    def _ready(self) -> bytes:
        return encode.ready_for_query(b"I" if self._over else b"E")

    _PARTS: ClassVar[
        Mapping[int, Callable[[LostTransaction, bytes], bytes | Fault]]
    ] = MappingProxyType(
        {
            c.PARSE: _on_parse,
            c.BIND: _on_bind,
            c.DESCRIBE: _on_describe,
            c.EXECUTE: _on_execute,
            c.CLOSE: _on_close,
        }
    )
    """Message to its answer."""


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
