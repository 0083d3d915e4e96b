"""When nodes are asked and given up, and the reading of their list."""

from __future__ import annotations

from pgswitch.topology.machine import Failure, State
from tests.fakes.cluster import ClusterSetting
from tests.fakes.probes import STANDBY, writes


def test_silence(known: ClusterSetting) -> None:
    """A writer that says nothing for a second is given up, and not much later."""
    known.wait(0.3)
    assert known.probes["a"].asked is not None
    known.wait(0.6)
    assert known.sites.done == []
    known.wait(0.2)
    assert known.sites.done == [("hold", False)]


def test_silence_of_the_monitor_alone(known: ClusterSetting) -> None:
    """Whoever answers clients is alive, however long the monitor waits."""
    known.wait(0.3)
    for _ in range(30):
        known.sites.heard = known.clock.seconds()
        known.wait(0.1)
    assert known.sites.done == []


def test_we_slept(known: ClusterSetting) -> None:
    """After a stall of our own, answers are looked at before anybody is given up."""
    known.wait(0.3)
    known.clock.advance(5.0)
    assert known.sites.done == []
    known.probes["a"].answer(writes())
    known.wait(0.2)
    assert known.sites.done == []


def test_a_silent_reader(known: ClusterSetting) -> None:
    """It is asked again later; nobody else is held up."""
    known.probes["a"].answer(writes()) if known.probes["a"].asked else None
    for _ in range(30):
        known.wait(0.1)
        for name in "ac":
            if known.probes[name].asked is not None:
                known.probes[name].answer(writes() if name == "a" else STANDBY)
    assert known.sites.done == []
    assert known.probes["b"].closed
    assert known.cluster.machine.sights["b"].failure == "no answer in time"


def test_a_kept_connection_ends(known: ClusterSetting) -> None:
    """That is a question, not an answer."""
    known.wait(0.3)
    known.probes["a"].answer(writes())
    known.probes["a"].is_connected = False
    known.probes["a"].lost()
    assert known.probes["a"].asked is not None
    assert known.sites.done == []


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
    assert known.sites.done == [("serve", "b", False)]


def test_the_pace_changes_within_a_tick(known: ClusterSetting) -> None:
    """There is one chain of ticks, however often the pace changes."""
    for _ in range(3):
        known.wait(1.5)
        assert known.cluster.machine.state is State.SEARCHING
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
    assert set(known.monitor.watches) == {"a", "c", "d"}
    known.monitor._list_from = "a"
    known.wait(0.2)
    if a.asked is not None:
        a.answer(writes())
        known.wait()
    a.list("")
    assert known.logged("named not a host: ''; the nodes stay as they are")
    assert set(known.monitor.watches) == {"a", "c", "d"}
    assert known.sites.done == []


def test_no_topology_function() -> None:
    """One node that is known serves, and the query is tried again in time."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].fail(Failure.UNFIT, "no such function")
    assert setting.logged("the topology query failed: no such function")
    assert setting.sites.done == [("wait",), ("serve", "a", True)]
    assert setting.cluster.machine.state is State.KNOWN


def test_a_node_is_lost_while_it_lists() -> None:
    """That is a reason to ask it at once, and then for the list again."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].fail(Failure.LOST, "lost")
    assert setting.logged("the topology query failed: lost")
    assert setting.probes["a"].asked is not None
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].list("a")
    assert setting.sites.done == [("wait",), ("serve", "a", True)]
