"""Numbers of the PostgreSQL protocol: message types, versions, request codes.

Names are the manual's (chapter "Frontend/Backend Protocol", "Message Formats").
Plain integers, not enumerations, because the hot path compares them a message at a
time and mypyc folds them in.
"""

from __future__ import annotations

from typing import Final

# ------------------------------------------- messages that the frontend sends (F)
BIND: Final = 0x42  # B
CLOSE: Final = 0x43  # C
DESCRIBE: Final = 0x44  # D
EXECUTE: Final = 0x45  # E
FLUSH: Final = 0x48  # H
FUNCTION_CALL: Final = 0x46  # F
PARSE: Final = 0x50  # P
PASSWORD_MESSAGE: Final = 0x70  # p, also SASL and GSS responses
QUERY: Final = 0x51  # Q
SYNC: Final = 0x53  # S
TERMINATE: Final = 0x58  # X
COPY_FAIL: Final = 0x66  # f

# ----------------------------------------------------- messages of both sides (F, B)
COPY_DATA: Final = 0x64  # d
COPY_DONE: Final = 0x63  # c

# -------------------------------------------- messages that the backend sends (B)
AUTHENTICATION: Final = 0x52  # R
BACKEND_KEY_DATA: Final = 0x4B  # K
BIND_COMPLETE: Final = 0x32  # 2
CLOSE_COMPLETE: Final = 0x33  # 3
COMMAND_COMPLETE: Final = 0x43  # C
COPY_BOTH_RESPONSE: Final = 0x57  # W
COPY_IN_RESPONSE: Final = 0x47  # G
COPY_OUT_RESPONSE: Final = 0x48  # H
DATA_ROW: Final = 0x44  # D
EMPTY_QUERY_RESPONSE: Final = 0x49  # I
ERROR_RESPONSE: Final = 0x45  # E
FUNCTION_CALL_RESPONSE: Final = 0x56  # V
NEGOTIATE_PROTOCOL_VERSION: Final = 0x76  # v
NO_DATA: Final = 0x6E  # n
NOTICE_RESPONSE: Final = 0x4E  # N
NOTIFICATION_RESPONSE: Final = 0x41  # A
PARAMETER_DESCRIPTION: Final = 0x74  # t
PARAMETER_STATUS: Final = 0x53  # S
PARSE_COMPLETE: Final = 0x31  # 1
PORTAL_SUSPENDED: Final = 0x73  # s
READY_FOR_QUERY: Final = 0x5A  # Z
ROW_DESCRIPTION: Final = 0x54  # T

FRONTEND_NAMES: Final[dict[int, str]] = {
    BIND: "Bind",
    CLOSE: "Close",
    COPY_DATA: "CopyData",
    COPY_DONE: "CopyDone",
    COPY_FAIL: "CopyFail",
    DESCRIBE: "Describe",
    EXECUTE: "Execute",
    FLUSH: "Flush",
    FUNCTION_CALL: "FunctionCall",
    PARSE: "Parse",
    PASSWORD_MESSAGE: "PasswordMessage",
    QUERY: "Query",
    SYNC: "Sync",
    TERMINATE: "Terminate",
}
"""Every typed message a frontend may send, by its type byte."""

BACKEND_NAMES: Final[dict[int, str]] = {
    AUTHENTICATION: "Authentication",
    BACKEND_KEY_DATA: "BackendKeyData",
    BIND_COMPLETE: "BindComplete",
    CLOSE_COMPLETE: "CloseComplete",
    COMMAND_COMPLETE: "CommandComplete",
    COPY_BOTH_RESPONSE: "CopyBothResponse",
    COPY_DATA: "CopyData",
    COPY_DONE: "CopyDone",
    COPY_IN_RESPONSE: "CopyInResponse",
    COPY_OUT_RESPONSE: "CopyOutResponse",
    DATA_ROW: "DataRow",
    EMPTY_QUERY_RESPONSE: "EmptyQueryResponse",
    ERROR_RESPONSE: "ErrorResponse",
    FUNCTION_CALL_RESPONSE: "FunctionCallResponse",
    NEGOTIATE_PROTOCOL_VERSION: "NegotiateProtocolVersion",
    NO_DATA: "NoData",
    NOTICE_RESPONSE: "NoticeResponse",
    NOTIFICATION_RESPONSE: "NotificationResponse",
    PARAMETER_DESCRIPTION: "ParameterDescription",
    PARAMETER_STATUS: "ParameterStatus",
    PARSE_COMPLETE: "ParseComplete",
    PORTAL_SUSPENDED: "PortalSuspended",
    READY_FOR_QUERY: "ReadyForQuery",
    ROW_DESCRIPTION: "RowDescription",
}
"""Every message a backend may send, by its type byte."""

# ------------------------------------------------ first packets: versions and codes
PROTOCOL_2_0: Final = 0x00020000
PROTOCOL_3_0: Final = 0x00030000
PROTOCOL_3_2: Final = 0x00030002  # longer cancel keys, PostgreSQL 18
CANCEL_REQUEST_CODE: Final = 80877102  # 1234 << 16 | 5678
SSL_REQUEST_CODE: Final = 80877103
GSSENC_REQUEST_CODE: Final = 80877104
TLS_HANDSHAKE: Final = 0x16
"""First byte of a TLS ClientHello (RFC 8446, 5.1): TLS without an SSLRequest."""

HEADER_SIZE: Final = 5
"""Type byte and length of a typed message."""

STARTUP_HEADER_SIZE: Final = 8
"""Length and code of an untyped first packet."""

STARTUP_LIMIT: Final = 0x4000
"""First packets are shorter than this: so much may a stranger have us hold.

PostgreSQL itself takes 10 000 bytes (MAX_STARTUP_PACKET_LENGTH)."""

CANCEL_KEY_SIZE: Final = 8
"""Cancel key of protocol 3.0, process number included."""

CANCEL_KEY_LIMIT: Final = 260
"""Longest cancel key of protocol 3.2: a process number and 256 bytes of secret."""

# ------------------------------------------------------- kinds of Authentication
AUTH_OK: Final = 0
AUTH_KERBEROS_V5: Final = 2
AUTH_CLEARTEXT_PASSWORD: Final = 3
AUTH_MD5_PASSWORD: Final = 5
AUTH_GSS: Final = 7
AUTH_GSS_CONTINUE: Final = 8
AUTH_SSPI: Final = 9
AUTH_SASL: Final = 10
AUTH_SASL_CONTINUE: Final = 11
AUTH_SASL_FINAL: Final = 12

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
SCRAM_SHA_256_PLUS: Final = "SCRAM-SHA-256-PLUS"
"""The SASL mechanisms in use (RFC 7677), without and with channel binding."""

MD5_SALT_SIZE: Final = 4
