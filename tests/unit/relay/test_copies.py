"""Bytes copied and searched in held-back data, however many pieces it comes in."""

from __future__ import annotations

from typing import SupportsIndex

import pytest

from pgswitch.compiled import is_compiled
from pgswitch.relay.client_stream import FORGOTTEN, MAX_REMEMBERED
from pgswitch.relay.interceptor import QueryInterceptor
from pgswitch.relay.prepared_rewriter import MAX_TEXT_LENGTH
from pgswitch.relay.server_stream import ServerStream
from pgswitch.wire.decode import MAX_NAME_LENGTH
from pgswitch.wire.framing import MAX_MESSAGE_SIZE, MAX_PIECES, SMALL_PIECE, Scanner
from tests.fakes.messages import READY, RESULT, message, query
from tests.unit.relay.pair import Stage
from tests.unit.relay.test_interceptor import Adviser

pytestmark = pytest.mark.skipif(
    is_compiled(), reason="what compiled code does inside cannot be counted"
)

PIECE = 100
LONG = b"x" * 3 * MAX_TEXT_LENGTH
NAME = b"n" * (MAX_NAME_LENGTH - 100)
SYNC = message(b"S")
OF_SQL = message(b"P", b"e\0EXECUTE a\0\0\0") + message(b"B", b"\0e\0" + bytes(6))
"""After it the names of portals matter."""


class Counted(bytes):
    """A chunk that counts the bytes copied out of it, and out of its parts."""

    copied = 0

    def __getitem__(self, key: SupportsIndex | slice) -> int | bytes:  # type: ignore[override]
        """Count."""
        part = super().__getitem__(key)
        if isinstance(part, bytes):
            Counted.copied += len(part)
            return Counted(part)
        return part


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the size of all that is joined to be looked at again."""
    sizes: list[int] = []
    rejoin = Scanner.rejoin

    def noted(scanner: Scanner, chunk: bytes) -> bytes | None:
        joined = rejoin(scanner, chunk)
        sizes.append(0 if joined is None else len(joined))
        return joined

    monkeypatch.setattr(Scanner, "rejoin", noted)
    return sizes


MESSAGES = {
    "named Parse": message(b"P", b"a\0SELECT '" + LONG + b"'\0\0\0"),
    "long name of a Parse": message(b"P", NAME + b"\0SELECT 1\0\0\0"),
    "unnamed Parse": message(b"P", b"\0SELECT '" + LONG + b"'\0\0\0"),
    "unnamed Parse of a PREPARE": message(
        b"P", b"\0PREPARE a AS SELECT '" + LONG + b"'\0\0\0"
    ),
    "Query": query("SELECT '" + LONG.decode() + "'"),
    "Query of a PREPARE": query("PREPARE a AS SELECT '" + LONG.decode() + "'"),
    "Bind": message(b"B", NAME + b"\0" + NAME + b"\0" + LONG),
    "Describe": message(b"D", b"S" + NAME + b"\0"),
    "Close": message(b"C", b"S" + NAME + b"\0"),
    "Execute": message(b"E", NAME + b"\0\0\0\0\0"),
}


@pytest.mark.parametrize("is_intercepted", [False, True], ids=["", "intercepted"])
@pytest.mark.parametrize("prepared", [None, 10], ids=["own server", "shared server"])
@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_in_many_pieces(
    name: str, prepared: int | None, *, is_intercepted: bool, looked_at: list[int]
) -> None:
    """All that is joined is a few times the message, not its square."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=prepared)
    client.take(OF_SQL)
    server.take(message(b"1") + message(b"2"))
    stage.sent(server)
    interceptor = QueryInterceptor(client, Adviser()) if is_intercepted else None
    data = MESSAGES[name]
    for at in range(0, len(data), PIECE):
        client.take(data[at : at + PIECE])
    assert stage.calls(client) == []
    assert client.wanted == 0
    assert interceptor is None or interceptor.wanted == 0
    assert sum(looked_at) <= 4 * len(data) + 4 * PIECE


def test_a_servers_message_in_many_pieces(looked_at: list[int]) -> None:
    """A server may send slowly as well."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(query("SELECT 1"))
    data = message(b"E", b"C22000\0M" + LONG + b"\0\0")
    for at in range(0, len(data), PIECE):
        server.take(data[at : at + PIECE])
    server.take(READY)
    assert stage.sent(client) == data + READY
    assert sum(looked_at) <= 3 * len(data)


def test_many_small_pieces_take_little_memory() -> None:
    """An object for each two bytes would cost twenty times what it holds."""
    stage = Stage()
    client = stage.client(prepared=10)
    stage.server()
    client.take(message(b"P", b"a\0" + LONG)[:20000])
    for _ in range(50 * MAX_PIECES):
        client.take(b"xx")
    assert len(client._held) < 2 * MAX_PIECES
    assert b"".join(client._held).endswith(b"xx" * 50 * MAX_PIECES)


def test_large_pieces_are_not_copied_for_that() -> None:
    """Data that comes in full reads is joined once, at the end."""
    client = Stage().client(prepared=10)
    client.wanted = MAX_MESSAGE_SIZE
    pieces = [bytes([at]) * 2 * SMALL_PIECE for at in range(2 * MAX_PIECES % 250)]
    for piece in pieces * 2:
        assert client.rejoin(piece) is None
    assert all(
        held is piece for held, piece in zip(client._held, pieces * 2, strict=True)
    )


ENDLESS = {
    "Bind": (b"B", b"x"),
    "Parse": (b"P", b"x"),
    "Close": (b"C", b"Sx"),
    "Describe": (b"D", b"Sx"),
    "Execute": (b"E", b"x"),
}


@pytest.mark.parametrize("is_intercepted", [False, True], ids=["", "intercepted"])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_name_without_end(name: str, *, is_intercepted: bool) -> None:
    """It is refused before much of it is buffered: PostgreSQL looks at 63 bytes."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    client.take(OF_SQL)
    server.take(message(b"1") + message(b"2"))
    if is_intercepted:
        QueryInterceptor(client, Adviser())
    kind, begin = ENDLESS[name]
    client.take(kind + (1 << 29).to_bytes(4, "big") + begin)
    for _ in range(3 * MAX_NAME_LENGTH // 1000):
        client.take(b"x" * 1000)
    assert ("faulted", f"broken {name} packet") in stage.calls(client)


@pytest.mark.parametrize("size", [MAX_NAME_LENGTH, MAX_NAME_LENGTH + 1])
@pytest.mark.parametrize("name", ["Parse", "Bind"])
def test_the_longest_name(name: str, size: int) -> None:
    """The bound is the same for a message that comes at once."""
    stage = Stage()
    stage.server()
    client = stage.client(prepared=10)
    bodies = {
        "Parse": b"x" * size + b"\0SELECT 1\0\0\0",
        "Bind": b"\0" + b"x" * size + b"\0" + bytes(6),
    }
    client.take(message(name[:1].encode(), bodies[name]))
    refused = [("faulted", f"broken {name} packet")]
    assert stage.calls(client) == ([] if size <= MAX_NAME_LENGTH else refused)


BEFORE_A_SYNC = {
    "not needed": message(b"H"),
    "closed here": message(b"C", b"Snone\0"),
}


@pytest.mark.parametrize("one", BEFORE_A_SYNC.values(), ids=BEFORE_A_SYNC)
def test_many_messages_that_no_server_sees(one: bytes) -> None:
    """What follows is not copied for each of them."""
    stage = Stage()
    server, client = stage.server(), stage.client(prepared=10)
    Counted.copied = 0
    data = one * 2000 + query()
    client.take(Counted(data))
    assert stage.sent(server) == query()
    assert Counted.copied < 2 * len(data)


def test_many_messages_that_are_skipped() -> None:
    """The same after an error from pgswitch, up to the Sync."""
    stage = Stage()
    client = stage.client(prepared=10)
    data = message(b"B", b"\0\0" + bytes(6)) * 2000 + SYNC + message(b"H")
    client.exchange.skipping = True
    Counted.copied = 0
    client.take(Counted(data))
    assert stage.sent(client) == READY
    assert Counted.copied < 2 * len(data)


def remembering() -> tuple[Stage, ServerStream]:
    """Return a stage with a server that may be lost."""
    stage = Stage()
    server = stage.server()
    server.tracks_loss = True
    return stage, server


def test_what_is_remembered_is_not_joined() -> None:
    """It is only added to, until it is too much, and forgotten with the answer."""
    stage, server = remembering()
    client = stage.client()
    client.take(query("SELECT 1"))
    chunks = [message(b"d", bytes([at]) * 100) for at in range(50)]
    for chunk in chunks:
        client.take(chunk)
    assert client.sent[1:] == chunks
    client.take(message(b"d", b"x" * MAX_REMEMBERED))
    assert client.sent == [FORGOTTEN]
    client.take(chunks[0])
    assert client.sent == [FORGOTTEN]
    server.take(RESULT + READY)
    assert client.sent == []
    client.take(query("SELECT 2"))
    assert b"".join(client.sent) == query("SELECT 2")
