"""Recognizes a server's last message: that it closes the connection.

``FATAL`` closes the connection, whatever its SQLSTATE: a timeout (25P03, 25P04, 57P05),
a dropped database (57P04), an administrator, a conflict with recovery (40001).  With
these codes (manual, "PostgreSQL Error Codes") it comes from a backend that has rolled
back its work; it replaces CommandComplete.

A ``WARNING`` with these codes proves nothing.  At an immediate shutdown, and after
another backend has crashed, a signal handler sends it at any point, also between the
flush of a commit and CommandComplete; and an interrupted wait for synchronous standbys
sends it after the commit.  So the work may have been committed.
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
