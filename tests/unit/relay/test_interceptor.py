"""The interceptor: which queries are judged, when, and what it passes on."""

from __future__ import annotations

from random import Random

import pytest

from pgswitch.relay.client_stream import WAIT_FOR_WHOLE, ClientStream
from pgswitch.relay.interceptor import QueryInterceptor
from pgswitch.relay.interfaces import CHANGED, LATER, REFUSED, UNCHANGED
from pgswitch.types import PoolMode
from tests.fakes.messages import IN_TRANSACTION, READY, RESULT, message, query
from tests.unit.relay.pair import Stage
from tests.unit.relay.play import Play
from tests.unit.relay.scripts import drawn

SYNC = message(b"S")
REFUSAL = message(b"E", b"Mno\0\0")
ERROR = message(b"E", b"Minvalid input\0\0")


class Adviser:
    """Gives the answers that a test has put in; records what it is asked."""

    def __init__(self) -> None:
        """Begin with nothing to say: every query is left as it is."""
        self.data = b"other"
        self.refusal = REFUSAL
        self.failing_query = b"FAIL"
        self.database = ""
        self.outcomes: list[int] = []
        self.asked: list[tuple[str, bytes, bytes, bool]] = []
        self.brought: list[tuple[str, bool]] = []
        self.away: set[str] = set()
        self.given_up = 0
        self.around = 0

    def _next(self) -> int:
        return self.outcomes.pop(0) if self.outcomes else UNCHANGED

    def ask(
        self,
        message_type: int,
        text: bytes,
        statement: bytes,
        around: int,
        is_inside: bool,  # noqa: FBT001 - as the interceptor calls it
        /,
    ) -> int:
        """Record; return the next outcome."""
        self.asked.append((chr(message_type), text, statement, is_inside))
        self.around = around
        return self._next()

    def is_away(self, home: str, /) -> bool:
        """Tell what the test says."""
        return home in self.away

    def route_to(self, home: str, /, *, is_inside: bool) -> int:
        """Record; return the next outcome."""
        self.brought.append((home, is_inside))
        return self._next()

    def give_up(self) -> None:
        """Count."""
        self.given_up += 1


def gated(
    stage: Stage, *, prepared: int | None = None
) -> tuple[ClientStream, Adviser, QueryInterceptor]:
    """Return a client with an interceptor before it."""
    client = stage.client(prepared=prepared)
    adviser = Adviser()
    return client, adviser, QueryInterceptor(client, adviser)


def parse(text: bytes, name: bytes = b"") -> bytes:
    """Return a Parse without parameters."""
    return message(b"P", name + b"\0" + text + b"\0\0\0")


def bind(name: bytes = b"", value: bytes = b"") -> bytes:
    """Return a Bind to the unnamed portal."""
    return message(b"B", b"\0" + name + b"\0" + bytes(6) + value)


EXECUTE = message(b"E", b"\0\0\0\0\0")


@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
def test_each_query_is_asked_about_once(size: int) -> None:
    """Whole, however the network cuts it; nothing goes on before."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    data = query("SELECT 1")
    for at in range(0, len(data), size):
        assert stage.sent(server) == b""
        client.take(data[at : at + size])
    assert stage.sent(server) == data
    assert adviser.asked == [("Q", b"SELECT 1", b"", False)]


def test_a_long_query_is_whole_too() -> None:
    """Nothing that follows it is held back."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    text = "x" * (5 * WAIT_FOR_WHOLE)
    data = query(text)
    for at in range(0, len(data), 1000):
        client.take(data[at : at + 1000])
    assert adviser.asked == [("Q", text.encode(), b"", False)]
    assert stage.sent(server) == data


def test_another_text() -> None:
    """Of a Query, and of a Parse, whose name and types stay."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    adviser.outcomes = [CHANGED, CHANGED]
    client.take(query("SELECT 1"))
    assert stage.sent(server) == query("other")
    server.take(RESULT + READY)
    rest = bind() + EXECUTE + SYNC
    client.take(message(b"P", b"n\0SELECT $1\0\0\1\0\0\0\x17") + rest)
    assert stage.sent(server) == message(b"P", b"n\0other\0\0\1\0\0\0\x17") + rest
    assert adviser.asked[1] == ("P", b"SELECT $1", b"n", False)


def test_inside() -> None:
    """In a transaction, and in a pipeline after its first request."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(query("BEGIN"))
    server.take(RESULT + IN_TRANSACTION)
    client.take(query("COMMIT"))
    server.take(RESULT + READY)
    client.take(parse(b"one") + bind() + EXECUTE + parse(b"two") + SYNC)
    assert [asked[3] for asked in adviser.asked] == [False, True, False, True]


def test_what_begins_anew_waits_for_the_answers() -> None:
    """Then the server is back, so the client might go elsewhere."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(query("one") + query("two") + query("three"))
    client.take(query("four"))
    assert stage.sockets[client].done == ["pause"]
    for text in ("one", "two", "three", "four"):
        assert adviser.asked[-1] == ("Q", text.encode(), b"", False)
        assert stage.sent(server) == query(text)
        server.take(RESULT)
        assert stage.sent(server) == b""
        server.take(READY)
        assert stage.sent(client) == RESULT + READY
    assert stage.sockets[client].done == ["pause", "resume"]
    assert client.exchange.synthetic_count == 0
    assert list(stage.idle_pool.idle) == [server]


def test_a_client_that_waits_for_a_server() -> None:
    """It is not asked about again when there is one; the rest is asked about then."""
    stage = Stage()
    client, adviser, _ = gated(stage)
    client.take(query("one"))
    client.take(query("two"))
    server = stage.server()
    stage.idle_pool.idle.clear()
    stage.idle_pool.put_back(server)
    assert stage.sent(server) == query("one")
    server.take(RESULT + READY)
    assert stage.sent(server) == query("two")
    assert [asked[1] for asked in adviser.asked] == [b"one", b"two"]


def test_an_answer_that_comes_later() -> None:
    """Nothing passes meanwhile, and the client is read no further."""
    stage = Stage()
    server = stage.server()
    client, adviser, interceptor = gated(stage)
    adviser.outcomes = [LATER]
    client.take(query("one") + query("two"))
    client.take(query("three"))
    assert stage.sent(server) == b""
    assert stage.sockets[client].done == ["pause"]
    interceptor.answered(CHANGED)
    assert stage.sent(server) == query("other")
    server.take(RESULT + READY)
    assert stage.sent(server) == query("two")
    server.take(RESULT + READY)
    assert stage.sockets[client].done == ["pause", "resume"]


def test_leaving_amid_all() -> None:
    """Of a lost transaction nothing is lost that the client said, and it is read."""
    stage = Stage()
    stage.server()
    client, adviser, interceptor = gated(stage)
    adviser.outcomes = [LATER]
    said = query("one"), query("two") + b"Q\0"
    for data in said:
        client.take(data)
    assert interceptor.leave() == b"".join(said)
    assert client.interceptor is None
    assert adviser.given_up == 1
    assert stage.sockets[client].done == ["pause", "resume"]


def test_a_client_that_leaves() -> None:
    """The router's work for it is cancelled."""
    for outcome, expected in ((LATER, 1), (UNCHANGED, 0)):
        stage = Stage()
        stage.server()
        client, adviser, _ = gated(stage)
        adviser.outcomes = [outcome]
        client.take(query("one"))
        client.let_go()
        assert adviser.given_up == expected


@pytest.mark.parametrize("types", [b"\0\0", b"\0\1\0\0\0\x17", b"\0\1\x17\0\0\0"])
@pytest.mark.parametrize("name", [b"", b"name"])
def test_types_of_parameters(types: bytes, name: bytes) -> None:
    """They stay as they are with another text."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    adviser.outcomes = [CHANGED]
    client.take(message(b"P", name + b"\0SELECT $1\0" + types))
    assert adviser.asked == [("P", b"SELECT $1", name, False)]
    assert adviser.around == len(b"P1234") + len(name) + 2 + len(types)
    assert stage.sent(server) == message(b"P", name + b"\0other\0" + types)


def test_an_answer_for_a_client_that_is_gone() -> None:
    """It comes to nothing."""
    stage = Stage()
    server = stage.server()
    client, adviser, interceptor = gated(stage)
    adviser.outcomes = [LATER]
    client.take(query("one"))
    client.lost = True
    interceptor.answered(UNCHANGED)
    interceptor.recheck()
    assert stage.sent(server) == b""


def test_a_refused_query() -> None:
    """The server is made to fail it; the client reads our words for that."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(query("BEGIN"))
    server.take(RESULT + IN_TRANSACTION)
    stage.sent(server)
    stage.sent(client)
    adviser.outcomes = [REFUSED]
    client.take(query("SELECT 1"))
    assert stage.sent(server) == query("FAIL")
    for piece in (ERROR[:3], ERROR[3:9], ERROR[9:] + b"Z\0\0\0\5E"):
        server.take(piece)
    assert stage.sent(client) == REFUSAL + b"Z\0\0\0\5E"
    assert client.exchange.synthetic_count == 0
    client.take(query("ROLLBACK"))
    server.take(RESULT + READY)
    assert list(stage.idle_pool.idle) == [server]


@pytest.mark.parametrize("prepared", [None, 0, 10])
@pytest.mark.parametrize("name", [b"", b"mine"])
def test_a_refused_parse(name: bytes, prepared: int | None) -> None:
    """The rest of its pipeline is skipped, by the server and without asking."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage, prepared=prepared)
    client.take(parse(b"one") + bind() + EXECUTE)
    stage.sent(server)
    adviser.outcomes = [REFUSED]
    client.take(parse(b"two", name) + bind(name) + EXECUTE + parse(b"three") + SYNC)
    sent = stage.sent(server)
    assert sent.startswith(message(b"P", b"\0FAIL\0\0\0") + message(b"B", b"\0")[:1])
    assert b"two" not in sent
    assert [asked[1] for asked in adviser.asked] == [b"one", b"two"]
    done = message(b"1") + message(b"2") + message(b"C", b"SELECT 1\0")
    server.take(done + ERROR + READY)
    assert stage.sent(client) == done + REFUSAL + READY
    assert client.exchange.synthetic_count == 0
    client.take(parse(b"four") + SYNC)
    assert adviser.asked[-1] == ("P", b"four", b"", False)


def test_statements_stay_where_they_were_sent() -> None:
    """Bind and Describe bring the client there, until the statement is closed."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage, prepared=10)
    adviser.database = "there"
    client.take(parse(b"one", b"mine") + SYNC)
    server.take(message(b"1") + READY)
    adviser.away = {"there"}
    client.take(bind(b"other") + SYNC)
    server.take(ERROR + READY)
    assert adviser.brought == []
    for use in (bind(b"mine"), message(b"D", b"Smine\0")):
        client.take(use + SYNC)
        server.take(READY)
    assert adviser.brought == [("there", False)] * 2
    close = message(b"C", b"Smine\0")
    skipped = message(b"D", b"P\0") + close + parse(b"two", b"mine") + SYNC
    client.take(skipped)
    server.take(ERROR + READY)
    client.take(bind(b"mine") + SYNC)
    assert len(adviser.brought) == 3, "the server has not closed it"
    server.take(ERROR + READY)
    client.take(close + SYNC)
    server.take(READY)
    client.take(bind(b"mine") + SYNC)
    assert len(adviser.brought) == 3


def test_a_refused_bind_of_any_length() -> None:
    """What is still to come of it is dropped."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage, prepared=10)
    adviser.database = "there"
    client.take(parse(b"one", b"mine") + SYNC)
    server.take(message(b"1") + READY)
    client.take(query("BEGIN"))
    server.take(RESULT + IN_TRANSACTION)
    stage.sent(server)
    stage.sent(client)
    adviser.away = {"there"}
    adviser.outcomes = [REFUSED]
    long = bind(b"mine", b"v" * (2 * WAIT_FOR_WHOLE))
    data = long + EXECUTE + SYNC
    for at in range(0, len(data), 5000):
        client.take(data[at : at + 5000])
    assert stage.sent(server) == parse(b"FAIL") + EXECUTE + SYNC
    server.take(ERROR + b"Z\0\0\0\5E")
    assert stage.sent(client) == REFUSAL + b"Z\0\0\0\5E"


def test_a_long_bind_streams() -> None:
    """Its names are awaited, no more."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage, prepared=10)
    long = bind(b"mine", b"v" * (2 * WAIT_FOR_WHOLE))
    client.take(long[:8])
    assert stage.sent(server) == b""
    client.take(long[8:3000])
    assert stage.sent(server) == long[:3000]
    client.take(long[3000:] + SYNC)
    assert stage.sent(server) == long[3000:] + SYNC
    assert adviser.asked == []


@pytest.mark.parametrize(
    "data",
    [message(b"Q", b"no end"), message(b"Q", b"a\0b\0"), message(b"P", b"no end")],
)
def test_broken_bodies_are_the_servers(data: bytes) -> None:
    """The router does not see them."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(data)
    assert stage.sent(server) == data
    assert adviser.asked == []


@pytest.mark.parametrize("ahead", [b"", query("first")])
def test_bad_headers(ahead: bytes) -> None:
    """They are the client's fault, in whichever call they come out."""
    stage = Stage()
    server = stage.server()
    client, _, _ = gated(stage)
    client.take(ahead + b"Q\0\0\0\3")
    if ahead:
        assert stage.sent(server) == ahead
        server.take(RESULT + READY)
    assert stage.calls(client)[0][:2] == ("faulted", "bad packet header: '5100000003'")
    assert stage.calls(server) == []


@pytest.mark.parametrize("taken", [3, 12])
def test_an_interceptor_set_amid_work(taken: int) -> None:
    """Bytes from before, partial or held back, are taken over."""
    stage = Stage()
    client = stage.client()
    data = query("one")
    client.take(data[:taken])
    adviser = Adviser()
    server = stage.server()
    if taken < len(data):
        QueryInterceptor(client, adviser)
        client.take(data[taken:])
        assert adviser.asked == [("Q", b"one", b"", False)]
    else:
        stage.idle_pool.idle.clear()
        client.take(data)
        QueryInterceptor(client, adviser)
        stage.idle_pool.put_back(server)
    assert stage.sent(server).startswith(data)


def test_an_interceptor_set_in_a_pipeline() -> None:
    """It knows that the pipeline is not new."""
    stage = Stage()
    server = stage.server()
    client = stage.client()
    client.take(parse(b"one"))
    adviser = Adviser()
    QueryInterceptor(client, adviser)
    client.take(parse(b"two") + SYNC)
    assert adviser.asked == [("P", b"two", b"", True)]
    assert stage.sent(server) == parse(b"one") + parse(b"two") + SYNC


def test_an_interceptor_set_behind_a_flush() -> None:
    """All is answered, and yet the pipeline goes on."""
    stage = Stage()
    server = stage.server()
    client = stage.client()
    client.take(parse(b"one") + message(b"H"))
    server.take(message(b"1"))
    adviser = Adviser()
    QueryInterceptor(client, adviser)
    client.take(parse(b"two") + SYNC)
    assert adviser.asked == [("P", b"two", b"", True)]


class Indifferent(Adviser):
    """Changes texts into themselves now and then."""

    def ask(
        self,
        message_type: int,
        text: bytes,
        statement: bytes,
        around: int,
        is_inside: bool,  # noqa: FBT001 - as the interceptor calls it
        /,
    ) -> int:
        """Return one of two outcomes that come to the same."""
        self.data = text
        odd = (len(text + statement) + message_type + around + is_inside) % 2
        is_changed = odd and text
        return CHANGED if is_changed else UNCHANGED


@pytest.mark.parametrize("start", range(0, 500, 100))
def test_as_if_alone_through_an_interceptor(start: int) -> None:
    """Clients cannot tell that rules look at what they send."""
    for seed in range(start, start + 100):
        random = Random(seed)
        scripts = drawn(random)
        play = Play(scripts, random.randint(1, 2), random.randint(1, 3))
        for client in play.clients:
            QueryInterceptor(client, Indifferent())
        play.run(random.randrange, waits=random.random() < 0.5)
        play.check()


DESCRIBE = message(b"D", b"Smissing\0")
CALL = message(b"F", bytes(10))
SKIPPED = {
    "queries": (parse(b"bad"), query("one") + query("two") + query("three")),
    "a Parse behind queries": (parse(b"bad"), query("one") * 2 + parse(b"two")),
    "a FunctionCall": (DESCRIBE, CALL + parse(b"one") + query("two")),
    "a Bind of what was sent elsewhere": (parse(b"bad"), query("one") + bind(b"mine")),
}
"""What fails, and what the server skips behind it."""


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("bad", "skipped"), SKIPPED.values(), ids=SKIPPED)
def test_what_a_server_skips(bad: bytes, skipped: bytes, at_once: bool) -> None:  # noqa: FBT001 - a parameter
    """It passes up to the Sync as it is, and nothing of it waits or is judged."""
    stage = Stage()
    server = stage.server()
    client, adviser, interceptor = gated(stage, prepared=10)
    adviser.database = "there"
    client.take(parse(b"fine", b"mine") + SYNC)
    server.take(message(b"1") + READY)
    adviser.away = {"there"}
    stage.sent(server)
    stage.sent(client)
    client.take(bad + (skipped + SYNC if at_once else b""))
    asked = len(adviser.asked) + len(adviser.brought)
    server.take(ERROR)
    if not at_once:
        client.take(skipped)
        assert not stage.sockets[client].done, "and it is read on"
        client.take(SYNC)
    sent = stage.sent(server)
    assert sent.startswith(bad)
    assert sent.endswith(SYNC)
    assert interceptor.can_hand_over()
    assert client.server is server
    assert len(adviser.asked) + len(adviser.brought) == asked
    client.take(query("next"))
    assert stage.sent(server) == b""
    server.take(READY)
    assert stage.sent(client) == ERROR + READY
    assert stage.sent(server) == query("next")
    assert adviser.asked[-1] == ("Q", b"next", b"", False)
    server.take(RESULT + READY)
    assert list(stage.idle_pool.idle) == [server]
    assert client.exchange.synthetic_count == 0


def test_a_pipeline_behind_what_was_skipped() -> None:
    """Nothing of it passes before the Sync is answered, or its own errors were lost."""
    stage = Stage(PoolMode.SESSION)
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(parse(b"bad") + query("one"))
    server.take(ERROR)
    client.take(query("two") + SYNC + bind(b"mine") + query("three") + query("four"))
    asked = len(adviser.asked)
    sent = parse(b"bad") + query("one") + query("two") + SYNC
    assert stage.sent(server) == sent
    server.take(READY)
    assert stage.sent(server) == bind(b"mine") + query("three")
    server.take(ERROR)
    assert stage.sent(server) == query("four")
    assert len(adviser.asked) == asked + 1, "of three, which was sent before the error"
    client.take(SYNC)
    server.take(READY)
    assert stage.sent(client) == (ERROR + READY) * 2
    client.take(query("five"))
    assert adviser.asked[-1] == ("Q", b"five", b"", False)


def test_an_interceptor_set_while_a_server_skips() -> None:
    """A RELOAD may set it, before the Sync and after it."""
    for is_synced in (False, True):
        stage = Stage()
        server = stage.server()
        client = stage.client()
        client.take(parse(b"bad"))
        server.take(ERROR)
        client.take(SYNC if is_synced else query("one"))
        adviser = Adviser()
        QueryInterceptor(client, adviser)
        client.take(query("two") + query("three") + (b"" if is_synced else SYNC))
        assert adviser.asked == []
        stage.sent(server)
        server.take(READY)
        assert [asked[1] for asked in adviser.asked] == ([b"two"] if is_synced else [])
        assert stage.sent(server) == (query("two") if is_synced else b"")


COPY_IN = message(b"G", b"\0\0\0")
COPY_DATA = message(b"d", b"1\n")


@pytest.mark.parametrize("end", [message(b"c"), message(b"f", b"no\0")])
def test_a_query_behind_the_end_of_a_copy(end: bytes) -> None:
    """It waits for the answer of the COPY, and is no part of it."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    copy = query("COPY t FROM STDIN")
    client.take(copy + COPY_DATA + end + query("next") + query("last"))
    assert stage.sent(server) == copy + COPY_DATA + end
    server.take(COPY_IN)
    assert len(adviser.asked) == 1
    server.take(
        message(b"C", b"COPY 1\0") + READY if end[:1] == b"c" else ERROR + READY
    )
    assert adviser.asked[1] == ("Q", b"next", b"", False)
    server.take(RESULT + READY)
    server.take(RESULT + READY)
    assert list(stage.idle_pool.idle) == [server]


def test_a_query_amid_a_copy() -> None:
    """It waits for an error of the COPY; without one it passes, and ends all."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(query("COPY t FROM STDIN") + COPY_DATA + query("next"))
    assert len(adviser.asked) == 1
    server.take(COPY_IN)
    assert len(adviser.asked) == 1
    client.retry_held(forced=True)
    assert adviser.asked[1] == ("Q", b"next", b"", True)
    assert stage.sent(server).endswith(query("next"))


def test_a_query_behind_a_copy_that_fails() -> None:
    """It is decided when the error is there, like any request after one."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    client.take(query("COPY t FROM STDIN") + COPY_DATA + query("next"))
    server.take(COPY_IN)
    server.take(ERROR + READY)
    assert adviser.asked[1] == ("Q", b"next", b"", False)
    assert stage.sent(server).endswith(query("next"))


def test_a_copy_that_swallowed_its_sync() -> None:
    """The pipeline and its transaction are still open then."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage)
    copy = parse(b"COPY t FROM STDIN") + bind() + EXECUTE + SYNC
    client.take(copy + COPY_DATA + message(b"c") + query("next"))
    stage.sent(server)
    # It keeps the answer to the COPY until it is asked for it by a Sync or a Query.
    server.take(message(b"1") + message(b"2") + COPY_IN)
    # What comes next would be skipped if it failed, so that has to be known first.
    assert adviser.asked[1:] == []
    server.take(message(b"C", b"COPY 1\0"))
    assert adviser.asked[1:] == [("Q", b"next", b"", True)]
    assert stage.sent(server) == message(b"H") + query("next")
    server.take(RESULT + READY)
    assert list(stage.idle_pool.idle) == [server]


@pytest.mark.parametrize("what", [b"S\0", b"P\0", b"Pname\0"])
def test_closing_what_the_server_knows(what: bytes) -> None:
    """A portal or the unnamed statement: its answer comes with the next Sync only."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage, prepared=10)
    close = message(b"C", what)
    client.take(close + query("one"))
    assert stage.sent(server) == close + query("one")
    assert adviser.asked == [("Q", b"one", b"", True)]


@pytest.mark.parametrize("is_synced", [False, True])
def test_closing_behind_a_copy(is_synced: bool) -> None:  # noqa: FBT001 - a parameter
    """A Sync after the end of the COPY has ended the pipeline, one before has not."""
    stage = Stage()
    server = stage.server()
    client, adviser, _ = gated(stage, prepared=10)
    copy = parse(b"COPY t FROM STDIN") + bind() + EXECUTE + SYNC
    client.take(copy + COPY_DATA + message(b"c") + (SYNC if is_synced else b""))
    server.take(message(b"1") + message(b"2") + COPY_IN)
    client.take(message(b"C", b"Smine\0") + query("next"))
    server.take(message(b"C", b"COPY 1\0"))
    if is_synced:
        # Whether the COPY has ended well was not known yet: the server is asked.
        server.take(READY + message(b"3"))
    assert adviser.asked[1:] == [("Q", b"next", b"", not is_synced)]


def test_closing_ahead_of_something_new() -> None:
    """No server receives that, so nothing is under way there."""
    stage = Stage(PoolMode.SESSION)
    server = stage.server()
    client, adviser, interceptor = gated(stage, prepared=10)
    client.take(parse(b"one", b"mine") + SYNC)
    server.take(message(b"1") + READY)
    assert not interceptor.is_inside()
    client.take(message(b"C", b"Smine\0") + parse(b"two"))
    assert adviser.asked[-1] == ("P", b"two", b"", False)
    client.take(message(b"C", b"Smine\0") + parse(b"three"))
    assert adviser.asked[-1] == ("P", b"three", b"", True)
    client.take(SYNC + query("four") + message(b"C", b"Smine\0") + parse(b"five"))
    server.take(message(b"1") + message(b"1") + READY)
    server.take(RESULT + READY + message(b"3"))
    assert adviser.asked[-2:] == [
        ("Q", b"four", b"", False),
        ("P", b"five", b"", False),
    ]
