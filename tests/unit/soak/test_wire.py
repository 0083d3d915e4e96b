"""Messages, and what a connection makes of what comes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest

from soak.wire import Connection, Gone, Message, bind, message, parse, query


def test_messages() -> None:
    """Type, length, body."""
    assert query("ab") == b"Q\0\0\0\x07ab\0"
    assert parse("s", "q") == b"P\0\0\0\x0as\0q\0\0\0"
    assert bind("s", "v").startswith(b"B\0\0\0\x12\0s\0\0\0\0\1\0\0\0\1v\0\0E")


def test_reading_messages() -> None:
    """Fields of an error, the column of a row."""
    fields = Message(b"E", b"SERROR\0C22012\0Mno\0\0").fields()
    assert fields == {"S": "ERROR", "C": "22012", "M": "no"}
    assert Message(b"D", struct.pack("!hi", 1, 2) + b"ab").column() == "ab"


def heard(said: bytes, then: Callable[[Connection], Awaitable[object]]) -> object:
    """Return what ``then`` makes of a connection on which this is said."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def hear() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = await Connection.open(server.sockets[0].getsockname()[1])
        try:
            return await then(connection)
        finally:
            connection.reset()
            connection.reset()
            server.close()

    return asyncio.run(hear())


def test_an_answer() -> None:
    """Notices are passed over; it ends with ReadyForQuery or with a FATAL error."""
    ready, fatal = message(b"Z", b"I"), message(b"E", b"SFATAL\0\0")
    assert heard(message(b"N") + ready, Connection.answer) == [Message(b"Z", b"I")]
    assert heard(fatal + ready, Connection.answer) == [Message(b"E", b"SFATAL\0\0")]


def test_the_end() -> None:
    """Somebody who hangs up, also in the middle of a message, is gone."""
    for said in (b"", message(b"Z", b"I")[:3]):
        with pytest.raises(Gone):
            heard(said, Connection.message)


def test_nobody_there() -> None:
    """Who cannot be connected to is gone as well."""
    with pytest.raises(Gone):
        asyncio.run(Connection.open(1))
