"""The last thing a server says: that it ends the connection by order.

``FATAL`` with 57P01, 57P02 or 57P03 (manual, "PostgreSQL Error Codes") comes from a
backend that has rolled back what it was doing, and says so instead of CommandComplete.

A ``WARNING`` with these codes is another matter.  At an immediate shutdown, and when
another backend has crashed, it is sent from within a signal handler, wherever the
backend is just then, also between the flush of a commit and CommandComplete; and a wait
for synchronous standbys that is broken off says it after the commit.  So the work may
well be done.
"""

from __future__ import annotations

from enum import Enum

from pgswitch.errors import Fault
from pgswitch.wire import decode
from pgswitch.wire.constants import (
    COMMAND_COMPLETE,
    ERROR_RESPONSE,
    HEADER_SIZE,
    NOTICE_RESPONSE,
    READY_FOR_QUERY,
)

DONE = (COMMAND_COMPLETE, READY_FOR_QUERY)
"""What they answer may be committed."""
CODES = ("57P01", "57P02", "57P03")
MARK = b"57P0"
"""Only chunks with this in them are worth a look."""


class LastWord(Enum):
    """What the last message of a chunk says."""

    NONE = "nothing of the kind"
    UNDONE = "it ends, and has undone what it was doing"
    UNSURE = "it ends, and what it was doing may be done"


def last_word(chunk: bytes) -> tuple[LastWord, int, bool]:
    """Judge a chunk that begins with a message.

    Returns the verdict, where in the chunk the last word begins, and whether
    something is said to be done before it.
    """
    at = 0
    is_done = False
    while at + HEADER_SIZE <= len(chunk):
        kind = chunk[at]
        end = at + 1 + int.from_bytes(chunk[at + 1 : at + HEADER_SIZE], "big")
        if end > len(chunk):
            break
        if kind in (ERROR_RESPONSE, NOTICE_RESPONSE):
            said = _judge(kind, chunk[at + HEADER_SIZE : end])
            if said is not LastWord.NONE:
                return said, at, is_done
        is_done = is_done or kind in DONE
        at = end
    return LastWord.NONE, len(chunk), is_done


def _judge(kind: int, body: bytes) -> LastWord:
    try:
        fields = decode.error_fields(body)
    except Fault:
        return LastWord.NONE
    severity = fields.get("V", fields.get("S"))
    if fields.get("C") not in CODES:
        return LastWord.NONE
    if kind == ERROR_RESPONSE and severity == "FATAL":
        return LastWord.UNDONE
    if kind == NOTICE_RESPONSE and severity == "WARNING":
        return LastWord.UNSURE
    return LastWord.NONE
