"""Messages that we write ourselves, as bytes; forwarded ones never come here.

Pure functions, one a message, named as in the manual's chapter "Message Formats".
Text is UTF-8, bytes that were no UTF-8 when decoded come out as they went in
(surrogateescape). Used by the logins, the console, the pools and the tests.

ValueError everywhere: a text with a zero byte inside, which would end it early and
let its rest be read as something else, or a text that no bytes stand for (half a
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
"""A column: name, type number, size in bytes (-1 for one that varies)."""

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
    """Return text as bytes; bytes are returned as they are."""
    if isinstance(text, bytes):
        return text
    return text.encode("utf-8", "surrogateescape")


def cstring(text: Text) -> bytes:
    """Return text ended by a zero byte; ValueError if it holds one."""
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
    """Return AuthenticationSASL offering the mechanisms, the preferred one first."""
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

    ``newest`` is the newest version that we speak, written as PgBouncer does, with
    the major version in it (196608 for 3.0); ``options`` are the names refused.
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

    PgBouncer sends neither V nor source positions, and clients live without. A zero
    byte in one of the texts is left out: an error must always reach its client.
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
    """Return ErrorResponse for a fault; empty for one that is to be silent."""
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
    """Return RowDescription for columns of no table.

    ``formats`` are the format codes by column, 1 for binary; without, all are text.
    """
    columns = [
        cstring(name) + _COLUMN.pack(0, 0, oid, size, -1, formats[at] if formats else 0)
        for at, (name, oid, size) in enumerate(fields)
    ]
    body = _INT16.pack(len(columns)) + b"".join(columns)
    return message(c.ROW_DESCRIPTION, body)


def data_row(values: Sequence[Text | None]) -> bytes:
    """Return DataRow with the values as they are; None is NULL."""
    return data_row_of([field(value) for value in values])


def data_row_of(fields: Sequence[bytes]) -> bytes:
    """Return DataRow of what :func:`field` has made of each value."""
    return message(c.DATA_ROW, _INT16.pack(len(fields)) + b"".join(fields))


def field(value: Text | None) -> bytes:
    """Return a value behind its length, as DataRow and Bind hold it; None is NULL."""
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
    """Return NoData: what was described gives no rows."""
    return message(c.NO_DATA)


def parameter_description(oids: Sequence[int] = ()) -> bytes:
    """Return ParameterDescription with the types of the parameters."""
    types = b"".join(map(_UINT32.pack, oids))
    return message(c.PARAMETER_DESCRIPTION, _INT16.pack(len(oids)) + types)


def portal_suspended() -> bytes:
    """Return PortalSuspended: Execute's limit was met before the end."""
    return message(c.PORTAL_SUSPENDED)


# ------------------------------------------------------------- messages to a server


def query(sql: Text) -> bytes:
    """Return Query."""
    return message(c.QUERY, cstring(sql))


def parse(name: Text, sql: Text, oids: Sequence[int] = ()) -> bytes:
    """Return Parse; ``oids`` are the parameter types given in advance."""
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
    """Return Execute without a limit on rows."""
    return message(c.EXECUTE, cstring(portal) + _UINT32.pack(0))


def sync() -> bytes:
    """Return Sync."""
    return message(c.SYNC)


def terminate() -> bytes:
    """Return Terminate."""
    return message(c.TERMINATE)


def password(answer: bytes) -> bytes:
    """Return PasswordMessage with a clear or MD5 answer."""
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
