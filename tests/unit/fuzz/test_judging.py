"""Compare expected with received answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from pgswitch.wire import encode
from tests.fuzz.protocol.judging import (
    Expected,
    Finding,
    differing,
    foreign,
    parameters_differ,
    parses_unnamed,
)
from tests.fuzz.protocol.player import Fenced, Player
from tests.fuzz.protocol.script import Group, Script, Step
from tests.fuzz.protocol.variants import BY_NAME
from tests.fuzz.protocol.wire import Splitter

NEVER = 100
SHARED, NOTHING = BY_NAME["transaction-2"], BY_NAME["nothing"]
SCRIPT = Script(1, (Group((Step("Q", ("select 't4-1-1'",)),)),) * 2)
ONE = ["D ['t4-1-1']", "C SELECT 1", "Z I"]


def row(value: str) -> bytes:
    """Return the answer to a Query without its description."""
    return (
        encode.data_row([value])
        + encode.command_complete("SELECT 1")
        + encode.ready_for_query()
    )


OWN = row("t4-1-1")


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Yield a list of sockets to be closed."""
    made: list[socket.socket] = []
    yield made
    for one in made:
        one.close()


def played(
    sockets: list[socket.socket], answers: Sequence[bytes], script: Script = SCRIPT
) -> Player:
    """Return a player that has got these answers, by group."""
    ours, theirs = socket.socketpair()
    sockets += [ours, theirs]
    player = Player(script, ours, Fenced(script))
    player.answers = [Splitter().feed(data) for data in answers]
    return player


def expected(*groups: list[str], closed: int | None = None) -> Expected:
    """Return what PostgreSQL says."""
    return Expected(list(groups), closed, {})


def test_the_same_is_right(sockets: list[socket.socket]) -> None:
    """Nothing is found."""
    player = played(sockets, [OWN, OWN])
    assert differing(player, expected(ONE, ONE), NOTHING, NEVER).finding is None


def test_the_first_difference(sockets: list[socket.socket]) -> None:
    """With its group, and without what is right before it."""
    player = played(sockets, [OWN, OWN + row("t4-1-2")])
    found = differing(player, expected(ONE, ONE + ONE), NOTHING, NEVER).finding
    assert found is not None
    assert (found.kind, found.client, found.group) == ("difference", 1, 1)
    assert found.direct == tuple(ONE)
    assert found.pooled == ("D ['t4-1-2']", *ONE[1:])
    assert found.signature == "difference | D | D"


def test_too_much_and_too_little(sockets: list[socket.socket]) -> None:
    """Answers after the last, or missing ones."""
    player = played(sockets, [OWN + OWN])
    found = differing(player, expected(ONE), NOTHING, NEVER).finding
    assert found is not None
    assert found.signature == "difference | nothing | D"
    player = played(sockets, [b""])
    found = differing(player, expected(ONE), NOTHING, NEVER).finding
    assert found is not None
    assert found.signature == "difference | D | nothing"


def test_hangs_and_ends(sockets: list[socket.socket]) -> None:
    """An answer that stops is one or the other."""
    for kind in ("hang", "closed"):
        player = played(sockets, [OWN[:-6]])
        player.hung, player.closed = kind == "hang", 0 if kind == "closed" else None
        found = differing(player, expected(ONE), NOTHING, NEVER).finding
        assert found is not None
        assert found.kind == kind
        assert found.signature == f"{kind} | Z | nothing"


def test_an_end_behind_all_answers(sockets: list[socket.socket]) -> None:
    """Is one that PostgreSQL does not make."""
    player = played(sockets, [OWN])
    player.closed = 0
    found = differing(player, expected(ONE, ONE), NOTHING, NEVER).finding
    assert found is not None
    assert found.kind == "closed"


def test_ends_of_both_are_right(sockets: list[socket.socket]) -> None:
    """What each says of its end is its own."""
    fatal = encode.message(69, encode.error_fields("FATAL", "57P01", "ours"))
    player = played(sockets, [OWN + fatal])
    player.closed = 0
    theirs = expected([*ONE, "E FATAL 08P01 theirs"], closed=0)
    assert differing(player, theirs, NOTHING, NEVER).finding is None


def test_what_may_differ_in_this_variant(sockets: list[socket.socket]) -> None:
    """The rules decide."""
    gone = encode.message(
        69,
        encode.error_fields(
            "ERROR", "26000", "unnamed prepared statement does not exist"
        ),
    )
    answers = [gone + encode.ready_for_query()]
    theirs = expected(["2", *ONE])
    shared = differing(played(sockets, answers), theirs, SHARED, NEVER)
    assert shared.finding is None
    assert not shared.is_whole
    alone = differing(played(sockets, answers), theirs, NOTHING, NEVER)
    assert alone.finding is not None


def test_what_follows_a_difference_that_parts(sockets: list[socket.socket]) -> None:
    """Cannot be compared: one has run what the other has not."""
    gone = encode.message(
        69,
        encode.error_fields(
            "ERROR", "26000", "unnamed prepared statement does not exist"
        ),
    )
    answers = [gone + encode.ready_for_query() + row("t4-1-7"), row("t4-1-8")]
    player = played(sockets, answers)
    theirs = expected(["2", *ONE, *ONE], ONE)
    assert differing(player, theirs, SHARED, NEVER).finding is None


def test_where_the_unnamed_statement_is_parsed() -> None:
    """By the segments that a Sync or a Query ends."""
    unnamed, named, sync = (
        Step("P", ("", "select 1")),
        Step("P", ("s1", "select 1")),
        Step("S"),
    )
    query = Step("Q", ("select 1",))
    assert parses_unnamed([unnamed, sync, named, sync, query]) == [True, False, False]
    use = Step("B", ("", ""))
    assert parses_unnamed([unnamed, use, sync, use, unnamed, sync]) == [True, False]
    assert parses_unnamed([]) == []


def test_groups_that_cannot_be_known(sockets: list[socket.socket]) -> None:
    """They are not compared; nor is what follows a disconnect."""
    player = played(sockets, [OWN, row("t4-1-9")])
    assert differing(player, expected(ONE, ONE), NOTHING, 1).finding is None
    gone = Script(1, (SCRIPT.groups[0], Group((Step("!vanish"),))))
    player = played(sockets, [OWN, b""], gone)
    assert differing(player, expected(ONE, ONE), NOTHING, NEVER).finding is None


def test_foreign_tokens(sockets: list[socket.socket]) -> None:
    """Wherever they stand."""
    assert foreign(played(sockets, [OWN, OWN]), "t4-1-") is None
    found = foreign(played(sockets, [OWN, row("see t4-2-1")]), "t4-1-")
    assert found is not None
    assert (found.kind, found.group) == ("foreign", 1)
    assert "told t4-2-1" in found.what
    player = played(sockets, [OWN])
    player.asynchronous = Splitter().feed(
        encode.parameter_status("application_name", "t4-11-1")
    )
    assert foreign(player, "t4-1-") is not None


def test_parameters(sockets: list[socket.socket]) -> None:
    """The last values of those that follow a client."""
    player = played(sockets, [OWN])
    player.parameters = {"TimeZone": "UTC", "server_version": "18"}
    right = Expected([], None, {"TimeZone": "UTC", "server_version": "17"})
    assert parameters_differ(player, right) is None
    found = parameters_differ(player, Expected([], None, {"TimeZone": "CET"}))
    assert found is not None
    assert found.what == "TimeZone ends as 'UTC' instead of 'CET'"


def test_signatures() -> None:
    """The same for the same bug: names and tokens play no part."""
    findings = [
        Finding(
            "difference",
            "",
            direct=("1", "C PREPARE"),
            pooled=("1", f'E ERROR 42P05 prepared statement "{name}" already exists'),
        )
        for name in ("q1", "q2")
    ]
    assert len({one.signature for one in findings}) == 1
