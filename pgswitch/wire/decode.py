"""Decodes the bodies of the messages that we must read; all others are only forwarded.

Pure functions from a complete body (without type byte and length) to values. They raise
only subclasses of ProtocolViolation, for a body that does not have the layout in the
manual's chapter "Message Formats". Text is UTF-8 with surrogateescape, so it can be
encoded again without loss.

The functions at the end find a single field of a Query, Parse, Bind or Describe in the
chunk that it came in, for the hot path: only that field is copied.  The message begins
at ``start`` and ends before ``end``.  These functions recognize a message that breaks
its layout and leave it to the server.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from pgswitch.errors import BrokenPacket, IncompleteQuery
from pgswitch.wire import constants as c
from pgswitch.wire.constants import BIND, HEADER_SIZE, PARSE, PREPARED_STATEMENT

_COLUMN_FACTS: Final = 18
"""Bytes of a column's description after its name (manual, "RowDescription")."""
_COUNT: Final = Struct("!H")
_UINT32: Final = Struct("!I")
_NULL: Final = 0xFFFFFFFF
"""The length -1, which stands for NULL."""

TARGETS: Final = frozenset(b"PS")
"""The targets of Describe and Close: portal or prepared statement."""


class ParseBody(NamedTuple):
    """Body of Parse: ``rest`` is query, count and types as sent, for comparison."""

    name: bytes
    sql: bytes
    oids: tuple[int, ...]
    rest: bytes


class BindPrefix(NamedTuple):
    """Start of a Bind body: the names, and the index of the rest."""

    portal: bytes
    statement: bytes
    end: int


class Target(NamedTuple):
    """Body of Describe and Close: kind ``P`` or ``S`` as an integer, and the name."""

    kind: int
    name: bytes


class NegotiateProtocolVersion(NamedTuple):
    """Body of NegotiateProtocolVersion: newest minor version, refused options."""

    newest: int
    options: tuple[str, ...]


def text(raw: bytes) -> str:
    """Return bytes as text that can be encoded again without loss."""
    return raw.decode("utf-8", "surrogateescape")


def _cstring(body: bytes, start: int, packet: str) -> tuple[bytes, int]:
    """Return the zero-terminated text at ``start`` and the index of the next field."""
    end = body.find(b"\0", start)
    if end < 0:
        raise BrokenPacket(message=packet)
    return body[start:end], end + 1


def _uint32(body: bytes, start: int, packet: str) -> int:
    """Return the four-byte number at ``start``."""
    if len(body) < start + 4:
        raise BrokenPacket(message=packet)
    number: int = _UINT32.unpack_from(body, start)[0]
    return number


def error_fields(body: bytes) -> dict[str, str]:
    """Return the fields of ErrorResponse or NoticeResponse by their letter.

    The first of a repeated field counts; a zero byte must end the body.
    """
    fields: dict[str, str] = {}
    at = 0
    while at < len(body) and body[at] != 0:
        value, end = _cstring(body, at + 1, "ErrorResponse")
        fields.setdefault(chr(body[at]), text(value))
        at = end
    if at != len(body) - 1:
        raise BrokenPacket(message="ErrorResponse")
    return fields


def parameter_status(body: bytes) -> tuple[bytes, bytes]:
    """Return name and value of ParameterStatus."""
    name, at = _cstring(body, 0, "ParameterStatus")
    value, at = _cstring(body, at, "ParameterStatus")
    if at != len(body):
        raise BrokenPacket(message="ParameterStatus")
    return name, value


def column_count(body: bytes) -> int:
    """Return the number of columns in RowDescription."""
    if len(body) < _COUNT.size:
        raise BrokenPacket(message="RowDescription")
    count: int = _COUNT.unpack_from(body)[0]
    return count


def column_names(body: bytes) -> tuple[str, ...]:
    """Return the names of the columns in RowDescription."""
    names = []
    at = _COUNT.size
    for _ in range(column_count(body)):
        name, at = _cstring(body, at, "RowDescription")
        names.append(text(name))
        at += _COLUMN_FACTS
    if at != len(body):
        raise BrokenPacket(message="RowDescription")
    return tuple(names)


def data_row(body: bytes) -> list[bytes | None]:
    """Return the values of DataRow, None for NULL."""
    packet = "DataRow"
    if len(body) < _COUNT.size:
        raise BrokenPacket(message=packet)
    values: list[bytes | None] = []
    at = _COUNT.size
    for _ in range(_COUNT.unpack_from(body)[0]):
        size = _uint32(body, at, packet)
        at += 4
        if size == _NULL:
            values.append(None)
            continue
        values.append(body[at : at + size])
        at += size
        if at > len(body):
            raise BrokenPacket(message=packet)
    if at != len(body):
        raise BrokenPacket(message=packet)
    return values


def text_row(body: bytes) -> list[str | None]:
    """Return the values of DataRow as text, None for NULL."""
    return [None if value is None else text(value) for value in data_row(body)]


def query(body: bytes) -> bytes:
    """Return the text of Query; IncompleteQuery if a zero byte does not end it."""
    sql, ended, rest = body.partition(b"\0")
    if not ended or rest:
        raise IncompleteQuery
    return sql


def parse(body: bytes) -> ParseBody:
    """Return the fields of Parse."""
    name, start = _cstring(body, 0, "Parse")
    sql, at = _cstring(body, start, "Parse")
    if len(body) < at + 2:
        raise BrokenPacket(message="Parse")
    count: int = _COUNT.unpack_from(body, at)[0]
    if len(body) != at + 2 + 4 * count:
        raise BrokenPacket(message="Parse")
    oids = Struct(f"!{count}I").unpack_from(body, at + 2)
    return ParseBody(name, sql, oids, body[start:])


def bind_prefix(body: bytes) -> BindPrefix:
    """Return portal and statement of Bind; the values are not examined."""
    portal, at = _cstring(body, 0, "Bind")
    statement, at = _cstring(body, at, "Bind")
    return BindPrefix(portal, statement, at)


def execute(body: bytes) -> tuple[bytes, int]:
    """Return the portal of Execute and the maximum number of rows; 0 is all."""
    portal, at = _cstring(body, 0, "Execute")
    limit = _uint32(body, at, "Execute")
    if len(body) != at + 4:
        raise BrokenPacket(message="Execute")
    return portal, limit


def describe(body: bytes) -> Target:
    """Return the target of Describe."""
    return _target(body, "Describe")


def close(body: bytes) -> Target:
    """Return the target of Close."""
    return _target(body, "Close")


def _target(body: bytes, packet: str) -> Target:
    """Return kind and name from the body of Describe or Close."""
    if not body or body[0] not in TARGETS:
        raise BrokenPacket(message=packet)
    name, at = _cstring(body, 1, packet)
    if at != len(body):
        raise BrokenPacket(message=packet)
    return Target(body[0], name)


def backend_key_data(body: bytes) -> bytes:
    """Return the cancel key, process number included: 8 to 260 bytes.

    Protocol 3.0 has eight bytes; 3.2 allows up to 256 behind the process number.
    """
    if not c.CANCEL_KEY_SIZE <= len(body) <= c.CANCEL_KEY_LIMIT:
        raise BrokenPacket(message="BackendKeyData")
    return bytes(body)


def ready_status(body: bytes) -> int:
    """Return the transaction status of ReadyForQuery as an integer."""
    if len(body) != 1:
        raise BrokenPacket(message="ReadyForQuery")
    return body[0]


def authentication(body: bytes) -> tuple[int, bytes]:
    """Return kind and data of an Authentication message."""
    return _uint32(body, 0, "Authentication"), body[4:]


def sasl_mechanisms(data: bytes) -> list[str]:
    """Return the mechanisms in AuthenticationSASL."""
    names: list[str] = []
    at = 0
    while True:
        name, at = _cstring(data, at, "Authentication")
        if not name:
            return names
        names.append(text(name))


def negotiate_protocol_version(body: bytes) -> NegotiateProtocolVersion:
    """Return the fields of NegotiateProtocolVersion."""
    packet = "NegotiateProtocolVersion"
    newest = _uint32(body, 0, packet)
    count = _uint32(body, 4, packet)
    options: list[str] = []
    at = 8
    for _ in range(count):
        name, at = _cstring(body, at, packet)
        options.append(text(name))
    return NegotiateProtocolVersion(newest, tuple(options))


def password(body: bytes) -> bytes:
    """Return the password in PasswordMessage, plain or MD5."""
    answer, at = _cstring(body, 0, "PasswordMessage")
    if at != len(body):
        raise BrokenPacket(message="PasswordMessage")
    return answer


def sasl_initial_response(body: bytes) -> tuple[str, bytes]:
    """Return mechanism and data of SASLInitialResponse.

    A length of -1 means no data, which we treat as empty: our mechanisms need data.
    """
    packet = "SASLInitialResponse"
    mechanism, at = _cstring(body, 0, packet)
    size = _uint32(body, at, packet)
    data = body[at + 4 :]
    if size not in (len(data), _NULL) or (size != len(data) and data):
        raise BrokenPacket(message=packet)
    return text(mechanism), data


MAX_NAME_LENGTH: Final = 65536
"""Longest name of a statement or portal; PostgreSQL looks at 63 bytes of it."""
TO_COME: Final = -1
"""The end of a name has not come yet."""
TOO_LONG: Final = -2
"""A name is longer than MAX_NAME_LENGTH."""
_NO_TYPES: Final = b"\0\0\0"
"""How a Parse without parameter types ends, the zero byte of its text included."""


def text_in(chunk: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the text of a Query or Parse begins and ends; -1: it has no end."""
    begin = start + HEADER_SIZE
    after = end - 1
    if chunk[start] == PARSE:
        if begin >= end:
            return 0, -1
        # An unnamed one needs no search.
        begin = chunk.find(b"\0", begin, end) + 1 if chunk[begin] else begin + 1
        # Nor does the end of a text if no parameter types follow.
        after = end - len(_NO_TYPES)
        if begin == 0 or after < begin or chunk[after:end] != _NO_TYPES:
            return begin, chunk.find(b"\0", begin, end) if begin else -1
        if 0 in chunk[begin:after]:
            return begin, chunk.find(b"\0", begin, after)
        return begin, after
    if after < begin or chunk[after] or 0 in chunk[begin:after]:
        return begin, -1
    return begin, after


def names_in(chunk: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the names in a Bind end, the portal's and the statement's.

    The second is negative if it is unknown: TO_COME, or one of them is TOO_LONG.
    """
    portal = name_end(chunk, start + HEADER_SIZE, end)
    return portal, name_end(chunk, portal + 1, end) if portal >= 0 else portal


def name_end(chunk: bytes, begin: int, end: int) -> int:
    """Return where the name at ``begin`` ends; or TO_COME, or TOO_LONG."""
    limit = begin + MAX_NAME_LENGTH + 1
    at = chunk.find(b"\0", begin, min(end, limit))
    if at >= 0:
        return at
    return TOO_LONG if min(end, len(chunk)) >= limit else TO_COME


def statement_in(chunk: bytes, start: int, end: int) -> bytes:
    """Return the statement that a Bind or Describe names; nothing if it names none."""
    if chunk[start] == BIND:
        portal, name = names_in(chunk, start, end)
        return chunk[portal + 1 : name] if name >= 0 else b""
    begin = start + HEADER_SIZE
    if begin >= end or chunk[begin] != PREPARED_STATEMENT:
        return b""
    name = chunk.find(b"\0", begin, end)
    return chunk[begin + 1 : name] if name >= 0 else b""
