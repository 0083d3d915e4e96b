"""Every message in the log at ``-v -v``, however it is cut."""

from __future__ import annotations

import pytest

from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, READY, query
from tests.fakes.world import World, WorldOf

REPLIES = ["RowDescription", "DataRow", "CommandComplete", "ReadyForQuery"]


def traced(world: World) -> list[str]:
    """Return what was traced, without what tells connections apart."""
    return [
        line.partition(" ")[2][:2] + line.partition(": ")[2].partition(" ")[2]
        for line in world.log
        if line.startswith("NOISE ")
    ]


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_query_there_and_back(world: World, step: int) -> None:
    """Each message twice: as it was read and as it was sent."""
    world.captured.log.verbosity = 2
    client, server = world.pair()
    before = len(traced(world))
    question = query("SELECT 'x'")
    for at in range(0, len(question), step):
        client.say(question[at : at + step])
    for at in range(0, len(ANSWER), step):
        server.say(ANSWER[at : at + step])
    lines = [line.split("\t") for line in traced(world)[before:]]
    for side, names in (
        ("C-F", ["Query"]),
        ("S-F", ["Query"]),
        ("S-B", REPLIES),
        ("C-B", REPLIES),
    ):
        assert [line[2] for line in lines if line[0] == side] == names
    assert client.hear().endswith(ANSWER)


def test_what_is_shown(world: World) -> None:
    """Side, direction, length, name, content."""
    world.captured.log.verbosity = 2
    client, _server = world.pair()
    client.say(query("SELECT 'x'"))
    assert traced(world)[-2:] == [
        "C-F\t15\tQuery\t \"SELECT 'x'\"",
        "S-F\t15\tQuery\t \"SELECT 'x'\"",
    ]


def test_a_short_write(world: World) -> None:
    """What has not been sent yet is not shown."""
    world.captured.log.verbosity = 2
    client, server = world.pair()
    client.say(query())
    client.transport.socket.room = 10
    server.say(ANSWER)
    shown = [line for line in traced(world) if line.startswith("C-B")]
    assert shown[-1].startswith("C-B\t6\tRowDescription\t")


def test_without_it(world: World) -> None:
    """Nothing is wrapped: the link calls the socket itself."""
    client, server = world.pair()
    for end in (client.frontend.link, server.backend.link):
        assert end.recv == end.io.recv
        assert end.raw_send == end.io.send
    assert traced(world) == []


def test_answers_about_users(world_of: WorldOf) -> None:
    """Rows of auth_query hold secrets, and are not shown."""
    world = world_of(settings="auth_user = asker")
    world.captured.log.verbosity = 2
    world.client(user="guest")
    server = world.server()
    columns = encode.row_description([("name", 25, -1), ("secret", 25, -1)])
    server.say(columns + encode.data_row(["guest", "hush"]) + READY)
    assert "S-B\t23\tDataRow\t ***" in traced(world)
    assert not any("hush" in line for line in world.log)
