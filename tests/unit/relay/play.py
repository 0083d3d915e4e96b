"""Clients with scripts before servers that they share: bytes pass as they are drawn."""

from __future__ import annotations

from collections.abc import Callable

from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import ServerStream
from pgswitch.types import PoolMode
from tests.fakes.messages import TERMINATE, message, split
from tests.unit.relay.model import ModelServer
from tests.unit.relay.pair import Control, PoolPolicy, Stage

SYNC, EXECUTE, FLUSH = message(b"S"), message(b"E", b"\0\0\0\0\0"), message(b"H")
COPY_DONE, COPY_FAIL = message(b"c"), message(b"f", b"\0")
OURS = b"PGBOUNCER_0"
"""What runs internal queries stays where it was last; it is no client's."""


def parse(name: bytes, text: bytes) -> bytes:
    """Return a Parse."""
    return message(b"P", name + b"\0" + text + b"\0\0\0")


def bind(name: bytes, value: bytes = b"") -> bytes:
    """Return a Bind to the unnamed portal, of one parameter or none."""
    values = b"\0\0"
    if value:
        values = b"\0\1" + len(value).to_bytes(4, "big") + value
    return message(b"B", b"\0" + name + b"\0\0\0" + values + b"\0\0")


def unnamed(text: bytes) -> bytes:
    """Return an unnamed statement, used once."""
    return parse(b"", text) + bind(b"") + EXECUTE


class Caretaker(PoolPolicy):
    """Has servers drop what was their client's own, as pool/release.py does."""

    def __init__(self, replace: Callable[[ServerStream], ServerStream]) -> None:
        """``replace`` closes a server and returns a new one."""
        super().__init__()
        self.replace = replace

    def released(self, server: ServerStream) -> None:
        """Ask for that, or give the server to the next."""
        if server.close_needed:
            self.idle_pool.put_back(self.replace(server))
        elif server.statements.needs_cleaning():
            server.send(server.statements.cleaning() + SYNC)
        else:
            server.drop_release_check()
            self.idle_pool.put_back(server)


Draw = Callable[[int], int]
"""Returns a number below another."""


class Care(Control):
    """Takes what an unlinked server says."""

    def __init__(self, caretaker: Caretaker) -> None:
        """Begin with nothing heard."""
        super().__init__()
        self.caretaker = caretaker
        self.server: ServerStream

    def message(self, message_type: int, body: bytes) -> None:
        """Take an answer to the cleaning; only the last of it tells something."""
        assert message_type in b"3Z12C", f"{chr(message_type)} {body!r}"
        if message_type == ord("Z"):
            assert body == b"I"
            self.server.drop_release_check()
            self.caretaker.released(self.server)


class Play:
    """Clients with their scripts, and servers; bytes pass in pieces as drawn."""

    def __init__(
        self,
        scripts: list[list[bytes]],
        servers: int,
        prepared: int | None,
        mode: PoolMode = PoolMode.TRANSACTION,
    ) -> None:
        """Each script is a list of what is sent at once; see :meth:`run`."""
        self.stage = Stage(mode)
        self.caretaker = Caretaker(self._replaced)
        self.caretaker.idle_pool = self.stage.idle_pool
        self.stage.policy = self.stage.idle_pool.policy = self.caretaker
        self.servers: dict[ServerStream, ModelServer] = {}
        self.answers: dict[ServerStream, bytearray] = {}
        for _ in range(servers):
            self._open()
        self.clients: dict[ClientStream, list[bytes]] = {}
        self.expected: dict[ClientStream, list[bytes]] = {}
        self.heard: dict[ClientStream, bytes] = {}
        self.terminated: set[ClientStream] = set()
        for script in scripts:
            client = self.stage.client(prepared=prepared)
            own = ModelServer()
            self.clients[client] = [bytes(part) for part in script]
            self.expected[client] = [own.take(part) for part in script]
            self.heard[client] = b""
            if script and script[-1].endswith(TERMINATE):
                self.terminated.add(client)

    def _open(self) -> ServerStream:
        care = Care(self.caretaker)
        stream = care.server = self.stage.server(care)
        self.servers[stream], self.answers[stream] = ModelServer(), bytearray()
        return stream

    def _replaced(self, server: ServerStream) -> ServerStream:
        """Return a new server in place of one that is closed."""
        assert self.stage.calls(server) == []
        server.statements.clear()
        del self.servers[server], self.answers[server]
        new = self._open()
        self.stage.idle_pool.idle.remove(new)
        return new

    def run(self, draw: Draw, *, waits: bool) -> None:
        """Pass bytes on until nothing moves.

        With ``waits`` a client sends the next part of its script only when it has
        got the whole answer to the one before.
        """
        sending: dict[ClientStream, bytearray] = {
            client: bytearray() for client in self.clients
        }
        sent = dict.fromkeys(self.clients, 0)
        while True:
            for client, script in self.clients.items():
                number = sent[client]
                answered = b"".join(self.expected[client][:number])
                if number < len(script) and (
                    not waits
                    or (not sending[client] and self.heard[client] == answered)
                ):
                    sending[client] += script[number]
                    sent[client] += 1
            moves: list[ClientStream | ServerStream] = [
                *(one for one, left in sending.items() if left and not one.paused),
                *(one for one, left in self.answers.items() if left),
            ]
            if not moves:
                return
            stream = moves[draw(len(moves))]
            if isinstance(stream, ClientStream):
                self._move(stream, sending[stream], draw)
            else:
                self._move(stream, self.answers[stream], draw)

    def _move(
        self, stream: ClientStream | ServerStream, left: bytearray, draw: Draw
    ) -> None:
        size = 1 + draw(len(left)) if draw(4) else len(left)
        piece = bytes(left[:size])
        del left[:size]
        stream.take(piece)
        for server, model in self.servers.items():
            self.answers[server] += model.take(self.stage.sent(server))
        for client in self.clients:
            self.heard[client] += self.stage.sent(client)

    def check(self) -> None:
        """Compare what clients heard, and see that nothing is left over."""
        for client, expected in self.expected.items():
            assert split(self.heard[client]) == split(b"".join(expected))
        self.check_rest()

    def check_rest(self) -> None:
        """See that nothing is left over, and that all maps are true."""
        for client in self.clients:
            ended = [("terminated",)] if client in self.terminated else []
            assert self.stage.calls(client) == ended
            assert client.exchange.clean
            assert client.exchange.synthetic_count == client.exchange.outstanding() == 0
            assert client.exchange.unsettled == 0
            assert client.server is None
            assert client.at_boundary()
            assert not client.held
        assert self.stage.idle_pool.waiters == []
        assert set(self.stage.idle_pool.idle) == set(self.servers)
        for stream, model in self.servers.items():
            assert self.stage.calls(stream) == []
            known = {one.name for one in stream.statements.by_number.values()}
            assert not stream.statements.needs_cleaning()
            assert known == set(model.prepared) - {b"", OURS}
        for client in self.clients:
            if client.statements is not None:
                assert client.statements.notes == []
                assert not client.statements.sql.under_way
                client.statements.clear()
        for stream in self.servers:
            stream.statements.clear()
        assert len(self.stage.table) == 0
