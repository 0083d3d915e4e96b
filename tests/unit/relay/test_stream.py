"""Any stream, in any pieces: clients cannot tell a shared server from their own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pgswitch.relay.client import ClientLink
from pgswitch.relay.server import ServerLink
from tests.fakes.messages import message, query
from tests.unit.relay.model import ModelServer
from tests.unit.relay.pair import Stage

SYNC, EXECUTE, FLUSH = message(b"S"), message(b"E", b"\0\0\0\0\0"), message(b"H")
COPY_DONE, COPY_FAIL = message(b"c"), message(b"f", b"\0")


def parse(name: bytes, text: bytes) -> bytes:
    """Return a Parse."""
    return message(b"P", name + b"\0" + text + b"\0\0\0")


def bind(name: bytes) -> bytes:
    """Return a Bind to the unnamed portal."""
    return message(b"B", b"\0" + name + b"\0" + bytes(6))


def unnamed(text: bytes) -> bytes:
    """Return an unnamed statement, used once."""
    return parse(b"", text) + bind(b"") + EXECUTE


Draw = Callable[[int], int]
"""Returns a number below another."""


class Play:
    """Clients with their scripts, and servers; bytes pass in pieces as drawn."""

    def __init__(self, scripts: list[list[bytes]], servers: int, prepared: int) -> None:
        """Each script is a list of what is sent at once; see :meth:`run`."""
        self.stage = Stage()
        self.servers: dict[ServerLink, ModelServer] = {}
        self.answers: dict[ServerLink, bytearray] = {}
        for _ in range(servers):
            link = self.stage.server()
            self.servers[link], self.answers[link] = ModelServer(), bytearray()
        self.clients: dict[ClientLink, list[bytes]] = {}
        self.expected: dict[ClientLink, list[bytes]] = {}
        self.heard: dict[ClientLink, bytes] = {}
        for script in scripts:
            client = self.stage.client(prepared=prepared)
            own = ModelServer()
            self.clients[client] = [bytes(part) for part in script]
            self.expected[client] = [own.take(part) for part in script]
            self.heard[client] = b""

    def run(self, draw: Draw, *, waits: bool) -> None:
        """Pass bytes on until nothing moves.

        With ``waits`` a client sends the next part of its script only when it has
        got the whole answer to the one before.
        """
        sending: dict[ClientLink, bytearray] = {
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
            moves: list[ClientLink | ServerLink] = [
                *(client for client, left in sending.items() if left),
                *(server for server, left in self.answers.items() if left),
            ]
            if not moves:
                return
            link = moves[draw(len(moves))]
            if isinstance(link, ClientLink):
                self._move(link, sending[link], draw)
            else:
                self._move(link, self.answers[link], draw)

    def _move(self, link: ClientLink | ServerLink, left: bytearray, draw: Draw) -> None:
        size = 1 + draw(len(left)) if draw(4) else len(left)
        piece = bytes(left[:size])
        del left[:size]
        link.take(piece)
        for server, model in self.servers.items():
            self.answers[server] += model.take(self.stage.sent(server))
        for client in self.clients:
            self.heard[client] += self.stage.sent(client)

    def check(self) -> None:
        """Compare what clients heard, and see that nothing is left over."""
        for client, expected in self.expected.items():
            assert self.stage.told(client) == []
            assert self.heard[client] == b"".join(expected)
            assert client.exchange.clean
            assert client.exchange.special == client.exchange.outstanding() == 0
            assert client.server is None
            assert client.at_boundary()
        assert self.stage.rack.waiters == []
        assert set(self.stage.rack.idle) == set(self.servers)
        for link, model in self.servers.items():
            assert self.stage.told(link) == []
            known = {one.name for one in link.statements.by_number.values()}
            assert known == {name for name in model.prepared if name}
        for client in self.clients:
            if client.statements is not None:
                assert client.statements.notes == []
                client.statements.clear()
        for link in self.servers:
            link.statements.clear()
        assert len(self.stage.table) == 0


SEEDS = st.integers(0, 1 << 32)
"""Of the order in which bytes move; drawing each move would be slow."""
NAMES = st.sampled_from([b"a", b"b", b"c"])
TEXTS = st.sampled_from([b"one", b"two", b"three", b"", b"wrong"])
STEPS = st.one_of(
    st.builds(parse, NAMES, TEXTS),
    st.builds(lambda name: bind(name) + EXECUTE, NAMES),
    st.builds(lambda name: message(b"D", b"S" + name + b"\0"), NAMES),
    st.builds(lambda name: message(b"C", b"S" + name + b"\0"), NAMES),
    st.builds(unnamed, TEXTS),
    st.sampled_from([EXECUTE, FLUSH]),
)
QUERIES = st.sampled_from(
    [query("x"), query("wrong"), query("BEGIN"), query("COMMIT"), query("DISCARD ALL")]
)
BATCHES = st.one_of(
    st.lists(STEPS, max_size=5).map(lambda steps: b"".join(steps) + SYNC), QUERIES
)
END = query("COMMIT")


@settings(max_examples=150)
@given(
    SEEDS,
    st.lists(st.lists(BATCHES, max_size=5), min_size=1, max_size=3),
    st.integers(1, 2),
    st.integers(1, 3),
)
def test_named_statements(
    seed: int, scripts: list[list[bytes]], servers: int, prepared: int
) -> None:
    """With errors, transactions, evictions and servers that change."""
    play = Play([[*script, END] for script in scripts], servers, prepared)
    play.run(Random(seed).randrange, waits=True)
    play.check()


COPIES = st.builds(
    lambda begin, data, end: begin + b"".join(data) + end,
    st.sampled_from([query("COPY"), unnamed(b"COPY"), unnamed(b"COPY") + SYNC]),
    st.lists(
        st.sampled_from(
            [message(b"d", b"row"), message(b"d", b"wrong"), FLUSH, message(b"d")]
        ),
        max_size=3,
    ),
    st.sampled_from([COPY_DONE + SYNC, COPY_FAIL + SYNC]),
)
FAILED_COPIES = st.sampled_from(
    [
        query("wrong") + message(b"d", b"row") + COPY_DONE,
        unnamed(b"wrong") + message(b"d", b"row") + COPY_FAIL + SYNC,
        message(b"d", b"row") + COPY_DONE + FLUSH,
    ]
)
PIPELINES = st.one_of(
    COPIES,
    FAILED_COPIES,
    QUERIES,
    st.builds(lambda text: unnamed(text) + SYNC, TEXTS),
    st.just(message(b"F", b"\0\0\0\1")),
    st.just(SYNC),
)


@settings(max_examples=150)
@given(
    SEEDS,
    st.lists(st.lists(PIPELINES, max_size=5), min_size=1, max_size=3),
    st.integers(1, 2),
    st.sampled_from([0, 2]),
)
def test_pipelines(
    seed: int, scripts: list[list[bytes]], servers: int, prepared: int
) -> None:
    """Everything sent ahead: queries, COPY in both protocols, function calls."""
    play = Play([[*script, END] for script in scripts], servers, prepared)
    play.run(Random(seed).randrange, waits=False)
    play.check()


def test_each_cut_of_one_stream() -> None:
    """Two pieces, cut at every byte, and both ways: the same as in one."""
    script = [
        parse(b"a", b"one") + bind(b"a") + EXECUTE + SYNC,
        query("COPY") + message(b"d", b"row") + COPY_DONE + query("x"),
        message(b"C", b"Sa\0") + unnamed(b"wrong") + FLUSH + SYNC,
    ]
    whole = b"".join(script)
    for cut in range(1, len(whole)):
        parts = [whole[a:b] for a, b in pairwise((0, cut, len(whole)))]
        play = Play([parts], 1, 2)
        play.run(lambda _below: 0, waits=False)
        play.check()
