"""A client that writes pieces and gathers answers, with a server made up."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pgswitch.wire import encode
from tests.fuzz.protocol import wire
from tests.fuzz.protocol.player import LAST_TURN, Fenced, Player
from tests.fuzz.protocol.playing import STUCK_S, Performance
from tests.fuzz.protocol.script import Group, Script, Step
from tests.fuzz.protocol.wire import Message

READY = encode.ready_for_query()
FENCED = encode.message(51) * wire.FENCES + READY
QUERY = Step("Q", ("select 1",))
ASKED = wire.encoded(QUERY)


class Silent(Fenced):
    """Waits for no answer in the first two groups."""

    def ending(self, group: int) -> bytes:
        """Return the fence for the others."""
        return super().ending(group) if group > 1 else b""

    def is_answered(self, group: int, messages: list[Message]) -> bool:
        """Tell whether a group is over."""
        return group < 2 or super().is_answered(group, messages)


class Scene:
    """A player and the peer of its socket."""

    def __init__(self, *groups: Group, waiting: type[Fenced] = Fenced) -> None:
        """Begin to play these groups."""
        self.troubles: list[Step] = []
        ours, self.server = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - its own name
        self.server.setblocking(False)  # noqa: FBT003 - its own name
        script = Script(3, groups)
        self.player = Player(
            script, ours, waiting(script), lambda _, step: self.troubles.append(step)
        )

    def write(self) -> bytes:
        """Have the player write all it has; return that."""
        while self.player.has_more:
            self.player.act(0.0)
        try:
            return self.server.recv(65536)
        except BlockingIOError:
            return b""

    def answer(self, data: bytes) -> None:
        """Have the player read something."""
        self.server.sendall(data)
        self.player.read(0.0)

    def close(self) -> None:
        """Close both ends."""
        self.player.finish()
        self.server.close()


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    """Yield a list of what is to be closed."""
    made: list[Scene] = []
    yield made
    for one in made:
        one.close()


def test_group_by_group(scenes: list[Scene]) -> None:
    """The next when all of the one before is answered; a fence after the last."""
    scenes.append(scene := Scene(Group((QUERY,)), Group((QUERY, QUERY))))
    assert scene.write() == ASKED + wire.fence()
    assert scene.write() == b""
    scene.answer(READY + FENCED[:-1])
    assert scene.write() == b""
    scene.answer(FENCED[-1:])
    assert scene.write() == ASKED * 2 + wire.fence()
    scene.answer(READY * 2 + FENCED)
    assert scene.write() == wire.fence()
    scene.answer(FENCED)
    assert scene.player.done
    assert [len(one) for one in scene.player.answers] == [8, 9, 7]


def test_a_group_without_answers(scenes: list[Scene]) -> None:
    """Is over when it is sent."""
    silent = Group((Step("c"),))
    scenes.append(scene := Scene(silent, silent, waiting=Silent))
    assert scene.write() == wire.encoded(Step("c")) * 2 + wire.fence()
    scene.answer(FENCED)
    assert scene.player.done


def test_a_group_of_nothing_but_trouble(scenes: list[Scene]) -> None:
    """Is over when it is made."""
    trouble = Group((Step("!reload"),))
    scenes.append(scene := Scene(trouble, trouble, waiting=Silent))
    assert scene.write() == wire.fence()
    assert scene.troubles == [Step("!reload")] * 2


def test_what_comes_by_itself_is_apart(scenes: list[Scene]) -> None:
    """Parameters and notices."""
    scenes.append(scene := Scene(Group((QUERY,))))
    scene.write()
    scene.answer(encode.parameter_status("TimeZone", "CET") + READY)
    assert [one.kind for one in scene.player.answers[0]] == [b"Z"]
    assert scene.player.parameters == {"TimeZone": "CET"}
    assert [one.kind for one in scene.player.asynchronous] == [b"S"]


def test_the_end_of_the_connection(scenes: list[Scene]) -> None:
    """In which group it came; what was said before is kept."""
    scenes.append(scene := Scene(Group((QUERY,)), Group((QUERY, Step("X")))))
    assert not scene.player.terminates(0)
    assert scene.player.terminates(1)
    scene.write()
    scene.answer(READY + FENCED)
    assert scene.write() == ASKED + wire.encoded(Step("X"))
    scene.answer(READY)
    scene.server.close()
    scene.player.read(0.0)
    assert scene.player.closed == 1
    assert [one.kind for one in scene.player.answers[1]] == [b"Z"]


def test_trouble(scenes: list[Scene]) -> None:
    """At its place; vanishing is the player's own."""
    group = Group((QUERY, Step("!cancel"), QUERY, Step("!vanish"), QUERY))
    scenes.append(scene := Scene(group))
    assert scene.write() == ASKED * 2
    assert scene.troubles == [Step("!cancel")]
    assert scene.player.done
    assert scene.player.closed is None


def test_others_go_on_during_trouble(scenes: list[Scene]) -> None:
    """And the client that makes it waits."""
    scenes.append(first := Scene(Group((Step("!takeover"), QUERY)), waiting=Silent))
    scenes.append(second := Scene(Group((QUERY,)), waiting=Silent))
    performance = Performance([first.player, second.player], 1, hang_s=0.1)

    def takes_long(_player: Player, _step: Step) -> None:
        for _ in range(5):
            performance.go_on()

    first.player._trouble = takes_long
    first.player.act(0.0)
    assert second.server.recv(1000) == ASKED
    assert first.write() == ASKED


def test_turns(scenes: list[Scene]) -> None:
    """The lowest number goes first, in any client; a stuck client delays no other."""
    scenes.append(first := Scene(Group((QUERY,), turn=2)))
    scenes.append(second := Scene(Group((QUERY,), turn=1)))
    assert [first.player.turn, second.player.turn] == [2, 1]
    Performance([first.player, second.player], 1, hang_s=0.2).run()
    assert second.player.begun < first.player.begun
    assert first.player.begun[0] - second.player.begun[0] > STUCK_S / 2
    assert first.player.hung
    assert second.player.hung


def test_a_group_that_was_begun_goes_on(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group runs to its end, in any number of pieces, before another turn."""
    scenes.append(first := Scene(Group((QUERY,), "bytes", turn=2)))
    scenes.append(second := Scene(Group((QUERY,), turn=1)))
    performance = Performance([first.player, second.player], 1, hang_s=0.2)
    monkeypatch.setattr(performance, "_is_stuck", lambda: False)
    assert performance._ready(0.0) == [second.player]
    first.player.act(0.0)
    assert performance._ready(0.0) == [first.player, second.player]


def test_the_turn_of_the_last_fence(scenes: list[Scene]) -> None:
    """Comes after all others."""
    scenes.append(scene := Scene(Group((QUERY,), turn=7)))
    scene.write()
    scene.answer(READY + FENCED)
    assert scene.player.turn == LAST_TURN
