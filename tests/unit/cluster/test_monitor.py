"""When nodes are asked and given up, and the reading of their list."""

from __future__ import annotations

import itertools

import pytest

from pgswitch.cluster.cluster_state import WriterState
from pgswitch.cluster.nodes import ProbeFailure
from tests.fakes.cluster import ClusterSetting
from tests.fakes.probes import STANDBY, writes


def test_silence(known: ClusterSetting) -> None:
    """A writer that says nothing for a second is given up, and not much later."""
    known.wait(0.3)
    assert known.probes["a"].asked is not None
    known.wait(0.6)
    assert known.routes.done == []
    known.wait(0.2)
    assert known.routes.done == [("hold", False)]


def test_silence_of_the_monitor_alone(known: ClusterSetting) -> None:
    """A node that answers clients is alive, however long the monitor waits."""
    known.wait(0.3)
    for _ in range(30):
        known.routes.client_answered = known.clock.seconds()
        known.wait(0.1)
    assert known.routes.done == []


def test_we_slept(known: ClusterSetting) -> None:
    """After a stall of our own, answers are read before any node is given up."""
    known.wait(0.3)
    known.clock.advance(5.0)
    assert known.routes.done == []
    known.probes["a"].answer(writes())
    known.wait(0.2)
    assert known.routes.done == []


def test_a_silent_reader(known: ClusterSetting) -> None:
    """It is probed again later; it delays no other node."""
    known.probes["a"].answer(writes()) if known.probes["a"].asked else None
    for _ in range(30):
        known.wait(0.1)
        for name in "ac":
            if known.probes[name].asked is not None:
                known.probes[name].answer(writes() if name == "a" else STANDBY)
    assert known.routes.done == []
    assert known.probes["b"].closed
    assert known.cluster.machine.nodes["b"].failure == "no answer in time"


def test_a_kept_connection_ends(known: ClusterSetting) -> None:
    """That is a question, not an answer."""
    known.wait(0.3)
    known.probes["a"].answer(writes())
    known.probes["a"].is_connected = False
    known.probes["a"].lost()
    assert known.probes["a"].asked is not None
    assert known.routes.done == []


def test_a_hint(known: ClusterSetting) -> None:
    """A client's lost server makes the writer be asked at once, and once more."""
    known.cluster.suspect()
    first = known.probes["a"].asked
    assert first is not None
    known.cluster.suspect()
    known.probes["a"].answer(writes())
    assert known.probes["a"].asked not in (None, first)


def test_on_the_alert(known: ClusterSetting) -> None:
    """The rest of a crashed writer still answers, but another is promoted already."""
    known.wait(0.3)
    known.cluster.suspect()
    known.probes["a"].answer(writes())
    if known.probes["a"].asked is not None:
        known.probes["a"].answer(writes())
    known.wait(0.1)
    known.probes["b"].answer(writes(2))
    assert known.routes.done == [("serve", "b", False)]


def test_the_pace_changes_within_a_tick(known: ClusterSetting) -> None:
    """There is one chain of ticks, however often the pace changes."""
    for _ in range(3):
        known.wait(1.5)
        assert known.cluster.machine.writer_state is WriterState.SEARCHING
        assert known.probes["a"].asked is not None
        known.probes["a"].answer(writes())
        known.wait(0.1)
        if known.probes["a"].reading is not None:
            known.probes["a"].list("a", "b", "c")
        assert len(known.clock.getDelayedCalls()) == 1


def test_the_list_again(known: ClusterSetting) -> None:
    """Nodes come and go; a bad list changes nothing and is complained of once."""
    a = known.probes["a"]
    while len(a.queries) < 2:
        known.wait(0.1)
        for probe in known.probes.values():
            if probe.asked is not None:
                probe.answer(writes() if probe.node.name == "a" else STANDBY)
    a.list("a", "c", "d")
    assert set(known.monitor.polls) == {"a", "c", "d"}
    known.monitor._list_from = "a"
    known.wait(0.2)
    if a.asked is not None:
        a.answer(writes())
        known.wait()
    a.list("")
    assert known.logged("named not a host: ''; the nodes stay as they are")
    assert set(known.monitor.polls) == {"a", "c", "d"}
    assert known.routes.done == []


def test_no_topology_function() -> None:
    """One node that is known serves, and the query is tried again in time."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].fail(ProbeFailure.UNFIT, "no such function")
    assert setting.logged("the topology query failed: no such function")
    assert setting.routes.done == [("wait",), ("serve", "a", True)]
    assert setting.cluster.machine.writer_state is WriterState.KNOWN


def test_a_node_is_lost_while_it_lists() -> None:
    """That is a reason to ask it at once, and then for the list again."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].fail(ProbeFailure.LOST, "lost")
    assert setting.logged("the topology query failed: lost")
    assert setting.probes["a"].asked is not None
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].list("a")
    assert setting.routes.done == [("wait",), ("serve", "a", True)]


def let_nodes_answer(known: ClusterSetting, seconds: float) -> None:
    """Let time pass while ``b`` and ``c`` answer."""
    for _ in range(round(seconds / 0.05)):
        known.wait(0.05)
        for name in "bc":
            if known.probes[name].asked is not None:
                known.probes[name].answer(STANDBY)


def test_a_connect_that_hangs(known: ClusterSetting) -> None:
    """A writer that has answered is reported silent in time; the connect goes on."""
    a = known.probes["a"]
    let_nodes_answer(known, 0.3)
    a.answer(writes())
    a.is_connected = a.is_reached = False
    a.lost()
    let_nodes_answer(known, 0.1)
    a.is_reached = True
    let_nodes_answer(known, 0.8)
    assert known.routes.done == []
    let_nodes_answer(known, 0.3)
    assert known.routes.done == [("hold", False)]
    assert known.logged("the writer a is lost: no answer in time")
    assert a.closed == 0
    let_nodes_answer(known, 10.0)
    assert a.closed == 0
    a.answer(writes())
    assert known.routes.done == [("hold", False), ("serve", "a", False)]


def test_a_connect_that_hangs_while_clients_are_answered(
    known: ClusterSetting,
) -> None:
    """New connections may be slow: a node that answers clients is alive."""
    a = known.probes["a"]
    let_nodes_answer(known, 0.3)
    a.answer(writes())
    a.is_connected = a.is_reached = False
    a.lost()
    a.is_reached = True
    for _ in range(30):
        known.routes.client_answered = known.clock.seconds()
        let_nodes_answer(known, 0.1)
    assert known.routes.done == []


def test_a_connect_that_never_ends() -> None:
    """It has its own deadline; the log tells which, at first and each minute."""
    setting = ClusterSetting()
    setting.monitor.intervals.connect_timeout = 5.0
    setting.probes["a"].is_reached = True
    setting.wait(4.8)
    assert setting.probes["a"].closed == 0
    setting.wait(0.3)
    assert setting.probes["a"].closed == 1
    said = "a: health check failed for 2 s: not logged in yet, which may last 5 s"
    assert setting.logged(said)
    for _ in range(14):
        setting.probes["a"].is_reached = True
        setting.wait(5.1)
    lines = [one for one in setting.captured.lines if "health check failed" in one]
    assert len(lines) == 2
    assert "(server_connect_timeout)" in lines[-1]


def test_a_host_that_does_not_accept() -> None:
    """It is tried again soon, for the kernel waits ever longer before it does."""
    setting = ClusterSetting()
    closed_at = []
    began = setting.clock.seconds()
    for _ in range(900):
        before = setting.probes["a"].closed
        setting.wait(0.01)
        if setting.probes["a"].closed != before:
            closed_at.append(round(setting.clock.seconds() - began, 1))
    gaps = [b - a for a, b in itertools.pairwise(closed_at)]
    assert closed_at[0] == pytest.approx(0.9, abs=0.15)
    assert gaps[:3] == pytest.approx([2.0, 3.0, 1.0], abs=0.3)
    assert setting.logged("connection not accepted within")


def test_a_long_way(known: ClusterSetting) -> None:
    """What a question takes there and back is no silence."""
    poll = known.monitor.polls["b"]
    poll.min_login_time, poll.min_round_trip = 3.0, 0.6
    while known.probes["b"].asked is None:
        known.wait(0.01)
        if known.probes["a"].asked is not None:
            known.probes["a"].answer(writes())
    for _ in range(11):
        known.wait(0.05)
        if known.probes["a"].asked is not None:
            known.probes["a"].answer(writes())
    assert known.probes["b"].closed == 0


def test_a_long_way_right_after_an_answer(known: ClusterSetting) -> None:
    """The way counts from then on, too; what is silent for longer is given up."""
    a, b = known.probes["a"], known.probes["b"]
    poll = known.monitor.polls["b"]

    def writer_answers(seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            known.wait(0.05)
            if a.asked is not None:
                a.answer(writes())

    known.monitor.ask("b")
    b.answer(STANDBY)
    poll.min_login_time, poll.min_round_trip = 3.0, 0.3
    known.monitor.ask("b")
    writer_answers(1.2)
    assert b.closed == 0
    writer_answers(0.2)
    assert b.closed == 1


def test_a_name_that_moves(known: ClusterSetting) -> None:
    """Clients wait until the writer has answered where its name leads now."""
    a = known.probes["a"]
    let_nodes_answer(known, 0.3)
    a.address = "10.0.0.1"
    a.answer(writes(2))
    assert known.monitor.address_of(a.node) == "10.0.0.1"
    known.cluster.moved("a", {"10.0.0.9"})
    known.cluster.moved("b.example", {"10.0.0.1"})
    assert known.routes.done == [("close", "a", {"10.0.0.9"})]
    known.routes.done.clear()
    known.cluster.moved("a", {"10.0.0.1"})
    assert known.routes.done == [("hold", True), ("close", "a", {"10.0.0.1"})]
    assert known.logged("a is lost: its name leads to another address")
    assert a.closed == 1
    assert known.monitor.address_of(a.node) == ""
    known.routes.done.clear()
    a.address = "10.0.0.2"
    a.answer(writes(1))
    assert known.routes.done == []
    assert known.logged("a is fenced: it is on an older timeline")
    known.wait(0.1)
    a.answer(writes(2))
    assert known.routes.done == [("serve", "a", False)]
    assert known.monitor.address_of(a.node) == "10.0.0.2"


def test_a_name_that_moves_while_its_node_is_asked(known: ClusterSetting) -> None:
    """What the old machine would say is of no interest any more."""
    a = known.probes["a"]
    let_nodes_answer(known, 0.3)
    a.address = "10.0.0.1"
    a.answer(writes())
    let_nodes_answer(known, 0.3)
    first = a.asked
    assert first is not None
    known.cluster.moved("a", {"10.0.0.1"})
    assert a.asked is not None
    assert a.asked is not first


def test_an_answer_from_elsewhere(known: ClusterSetting) -> None:
    """Of a name with several addresses another may have taken the connection."""
    a = known.probes["a"]
    let_nodes_answer(known, 0.3)
    a.address = "10.0.0.1"
    a.answer(writes())
    let_nodes_answer(known, 0.3)
    a.address = "10.0.0.2"
    a.answer(writes())
    assert known.routes.done == [("hold", True), ("serve", "a", False)]


class PinnedNames:
    """Notes which addresses names were pinned to."""

    def __init__(self) -> None:
        """Begin with none."""
        self.pinned: dict[str, str] = {}

    def pin(self, host: str, address: str) -> None:
        """Note."""
        self.pinned.setdefault(host, address)

    def unpin(self, host: str) -> None:
        """Forget."""
        self.pinned.pop(host, None)


def test_which_address_is_used(known: ClusterSetting) -> None:
    """The one that has answered; another when that is no use, or answers instead."""
    names = known.monitor.names = PinnedNames()
    a = known.probes["a"]

    def seen() -> dict[str, str]:
        return dict(names.pinned)

    def wait_for_question() -> None:
        while a.asked is None:
            let_nodes_answer(known, 0.05)

    def answer(address: str) -> None:
        wait_for_question()
        a.address = address
        a.answer(writes())

    answer("a")
    assert seen() == {}
    answer("10.0.0.1")
    names.unpin("a")
    answer("10.0.0.1")
    assert seen() == {"a": "10.0.0.1"}
    answer("10.0.0.2")
    assert seen() == {"a": "10.0.0.2"}
    wait_for_question()
    a.fail(ProbeFailure.UNFIT, "too many clients")
    assert seen() == {"a": "10.0.0.2"}
    wait_for_question()
    a.fail(ProbeFailure.REFUSED, "refused")
    assert seen() == {}
