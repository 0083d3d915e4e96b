"""Encodes the messages that we create; forwarded ones never come here.

One pure function per message, named as in the manual's chapter "Message Formats". Text
is UTF-8; bytes that were not valid UTF-8 when decoded are restored (surrogateescape).

All functions raise ValueError for text with a zero byte inside, after which a peer
would read the rest as something else, and for text that cannot be encoded (half a
surrogate pair).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Final

from pgswitch.errors import Fault, Notice
from pgswitch.wire import constants as c

Text = str | bytes
FieldDescription = tuple[str, int, int]
"""A column: name, type OID, size in bytes (-1 for a variable size)."""

_HEADER: Final = Struct("!BI")
_AUTHENTICATION: Final = Struct("!BII")
_INT32: Final = Struct("!i")
_UINT32: Final = Struct("!I")
_INT16: Final = Struct("!H")
_STARTUP_HEADER: Final = Struct("!II")
_COLUMN: Final = Struct("!IHIhih")
_NULL: Final = _INT32.pack(-1)


def message(kind: int, body: bytes = b"") -> bytes:
    """Return a typed message: type byte, length (of itself and the body), body."""
    return _HEADER.pack(kind, len(body) + 4) + body


def raw_text(text: Text) -> bytes:
    """Return text as bytes; bytes are returned unchanged."""
    if isinstance(text, bytes):
        return text
    return text.encode("utf-8", "surrogateescape")


def cstring(text: Text) -> bytes:
    """Return text with a terminating zero byte; ValueError if it contains one."""
    raw = raw_text(text)
    if 0 in raw:
        problem = "text with a zero byte inside cannot be sent"
        raise ValueError(problem)
    return raw + b"\0"


# ----------------------------------------------------------------- Authentication


def _authentication(kind: int, data: bytes = b"") -> bytes:
    return _AUTHENTICATION.pack(c.AUTHENTICATION, len(data) + 8, kind) + data


def auth_ok() -> bytes:
    """Return AuthenticationOk."""
    return _authentication(c.AUTH_OK)


def auth_cleartext() -> bytes:
    """Return AuthenticationCleartextPassword."""
    return _authentication(c.AUTH_CLEARTEXT_PASSWORD)


def auth_md5(salt: bytes) -> bytes:
    """Return AuthenticationMD5Password; the salt has four bytes, else ValueError."""
    if len(salt) != c.MD5_SALT_SIZE:
        problem = "an MD5 salt has four bytes"
        raise ValueError(problem)
    return _authentication(c.AUTH_MD5_PASSWORD, salt)


def auth_sasl(mechanisms: Iterable[str] = (c.SCRAM_SHA_256,)) -> bytes:
    """Return AuthenticationSASL with the mechanisms, the preferred one first."""
    names = b"".join(map(cstring, mechanisms))
    return _authentication(c.AUTH_SASL, names + b"\0")


def auth_sasl_continue(data: bytes) -> bytes:
    """Return AuthenticationSASLContinue with the mechanism's own data."""
    return _authentication(c.AUTH_SASL_CONTINUE, data)


def auth_sasl_final(data: bytes) -> bytes:
    """Return AuthenticationSASLFinal with the mechanism's own data."""
    return _authentication(c.AUTH_SASL_FINAL, data)


# ------------------------------------------------------ other messages to a client


def parameter_status(name: Text, value: Text) -> bytes:
    """Return ParameterStatus."""
    return message(c.PARAMETER_STATUS, cstring(name) + cstring(value))


def backend_key_data(key: bytes) -> bytes:
    """Return BackendKeyData; ``key`` is the whole body, process number included."""
    return message(c.BACKEND_KEY_DATA, key)


def negotiate_protocol_version(newest: int, options: Sequence[str]) -> bytes:
    """Return NegotiateProtocolVersion.

    ``newest`` is the newest version that we support, in PgBouncer's form with the major
    version (196608 for 3.0); ``options`` are the refused names.
    """
    names = b"".join(map(cstring, options))
    body = _UINT32.pack(newest) + _UINT32.pack(len(options)) + names
    return message(c.NEGOTIATE_PROTOCOL_VERSION, body)


def ready_for_query(status: bytes = b"I") -> bytes:
    """Return ReadyForQuery with the transaction status ``I``, ``T`` or ``E``."""
    return message(c.READY_FOR_QUERY, status)


def error_fields(
    severity: str,
    sqlstate: str,
    text: str,
    detail: str | None = None,
    hint: str | None = None,
) -> bytes:
    """Return the body of ErrorResponse and NoticeResponse: S, C, M, then D, H if any.

    Like PgBouncer, we send neither V nor source positions. A zero byte in one of the
    texts is removed: an error must always reach its client.
    """
    fields = (("S", severity), ("C", sqlstate), ("M", text), ("D", detail), ("H", hint))
    return (
        b"".join(
            cstring(name + value.replace("\0", ""))
            for name, value in fields
            if value is not None
        )
        + b"\0"
    )


def error_response(fault: Fault) -> bytes:
    """Return ErrorResponse for a fault; empty for a silent one."""
    if fault.is_silent:
        return b""
    body = error_fields(
        fault.severity, fault.sqlstate, fault.text, fault.detail, fault.hint
    )
    return message(c.ERROR_RESPONSE, body)


def notice_response(notice: Notice) -> bytes:
    """Return NoticeResponse."""
    body = error_fields(
        notice.severity, notice.sqlstate, notice.text, notice.detail, notice.hint
    )
    return message(c.NOTICE_RESPONSE, body)


def row_description(
    fields: Iterable[FieldDescription], formats: Sequence[int] = ()
) -> bytes:
    """Return RowDescription for columns that belong to no table.

    ``formats`` are the format codes by column, 1 for binary; empty: all are text.
    """
    columns = [
        cstring(name) + _COLUMN.pack(0, 0, oid, size, -1, formats[at] if formats else 0)
        for at, (name, oid, size) in enumerate(fields)
    ]
    body = _INT16.pack(len(columns)) + b"".join(columns)
    return message(c.ROW_DESCRIPTION, body)


def data_row(values: Sequence[Text | None]) -> bytes:
    """Return DataRow with these values; None is NULL."""
    return data_row_of([field(value) for value in values])


def data_row_of(fields: Sequence[bytes]) -> bytes:
    """Return DataRow with values already encoded by :func:`field`."""
    return message(c.DATA_ROW, _INT16.pack(len(fields)) + b"".join(fields))


def field(value: Text | None) -> bytes:
    """Return a value after its length, as in DataRow and Bind; None is NULL."""
    if value is None:
        return _NULL
    raw = raw_text(value)
    return _INT32.pack(len(raw)) + raw


def command_complete(tag: Text) -> bytes:
    """Return CommandComplete."""
    return message(c.COMMAND_COMPLETE, cstring(tag))


def empty_query_response() -> bytes:
    """Return EmptyQueryResponse."""
    return message(c.EMPTY_QUERY_RESPONSE)


def parse_complete() -> bytes:
    """Return ParseComplete."""
    return message(c.PARSE_COMPLETE)


def bind_complete() -> bytes:
    """Return BindComplete."""
    return message(c.BIND_COMPLETE)


def close_complete() -> bytes:
    """Return CloseComplete."""
    return message(c.CLOSE_COMPLETE)


def no_data() -> bytes:
    """Return NoData: the described statement returns no rows."""
    return message(c.NO_DATA)


def parameter_description(oids: Sequence[int] = ()) -> bytes:
    """Return ParameterDescription with the types of the parameters."""
    types = b"".join(map(_UINT32.pack, oids))
    return message(c.PARAMETER_DESCRIPTION, _INT16.pack(len(oids)) + types)


def portal_suspended() -> bytes:
    """Return PortalSuspended: Execute reached its row limit."""
    return message(c.PORTAL_SUSPENDED)


# ------------------------------------------------------------- messages to a server


def query(sql: Text) -> bytes:
    """Return Query."""
    return message(c.QUERY, cstring(sql))


def parse(name: Text, sql: Text, oids: Sequence[int] = ()) -> bytes:
    """Return Parse; ``oids`` are the types of the parameters."""
    types = b"".join(map(_UINT32.pack, oids))
    body = cstring(name) + cstring(sql) + _INT16.pack(len(oids)) + types
    return message(c.PARSE, body)


def bind(portal: Text, statement: Text, values: Sequence[Text | None] = ()) -> bytes:
    """Return Bind with parameters and results in text format; None is NULL."""
    head = cstring(portal) + cstring(statement) + _INT16.pack(0)
    fields = b"".join([field(value) for value in values])
    body = head + _INT16.pack(len(values)) + fields + _INT16.pack(0)
    return message(c.BIND, body)


def describe_portal(portal: Text = "") -> bytes:
    """Return Describe of a portal."""
    return message(c.DESCRIBE, b"P" + cstring(portal))


def execute(portal: Text = "") -> bytes:
    """Return Execute without a row limit."""
    return message(c.EXECUTE, cstring(portal) + _UINT32.pack(0))


def sync() -> bytes:
    """Return Sync."""
    return message(c.SYNC)


def terminate() -> bytes:
    """Return Terminate."""
    return message(c.TERMINATE)


def password(answer: bytes) -> bytes:
    """Return PasswordMessage with a plain or MD5 password."""
    return message(c.PASSWORD_MESSAGE, cstring(answer))


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """Return SASLInitialResponse with the mechanism's own data."""
    body = cstring(mechanism) + _UINT32.pack(len(data)) + data
    return message(c.PASSWORD_MESSAGE, body)


def sasl_response(data: bytes) -> bytes:
    """Return SASLResponse with the mechanism's own data."""
    return message(c.PASSWORD_MESSAGE, data)


# --------------------------------------------------------- untyped first packets


def startup(
    parameters: Mapping[str, Text] | Iterable[tuple[str, Text]],
    version: int = c.PROTOCOL_3_0,
) -> bytes:
    """Return StartupMessage with the parameters in the order given."""
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    body = b"".join(cstring(name) + cstring(value) for name, value in pairs) + b"\0"
    return _STARTUP_HEADER.pack(len(body) + c.STARTUP_HEADER_SIZE, version) + body


def startup_3_2(
    parameters: Mapping[str, Text] | Iterable[tuple[str, Text]],
) -> bytes:
    """Return StartupMessage that asks for protocol 3.2: longer cancel keys."""
    return startup(parameters, c.PROTOCOL_3_2)


def cancel_request(key: bytes) -> bytes:
    """Return CancelRequest; ``key`` as in BackendKeyData, process number included."""
    size = len(key) + c.STARTUP_HEADER_SIZE
    return _STARTUP_HEADER.pack(size, c.CANCEL_REQUEST_CODE) + key


def ssl_request() -> bytes:
    """Return SSLRequest."""
    return _STARTUP_HEADER.pack(c.STARTUP_HEADER_SIZE, c.SSL_REQUEST_CODE)
