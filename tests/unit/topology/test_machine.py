"""Which node is the writer: every state, every fact."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.topology.machine import (
    Ask,
    Command,
    Failure,
    Fence,
    LoseWriter,
    Machine,
    ReadTopology,
    Report,
    SetWriter,
    State,
)
from pgswitch.topology.nodes import Node, named

A, B, C = named([("a", 1), ("b", 1), ("c", 1)])
STANDBY = Report(in_recovery=True)


def writer(timeline: int | None = 1) -> Report:
    """Return the answer of a node that takes writes."""
    return Report(in_recovery=False, timeline=timeline)


def known(timeline: int | None = 1) -> Machine:
    """Return a machine of three nodes whose writer is ``a``."""
    machine = Machine([A, B, C])
    machine.answered("a", writer(timeline), 1.0)
    return machine


def searching() -> Machine:
    """Return one that has just lost it."""
    machine = known()
    machine.failed("a", Failure.REFUSED)
    return machine


def names(commands: list[Command]) -> list[str]:
    """Return the commands in short."""
    return [f"{type(one).__name__} {one.name}" for one in commands]


def test_the_first_writer() -> None:
    """Whoever takes writes first; standbys are waited for."""
    machine = Machine([A, B, C])
    assert machine.failed("a", Failure.REFUSED) == []
    assert machine.state is State.ASSUMED
    commands = machine.answered("a", writer(), 2.0)
    assert commands == [SetWriter("a", "it takes writes"), ReadTopology("a")]
    alone = Machine([A])
    (command, _) = alone.answered("a", writer(), 2.0)
    assert command == SetWriter("a", "it takes writes", same=True)
    assert (machine.state, machine.writer, machine.timeline) == (State.KNOWN, "a", 1)


def test_nobody_there_at_the_start() -> None:
    """Nothing is held up: the configured host is all there is to go by."""
    machine = Machine([A])
    for failure in Failure:
        asked = [Ask("a")] if failure is Failure.LOST else []
        assert machine.failed("a", failure) == asked
    assert machine.state is State.ASSUMED


@pytest.mark.parametrize(
    "failure", [Failure.REFUSED, Failure.SILENT, Failure.NOT_READY]
)
def test_the_writer_is_lost(failure: Failure) -> None:
    """Clients wait, and all the others are asked at once."""
    machine = known()
    assert names(machine.failed("a", failure, "words")) == [
        "LoseWriter a",
        "Ask b",
        "Ask c",
    ]
    assert machine.state is State.SEARCHING


def test_a_lost_connection_is_a_question_only() -> None:
    """Somebody may have ended that one backend."""
    machine = known()
    assert machine.failed("a", Failure.LOST) == [Ask("a")]
    assert machine.suspected() == [Ask("a")]
    assert machine.answered("a", writer(), 2.0) == []
    assert machine.state is State.KNOWN


def test_an_answer_that_says_nothing() -> None:
    """A wrong password or too many connections do not make the writer another."""
    machine = known()
    assert machine.failed("a", Failure.UNFIT, "too many connections") == []
    assert machine.state is State.KNOWN
    assert machine.sights["a"].failure == "too many connections"


def test_the_configured_host_is_a_reader() -> None:
    """Alone it serves as it can; once its list names others, the writer is searched."""
    machine = Machine([A])
    assert machine.answered("a", STANDBY, 1.0) == [ReadTopology("a")]
    assert machine.listed([A, B]) == [Ask("b")]
    assert names(machine.failed("b", Failure.REFUSED)) == ["LoseWriter "]
    assert names(machine.answered("b", writer(), 2.0))[0] == "SetWriter b"


def test_a_stale_address() -> None:
    """An address that still leads to the old writer is not the new one by its name."""
    machine = Machine([Node("cluster", "cluster", 1)])
    machine.answered("cluster", writer(1), 1.0)
    machine.listed([A, B])
    (command, *_) = machine.answered("a", writer(2), 3.0)
    assert command == SetWriter("a", "it was promoted")


def test_a_reader_is_lost() -> None:
    """That concerns nobody; it is seen at the node."""
    machine = known()
    for failure in Failure:
        asked = [Ask("b")] if failure is Failure.LOST else []
        assert machine.failed("b", failure) == asked
    assert machine.state is State.KNOWN
    assert machine.sights["b"].failure


def test_demoted_in_place() -> None:
    """A writer that is in recovery is none."""
    machine = known()
    assert names(machine.answered("a", STANDBY, 2.0))[0] == "LoseWriter a"


def test_the_new_writer() -> None:
    """The first that takes writes; its timeline counts from now on."""
    machine = searching()
    assert machine.answered("b", STANDBY, 2.0) == [ReadTopology("b")]
    assert machine.suspected() == []
    commands = machine.answered("c", writer(2), 3.0)
    assert names(commands) == ["SetWriter c", "ReadTopology c"]
    assert (machine.writer, machine.timeline) == ("c", 2)


def test_the_writer_comes_back() -> None:
    """A restart is no switchover, and said so."""
    machine = searching()
    assert machine.answered("a", writer(1), 2.0) == [
        SetWriter("a", "the writer is back"),
        ReadTopology("a"),
    ]


def test_never_back_to_an_older_timeline() -> None:
    """Neither while searching nor while the writer is known."""
    machine = known(5)
    machine.failed("a", Failure.SILENT)
    assert names(machine.answered("b", writer(4), 2.0)) == ["Fence b"]
    assert machine.answered("b", writer(4), 2.1) == []
    assert names(machine.answered("c", writer(6), 3.0))[0] == "SetWriter c"
    assert names(machine.answered("a", writer(5), 4.0)) == ["Fence a"]
    assert machine.writer == "c"
    assert names(machine.answered("c", writer(5), 5.0))[0] == "LoseWriter c"


def test_a_cluster_that_was_replaced() -> None:
    """Its timelines begin anew; it is taken once the old one has no writer any more."""
    machine = Machine([A, B])
    machine.answered("a", Report(in_recovery=False, timeline=5, system=1), 1.0)
    new = Report(in_recovery=False, timeline=1, system=2)
    assert names(machine.answered("b", new, 2.0)) == ["Fence b"]
    ahead = replace(new, timeline=9)
    assert machine.answered("b", ahead, 2.0) == []
    machine.failed("a", Failure.REFUSED)
    (command, *_) = machine.answered("b", new, 3.0)
    cause = "it takes writes, and the cluster is another one now"
    assert command == SetWriter("b", cause)
    assert (machine.system, machine.timeline) == (2, 1)
    old = Report(in_recovery=False, timeline=5, system=1)
    assert names(machine.answered("a", old, 4.0)) == ["Fence a"]
    assert machine.writer == "b"


def test_replaced_at_its_address() -> None:
    """Also by a restart so quick that the old one was not missed."""
    machine = Machine([A])
    machine.answered("a", Report(in_recovery=False, timeline=5, system=1), 1.0)
    machine.answered("a", Report(in_recovery=False, timeline=1, system=2), 2.0)
    assert (machine.writer, machine.timeline) == ("a", 1)


def test_who_does_not_tell_its_system() -> None:
    """Its timelines count as ever."""
    machine = known(5)
    machine.failed("a", Failure.REFUSED)
    behind = Report(in_recovery=False, timeline=4, system=2)
    assert names(machine.answered("b", behind, 2.0)) == ["Fence b"]


def test_promoted_while_the_old_one_answers() -> None:
    """The higher timeline wins at once, and the other is fenced."""
    machine = known()
    commands = machine.answered("b", writer(2), 2.0)
    assert names(commands) == ["SetWriter b", "ReadTopology b", "Fence a"]
    assert machine.answered("a", writer(1), 3.0) == []
    assert machine.sights["a"].fenced
    machine.answered("a", STANDBY, 4.0)
    assert not machine.sights["a"].fenced


@pytest.mark.parametrize("timeline", [1, None])
def test_two_writers_of_equal_right(timeline: int | None) -> None:
    """The present one stays."""
    machine = known(timeline)
    assert names(machine.answered("b", writer(timeline), 2.0)) == ["Fence b"]
    assert machine.writer == "a"


def test_no_timelines() -> None:
    """Services that do not tell: whoever takes writes when the writer is lost."""
    machine = known(None)
    machine.failed("a", Failure.REFUSED)
    assert names(machine.answered("b", writer(None), 2.0))[0] == "SetWriter b"


def test_a_new_list() -> None:
    """Nodes come and go; new ones are asked, known ones keep what is known."""
    machine = known()
    machine.answered("b", STANDBY, 2.0)
    d = Node("d", "d", 1)
    assert machine.listed([A, B, d]) == [Ask("d")]
    assert set(machine.sights) == {"a", "b", "d"}
    assert machine.sights["b"].report == STANDBY
    assert machine.answered("c", writer(9), 3.0) == []
    assert machine.failed("c", Failure.LOST) == []


def test_the_writer_by_its_own_name() -> None:
    """An address that leads to the writer gives way to the node's own."""
    endpoint = Node("cluster", "cluster", 1)
    machine = Machine([endpoint])
    machine.answered("cluster", writer(), 1.0)
    machine.listed([A, B])
    assert machine.answered("b", STANDBY, 2.0) == []
    assert set(machine.sights) == {"cluster", "a", "b"}
    (command, _) = machine.answered("a", writer(), 3.0)
    assert command == SetWriter("a", "the list of nodes names it", same=True)
    assert set(machine.sights) == {"a", "b"}


def test_an_unlisted_writer_is_lost() -> None:
    """It is watched as long as it is the writer."""
    machine = Machine([A])
    machine.answered("a", writer(), 1.0)
    machine.listed([B, C])
    assert names(machine.failed("a", Failure.REFUSED))[0] == "LoseWriter a"
    assert names(machine.answered("b", writer(2), 3.0))[0] == "SetWriter b"
    assert set(machine.sights) == {"b", "c"}


FACTS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(
            st.sampled_from(list(Failure)),
            st.builds(Report, st.booleans(), st.one_of(st.none(), st.integers(1, 4))),
        ),
    ),
    max_size=40,
)


@given(FACTS)
def test_whatever_happens(facts: list[tuple[str, Failure | Report]]) -> None:
    """Commands and state agree, and the timeline never goes back."""
    machine = Machine([A, B, C])
    serving = False
    timeline = 0
    for name, fact in facts:
        if isinstance(fact, Failure):
            commands = machine.failed(name, fact)
        else:
            commands = machine.answered(name, fact, 1.0)
        for command in commands:
            if isinstance(command, SetWriter):
                serving = True
            elif isinstance(command, LoseWriter):
                assert serving is bool(command.name)
                serving = False
            elif isinstance(command, Fence):
                assert command.name != machine.writer or not serving
        assert serving is (machine.state is State.KNOWN)
        assert (machine.timeline or 0) >= timeline
        timeline = machine.timeline or 0
        if serving:
            assert not machine.sights[machine.writer].fenced
