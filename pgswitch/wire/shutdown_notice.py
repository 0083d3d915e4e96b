"""The last thing a server says: that it ends the connection by order.

``FATAL`` ends the connection, whatever its SQLSTATE: a timeout (25P03, 25P04, 57P05),
a dropped database (57P04), an administrator, a conflict with recovery (40001).  With
these codes (manual, "PostgreSQL Error Codes") it comes from a backend that has rolled
back what it was doing, and says so instead of CommandComplete.

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
"""What a server says that shuts down, or was told to end this connection."""
UNDONE_CODES = (*CODES, "57P04", "57P05", "25P03", "25P04", "40001")
MARK = b"57P0"
FATAL_MARK = b"FATAL\0"
"""Only chunks with one of these in them are worth a look."""
ENDING_SEVERITIES = (b"VFATAL\0", b"VPANIC\0", b"SFATAL\0", b"SPANIC\0")
"""Severity fields of an ErrorResponse that ends the connection, asked or not."""
MAX_LENGTH = 2048
"""In so many bytes at the end of a chunk the second one is looked for: nothing follows
it, and what is longer is looked at when it is seen whole."""


class ShutdownNotice(Enum):
    """What the last message of a chunk says."""

    NONE = "nothing of the kind"
    UNDONE = "it ends, and has undone what it was doing"
    ENDS = "it ends, and says nothing of what it was doing"
    UNSURE = "it ends, and what it was doing may be done"


def shutdown_notice(chunk: bytes, at: int = 0) -> tuple[ShutdownNotice, int, bool]:
    """Judge a chunk in which a message begins at ``at``.

    Returns the verdict, where in the chunk the last word begins, and whether
    something is said to be done before it.
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


def words_of(chunk: bytes, at: int) -> dict[str, str]:
    """Return the fields of the last word that begins at ``at``."""
    end = at + 1 + int.from_bytes(chunk[at + 1 : at + HEADER_SIZE], "big")
    return decode.error_fields(chunk[at + HEADER_SIZE : end])
