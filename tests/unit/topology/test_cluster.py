"""One cluster at work, on probes and pools that only note what they are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from pgswitch.topology.cluster import Cluster, Pace
from pgswitch.topology.machine import Failure, Machine, Report, State
from pgswitch.topology.nodes import Node, named
from pgswitch.topology.recording import replay
from tests.fakes.probes import STANDBY, FakeProbe, writes
from tests.unit.captured import CapturedLog

STEP_S = 0.01


class NotedSites:
    """Notes what a cluster does to its pools."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.done: list[tuple[object, ...]] = []
        self.warm: list[str] = []
        self.readers: list[str] = []
        self.heard = float("-inf")

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Note."""
        self.done.append(("serve", node.name, same))

    def hold(self, *, is_leaving: bool) -> None:
        """Note."""
        self.done.append(("hold", is_leaving))

    def keep_warm(self, nodes: list[Node]) -> None:
        """Note."""
        self.warm = [node.name for node in nodes]

    def read_from(self, nodes: list[Node], readers: list[Node]) -> None:
        """Note."""
        assert set(readers) <= set(nodes)
        self.readers = [node.name for node in readers]

    def waiting(self) -> tuple[int, float]:
        """Return what the test says."""
        return 3, 0.5

    def heard_at(self, _node: Node) -> float:
        """Return what the test says."""
        return self.heard


class Setting:
    """A cluster, its clock and its nodes."""

    def __init__(self, hosts: str = "a") -> None:
        """Start it with these hosts in the configuration."""
        self.clock = Clock()
        self.clock.advance(100.0)
        self.sites = NotedSites()
        self.captured = CapturedLog()
        self.probes: dict[str, FakeProbe] = {}
        self.recorded: list[str] = []
        self.cluster = Cluster(
            key="db",
            query="select host",
            port=5432,
            machine=Machine(named((host, 5432) for host in hosts)),
            sites=self.sites,
            make_probe=self._probe,
            clock=self.clock.seconds,
            log=self.captured.log,
            pace=Pace(),
            record=self.recorded.append,
        )
        self.cluster.start(self.clock)
        self.wait()

    def _probe(self, node: Node, lost: Callable[[], None]) -> FakeProbe:
        probe = self.probes[node.name] = FakeProbe(node, lost)
        return probe

    def wait(self, seconds: float = 0.1) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)

    def logged(self, words: str) -> bool:
        """Tell whether some words were logged."""
        return any(words in line for line in self.captured.lines)


@pytest.fixture
def known() -> Setting:
    """Return a cluster of three whose writer is ``a``."""
    setting = Setting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].list("a", "b", "c")
    for name in "bc":
        setting.probes[name].answer(STANDBY)
    setting.sites.done.clear()
    return setting


def test_the_beginning() -> None:
    """The configured host is asked, then tells the list; the others are kept warm."""
    setting = Setting()
    setting.probes["a"].answer(writes())
    assert setting.sites.done == [("serve", "a", True)]
    setting.wait()
    assert setting.probes["a"].queries == ["select host"]
    setting.probes["a"].list("a", "b")
    assert set(setting.probes) == {"a", "b"}
    assert setting.sites.warm == ["b"]
    assert setting.logged("the nodes are a, b")


def test_a_move(known: Setting) -> None:
    """Clients are held, the standbys asked all the time, the first writer taken."""
    known.wait(0.3)
    known.probes["a"].fail(Failure.LOST)
    known.probes["a"].fail(Failure.REFUSED, "refused")
    assert known.sites.done == [("hold", True)]
    known.probes["b"].answer(STANDBY)
    known.wait(0.02)
    known.probes["b"].answer(writes(2))
    assert known.sites.done[1:] == [("serve", "b", False)]
    assert known.sites.warm == ["a", "c"]
    assert known.cluster.machine.timeline == 2
    (event,) = known.cluster.events
    assert (event.old, event.new, event.cause) == ("a", "b", "refused")
    assert event.suspected_at <= event.lost_at < event.found_at
    assert (event.held, event.longest_wait, event.served_at) == (3, 0.5, 0.0)
    known.cluster.served()
    assert event.served_at >= event.found_at


def test_what_is_recorded(known: Setting) -> None:
    """Given to a machine again, it decides the same."""
    known.wait(0.3)
    known.probes["a"].fail(Failure.REFUSED, "refused")
    known.probes["b"].answer(writes(2))
    steps = list(replay(known.recorded))
    assert (steps[-1].state, steps[-1].writer) == ("known", "b")
    assert known.cluster.machine.writer == "b"
    known.wait()
    known.probes["b"].list("a", "b", "c")
    before = len(known.recorded)
    known.wait(0.4)
    known.probes["b"].answer(writes(2))
    assert len(known.recorded) == before


def test_the_tally(known: Setting) -> None:
    """Of clients that lost their server: that of a move stays with its event."""
    known.cluster.suspect()
    known.cluster.tally.retried += 1
    known.probes["a"].answer(writes())
    assert known.cluster.tally.retried == 0
    known.cluster.suspect()
    known.cluster.tally.errors["08007"] += 1
    known.probes["a"].fail(Failure.REFUSED, "refused")
    known.probes["b"].answer(writes(2))
    known.cluster.tally.retried += 2
    known.wait()
    known.probes["b"].list("a", "b", "c")
    known.wait(0.4)
    known.probes["b"].answer(writes(2))
    (event,) = known.cluster.events
    assert (event.tally.retried, event.tally.errors) == (2, {"08007": 1})
    assert known.cluster.tally.retried == 0


def test_silence(known: Setting) -> None:
    """A writer that says nothing for a second is given up, and not much later."""
    known.wait(0.3)
    assert known.probes["a"].asked is not None
    known.wait(0.6)
    assert known.sites.done == []
    known.wait(0.2)
    assert known.sites.done == [("hold", False)]


def test_silence_of_the_monitor_alone(known: Setting) -> None:
    """Whoever answers clients is alive, however long the monitor waits."""
    known.wait(0.3)
    for _ in range(30):
        known.sites.heard = known.clock.seconds()
        known.wait(0.1)
    assert known.sites.done == []


def test_we_slept(known: Setting) -> None:
    """After a stall of our own, answers are looked at before anybody is given up."""
    known.wait(0.3)
    known.clock.advance(5.0)
    assert known.sites.done == []
    known.probes["a"].answer(writes())
    known.wait(0.2)
    assert known.sites.done == []


def test_a_silent_reader(known: Setting) -> None:
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


def test_a_kept_connection_ends(known: Setting) -> None:
    """That is a question, not an answer."""
    known.wait(0.3)
    known.probes["a"].answer(writes())
    known.probes["a"].is_connected = False
    known.probes["a"].lost()
    assert known.probes["a"].asked is not None
    assert known.sites.done == []


def test_a_hint(known: Setting) -> None:
    """A client's lost server makes the writer be asked at once, and once more."""
    known.cluster.suspect()
    first = known.probes["a"].asked
    assert first is not None
    known.cluster.suspect()
    known.probes["a"].answer(writes())
    assert known.probes["a"].asked not in (None, first)


def test_on_the_alert(known: Setting) -> None:
    """The rest of a crashed writer still answers, but another is promoted already."""
    known.wait(0.3)
    known.cluster.suspect()
    known.probes["a"].answer(writes())
    if known.probes["a"].asked is not None:
        known.probes["a"].answer(writes())
    known.wait(0.1)
    known.probes["b"].answer(writes(2))
    assert known.sites.done == [("serve", "b", False)]


def test_the_pace_changes_within_a_tick(known: Setting) -> None:
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


def test_two_writers(known: Setting) -> None:
    """The higher timeline wins at once, without a gap."""
    known.wait(0.6)
    known.probes["a"].answer(writes())
    known.wait(0.6)
    known.probes["b"].answer(writes(2))
    assert known.sites.done[-1] == ("serve", "b", False)
    assert known.logged("a is fenced: another node was promoted")
    assert known.sites.warm == ["c"]


def test_the_list_again(known: Setting) -> None:
    """Nodes come and go; a bad list changes nothing and is complained of once."""
    a = known.probes["a"]
    while len(a.queries) < 2:
        known.wait(0.1)
        for probe in known.probes.values():
            if probe.asked is not None:
                probe.answer(writes() if probe.node.name == "a" else STANDBY)
    a.list("a", "c", "d")
    assert set(known.cluster.watches) == {"a", "c", "d"}
    known.cluster._list_from = "a"
    known.wait(0.2)
    if a.asked is not None:
        a.answer(writes())
        known.wait()
    a.list("")
    assert known.logged("named not a host: ''; the nodes stay as they are")
    assert set(known.cluster.watches) == {"a", "c", "d"}
    assert known.sites.done == []


def test_readers(known: Setting) -> None:
    """Standbys that answer and are not too far behind."""
    assert known.sites.readers == ["b", "c"]
    known.cluster.pace.max_lag, known.cluster.pace.max_lag_bytes = 5.0, 1000
    reports = {
        "a": Report(in_recovery=False, timeline=1, lsn=5000),
        "b": Report(in_recovery=True, lsn=4000, lag_s=5.0),
        "c": Report(in_recovery=True, lsn=3999, lag_s=0.0),
    }

    known.wait(0.3)
    known.probes["a"].answer(reports["a"])
    known.wait(0.7)
    known.probes["b"].answer(reports["b"])
    known.probes["c"].answer(reports["c"])
    assert known.sites.readers == ["b"]
    sights = known.cluster.machine.sights
    assert known.cluster.unfit(sights["c"]) == "1001 bytes behind"
    known.cluster.pace.max_lag = 4.0
    assert known.cluster.unfit(sights["b"]) == "5 s behind"
    assert known.cluster.unfit(sights["a"]) == "writer"
    known.probes["b"].lost()
    known.probes["b"].fail(Failure.REFUSED, "refused")
    assert known.sites.readers == []
    assert known.cluster.unfit(sights["b"]) == "refused"


def test_no_topology_function() -> None:
    """One node that is known serves, and the query is tried again in time."""
    setting = Setting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].fail(Failure.UNFIT, "no such function")
    assert setting.logged("the topology query failed: no such function")
    assert setting.sites.done == [("serve", "a", True)]
    assert setting.cluster.machine.state is State.KNOWN


def test_stop(known: Setting) -> None:
    """Nothing goes on after it."""
    known.cluster.stop()
    assert all(probe.closed for probe in known.probes.values())
    assert known.clock.getDelayedCalls() == []
    assert known.sites.done == []
