"""What a client considers wrong, with a fake server."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest

from soak.client import Client, Tally
from soak.script import Disconnect, Session, Step
from testkit.pgwire import message

WELCOME = message(b"R", b"\0\0\0\0") + message(b"K", b"\0\0\0\1key!")
READY = message(b"Z", b"I")

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def row(text: str) -> bytes:
    """Return a DataRow of one column."""
    return message(b"D", struct.pack("!hi", 1, len(text)) + text.encode())


def error(sqlstate: str, text: str, severity: str = "ERROR") -> bytes:
    """Return an ErrorResponse."""
    return message(b"E", f"S{severity}\0C{sqlstate}\0M{text}\0\0".encode())


def serving(answer: Callable[[str], bytes]) -> Handler:
    """Return a server that accepts all logins and answers queries by ``answer``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(WELCOME + READY)
        try:
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack("!xI", head)[0] - 4)
                if head[:1] == b"Q":
                    writer.write(answer(body[:-1].decode()))
        except asyncio.IncompleteReadError:
            writer.close()

    return serve


def lived(handler: Handler, step: Step = Step.QUERY) -> Tally:
    """Return what came of one life with one step before such a server."""
    tally = Tally()

    async def run() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        session = Session(((0.0, step),), Disconnect.POLITELY)
        client = Client(7, port, tally, iter([session]))
        await client.run(lambda: False)
        server.close()

    asyncio.run(run())
    assert tally.open == 0
    return tally


def test_a_good_answer() -> None:
    """The text that was asked for."""
    tally = lived(serving(lambda text: row(text.split("'")[1]) + READY))
    assert tally.wrong == []
    assert tally.steps == {"simple query": 1}
    assert tally.ends == {"Terminate": 1}


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (row("somebody else's") + READY, "asked for ('7.1',), got"),
        (READY, "asked for ('7.1',), got []"),
        (row("7.1") * 2 + READY, "asked for ('7.1',), got ['7.1', '7.1']"),
        (error("57014", "canceling statement") + READY, "ERROR 57014 canceling"),
        (error("08P01", "query_wait_timeout", "FATAL"), "FATAL 08P01 query_wait"),
    ],
)
def test_a_wrong_answer(answer: bytes, wrong: str) -> None:
    """Another client's, none, one too many, an error without a fault."""
    (found,) = lived(serving(lambda _text: answer)).wrong
    assert found.startswith(f"client 7: {wrong}")


@pytest.mark.parametrize(
    "answer",
    [
        error("57P01", "terminating connection due to administrator command", "FATAL"),
        error("08P01", "server conn crashed?", "FATAL"),
        error("08P01", "admin forced disconnect", "FATAL"),
    ],
)
def test_those_who_were_killed(answer: bytes) -> None:
    """Killed clients get an error, and that is not wrong."""
    tally = lived(serving(lambda _text: answer))
    assert tally.wrong == []
    assert tally.steps.total() == 0
    assert tally.ends.total() == 1


def test_expected_errors() -> None:
    """Of a statement that is to fail."""
    failing = serving(lambda _text: error("22012", "division by zero") + READY)
    assert lived(failing, Step.FAILURE).wrong == []
    assert lived(failing, Step.QUERY).wrong != []
