"""OpenSSL's read and write, with less of pyOpenSSL around them.

``Connection.recv`` and ``send`` allocate a buffer for each call and ask OpenSSL how the
call went even when it plainly went well.  Doing without costs two thirds: a read and a
write take 5 microseconds instead of 8, of a transaction's 31.  The names used for that
are pyOpenSSL's inner ones.  A version that has not got them is used by its outer ones;
what both functions take, return and raise is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

ReadFunction = Callable[[SSL.Connection], bytes]
WriteFunction = Callable[[SSL.Connection, bytes | memoryview], int]

RECORD = 16384
"""Bytes of the largest record, decrypted (RFC 8446, section 5.1)."""


def outer_read(connection: SSL.Connection) -> bytes:
    """Return what one record holds. Raises what ``Connection.recv`` does."""
    return connection.recv(RECORD)


def outer_write(connection: SSL.Connection, data: bytes | memoryview) -> int:
    """Write at most one record; return how many bytes it took.

    Raises what ``Connection.send`` does.
    """
    return connection.send(data)


def inner_functions() -> tuple[ReadFunction, WriteFunction] | None:
    """Return the same by pyOpenSSL's inner names; None if it has others by now."""
    try:
        from OpenSSL._util import ffi, lib  # noqa: PLC0415 - may be missing

        ssl_read, ssl_write = lib.SSL_read, lib.SSL_write
        forget_errors = lib.ERR_clear_error
        content = ffi.buffer
        # One for all: only the reactor's thread reads, and what was read is copied.
        place: Any = ffi.new("char[]", RECORD)
        is_known = hasattr(SSL.Connection, "_raise_ssl_error")
        SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)._ssl  # noqa: B018, SLF001
    except (ImportError, AttributeError):
        return None
    if not is_known:
        return None

    def fail(connection: SSL.Connection, result: int) -> None:
        try:
            connection._raise_ssl_error(connection._ssl, result)  # noqa: SLF001 - see above
        finally:
            # pyOpenSSL leaves some behind, and a call for another connection, which
            # must begin without (SSL_get_error), would be thought to have failed.
            forget_errors()

    def read(connection: SSL.Connection) -> bytes:
        got = ssl_read(connection._ssl, place, RECORD)  # noqa: SLF001 - see above
        if got <= 0:
            fail(connection, got)
        data: bytes = content(place, got)[:]
        return data

    def write(connection: SSL.Connection, data: bytes | memoryview) -> int:
        if type(data) is not bytes:
            return connection.send(data)
        taken: int = ssl_write(connection._ssl, data, len(data))  # noqa: SLF001 - see above
        if taken <= 0:
            fail(connection, taken)
        return taken

    return read, write


_OUTER: tuple[ReadFunction, WriteFunction] = (outer_read, outer_write)
_BEST = inner_functions() or _OUTER


def io_functions(connection: object) -> tuple[ReadFunction, WriteFunction]:
    """Return what to read and to write a connection by; a stand-in has no inside."""
    return _BEST if isinstance(connection, SSL.Connection) else _OUTER
