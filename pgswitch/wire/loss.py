"""A server that closes its connection: its last message, and the transaction it loses.

**The last message** (:class:`ShutdownNotice`) tells whether the work was rolled back.
``FATAL`` closes the connection, whatever its SQLSTATE: a timeout (25P03, 25P04, 57P05),
a dropped database (57P04), an administrator, a conflict with recovery (40001).  With
these codes (manual, "PostgreSQL Error Codes") it comes from a backend that has rolled
back its work; it replaces CommandComplete.

A ``WARNING`` with these codes proves nothing.  At an immediate shutdown, and after
another backend has crashed, a signal handler sends it at any point, also between the
flush of a commit and CommandComplete; and an interrupted wait for synchronous standbys
sends it after the commit.  So the work may have been committed.

**The lost transaction** (:class:`LostTransaction`): the client is answered in the
server's place until it ends the transaction.  This behaves like PostgreSQL in a failed
transaction (manual, "Transactions"): every message gets 25P02 until a statement ends
the transaction; its tag is always ROLLBACK. The rest of the same text or pipeline is
outside the transaction and goes to the next server.  Statements that are prepared or
closed meanwhile, as far as a failed transaction allows, take effect for the client.

Three things differ:

* The first error reports the loss, with 40001, so drivers retry the transaction.  A
  COMMIT gets it as well if it comes first: a client that does not check the command tag
  must not believe that its work is committed.
* AND CHAIN ends the transaction with 40001: the next one would have the characteristics
  of the lost one (isolation level and so on), which are no longer known.
* Savepoints are lost as well, so ROLLBACK TO does not help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
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
from pgswitch.wire import decode, encode
from pgswitch.wire.committing import CHAINS, ENDS, StatementEffect, first_step, is_one
from pgswitch.wire.constants import (
    COMMAND_COMPLETE,
    ERROR_RESPONSE,
    HEADER_SIZE,
    NOTICE_RESPONSE,
    READY_FOR_QUERY,
)

DONE = (COMMAND_COMPLETE, READY_FOR_QUERY)
"""The statement that they answer may be committed."""
CODES = ("57P01", "57P02", "57P03")
"""SQLSTATEs of a server that shuts down, or whose connection was terminated."""
UNDONE_CODES = (*CODES, "57P04", "57P05", "25P03", "25P04", "40001")
MARK = b"57P0"
FATAL_MARK = b"FATAL\0"
"""Only chunks that contain one of these need to be examined."""
ENDING_SEVERITIES = (b"VFATAL\0", b"VPANIC\0", b"SFATAL\0", b"SPANIC\0")
"""Severity fields of an ErrorResponse that ends the connection, asked or not."""
MAX_LENGTH = 2048
"""FATAL_MARK is searched in this many bytes at the end of a chunk: nothing follows the
message, and a longer one is examined when it is complete."""


class ShutdownNotice(Enum):
    """The meaning of a chunk's last message."""

    NONE = "no shutdown notice"
    UNDONE = "the server closes the connection and has rolled back its work"
    ENDS = "the server closes the connection; nothing is known about its work"
    UNSURE = "the server closes the connection; its work may be committed"


def shutdown_notice(chunk: bytes, at: int = 0) -> tuple[ShutdownNotice, int, bool]:
    """Examine a chunk in which a message begins at ``at``.

    Returns the meaning of the notice, its index in the chunk, and whether a message
    before it reports something as done.
    """
    is_done = False
    while at + HEADER_SIZE <= len(chunk):
        kind = chunk[at]
        end = at + 1 + int.from_bytes(chunk[at + 1 : at + HEADER_SIZE], "big")
        if end > len(chunk):
            break
        if kind in (ERROR_RESPONSE, NOTICE_RESPONSE):
            said = _judge(kind, chunk[at + HEADER_SIZE : end])
            if said is not ShutdownNotice.NONE:
                return said, at, is_done
        is_done = is_done or kind in DONE
        at = end
    return ShutdownNotice.NONE, len(chunk), is_done


def _judge(kind: int, body: bytes) -> ShutdownNotice:
    try:
        fields = decode.error_fields(body)
    except Fault:
        return ShutdownNotice.NONE
    severity = fields.get("V", fields.get("S"))
    code = fields.get("C")
    if kind == ERROR_RESPONSE and severity in ("FATAL", "PANIC"):
        is_undone = severity == "FATAL" and code in UNDONE_CODES
        return ShutdownNotice.UNDONE if is_undone else ShutdownNotice.ENDS
    if kind == NOTICE_RESPONSE and severity == "WARNING" and code in CODES:
        return ShutdownNotice.UNSURE
    return ShutdownNotice.NONE


def notice_fields(chunk: bytes, at: int) -> dict[str, str]:
    """Return the fields of the notice that begins at ``at``."""
    end = at + 1 + int.from_bytes(chunk[at + 1 : at + HEADER_SIZE], "big")
    return decode.error_fields(chunk[at + HEADER_SIZE : end])


BIND_COMPLETE = encode.message(c.BIND_COMPLETE)
NO_DATA = encode.message(c.NO_DATA)
NO_PARAMETERS = encode.message(c.PARAMETER_DESCRIPTION, b"\0\0")

_PREPARABLE: Final = ENDS | {StatementEffect.ROLLS_BACK_TO}
"""Statements that may be parsed and bound in a failed transaction."""
_ANSWERED: Final = (c.SYNC, c.QUERY, c.FUNCTION_CALL)
"""Messages whose answer ends with ReadyForQuery."""


class PreparedStatements(Protocol):
    """A client's prepared statements; see wire/prepared.py."""

    def text_of(self, name: bytes) -> bytes | None:
        """Return the text of a statement, None if there is none of that name."""

    def introduce(self, name: bytes, definition: bytes) -> bool:
        """Add a statement that no server has yet; False if the name is in use."""

    def forget(self, name: bytes) -> None:
        """Remove a closed statement, if there is one of that name."""


class Response(NamedTuple):
    """The response to a message."""

    data: bytes = b""
    """Bytes for the client."""
    is_over: bool = False
    """The lost transaction has ended; the client continues normally."""
    ahead: bytes = b""
    """A message to send to the next server, before the client's other messages."""


class LostTransaction:
    """A client with a lost transaction; sans-IO."""

    def __init__(
        self,
        statements: PreparedStatements | None,
        *,
        reported: bool,
        skipping: bool = False,
        ended: bool = False,
    ) -> None:
        """Start in a lost transaction.

        ``statements``: None for a client whose statements are not tracked.

        ``reported``: the client has received its 40001.  ``skipping``: it has received
        an error for a pipeline whose Sync is still to come.  ``ended``: that pipeline
        was not in a transaction block, so its Sync is the end; unless ``reported``, the
        next message is refused.
        """
        self._statements = statements
        self.faults: list[Fault] = []
        """Errors sent to the client, to be counted."""
        self.detail: str | None = None
        """The DETAIL of the 40001, if it differs from the usual one."""
        self._reported = reported
        self._skipping = skipping
        self._ended = ended
        self._texts: dict[bytes, bytes] = {}
        """Statements parsed meanwhile; a Parse or a Query replaces the unnamed one."""
        self._portals: dict[bytes, StatementEffect] = {}

    def message(self, kind: int, body: bytes) -> Response:
        """Take a message."""
        if kind == c.SYNC and (self._skipping or not self._ended):
            self._skipping = False
            return Response(self._ready(), self._ended)
        if self._skipping:
            return Response()
        if self._ended:
            return self._after_end(kind, body)
        if kind == c.QUERY:
            return self._query(body.rstrip(b"\0"))
        if kind == c.FUNCTION_CALL:
            return Response(self._error(self._refusal()) + self._ready())
        return Response(self._part(kind, body))

    def _part(self, kind: int, body: bytes) -> bytes:
        """Answer one message of the extended protocol."""
        act = self._PARTS.get(kind)
        if act is None:
            return b""  # Flush, and the rest of a COPY
        answer = act(self, body)
        if isinstance(answer, Fault):
            self._skipping = True
            return self._error(answer)
        return answer

    def _after_end(self, kind: int, body: bytes) -> Response:
        """Take a message of a pipeline whose transaction has ended."""
        if not self._reported and (kind in _ANSWERED or kind in self._PARTS):
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
        answer = self._carry_out(step.effect)
        if isinstance(answer, Fault):
            return Response(self._error(answer) + self._ready(), self._ended)
        rest = text[step.rest :]
        if first_step(rest) is None:
            return Response(answer + self._ready(), is_over=True)
        ahead = encode.message(c.QUERY, rest + b"\0")
        return Response(answer, is_over=True, ahead=ahead)

    def _carry_out(self, effect: StatementEffect | None) -> bytes | Fault:
        """Execute the first statement; None: it is not known."""
        if effect not in ENDS:
            return self._refusal()
        self._ended = True
        self._portals.clear()
        if not self._reported and effect is not StatementEffect.ROLLS_BACK:
            return self._refusal()
        self._reported = True
        if effect in CHAINS:
            return TransactionNotChained()
        return encode.command_complete("ROLLBACK")

    # Messages of the extended protocol; after a fault all are skipped up to the Sync.

    def _on_parse(self, body: bytes) -> bytes | Fault:
        name, _, definition = body.partition(b"\0")
        text, end, _ = definition.partition(b"\0")
        if not end:
            raise BrokenPacket(message="Parse")
        if not name:
            self._texts.pop(name, None)
        step = first_step(text)
        if step is not None:
            if step.effect not in _PREPARABLE:
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
        if step is None or step.effect not in _PREPARABLE or has_values:
            return self._refusal()
        self._portals[portal] = step.effect
        return BIND_COMPLETE

    def _on_describe(self, body: bytes) -> bytes | Fault:
        name = body[1:].rstrip(b"\0")
        if body[:1] == b"P":
            return NO_DATA if name in self._portals else self._refusal()
        text = self._text(name)
        if text is None:
            return self._missing(name)
        step = first_step(text)
        if step is not None and step.effect not in _PREPARABLE:
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
        """Return the error of an unknown statement; the loss is reported first."""
        return NoSuchStatement(name=_shown(name)) if self._reported else self._refusal()

    # Answers.

    def _refusal(self) -> Fault:
        if self._reported:
            return InFailedTransaction()
        return TransactionLost(detail=self.detail)

    def _error(self, fault: Fault) -> bytes:
        self._reported = self._reported or isinstance(fault, TransactionLost)
        self.faults.append(fault)
        return encode.error_response(fault)

    def _ready(self) -> bytes:
        return encode.ready_for_query(b"I" if self._ended else b"E")

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
    """Handlers by message type."""


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
