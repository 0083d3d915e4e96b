"""Prepared statements shared between clients, against a model of a server."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgswitch.errors import BrokenPacket
from pgswitch.stats.counters import Counters
from pgswitch.wire.exchange import FAKE, NAMED, SWALLOW, TYPE, Exchange
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.statements import ServerStatements, StatementTable

NO_TYPES = b"\0\0"


class Model:
    """A server that prepares, binds and closes, and skips after an error."""

    def __init__(self) -> None:
        """Begin with nothing prepared."""
        self.prepared: dict[bytes, bytes] = {}
        self.skipping = False

    def answer(self, data: bytes) -> list[int]:
        """Return the types of the replies to some messages."""
        replies = []
        while data:
            kind, size = data[:1], int.from_bytes(data[1:5], "big")
            body, data = data[5 : size + 1], data[size + 1 :]
            if kind == b"S":
                self.skipping = False
                replies.append(ord("Z"))
            elif not self.skipping:
                reply = self._one(kind, body)
                self.skipping = reply == ord("E")
                replies.append(reply)
        return replies

    def _one(self, kind: bytes, body: bytes) -> int:
        if kind == b"P":
            name, text = body.split(b"\0")[:2]
            if (name and name in self.prepared) or b"wrong" in text:
                return ord("E")
            self.prepared[name] = text
            return ord("1")
        if kind == b"B":
            return ord("2") if body.split(b"\0")[1] in self.prepared else ord("E")
        if kind == b"D":
            return ord("n") if body[1:-1] in self.prepared else ord("E")
        assert kind == b"C"
        self.prepared.pop(body[1:-1], None)
        return ord("3")


class Pair:
    """One client joined to one server, as relay/ joins them."""

    def __init__(self, table: StatementTable, most: int) -> None:
        """Begin with a fresh server."""
        self.table = table
        self.exchange = Exchange()
        self.client = ClientStatements(table, self.exchange, most, Counters())
        self.server = ServerStatements(table)
        self.model = Model()
        self.told: list[int] = []
        """Replies that the client saw."""

    def other_server(self) -> None:
        """Meet a server that has nothing prepared."""
        self.server.clear()
        self.server = ServerStatements(self.table)
        self.model = Model()

    def parse(self, name: bytes, text: bytes) -> None:
        """Send a named Parse."""
        self._sent(
            self.client.parse(name + b"\0" + text + b"\0" + NO_TYPES, self.server)
        )

    def bind(self, name: bytes) -> None:
        """Send a Bind without parameters."""
        rest = b"\0\0\0\0\0\0"
        self._sent(
            self.client.bind(b"\0" + name + b"\0", len(rest), self.server) + rest
        )

    def describe(self, name: bytes) -> None:
        """Send a Describe of a statement."""
        self._sent(self.client.describe(b"S" + name + b"\0", self.server))

    def close(self, name: bytes) -> None:
        """Send a Close of a statement."""
        self._sent(self.client.close(b"S" + name + b"\0", self.server))

    def sync(self) -> None:
        """Send a Sync."""
        self.exchange.request(ord("S"))
        self.client.ended_segment()
        self._sent(b"S\0\0\0\4")

    def _sent(self, data: bytes) -> None:
        for reply in self.model.answer(data):
            self._fakes()
            if reply == ord("Z"):
                self.client.undone(self.exchange.ready(ord("I")), self.server)
                self.told.append(reply)
            elif reply == ord("E"):
                self.client.undone(self.exchange.failed(), self.server)
                self.told.append(reply)
            else:
                entry = self.exchange.completed(reply)
                assert entry, chr(reply)
                if entry & NAMED:
                    self.client.settled(entry)
                if not entry & SWALLOW:
                    self.told.append(reply)
        self._fakes()

    def _fakes(self) -> None:
        while self.exchange.head_is_fake():
            entry = self.exchange.take()
            self.told.append(ord("1") if entry & TYPE == ord("P") else ord("3"))
            if entry & NAMED:
                self.client.settled(entry)
        assert not self.exchange.head_is_fake()

    def replies(self) -> str:
        """Return what the client saw since the last call."""
        told, self.told = self.told, []
        return bytes(told).decode()


@pytest.fixture
def stream() -> Pair:
    """Return a client with a server that keeps three statements."""
    return Pair(StatementTable(), 3)


def test_parse_bind_again(stream: Pair) -> None:
    """The second time nothing is parsed, and the client cannot tell."""
    stream.parse(b"a", b"SELECT 1")
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "12Z"
    stream.bind(b"a")
    stream.describe(b"a")
    stream.sync()
    assert stream.replies() == "2nZ"
    assert list(stream.model.prepared.values()) == [b"SELECT 1"]


def test_another_server(stream: Pair) -> None:
    """A Bind on a server without the statement has it parsed first, unseen."""
    stream.parse(b"a", b"SELECT 1")
    stream.sync()
    stream.replies()
    stream.other_server()
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "2Z"
    assert list(stream.model.prepared) == [b"PGBOUNCER_1"]


def test_the_same_text_under_two_names(stream: Pair) -> None:
    """One statement of the server; both Parses are answered."""
    stream.parse(b"a", b"SELECT 1")
    stream.parse(b"b", b"SELECT 1")
    stream.sync()
    assert stream.replies() == "11Z"
    assert len(stream.model.prepared) == 1


def test_eviction(stream: Pair) -> None:
    """The one unused for longest goes, its CloseComplete unseen."""
    for name in (b"a", b"b", b"c"):
        stream.parse(name, b"SELECT " + name)
        stream.sync()
    stream.bind(b"a")
    stream.parse(b"d", b"SELECT d")
    stream.sync()
    assert stream.replies() == "1Z1Z1Z21Z"
    assert sorted(stream.model.prepared.values()) == [
        b"SELECT a",
        b"SELECT c",
        b"SELECT d",
    ]


@pytest.mark.parametrize("use", ["bind", "describe", "parse", "duplicate"])
def test_a_lower_limit(stream: Pair, use: str) -> None:
    """The next use evicts down to it, what is used last; nothing need be parsed."""
    for name in (b"a", b"b", b"c"):
        stream.parse(name, b"SELECT " + name)
        stream.sync()
    stream.replies()
    stream.client.limit_to(1)
    stream.server.limit_to(1)
    assert len(stream.model.prepared) == 3
    if use == "bind":
        stream.bind(b"a")
    elif use == "describe":
        stream.describe(b"a")
    else:
        stream.parse(b"again" if use == "parse" else b"a", b"SELECT a")
    stream.sync()
    told = {"bind": "2Z", "describe": "nZ", "parse": "1Z", "duplicate": "EZ"}
    assert stream.replies() == told[use]
    assert [*stream.model.prepared.values()] == [b"SELECT a"]
    assert len(stream.server) == 1
    assert not stream.server.is_over
    for name in (b"c", b"a", b"b"):
        stream.bind(name)
        stream.sync()
        assert stream.replies() == "2Z"
        assert len(stream.model.prepared) == 1


def test_a_lower_limit_that_the_server_skips(stream: Pair) -> None:
    """What an error keeps from being closed is closed with the next use."""
    for name in (b"a", b"b", b"c"):
        stream.parse(name, b"SELECT " + name)
        stream.sync()
    stream.client.limit_to(2)
    stream.server.limit_to(2)
    stream.replies()
    stream.bind(b"nowhere")
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "EZ"
    assert len(stream.model.prepared) == len(stream.server) == 3
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "2Z"
    assert len(stream.model.prepared) == len(stream.server) == 2


def test_a_name_in_use(stream: Pair) -> None:
    """The server itself says so, and the statement stays."""
    stream.parse(b"a", b"SELECT 1")
    stream.sync()
    stream.parse(b"a", b"SELECT 2")
    stream.bind(b"a")
    stream.sync()
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "1ZEZ2Z"


def test_an_unknown_name(stream: Pair) -> None:
    """The server itself says so."""
    stream.bind(b"never")
    stream.sync()
    assert stream.replies() == "EZ"


def test_a_failed_parse_leaves_the_name_free(stream: Pair) -> None:
    """After the error the name can be used for something right."""
    stream.parse(b"a", b"wrong")
    stream.bind(b"a")
    stream.sync()
    stream.parse(b"a", b"SELECT 1")
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "EZ12Z"


def test_what_was_skipped_is_undone(stream: Pair) -> None:
    """A Parse behind an error was never done, nor the eviction it caused."""
    for name in (b"a", b"b", b"c"):
        stream.parse(name, b"SELECT " + name)
        stream.sync()
    stream.replies()
    stream.bind(b"never")
    stream.parse(b"d", b"SELECT d")
    stream.sync()
    assert stream.replies() == "EZ"
    assert b"d" not in stream.client.names
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "2Z"


def test_nothing_is_answered_between_an_error_and_its_sync(stream: Pair) -> None:
    """A Parse and a Close that we could answer are skipped, as the server would."""
    stream.parse(b"a", b"SELECT 1")
    stream.sync()
    stream.bind(b"never")
    stream.parse(b"b", b"SELECT 1")
    stream.close(b"a")
    stream.sync()
    assert stream.replies() == "1ZEZ"
    assert b"b" not in stream.client.names


def test_close(stream: Pair) -> None:
    """Closing needs no server; the name is free, an unknown one is fine."""
    stream.parse(b"a", b"SELECT 1")
    stream.sync()
    stream.close(b"a")
    stream.close(b"never")
    stream.parse(b"a", b"SELECT 2")
    stream.sync()
    assert stream.replies() == "1Z331Z"


def test_a_skipped_close_is_undone(stream: Pair) -> None:
    """The name stands for what it stood for, whatever was to follow."""
    stream.parse(b"a", b"SELECT 1")
    stream.sync()
    before = stream.client.names[b"a"]
    stream.bind(b"never")
    stream.close(b"a")
    stream.parse(b"a", b"SELECT 2")
    stream.close(b"a")
    stream.sync()
    assert stream.client.names == {b"a": before}
    stream.bind(b"a")
    stream.sync()
    assert stream.replies() == "1ZEZ2Z"
    assert len(stream.table) == 1


def test_leaving_in_the_middle() -> None:
    """Nothing is kept for an eviction or a Close that is never answered."""
    stream = Pair(StatementTable(), 1)
    stream.parse(b"a", b"SELECT 1")
    stream.sync()
    stream.client.parse(b"b\0SELECT 2\0" + NO_TYPES, stream.server)
    stream.client.close(b"Sa\0", stream.server)
    assert len(stream.client.notes) == 3
    stream.client.leave()
    stream.server.clear()
    assert len(stream.table) == 0


@pytest.mark.parametrize("body", [b"", b"name", b"name\0text"])
def test_a_broken_parse(stream: Pair, body: bytes) -> None:
    """A body without its zero bytes is refused."""
    with pytest.raises(BrokenPacket, match="broken Parse packet"):
        stream.client.parse(body, stream.server)


NAMES = st.sampled_from([b"a", b"b", b"c"])
STEPS = st.one_of(
    st.tuples(
        st.just("parse"),
        NAMES,
        st.sampled_from([b"one", b"two", b"three", b"four", b"five", b"wrong"]),
    ),
    st.tuples(st.sampled_from(["bind", "describe", "close"]), NAMES),
    st.tuples(st.sampled_from(["sync", "other_server"])),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_both_maps_stay_true(steps: list[tuple[object, ...]], most: int) -> None:
    """After any script our list is the server's own, and nothing leaks."""
    table = StatementTable()
    stream = Pair(table, most)
    for name, *arguments in steps:
        if name == "other_server":
            stream.sync()
        getattr(stream, str(name))(*arguments)
    stream.sync()
    assert stream.exchange.clean
    assert stream.client.notes == []
    assert {s.name for s in stream.server.by_number.values()} == set(
        stream.model.prepared
    )
    assert len(stream.model.prepared) <= most
    texts = {s.definition for s in stream.server.by_number.values()}
    texts |= {s.definition for s in stream.client.names.values()}
    assert len(table) == len(texts)
    stream.client.clear()
    stream.server.clear()
    assert len(table) == 0


def test_fake_flags() -> None:
    """What is never sent carries FAKE, so that the reply is made by us."""
    stream = Pair(StatementTable(), 3)
    stream.parse(b"a", b"SELECT 1")
    stream.client.parse(b"b\0SELECT 1\0" + NO_TYPES, stream.server)
    assert stream.exchange.queue[stream.exchange.head] & FAKE
