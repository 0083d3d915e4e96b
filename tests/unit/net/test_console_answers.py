"""Answers of the console: how much of them in each turn of the loop, and to whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.admin.console import Console
from pgswitch.admin.result_set import MESSAGES_PER_SLICE
from pgswitch.auth.session_setup import CONSOLE_LIMIT
from pgswitch.net.console_answers import (
    CHEAP_A_TURN,
    LONG_TURN_S,
    MAX_QUEUED,
    FairQueue,
)
from pgswitch.wire import encode
from tests.fakes.messages import kinds, message, query, split
from tests.fakes.world import Client, World, WorldOf

CLIENTS = 250
SYNC = message(b"S")
CLIENTS_BY_PORTAL = (
    encode.parse("", "SHOW CLIENTS")
    + message(b"B", bytes(8))
    + message(b"E", bytes(5))
    + SYNC
)


class Steps:
    """Turns of the loop, taken one by one."""

    def __init__(self, world: World) -> None:
        """Give the consoles of a world their turns."""
        self._due: list[Callable[[], object]] = []
        world.service.login_service.console_queue = FairQueue(
            lambda _seconds, call: self._due.append(call)
        )

    def step(self) -> bool:
        """Take one turn; return whether another will do something."""
        due, self._due = self._due, []
        for call in due:
            call()
        return bool(self._due)

    def run(self) -> int:
        """Take all turns there are; return how many."""
        count = 0
        while self.step():
            count += 1
        return count


@pytest.fixture
def world(world_of: WorldOf) -> World:
    """Return a world that has room for many clients."""
    return world_of(settings="max_client_conn = 1000")


@pytest.fixture
def steps(world: World) -> Steps:
    """Return the turns of a world, which has many clients."""
    world.client()
    world.server()
    for _ in range(CLIENTS - 1):
        world.client()
    return Steps(world)


def ask(client: Client, *asked: bytes) -> None:
    """Send, and let nothing happen but the reading."""
    for data in asked:
        client.transport.arrive(data)


def is_reading(client: Client) -> bool:
    """Tell whether we read what a client sends."""
    return client.transport.reading


@pytest.mark.parametrize(
    ("asked", "order"),
    [(query("SHOW CLIENTS"), "TDCZ"), (CLIENTS_BY_PORTAL, "12DCZ")],
)
def test_pieces(world: World, steps: Steps, asked: bytes, order: str) -> None:
    """A slice of one answer in a turn, and the whole of all of them at last."""
    console = world.console()
    steps.run()
    ask(console, asked * 3)
    pieces = [console.hear()]
    while steps.step():
        pieces.append(console.hear())
    pieces.append(console.hear())
    for piece in pieces:
        assert kinds(piece).count("D") <= MESSAGES_PER_SLICE
        assert kinds(piece).count("C") <= 1
    told = kinds(b"".join(pieces))
    assert told == order.replace("D", "D" * (CLIENTS + 1)) * 3


def test_in_turn(world: World, steps: Steps) -> None:
    """However many consoles ask, one of them is served in a turn."""
    consoles = [world.console() for _ in range(3)]
    steps.run()
    for console in consoles:
        ask(console, query("SHOW CLIENTS") * 2)
    served = [[bool(console.hear()) for console in consoles]]
    while steps.step():
        served.append([bool(console.hear()) for console in consoles])
    assert {sum(one) for one in served} <= {0, 1}
    assert served[0] == [True, False, False]
    for at in range(1, 11):
        assert all(any(column) for column in zip(*served[at : at + 4], strict=True))


def test_a_client_that_does_not_read(world: World, steps: Steps) -> None:
    """Nothing more is made for it until it does; the others go on."""
    console, other = world.console(), world.console()
    steps.run()
    console.transport.socket.room = 10
    ask(console, query("SHOW CLIENTS") * 3)
    assert steps.run() <= 2
    stream = console.frontend.stream
    assert stream.backlogged
    queued = len(console.transport._queued) + sum(map(len, stream.pending))
    assert 0 < queued < 300 * MESSAGES_PER_SLICE, "bytes, at 300 a row"
    ask(other, query("SHOW VERSION"))
    assert kinds(other.hear()) == "TDCZ"
    console.transport.make_room()
    steps.run()
    order = "T" + "D" * (CLIENTS + 2) + "CZ"
    assert kinds(console.hear()) == order * 3


def test_a_client_that_asks_without_end(world: World, steps: Steps) -> None:
    """It is read no more until it has its answers."""
    console = world.console()
    steps.run()
    asked = query("SHOW VERSION")
    ask(console, *[asked * 10] * 30)
    assert is_reading(console) is False
    assert len(console.transport.socket.incoming) >= 15
    steps.step()
    assert is_reading(console) is False
    while steps.step():
        world.turn()
    world.turn()
    steps.run()
    assert is_reading(console)
    assert kinds(console.hear()) == "TDCZ" * 300


def test_long_messages(world: World, steps: Steps) -> None:
    """They count by their bytes."""
    console = world.console()
    steps.run()
    ask(console, query("SHOW CLIENTS"), query("SHOW " + "x" * 40_000) * 2)
    assert is_reading(console) is False
    steps.run()
    assert is_reading(console)


def test_a_message_too_long(world: World, steps: Steps) -> None:
    """No message of hundreds of megabytes is buffered, whatever max_packet_size is."""
    console = world.console()
    steps.run()
    ask(console, b"Q" + (CONSOLE_LIMIT + 1).to_bytes(4, "big"))
    world.turn()
    assert console.is_gone()
    assert world.logged("bad packet header")


def test_messages_that_cost_nothing(world: World, steps: Steps) -> None:
    """Many of them in a turn, but not all there are."""
    console = world.console()
    steps.run()
    ask(console, SYNC * (2 * CHEAP_A_TURN))
    assert kinds(console.hear()) == "Z"
    steps.step()
    assert kinds(console.hear()) == "Z" * CHEAP_A_TURN
    steps.run()
    assert kinds(console.hear()) == "Z" * (CHEAP_A_TURN - 1)
    assert CHEAP_A_TURN >= MAX_QUEUED


def test_active_sockets(world: World, steps: Steps) -> None:
    """Those that are looked at and not shown count as well."""
    console = world.console()
    steps.run()
    ask(console, query("SHOW ACTIVE_SOCKETS"))
    assert kinds(console.hear()) == "T"
    assert steps.run() >= 2
    assert kinds(console.hear()) == "CZ"


def test_rows_in_portions(world: World, steps: Steps) -> None:
    """A portal goes on where it was, a slice a turn."""
    console = world.console()
    steps.run()
    portion = message(b"E", b"\0" + (120).to_bytes(4, "big"))
    ask(
        console,
        encode.parse("", "SHOW CLIENTS") + message(b"B", bytes(8)) + portion * 4 + SYNC,
    )
    assert steps.run() >= 5
    told = kinds(console.hear())
    assert told == "12" + "D" * 120 + "s" + "D" * 120 + "s" + "D" * 11 + "CCZ"


def test_who_leaves_meanwhile(world: World, steps: Steps) -> None:
    """A client that has left is not shown; a console that has, gets no more turns."""
    console = world.console()
    steps.run()
    ask(console, query("SHOW CLIENTS"))
    for client in list(world.service.login_service.clients.values())[150:160]:
        client.terminated()
    world.turn()
    steps.run()
    assert kinds(console.hear()).count("D") == CLIENTS + 1 - 10
    ask(console, query("SHOW CLIENTS") * 5)
    console.drop()
    assert steps.run() <= 1
    assert kinds(console.hear()).count("D") <= MESSAGES_PER_SLICE


def test_an_answer_that_cannot_be_given(
    world: World, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets an error and does not wait for ever."""

    def fail(_console: Console, _kind: int, _body: bytes) -> None:
        raise ZeroDivisionError

    console = world.console()
    monkeypatch.setattr(Console, "message", fail)
    ask(console, query("SHOW CLIENTS"))
    steps.run()
    world.turn()
    assert console.is_gone()
    assert [kind for kind, _ in split(console.hear())] == ["E"]
    assert world.logged("console: ZeroDivisionError()")


def test_a_long_turn() -> None:
    """Everybody else has as much time after it; no turn begins within another."""
    now = 0.0
    delays: list[float] = []
    calls: list[Callable[[], object]] = []
    log: list[str] = []

    def later(seconds: float, call: Callable[[], object]) -> None:
        delays.append(seconds)
        calls.append(call)

    def take(seconds: float) -> None:
        nonlocal now
        now += seconds
        log.append(f"{seconds}")
        if seconds == 1:
            fair_queue.wants(lambda: log.append("inner"))
            log.append("end")

    fair_queue = FairQueue(later, lambda: now)
    fair_queue.wants(lambda: take(1))
    fair_queue.wants(lambda: take(LONG_TURN_S / 2))
    for _ in range(3):
        calls.pop(0)()
    assert log == ["1", "end", "inner", f"{LONG_TURN_S / 2}"]
    assert delays == [1, 0, 0]
    assert calls == []


def test_a_turn_that_raises() -> None:
    """The next has its turn all the same."""
    calls: list[Callable[[], object]] = []
    fair_queue = FairQueue(lambda _seconds, call: calls.append(call))
    with pytest.raises(ZeroDivisionError):
        fair_queue.wants(lambda: 1 / 0)
    assert len(calls) == 1
