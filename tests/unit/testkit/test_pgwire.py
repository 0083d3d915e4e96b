"""The tests' own client: its messages, its logins, and what it makes of answers."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from pgswitch.wire.password import Secret, md5_answer
from pgswitch.wire.scram import ScramServer, make_verifier
from testkit import pgwire
from testkit.pgwire import (
    EXECUTE,
    AsyncConnection,
    Connection,
    Disconnected,
    Message,
    NoAnswer,
    ScramProof,
    ServerError,
    bind,
    message,
    parse,
    query,
    startup,
)

READY = message(b"Z", b"I")
LOGGED_IN = message(b"R", bytes(4)) + message(b"K", b"12345678") + READY


def test_messages() -> None:
    """Type, length, body."""
    assert query("ab") == b"Q\0\0\0\x07ab\0"
    assert parse("s", "q") == b"P\0\0\0\x0as\0q\0\0\0"
    assert bind("s", "v") == b"B\0\0\0\x12\0s\0\0\0\0\1\0\0\0\1v\0\0"
    assert EXECUTE == b"E\0\0\0\x09\0\0\0\0\0"


def test_startup_message() -> None:
    """Its length counts itself, the protocol is 3.0 (manual, 54.7)."""
    made = startup("user", "me", "database", "mine")
    assert int.from_bytes(made[:4]) == len(made)
    assert made[4:] == b"\0\3\0\0user\0me\0database\0mine\0\0"


def test_reading_messages() -> None:
    """Fields of an error, values of a row."""
    fields = Message(b"E", b"SERROR\0C22012\0Mno\0\0").error_fields()
    assert fields == {"S": "ERROR", "C": "22012", "M": "no"}
    row = struct.pack("!hi", 2, 2) + b"ab" + struct.pack("!i", -1)
    assert Message(b"D", row).values() == ["ab", None]


def test_md5_answer() -> None:
    """It is the one that pgswitch expects."""
    expected = md5_answer(Secret.of("secret"), "me", b"salt")
    assert pgwire.md5_answer("me", "secret", b"salt") == expected


@pytest.mark.parametrize("password", ["secret", "another"])
def test_scram_proof(password: str) -> None:
    """The service accepts the proof of the right password only."""
    verifier = make_verifier("secret", b"0123456789abcdef", 4096)
    server, client = ScramServer(verifier, b"nonce"), ScramProof(password)
    challenge = server.first(client.first())
    answer = client.final(challenge)
    if password == "secret":
        assert server.final(answer).startswith(b"v=")
    else:
        with pytest.raises(Exception, match=r"^$|SASL"):
            server.final(answer)


@contextmanager
def serving(*answers: bytes) -> Iterator[int]:
    """Serve one client: an answer to each of its packets, then the end."""
    with socket.create_server((pgwire.HOST, 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_login_with_a_cleartext_password() -> None:
    """All messages of the login are returned."""
    asked = message(b"R", struct.pack("!I", 3))
    with serving(asked, LOGGED_IN) as port, Connection(port) as client:
        received = client.log_in("me", "mine", "secret", application_name="x")
    assert b"".join(one.kind for one in received) == b"RRKZ"


def test_refused_login() -> None:
    """The error says what the server said."""
    error = message(b"E", b"SFATAL\0C28000\0Mno such user\0\0")
    with (
        serving(error) as port,
        Connection(port) as client,
        pytest.raises(ServerError, match="no such user"),
    ):
        client.log_in("me", "mine")


def test_query() -> None:
    """Its rows, or its error."""
    row = message(b"D", struct.pack("!hi", 1, 1) + b"x")
    error = message(b"E", b"SERROR\0C22012\0Mdivision\0\0")
    with serving(row + READY, error + READY) as port, Connection(port) as client:
        assert client.query("SELECT 'x'") == [["x"]]
        with pytest.raises(ServerError, match="ERROR 22012: division"):
            client.query("SELECT 1/0")


def test_end_of_the_connection() -> None:
    """The error carries what came before it."""
    with serving(b"E12") as port, Connection(port) as client:
        client.send(b"x")
        with pytest.raises(EOFError, match="E12"):
            client.read_message()


def test_refused_tls() -> None:
    """A server without TLS says N."""
    with (
        serving(b"N") as port,
        Connection(port) as client,
        pytest.raises(EOFError, match="TLS"),
    ):
        client.request_tls()


def received_by(
    data: bytes,
    then: Callable[[AsyncConnection], Awaitable[object]],
    *,
    stays_open: bool = False,
) -> object:
    """Return what ``then`` makes of a connection on which ``data`` arrives."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if not stays_open:
            writer.close()

    async def receive() -> object:
        server = await asyncio.start_server(serve, pgwire.HOST, 0)
        port = server.sockets[0].getsockname()[1]
        connection = await AsyncConnection.open(port, 0.1 if stays_open else 10.0)
        try:
            return await then(connection)
        finally:
            connection.reset()
            connection.reset()
            server.close()

    return asyncio.run(receive())


def test_async_answer() -> None:
    """Notices are skipped; it ends with ReadyForQuery or with a FATAL error."""
    fatal = message(b"E", b"SFATAL\0\0")
    answer = AsyncConnection.read_answer
    assert received_by(message(b"N") + READY, answer) == [Message(b"Z", b"I")]
    assert received_by(fatal + READY, answer) == [Message(b"E", b"SFATAL\0\0")]


def test_async_end_of_the_connection() -> None:
    """Wherever it comes, also in the middle of a message."""
    for data in (b"", READY[:3]):
        with pytest.raises(Disconnected):
            received_by(data, AsyncConnection.read_message)


def test_async_without_an_answer() -> None:
    """Waiting ends with an error of its own."""
    with pytest.raises(NoAnswer):
        received_by(b"", AsyncConnection.read_message, stays_open=True)


def test_async_connection_refused() -> None:
    """Where nothing listens."""
    with pytest.raises(Disconnected):
        asyncio.run(AsyncConnection.open(1))
