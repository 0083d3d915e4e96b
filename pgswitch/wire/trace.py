"""Formats messages as text, one per line, for the log at ``-v -v`` and for tests.

The format is that of libpq's PQtrace without time stamps, so the trace of a pooler can
be compared with that of a client::

    F   13      Query    "SELECT 1"
    B   5       ReadyForQuery    I

Passwords (also in SQL), SASL exchanges, MD5 salts and cancel keys are shown as ``***``;
the log masks passwords in SQL the same way (:func:`masked`).
A body that does not have the layout of its message ends in ``(broken)``; nothing is
raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pgswitch.wire import constants as c

MASK: Final = "***"

_GAP: Final = r"(?>\s|/\*.{0,500}?\*/|--[^\n]*(?:\n|\Z))*+"
"""Spaces and comments, matched possessively: a client chooses the text, and trying all
possible ends of a comment could take forever.
"""
_QUOTED: Final = r"'(?:[^'\\]|''|\\.)*(?:'|\Z)"
_INNER: Final = r"(?:''[^']+(?:''|\Z)|\\'(?:[^'\\]|\\[^'])*(?:\\'|\Z))"
"""A string inside a string: between doubled or backslash-escaped quotes."""
_SECRET: Final = re.compile(
    rf"""
    (?P<before>passw(?:or)?d["']*{_GAP})
    (?:
        {_INNER}
      | (?:e|u&)?{_QUOTED}(?:{_GAP}{_QUOTED})*          # also in several pieces
      | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
      | (?P<equals>[=:]{_GAP})
        (?:
            {_INNER}
          | (?:e|u&)?{_QUOTED}
          | "[^"]*(?:"|\Z)
          | [^\s'",;()]+
        )
    )
  | (?P<address>postgres(?:ql)?://[^\s'":@/]*:)[^\s'"@/]*
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""``PASSWORD 'x'`` as in ALTER ROLE and OPTIONS, ``password=x`` as in CONNECTION, and
``postgresql://user:x@host``.

In a text that was cut inside a password, the password extends to the end.
"""
may_have_password: Final = re.compile("passw|postgres(?:ql)?://", re.IGNORECASE).search
"""A fast check that rules out most texts."""


def masked(text: str) -> str:
    """Return SQL, or a text with SQL in it, with all passwords as ``***``."""
    if not may_have_password(text):
        return text
    return _SECRET.sub(_without, text)


def _without(found: re.Match[str]) -> str:
    if found["address"] is not None:
        return f"{found['address']}{MASK}"
    return f"{found['before']}{found['equals'] or ''}{MASK}"


TEXT_LIMIT: Final = 200
"""Maximum bytes of a text or value that are shown."""

_SECRET_AUTHENTICATION: Final = frozenset(
    (
        c.AUTH_MD5_PASSWORD,
        c.AUTH_GSS_CONTINUE,
        c.AUTH_SASL_CONTINUE,
        c.AUTH_SASL_FINAL,
    )
)


class _EndedError(Exception):
    """The body ends before its message does."""


class _Body:
    """Reads the fields of a body one by one, and returns each as text."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """The number of bytes that have not been read."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > self.left:
            raise _EndedError
        start = self._at
        self._at += size
        return self._data[start : self._at]

    def int_(self, size: int) -> int:
        """Return the next signed number."""
        return int.from_bytes(self.take(size), signed=True)

    def char(self) -> str:
        """Return the next byte as a character."""
        raw = self.take(1)
        return raw.decode() if 0x20 < raw[0] < 0x7F else f"\\x{raw[0]:02x}"  # noqa: PLR2004 -- printable ASCII

    def string(self) -> str:
        """Return the next zero-ended text, quoted."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise _EndedError
        raw = self.take(end - self._at)
        self._at += 1
        return f'"{_shown(raw)}"'

    def value(self) -> str:
        """Return the next value with its length, which is -1 for NULL."""
        size = self.int_(4)
        return f"{size} '{_shown(self.take(size))}'" if size >= 0 else str(size)

    def rest(self) -> str:
        """Return the rest of the body, quoted."""
        return f"'{_shown(self.take(self.left))}'"


def _shown(raw: bytes) -> str:
    """Return bytes as printable text, shortened and without passwords."""
    text = masked(raw[:TEXT_LIMIT].decode("utf-8", "backslashreplace"))
    printable = "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in text
    )
    return f"{printable}..." if len(raw) > TEXT_LIMIT else printable


Fields = Callable[[_Body], Iterator[str]]


def _fixed(layout: str) -> Fields:
    """Return a reader of fixed fields: s text, b character, 1 2 4 numbers, r rest."""

    def fields(body: _Body) -> Iterator[str]:
        for letter in layout:
            if letter == "s":
                yield body.string()
            elif letter == "b":
                yield body.char()
            elif letter == "r":
                yield body.rest()
            else:
                yield str(body.int_(int(letter)))

    return fields


def _counted(body: _Body, size: int) -> Iterator[str]:
    """Yield a two-byte count and that many numbers."""
    count = body.int_(2)
    yield str(count)
    for _ in range(count):
        yield str(body.int_(size))


def _parse(body: _Body) -> Iterator[str]:
    yield body.string()
    yield body.string()
    yield from _counted(body, 4)


def _bind(body: _Body) -> Iterator[str]:
    yield body.string()
    yield body.string()
    yield from _counted(body, 2)
    yield from _values(body)
    yield from _counted(body, 2)


def _values(body: _Body) -> Iterator[str]:
    count = body.int_(2)
    yield str(count)
    for _ in range(count):
        yield body.value()


def _report(body: _Body) -> Iterator[str]:
    while (letter := body.char()) != r"\x00":
        yield f"{letter} {body.string()}"


def _row_description(body: _Body) -> Iterator[str]:
    count = body.int_(2)
    yield str(count)
    for _ in range(count):
        yield body.string()
        for size in (4, 2, 4, 2, 4, 2):
            yield str(body.int_(size))


def _copy_response(body: _Body) -> Iterator[str]:
    yield str(body.int_(1))
    yield from _counted(body, 2)


def _parameter_description(body: _Body) -> Iterator[str]:
    yield from _counted(body, 4)


def _negotiate(body: _Body) -> Iterator[str]:
    yield str(body.int_(4))
    count = body.int_(4)
    yield str(count)
    for _ in range(count):
        yield body.string()


def _authentication(body: _Body) -> Iterator[str]:
    kind = body.int_(4)
    yield str(kind)
    if kind in _SECRET_AUTHENTICATION:
        body.rest()
        yield MASK
    elif kind == c.AUTH_SASL:
        while (name := body.string()) != '""':
            yield name


def _key_data(body: _Body) -> Iterator[str]:
    yield str(body.int_(4))
    body.rest()
    yield MASK


def _masked(body: _Body) -> Iterator[str]:
    body.rest()
    yield MASK


_FRONTEND: Final[Mapping[int, Fields]] = MappingProxyType(
    {
        c.BIND: _bind,
        c.CLOSE: _fixed("bs"),
        c.COPY_DATA: _fixed("r"),
        c.COPY_FAIL: _fixed("s"),
        c.DESCRIBE: _fixed("bs"),
        c.EXECUTE: _fixed("s4"),
        c.FUNCTION_CALL: _fixed("4r"),
        c.PARSE: _parse,
        c.PASSWORD_MESSAGE: _masked,
        c.QUERY: _fixed("s"),
    }
)
_BACKEND: Final[Mapping[int, Fields]] = MappingProxyType(
    {
        c.AUTHENTICATION: _authentication,
        c.BACKEND_KEY_DATA: _key_data,
        c.COMMAND_COMPLETE: _fixed("s"),
        c.COPY_BOTH_RESPONSE: _copy_response,
        c.COPY_DATA: _fixed("r"),
        c.COPY_IN_RESPONSE: _copy_response,
        c.COPY_OUT_RESPONSE: _copy_response,
        c.DATA_ROW: _values,
        c.ERROR_RESPONSE: _report,
        c.FUNCTION_CALL_RESPONSE: _fixed("r"),
        c.NEGOTIATE_PROTOCOL_VERSION: _negotiate,
        c.NOTICE_RESPONSE: _report,
        c.NOTIFICATION_RESPONSE: _fixed("4ss"),
        c.PARAMETER_DESCRIPTION: _parameter_description,
        c.PARAMETER_STATUS: _fixed("ss"),
        c.READY_FOR_QUERY: _fixed("b"),
        c.ROW_DESCRIPTION: _row_description,
    }
)
_SIDES: Final = MappingProxyType(
    {"F": (c.FRONTEND_NAMES, _FRONTEND), "B": (c.BACKEND_NAMES, _BACKEND)}
)


def trace_line(
    direction: str, kind: int, length: int, body: bytes, *, mask_rows: bool = False
) -> str:
    """Return one line, without a line feed.

    ``direction`` is ``F`` for a message from the frontend and ``B`` for one from the
    backend, ``kind`` its type byte, ``length`` the length field (body and four),
    ``body`` the body or its beginning. ``mask_rows`` hides the content of rows.
    """
    names, readers = _SIDES[direction]
    name = names.get(kind)
    if name is None:
        return f"{direction}\t{length}\tUnknown message: {kind:02x}"
    if mask_rows and direction == "B" and kind == c.DATA_ROW:
        return f"{direction}\t{length}\t{name}\t {MASK}"
    fields = _fields(readers.get(kind, _fixed("")), _Body(body))
    return "\t".join((direction, str(length), name, *fields))


def _fields(read: Fields, body: _Body) -> list[str]:
    """Return the text of all fields as one item; no item if there are none."""
    shown: list[str] = []
    try:
        for item in read(body):
            shown.append(item)  # noqa: PERF402 -- what was read before the end stays
        is_broken = body.left > 0
    except _EndedError:
        is_broken = True
    if is_broken:
        shown.append("(broken)")
    return [" " + " ".join(shown)] if shown else []
