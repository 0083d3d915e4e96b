"""What a scanner does with each type of message, by the situation of its stream.

Each table has 256 bytes, an action of framing.py for each type byte.  A stream swaps
the table as its situation changes, so most messages pass without a call.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.wire.constants import (
    BIND,
    BIND_COMPLETE,
    CLOSE,
    CLOSE_COMPLETE,
    COMMAND_COMPLETE,
    COPY_DATA,
    COPY_DONE,
    COPY_FAIL,
    COPY_OUT_RESPONSE,
    DATA_ROW,
    DESCRIBE,
    EMPTY_QUERY_RESPONSE,
    ERROR_RESPONSE,
    EXECUTE,
    FLUSH,
    FUNCTION_CALL,
    FUNCTION_CALL_RESPONSE,
    NEGOTIATE_PROTOCOL_VERSION,
    NO_DATA,
    NOTICE_RESPONSE,
    NOTIFICATION_RESPONSE,
    PARAMETER_DESCRIPTION,
    PARAMETER_STATUS,
    PARSE,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    QUERY,
    READY_FOR_QUERY,
    ROW_DESCRIPTION,
    SYNC,
)
from pgswitch.wire.framing import CALL, PASS, TAG, WHOLE, action_table

# ------------------------------------------------------- messages of a client (F)

STARTUP: Final = 0
"""No message has this type: it is the first length byte of a second start-up packet."""

CLIENT_UNRELAYED: Final = action_table(WHOLE, {STARTUP: CALL})
"""During the login and in the console: every message goes whole to the control."""

CLIENT_RELAYED: Final = action_table(CALL, {FLUSH: PASS})
"""While messages go to servers."""

CLIENT_COPYING: Final = action_table(CALL, {COPY_DATA: PASS, FLUSH: PASS})
"""While the server takes the data of a COPY."""

NEEDS_SERVER: Final = action_table(
    0,
    dict.fromkeys(
        (QUERY, SYNC, FUNCTION_CALL, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE), 1
    ),
)
"""1 for a message that makes a client check out a server."""

DROPPED_WITHOUT_SERVER: Final = action_table(
    0, dict.fromkeys((COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH), 1)
)
"""1 for late messages of a COPY that failed, and for a Flush with nothing to flush."""

# ------------------------------------------------------- messages of a server (B)

_PASSING: Final = (
    DATA_ROW,
    COPY_DATA,
    COPY_DONE,
    COPY_OUT_RESPONSE,
    NOTIFICATION_RESPONSE,
    NOTICE_RESPONSE,
    PARAMETER_DESCRIPTION,
    NEGOTIATE_PROTOCOL_VERSION,
)
_COMPLETING: Final = (
    PARSE_COMPLETE,
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    NO_DATA,
    ROW_DESCRIPTION,
    COMMAND_COMPLETE,
    EMPTY_QUERY_RESPONSE,
    PORTAL_SUSPENDED,
    FUNCTION_CALL_RESPONSE,
)

SERVER_UNLINKED: Final = action_table(WHOLE, {})
"""No client is linked (login, reset, check): every message goes to the control."""

SERVER_LINKED: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys((READY_FOR_QUERY, PARAMETER_STATUS, COMMAND_COMPLETE), WHOLE),
    },
)
"""A client is linked."""

SERVER_LAST_REQUEST: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys(_COMPLETING, PASS),
        **dict.fromkeys((READY_FOR_QUERY, PARAMETER_STATUS), WHOLE),
        COMMAND_COMPLETE: TAG,
    },
)
"""Only ReadyForQuery can complete what is outstanding: one whole query."""

SERVER_SYNTHETIC: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys(_COMPLETING, WHOLE),
        **dict.fromkeys((READY_FOR_QUERY, PARAMETER_STATUS), WHOLE),
    },
)
"""Replies to our own requests are to be cut out, or replies of ours put in."""

SERVER_TRACKS_LOSS: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys((COMMAND_COMPLETE, PARAMETER_STATUS, READY_FOR_QUERY), WHOLE),
    },
)
"""A client is linked, and what is answered is tracked (ServerStream.tracks_loss)."""

SERVER_UNASKED: Final = action_table(
    CALL,
    {
        **dict.fromkeys((NOTIFICATION_RESPONSE, NOTICE_RESPONSE), PASS),
        **dict.fromkeys((ERROR_RESPONSE, PARAMETER_STATUS), WHOLE),
    },
)
"""Nothing is outstanding: only messages that need no request are expected."""

MAY_BE_LONG: Final = action_table(
    0,
    dict.fromkeys(
        (
            NOTIFICATION_RESPONSE,
            DATA_ROW,
            ERROR_RESPONSE,
            NOTICE_RESPONSE,
            ROW_DESCRIPTION,
            FUNCTION_CALL_RESPONSE,
            COPY_DATA,
            PARAMETER_DESCRIPTION,
        ),
        1,
    ),
)
"""1 for what an answer may have that is longer than LONG_MESSAGE.

libpq takes no more than 30,000 bytes of any other message (VALID_LONG_MESSAGE_TYPE).
"""
