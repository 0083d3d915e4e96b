"""Which node is the writer: every state, every fact."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.cluster.cluster_state import (
    CLUSTER_STATES,
    Ask,
    Assume,
    ClusterInput,
    ClusterState,
    Fence,
    LoseWriter,
    MachineCommand,
    ReadTopology,
    SetWriter,
    WriterState,
)
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.nodes import Node, NodeReport, ProbeFailure, named

A, B, C = named([("a", 1), ("b", 1), ("c", 1)])
STANDBY = NodeReport(in_recovery=True)


def writer(timeline: int | None = 1) -> NodeReport:
    """Return the answer of a node that takes writes."""
    return NodeReport(in_recovery=False, timeline=timeline)


def known(timeline: int | None = 1) -> Machine:
    """Return a machine of three nodes whose writer is ``a``."""
    machine = begun(A, B, C)
    machine.answered("a", writer(timeline), 1.0)
    return machine


def begun(*nodes: Node) -> Machine:
    """Return a machine that has read a list; no node has answered yet."""
    machine = Machine([*nodes])
    machine.listed([*nodes], 1.0)
    machine.limits.start = 0.0
    return machine


def searching() -> Machine:
    """Return one that has just lost it."""
    machine = known()
    machine.failed("a", ProbeFailure.REFUSED, 2.0)
    return machine


def names(commands: list[MachineCommand]) -> list[str]:
    """Return the commands in short."""
    return [
        f"{type(one).__name__} {'' if isinstance(one, Assume) else one.name}"
        for one in commands
    ]


def names_or_causes(commands: list[MachineCommand]) -> list[str]:
    """Return why the configured host is served from, of other commands the names."""
    return [one.cause if isinstance(one, Assume) else one.name for one in commands]


def test_every_input_has_an_action_in_every_state() -> None:
    """The table of actions has no holes, and every state can be reached."""
    assert set(Machine.ACTIONS) == set(product(ClusterState, ClusterInput))
    reached = {after for _, _, one in CLUSTER_STATES for after in one}
    assert reached == set(ClusterState)


def test_a_start() -> None:
    """The list is read, and each node of it answers, before clients are served."""
    machine = Machine([A])
    assert machine.failed("a", ProbeFailure.REFUSED, 1.0) == []
    assert machine.answered("a", writer(1), 2.0) == [ReadTopology("a")]
    assert machine.listed([A, B, C], 2.1) == [Ask("b"), Ask("c")]
    assert machine.answered("c", STANDBY, 2.2) == []
    assert machine.writer_state is WriterState.STARTING
    commands = machine.answered("b", writer(2), 2.3)
    assert names(commands) == ["SetWriter b", "Fence a"]
    assert (machine.writer_state, machine.writer, machine.timeline) == (
        WriterState.KNOWN,
        "b",
        2,
    )


def test_a_start_with_the_writer_alone() -> None:
    """The entry's host is where connections of before went, so that they stay."""
    machine = Machine([A])
    machine.answered("a", writer(), 2.0)
    (command,) = machine.listed([A], 2.1)
    assert command == SetWriter("a", "it takes writes", same=True)


def test_a_start_by_another_name_of_the_writer() -> None:
    """An address that leads to it: what it says of itself tells."""
    report = NodeReport(in_recovery=False, timeline=3, system=7)
    for other, same in ((report, True), (replace(report, timeline=2), False)):
        machine = Machine([Node("cluster", "cluster", 1)])
        machine.answered("cluster", other, 1.0)
        machine.listed([A, B], 1.1)
        machine.answered("b", STANDBY, 1.2)
        commands = machine.answered("a", report, 1.2)
        assert commands[0] == SetWriter("a", "it takes writes", same=same)
        assert set(machine.nodes) == {"a", "b"}


@pytest.mark.parametrize(
    "failure", [ProbeFailure.REFUSED, ProbeFailure.SILENT, ProbeFailure.UNFIT]
)
def test_a_start_with_a_node_down(failure: ProbeFailure) -> None:
    """A failure counts as an answer."""
    machine = Machine([A])
    machine.answered("a", writer(), 1.0)
    machine.listed([A, B], 1.1)
    assert names(machine.failed("b", failure, 1.2))[0] == "SetWriter a"


@pytest.mark.parametrize("failure", [None, ProbeFailure.FULL, ProbeFailure.LOST])
def test_a_start_with_a_node_that_says_nothing(failure: ProbeFailure | None) -> None:
    """It keeps the others waiting for so long only."""
    machine = Machine([A])
    machine.answered("a", writer(), 1.0)
    machine.listed([A, B], 1.1)
    if failure is not None:
        machine.failed("b", failure, 1.2)
    assert machine.ticked(3.9) == []
    assert names(machine.ticked(4.0))[0] == "SetWriter a"


def test_a_start_without_a_list() -> None:
    """Each host that answers is asked for it; then they are all there is."""
    machine = Machine([A, B])
    assert machine.answered("a", writer(), 1.0) == [ReadTopology("a")]
    assert machine.list_failed("a", 1.1) == []
    assert machine.answered("b", STANDBY, 1.2) == [ReadTopology("b")]
    assert names(machine.list_failed("b", 1.3))[0] == "SetWriter a"


def test_a_list_that_cannot_be_reached() -> None:
    """The configured host serves, and is watched."""
    machine = Machine([A])
    machine.answered("a", writer(), 1.0)
    machine.listed([B, C], 1.1)
    machine.failed("b", ProbeFailure.REFUSED, 1.2)
    assert names(machine.failed("c", ProbeFailure.SILENT, 1.3))[0] == "SetWriter a"
    assert set(machine.nodes) == {"a", "b", "c"}
    (command, _) = machine.answered("b", writer(), 2.0)
    assert command == SetWriter("b", "the list of nodes names it", same=True)


def test_no_node_answers_at_the_start() -> None:
    """Clients wait; the first answer is judged with care, however late it comes."""
    machine = Machine([A])
    for failure in (ProbeFailure.REFUSED, ProbeFailure.SILENT, ProbeFailure.NOT_READY):
        assert machine.failed("a", failure, 1.0) == []
    assert machine.failed("a", ProbeFailure.LOST, 1.0) == [Ask("a")]
    assert machine.ticked(99.0) == []
    assert machine.writer_state is WriterState.STARTING
    assert machine.answered("a", writer(1), 99.1) == [ReadTopology("a")]
    assert machine.listed([A, B], 99.2) == [Ask("b")]
    assert names(machine.answered("b", writer(2), 99.3))[0] == "SetWriter b"


def test_nodes_that_cannot_tell() -> None:
    """A wrong password, say: the entry works as any other, until they can."""
    machine = Machine([A])
    (command,) = machine.failed("a", ProbeFailure.UNFIT, 1.0, "wrong password")
    assert command == Assume("a does not answer: wrong password")
    assert machine.writer_state is WriterState.ASSUMED
    assert machine.failed("a", ProbeFailure.UNFIT, 9.0, "wrong password") == []
    assert machine.answered("a", writer(), 9.5) == [ReadTopology("a")]
    assert machine.listed([A, B], 9.6) == [Ask("b")]
    assert names(machine.answered("b", writer(2), 9.7))[:1] == ["SetWriter b"]


def test_a_full_host_at_the_start() -> None:
    """It may have room in a moment; it is not believed without its word."""
    machine = Machine([A])
    assert machine.failed("a", ProbeFailure.FULL, 1.0, "too many clients") == []
    assert machine.ticked(3.9) == []
    assert names_or_causes(machine.ticked(4.0)) == [
        "a does not answer: too many clients"
    ]


def test_no_node_takes_writes_at_the_start() -> None:
    """Then the writer is searched, unless there is but one node: it is served from."""
    machine = Machine([A])
    machine.answered("a", STANDBY, 1.0)
    assert machine.listed([A, B], 1.1) == [Ask("b")]
    assert names(machine.failed("b", ProbeFailure.REFUSED, 1.2)) == ["LoseWriter "]
    assert names(machine.answered("b", writer(), 2.0))[0] == "SetWriter b"
    alone = Machine([A])
    assert alone.answered("a", STANDBY, 1.0) == [ReadTopology("a")]
    causes = ["a is in recovery, and there is no other node"]
    assert names_or_causes(alone.listed([A], 1.1)) == causes
    assert alone.answered("a", STANDBY, 2.0) == []


def test_two_clusters_in_one_list() -> None:
    """The one that most nodes belong to is meant."""
    machine = begun(A, B, C)
    machine.limits.start = 9.0
    machine.answered("a", NodeReport(in_recovery=False, timeline=9, system=1), 1.0)
    machine.answered("b", NodeReport(in_recovery=True, system=2), 1.0)
    commands = machine.answered("c", replace(writer(2), system=2), 1.0)
    assert names(commands) == ["SetWriter c", "Fence a"]


def test_a_standby_knows_of_a_later_writer() -> None:
    """One that is down now: the old writer is not taken, then or later."""
    machine = begun(A, B, C)
    machine.limits.start = 9.0
    machine.answered("a", writer(1), 1.0)
    machine.failed("b", ProbeFailure.REFUSED, 1.0)
    follower = NodeReport(in_recovery=True, follows=2)
    assert names(machine.answered("c", follower, 1.0)) == ["Fence a", "LoseWriter "]
    assert names(machine.answered("a", writer(1), 2.0)) == ["ReadTopology a"]
    assert names(machine.answered("b", writer(2), 3.0))[0] == "SetWriter b"


def test_going_on() -> None:
    """The writer of before needs but say so; an older timeline is not taken."""
    before = known(5)
    before.answered("b", writer(4), 2.0)
    knowledge = before.knowledge()
    machine = Machine([A, B, C], knowledge)
    assert machine.nodes["b"].fenced
    (command, _) = machine.answered("a", writer(5), 3.0)
    assert command == SetWriter("a", "it is still the writer", same=True)
    machine = Machine([A, B, C], knowledge)
    assert machine.failed("a", ProbeFailure.REFUSED, 3.0) == []
    assert machine.answered("b", writer(4), 3.0) == []
    assert names(machine.answered("c", STANDBY, 3.0)) == ["LoseWriter a"]
    assert names(machine.answered("c", writer(6), 4.0))[0] == "SetWriter c"


def test_a_wrong_promotion_is_forgotten() -> None:
    """A clone on a high timeline, destroyed and off the list: the others agree."""
    machine = known(4)
    machine.answered("b", writer(9), 2.0)
    assert machine.writer == "b"
    machine.failed("b", ProbeFailure.REFUSED, 3.0)
    read = ReadTopology("a")
    assert machine.answered("a", writer(4), 4.0) == [read]
    assert machine.listed([A, C], 5.0) == [Ask("c")]
    assert set(machine.nodes) == {"a", "b", "c"}
    machine.answered("c", STANDBY, 5.0)
    machine.failed("b", ProbeFailure.REFUSED, 5.0)
    assert machine.ticked(64.9) == []
    (command, _) = machine.ticked(65.0)
    assert isinstance(command, SetWriter)
    assert "b, the last writer, is no longer in the list" in command.cause
    assert (machine.writer, machine.timeline) == ("a", 4)
    assert set(machine.nodes) == {"a", "c"}


def test_what_is_not_forgotten() -> None:
    """A last writer that is listed; or others that do not agree, or hardly answer."""
    for nodes, b_writes, c_writes in (
        ([A, B, C], True, False),
        ([A, C], True, True),
        ([A, C], False, False),
    ):
        machine = known(4)
        machine.answered("b", writer(9), 2.0)
        machine.failed("b", ProbeFailure.REFUSED, 3.0)
        machine.listed(nodes, 5.0)
        machine.answered("a", writer(4) if b_writes else STANDBY, 6.0)
        machine.answered("c", writer(4) if c_writes else STANDBY, 6.0)
        assert machine.ticked(99.0) == []
    machine.answered("a", writer(4), 100.0)
    assert machine.writer == "a"
    machine = known(4)
    machine.answered("b", writer(9), 2.0)
    machine.failed("b", ProbeFailure.REFUSED, 3.0)
    machine.listed([A, C], 5.0)
    machine.answered("a", writer(4), 6.0)
    machine.failed("c", ProbeFailure.REFUSED, 6.0)
    assert machine.ticked(99.0) == []


def test_a_follower_of_the_last_writer_does_not_agree() -> None:
    """It may be promoted yet."""
    machine = known(4)
    machine.answered("b", writer(9), 2.0)
    machine.failed("b", ProbeFailure.REFUSED, 3.0)
    machine.listed([A, C], 5.0)
    machine.answered("a", writer(4), 6.0)
    machine.answered("c", NodeReport(in_recovery=True, follows=9), 6.0)
    assert machine.ticked(99.0) == []
    machine.answered("c", NodeReport(in_recovery=True, follows=4), 100.0)
    assert names(machine.ticked(101.0))[0] == "SetWriter a"


def test_deciding_again() -> None:
    """After an operator's order the last writer and its timeline are forgotten."""
    machine = known(4)
    machine.limits.start = 3.0
    machine.answered("b", writer(9), 2.0)
    assert names(machine.forget_writer(2.5)) == ["Ask a", "Ask b", "Ask c"]
    assert (machine.writer_state, machine.timeline) == (WriterState.KNOWN, 9)
    machine.failed("b", ProbeFailure.REFUSED, 3.0)
    machine.answered("a", writer(4), 3.0)
    assert names(machine.forget_writer(3.0)) == ["Ask a", "Ask b", "Ask c"]
    machine.answered("a", writer(4), 4.0)
    machine.answered("c", STANDBY, 4.0)
    assert machine.writer_state is WriterState.STARTING
    machine.failed("b", ProbeFailure.REFUSED, 4.0)
    (command,) = machine.listed([A, B, C], 4.1)
    assert command == SetWriter("a", "it takes writes")


def test_the_list_names_nodes_differently() -> None:
    """What counts is where a node is: one name may mean another node now."""
    machine = Machine([Node("h", "h", 1)])
    machine.answered("h", writer(), 1.0)
    machine.listed([Node("h", "h", 1)], 1.1)
    two, one = Node("h", "h", 2), Node("h:1", "h", 1)
    commands = machine.listed([two, one], 2.0)
    renamed = SetWriter("h:1", "the list of nodes has another name for it", same=True)
    assert commands == [renamed, Ask("h")]
    assert machine.writer == "h:1"
    assert machine.answered("h", STANDBY, 3.0) == []
    assert machine.writer_state is WriterState.KNOWN
    machine.listed([Node("h:1", "h", 3)], 4.0)
    assert machine.nodes[machine.writer].node.endpoint == ("h", 1)


@pytest.mark.parametrize(
    "failure", [ProbeFailure.REFUSED, ProbeFailure.SILENT, ProbeFailure.NOT_READY]
)
def test_the_writer_is_lost(failure: ProbeFailure) -> None:
    """Clients wait, and all the others are asked at once."""
    machine = known()
    assert names(machine.failed("a", failure, 2.0, "words")) == [
        "LoseWriter a",
        "Ask b",
        "Ask c",
    ]
    assert machine.writer_state is WriterState.SEARCHING


def test_a_lost_connection_is_a_question_only() -> None:
    """An administrator may have terminated that one backend."""
    machine = known()
    assert machine.failed("a", ProbeFailure.LOST, 2.0) == [Ask("a")]
    assert machine.suspected() == [Ask("a")]
    assert machine.answered("a", writer(), 2.0) == []
    assert machine.writer_state is WriterState.KNOWN


def test_an_answer_that_says_nothing() -> None:
    """A wrong password or too many connections do not make the writer another."""
    machine = known()
    assert machine.failed("a", ProbeFailure.UNFIT, 2.0, "too many connections") == []
    assert machine.writer_state is WriterState.KNOWN
    assert machine.nodes["a"].failure == "too many connections"


def test_a_stale_address() -> None:
    """An address that still leads to the old writer is not the new one by its name."""
    machine = begun(Node("cluster", "cluster", 1))
    machine.answered("cluster", writer(1), 1.0)
    machine.listed([A, B], 2.0)
    (command, *_) = machine.answered("a", writer(2), 3.0)
    assert command == SetWriter("a", "it was promoted")


def test_a_reader_is_lost() -> None:
    """It does not move the writer; the node keeps the reason."""
    machine = known()
    for failure in ProbeFailure:
        asked = [Ask("b")] if failure is ProbeFailure.LOST else []
        assert machine.failed("b", failure, 2.0) == asked
    assert machine.writer_state is WriterState.KNOWN
    assert machine.nodes["b"].failure


def test_demoted_in_place() -> None:
    """A writer that is in recovery no longer counts as one."""
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
    machine.failed("a", ProbeFailure.SILENT, 2.0)
    read = ["ReadTopology b"]
    assert names(machine.answered("b", writer(4), 2.0)) == ["Fence b", *read]
    assert names(machine.answered("b", writer(4), 2.1)) == read
    assert names(machine.answered("c", writer(6), 3.0))[0] == "SetWriter c"
    assert names(machine.answered("a", writer(5), 4.0)) == ["Fence a"]
    assert machine.writer == "c"
    assert names(machine.answered("c", writer(5), 5.0))[0] == "LoseWriter c"


def test_a_cluster_that_was_replaced() -> None:
    """Its timelines begin again; it is taken once the old one has no writer."""
    machine = begun(A, B)
    machine.answered("a", NodeReport(in_recovery=False, timeline=5, system=1), 1.0)
    new = NodeReport(in_recovery=False, timeline=1, system=2)
    assert names(machine.answered("b", new, 2.0)) == ["Fence b"]
    ahead = replace(new, timeline=9)
    assert machine.answered("b", ahead, 2.0) == []
    machine.failed("a", ProbeFailure.REFUSED, 2.0)
    (command, *_) = machine.answered("b", new, 3.0)
    cause = "it takes writes, and the cluster was replaced"
    assert command == SetWriter("b", cause)
    assert (machine.system, machine.timeline) == (2, 1)
    old = NodeReport(in_recovery=False, timeline=5, system=1)
    assert names(machine.answered("a", old, 4.0)) == ["Fence a"]
    assert machine.writer == "b"


def test_replaced_at_its_address() -> None:
    """Also by a restart so quick that the old one was not missed."""
    machine = begun(A)
    machine.answered("a", NodeReport(in_recovery=False, timeline=5, system=1), 1.0)
    machine.answered("a", NodeReport(in_recovery=False, timeline=1, system=2), 2.0)
    assert (machine.writer, machine.timeline) == ("a", 1)


def test_who_does_not_tell_its_system() -> None:
    """Its timelines count as usual."""
    machine = known(5)
    machine.failed("a", ProbeFailure.REFUSED, 2.0)
    behind = NodeReport(in_recovery=False, timeline=4, system=2)
    assert names(machine.answered("b", behind, 2.0))[0] == "Fence b"


def test_promoted_while_the_old_one_answers() -> None:
    """The higher timeline wins at once, and the other is fenced."""
    machine = known()
    commands = machine.answered("b", writer(2), 2.0)
    assert names(commands) == ["SetWriter b", "ReadTopology b", "Fence a"]
    assert machine.answered("a", writer(1), 3.0) == []
    assert machine.nodes["a"].fenced
    machine.answered("a", STANDBY, 4.0)
    assert not machine.nodes["a"].fenced


@pytest.mark.parametrize("timeline", [1, None])
def test_two_writers_of_equal_right(timeline: int | None) -> None:
    """The present one stays."""
    machine = known(timeline)
    assert names(machine.answered("b", writer(timeline), 2.0)) == ["Fence b"]
    assert machine.writer == "a"


def test_no_timelines() -> None:
    """Services that hide timelines: any node that takes writes after a loss."""
    machine = known(None)
    machine.failed("a", ProbeFailure.REFUSED, 2.0)
    assert names(machine.answered("b", writer(None), 2.0))[0] == "SetWriter b"


def test_a_new_list() -> None:
    """Nodes come and go; new ones are asked, known ones keep what is known."""
    machine = known()
    machine.answered("b", STANDBY, 2.0)
    d = Node("d", "d", 1)
    assert machine.listed([A, B, d], 2.0) == [Ask("d")]
    assert set(machine.nodes) == {"a", "b", "d"}
    assert machine.nodes["b"].report == STANDBY
    assert machine.answered("c", writer(9), 3.0) == []
    assert machine.failed("c", ProbeFailure.LOST, 2.0) == []


def test_the_writer_by_its_own_name() -> None:
    """An address that leads to the writer gives way to the node's own."""
    endpoint = Node("cluster", "cluster", 1)
    machine = begun(endpoint)
    machine.answered("cluster", writer(), 1.0)
    machine.listed([A, B], 2.0)
    assert machine.answered("b", STANDBY, 2.0) == []
    assert set(machine.nodes) == {"cluster", "a", "b"}
    (command, _) = machine.answered("a", writer(), 3.0)
    assert command == SetWriter("a", "the list of nodes names it", same=True)
    assert set(machine.nodes) == {"a", "b"}


def test_an_unlisted_writer_is_lost() -> None:
    """It is watched as long as it is the writer."""
    machine = begun(A)
    machine.answered("a", writer(), 1.0)
    machine.listed([B, C], 2.0)
    assert names(machine.failed("a", ProbeFailure.REFUSED, 2.0))[0] == "LoseWriter a"
    assert names(machine.answered("b", writer(2), 3.0))[0] == "SetWriter b"
    assert set(machine.nodes) == {"b", "c"}


FACTS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(
            st.sampled_from(list(ProbeFailure)),
            st.builds(
                NodeReport, st.booleans(), st.one_of(st.none(), st.integers(1, 4))
            ),
        ),
    ),
    max_size=40,
)


@given(FACTS)
def test_whatever_happens(facts: list[tuple[str, ProbeFailure | NodeReport]]) -> None:
    """Commands and state agree, and the timeline never goes back."""
    machine = begun(A, B, C)
    serving = False
    timeline = 0
    for name, fact in facts:
        if isinstance(fact, ProbeFailure):
            commands = machine.failed(name, fact, 1.0)
        else:
            commands = machine.answered(name, fact, 1.0)
        for command in commands:
            if isinstance(command, SetWriter):
                serving = True
            elif isinstance(command, LoseWriter):
                assert serving or not command.name
                serving = False
            elif isinstance(command, Fence):
                assert command.name != machine.writer or not serving
        assert serving is (machine.writer_state is WriterState.KNOWN)
        assert (machine.timeline or 0) >= timeline
        timeline = machine.timeline or 0
        if serving:
            assert not machine.nodes[machine.writer].fenced


def test_a_changed_entry_without_a_list() -> None:
    """Its hosts are all the nodes there are: new ones are asked, others forgotten."""
    for state in (WriterState.STARTING, WriterState.KNOWN, WriterState.SEARCHING):
        machine = Machine([A])
        if state is not WriterState.STARTING:
            machine.answered("a", writer(), 1.0)
            machine.list_failed("a", 1.0)
        if state is WriterState.SEARCHING:
            machine.failed("a", ProbeFailure.REFUSED, 2.0)
        assert machine.writer_state is state
        assert Ask("b") in machine.entry_changed([A, B], 3.0)
        assert set(machine.nodes) == {"a", "b"}
        machine.failed("a", ProbeFailure.REFUSED, 4.0)
        machine.answered("b", writer(2), 4.0)
        machine.list_failed("b", 4.0)
        assert (machine.writer_state, machine.writer) == (WriterState.KNOWN, "b")


def test_a_changed_entry_beside_a_list() -> None:
    """Its hosts count while the writer is searched, or the start goes on."""
    machine = known()
    assert machine.entry_changed([Node("d", "d", 1)], 2.0) == []
    assert "d" not in machine.nodes
    machine.failed("a", ProbeFailure.REFUSED, 3.0)
    other = Node("a", "elsewhere", 1)
    assert machine.entry_changed([A, other], 4.0) == [Ask("elsewhere:1")]
    assert names(machine.answered("elsewhere:1", writer(2), 5.0))[0] == (
        "SetWriter elsewhere:1"
    )


def test_a_changed_entry_has_the_list_asked_for_again() -> None:
    """The one of before may have named a function that there is not."""
    machine = Machine([A, B])
    machine.answered("a", STANDBY, 1.0)
    assert machine.list_failed("a", 1.0) == []
    assert names(machine.answered("a", STANDBY, 1.1)) == []
    machine.entry_changed([A, B], 1.2)
    assert names(machine.answered("a", STANDBY, 1.3)) == ["ReadTopology a"]


def test_a_node_that_does_not_tell_its_system() -> None:
    """It may be of any cluster: its timeline counts."""
    machine = begun(A, B, C)
    machine.limits.start = 9.0
    machine.answered("a", replace(writer(5), system=1), 1.0)
    machine.answered("b", NodeReport(in_recovery=True, system=1), 1.0)
    commands = machine.answered("c", writer(6), 1.0)
    assert names(commands) == ["SetWriter c", "Fence a"]
    machine = begun(A, B, C)
    machine.limits.start = 9.0
    machine.answered("a", replace(writer(5), system=1), 1.0)
    machine.failed("b", ProbeFailure.REFUSED, 1.0)
    follower = NodeReport(in_recovery=True, follows=6)
    assert names(machine.answered("c", follower, 1.0)) == ["Fence a", "LoseWriter "]


NODES = [Node(name, name, 1) for name in "abcd"]
INPUTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("abcd"),
            st.one_of(
                st.sampled_from(list(ProbeFailure)),
                st.builds(
                    NodeReport,
                    st.booleans(),
                    st.one_of(st.none(), st.integers(1, 4)),
                    system=st.sampled_from([None, 1, 2]),
                    follows=st.one_of(st.none(), st.integers(1, 4)),
                ),
            ),
        ),
        st.tuples(
            st.sampled_from(["listed", "renewed"]),
            st.lists(st.sampled_from(NODES), min_size=1, max_size=4, unique=True),
        ),
        st.tuples(
            st.sampled_from(["no list", "-R", "time", "suspected"]),
            st.sampled_from("abcd"),
        ),
    ),
    max_size=40,
)


def _given(
    machine: Machine, kind: str, what: object, now: float
) -> list[MachineCommand]:
    """Give a machine one input."""
    if isinstance(what, ProbeFailure):
        return machine.failed(kind, what, now)
    if isinstance(what, NodeReport):
        return machine.answered(kind, what, now)
    if isinstance(what, list):
        take = machine.listed if kind == "listed" else machine.entry_changed
        return take(what, now)
    assert isinstance(what, str)
    if kind == "no list":
        return machine.list_failed(what, now)
    return machine.ticked(now) if kind == "time" else machine.suspected(what)


@given(INPUTS)
def test_whatever_happens_to_the_list(inputs: list[tuple[str, object]]) -> None:
    """The start ends, and no writer of a cluster gives way to an older timeline.

    Whatever is listed, renewed, handed to another process or not answered.
    """
    machine = Machine(NODES[:1])
    latest: dict[int, int] = {}
    now = 1.0
    for kind, what in inputs:
        now += 0.01
        if kind == "-R":
            machine = Machine(machine.seeds, machine.knowledge())
            assert machine.writer_state is WriterState.STARTING
            continue
        before = machine.writer_state
        for command in _given(machine, kind, what, now):
            if isinstance(command, SetWriter):
                assert command.name == machine.writer
        assert (
            before is WriterState.STARTING
            or machine.writer_state is not WriterState.STARTING
        )
        if machine.writer_state is WriterState.KNOWN:
            assert not machine.nodes[machine.writer].fenced
            system, timeline = machine.system or 0, machine.timeline or 0
            # Another cluster may take the place of one, and begins its own.
            latest = {system: max(timeline, latest.get(system, 0))}
            assert timeline == latest[system]
    # All that are there tell what they are: a start ends.
    for name in [*machine.nodes]:
        machine.answered(name, STANDBY, now)
    machine.ticked(now + machine.limits.start + 1)
    assert machine.writer_state is not WriterState.STARTING


def test_nodes_that_answer_at_last() -> None:
    """As at a start: the list is read, and the others are waited for."""
    machine = Machine([A])
    causes = names_or_causes(machine.failed("a", ProbeFailure.UNFIT, 1.0, "no keys"))
    assert causes == ["a does not answer: no keys"]
    assert machine.ticked(50.0) == []
    assert machine.answered("a", writer(1), 99.0) == [ReadTopology("a")]
    assert machine.listed([A, B], 99.1) == [Ask("b")]
    assert names(machine.answered("b", writer(2), 99.2)) == ["SetWriter b", "Fence a"]


def test_a_list_beside_an_only_standby() -> None:
    """Its clients stay until the others had time to speak."""
    machine = Machine([A])
    machine.answered("a", STANDBY, 1.0)
    machine.listed([A], 1.1)
    assert machine.writer_state is WriterState.ASSUMED
    assert machine.listed([A, B], 99.0) == [Ask("b")]
    assert machine.ticked(99.1) == []
    assert names(machine.answered("b", writer(), 99.2)) == ["SetWriter b"]


def test_a_node_that_starts_up_at_the_start() -> None:
    """It may be the writer, on a higher timeline: it is given its time."""
    machine = Machine([A])
    machine.answered("a", writer(1), 1.0)
    machine.listed([A, B], 1.1)
    assert machine.failed("b", ProbeFailure.NOT_READY, 1.2) == []
    assert machine.ticked(2.0) == []
    assert names(machine.answered("b", writer(2), 2.1)) == ["SetWriter b", "Fence a"]
    machine = Machine([A])
    machine.answered("a", writer(1), 1.0)
    machine.listed([A, B], 1.1)
    machine.failed("b", ProbeFailure.NOT_READY, 1.2)
    assert names(machine.ticked(4.0)) == ["SetWriter a"]
