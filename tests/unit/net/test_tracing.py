"""Every message in the log at ``-v -v``, however it is cut."""

from __future__ import annotations

import pytest

from pgswitch.net.tracing import SHOWN_OF_BULK
from pgswitch.wire import encode
from tests.counting import only_interpreted
from tests.fakes.messages import ANSWER, READY, error, message, query
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
    """Nothing is wrapped: the stream calls the socket itself."""
    client, server = world.pair()
    for end in (client.frontend.stream, server.backend.stream):
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


def shown(world: World, side: str) -> list[str]:
    """Return what was shown of one side, its letters left out."""
    return [line[4:] for line in traced(world) if line.startswith(f"{side}\t")]


def names(lines: list[str]) -> list[str]:
    """Return the names of messages."""
    return [line.split("\t")[1] for line in lines]


def test_a_slow_reader(world: World) -> None:
    """What the transport sends later is shown then, and the trace keeps its place."""
    world.captured.log.verbosity = 2
    client, server = world.pair()
    before = len(shown(world, "C-B"))
    client.say(query())
    client.transport.socket.room = 10
    server.say(ANSWER)
    client.transport.make_room()
    assert names(shown(world, "C-B")[before:])[-3:] == REPLIES[-3:]
    for _ in range(3):
        client.say(query())
        server.say(ANSWER)
    assert client.hear().endswith(ANSWER * 4)
    assert names(shown(world, "C-B"))[-12:] == REPLIES * 3
    assert not any("Unknown" in line for line in world.log)


@pytest.mark.parametrize(
    "what", ["trace_line", pytest.param("prefix", marks=only_interpreted)]
)
@pytest.mark.parametrize("size", [3, 1000])
def test_a_fault_of_the_trace(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, size: int
) -> None:
    """It ends the trace, is logged once, and does not disturb the connection."""
    world.captured.log.verbosity = 2
    client, server = world.pair()

    def broken(*_: object, **__: object) -> str:
        raise ValueError("bad luck")

    with monkeypatch.context() as patch:
        if what == "prefix":
            patch.setattr(type(client.frontend), "prefix", property(broken))
            patch.setattr(type(server.backend), "prefix", property(broken))
        else:
            patch.setattr("pgswitch.net.tracing.trace_line", broken)
        question = query("SELECT 'x'")
        for _ in range(2):
            for at in range(0, len(question), size):
                client.say(question[at : at + size])
            server.say(ANSWER)
    assert client.hear() == ANSWER * 2
    ends = [line for line in world.log if "no longer shown" in line]
    assert len(ends) == 4
    before = len(traced(world))
    client.say(query())
    server.say(ANSWER)
    assert len(traced(world)) == before


def test_nonsense(world: World) -> None:
    """The client gets the same error as without the trace."""
    faults = []
    for verbosity in (0, 2):
        world.captured.log.verbosity = verbosity
        client = world.client()
        client.hear()
        client.say(b"Q\0\0\0\1")
        faults.append(client.fault)
    assert faults[0] == faults[1] != ""


@pytest.mark.parametrize("cut", [1, 8, 15])
def test_what_came_with_the_start(world: World, cut: int) -> None:
    """A query that was read before the trace began is in its place too."""
    world.captured.log.verbosity = 2
    client = world.connect()
    start = encode.startup({"user": "app", "database": "db"}.items())
    question = query("SELECT 'x'")
    client.say(start + question[:cut])
    server = world.server()
    client.say(question[cut:])
    server.say(ANSWER)
    client.say(query("SELECT 'y'"))
    lines = shown(world, "C-F")
    assert names(lines) == ["Query", "Query"]
    assert lines[1] == "15\tQuery\t \"SELECT 'y'\""


ROW = encode.data_row(["x" * 100])
COPIED = message(b"d", b"x" * 100)


@pytest.mark.parametrize("row", [ROW, COPIED])
@pytest.mark.parametrize("size", [300, 1000, 100_000])
def test_bulk(world: World, row: bytes, size: int) -> None:
    """The first few, one in each chunk, and at the end what was left out."""
    world.captured.log.verbosity = 2
    client, server = world.pair()
    client.say(query())
    opening = message(b"T", b"\0\0") if row == ROW else message(b"H", b"\0\0\0")
    answer = opening + row * 500 + message(b"C", b"SELECT 500\0") + READY
    before = len(shown(world, "S-B"))
    for at in range(0, len(answer), size):
        server.say(answer[at : at + size])
    assert client.hear() == answer
    lines = shown(world, "S-B")[before:]
    name = "DataRow" if row == ROW else "CopyData"
    (left_out,) = (line for line in lines if "not shown" in line)
    assert left_out.endswith(f"\tbytes of {name} not shown")
    count = names(lines).count(name)
    assert count <= SHOWN_OF_BULK + len(answer) // size + 1
    assert int(left_out.split("\t")[0]) + count * len(row) == 500 * len(row)
    assert names(lines)[-2:] == ["CommandComplete", "ReadyForQuery"]


def test_a_few_rows(world: World) -> None:
    """All of them are shown."""
    world.captured.log.verbosity = 2
    client, server = world.pair()
    client.say(query())
    answer = message(b"T", b"\0\0") + ROW * 5 + message(b"C", b"SELECT 5\0") + READY
    server.say(answer)
    assert names(shown(world, "C-B")).count("DataRow") == 5
    assert not any("not shown" in line for line in world.log)


def test_describe_is_no_row(world: World) -> None:
    """Though its letter is that of DataRow."""
    world.captured.log.verbosity = 2
    client, _server = world.pair()
    client.say(message(b"D", b"S\0") * 20)
    assert names(shown(world, "C-F")) == ["Describe"] * 20


@pytest.mark.parametrize("step", [1, 1000])
def test_passwords_in_queries(world: World, step: int) -> None:
    """Are shown on no side and in no message, also not in what the server says."""
    world.captured.log.verbosity = 2
    client, server = world.pair()
    text = "ALTER ROLE app PASSWORD 'hush'"
    parse = message(b"P", b"\0" + text.encode() + b"\0\0\0")
    for question in (query(text), parse + message(b"S")):
        for at in range(0, len(question), step):
            client.say(question[at : at + step])
        server.say(error(text) + READY)
    assert any("PASSWORD ***" in line for line in world.log)
    assert not any("hush" in line for line in world.log)
