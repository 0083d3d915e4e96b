"""One cluster, on fake probes and routes that note every call."""

from __future__ import annotations

from dataclasses import replace

from pgswitch.cluster.cluster import Switchover
from pgswitch.cluster.cluster_state import ClusterState, WriterState
from pgswitch.cluster.node_checks import CheckResult
from pgswitch.cluster.nodes import NodeReport, ProbeFailure, named
from pgswitch.cluster.recording import replay
from tests.fakes.cluster import ClusterSetting
from tests.fakes.probes import STANDBY, writes


def test_the_beginning() -> None:
    """The configured host gives the list; clients wait until all its nodes answer."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    assert setting.probes["a"].queries == ["select host"]
    setting.probes["a"].list("a", "b")
    assert set(setting.probes) == {"a", "b"}
    assert setting.routes.done == [("wait",)]
    assert setting.routes.readers == []
    setting.probes["b"].answer(STANDBY)
    assert setting.routes.done == [("wait",), ("serve", "a", True)]
    assert setting.routes.readers == ["b"]
    assert setting.routes.standby_nodes == ["b"]
    assert setting.logged("the nodes are a, b")


def test_a_move(known: ClusterSetting) -> None:
    """Clients wait, the standbys are polled fast, the first writer is taken."""
    known.wait(0.3)
    known.probes["a"].fail(ProbeFailure.LOST)
    known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
    assert known.routes.done == [("hold", True)]
    known.probes["b"].answer(STANDBY)
    known.wait(0.02)
    known.probes["b"].answer(writes(2))
    assert known.routes.done[1:] == [("serve", "b", False)]
    assert known.routes.standby_nodes == ["a", "c"]
    assert known.cluster.machine.timeline == 2
    (event,) = known.cluster.events
    assert (event.old, event.new, event.cause) == ("a", "b", "refused")
    assert event.suspected_at <= event.lost_at < event.found_at
    assert (event.held, event.longest_wait, event.served_at) == (3, 0.5, 0.0)
    known.cluster.server_ready()
    assert event.served_at >= event.found_at


def test_what_is_recorded(known: ClusterSetting) -> None:
    """Given to a machine again, it decides the same."""
    known.wait(0.3)
    known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
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


def test_the_tally(known: ClusterSetting) -> None:
    """Of clients that lost their server: that of a move stays with its event."""
    known.cluster.suspect()
    known.cluster.loss_counts.retried += 1
    known.probes["a"].answer(writes())
    assert known.cluster.loss_counts.retried == 0
    known.cluster.suspect()
    known.cluster.loss_counts.errors["08007"] += 1
    known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
    known.probes["b"].answer(writes(2))
    known.cluster.loss_counts.retried += 2
    known.wait()
    known.probes["b"].list("a", "b", "c")
    known.wait(0.4)
    known.probes["b"].answer(writes(2))
    (event,) = known.cluster.events
    assert (event.loss_counts.retried, event.loss_counts.errors) == (2, {"08007": 1})
    assert known.cluster.loss_counts.retried == 0


def test_two_writers(known: ClusterSetting) -> None:
    """The higher timeline wins at once, without a gap."""
    known.wait(0.6)
    known.probes["a"].answer(writes())
    known.wait(0.6)
    known.probes["b"].answer(writes(2))
    assert known.routes.done[-1] == ("serve", "b", False)
    assert known.logged("a is fenced: another node was promoted")
    assert known.routes.standby_nodes == ["c"]


def test_readers(known: ClusterSetting) -> None:
    """Standbys that answer and do not lag too far."""
    assert known.routes.readers == ["b", "c"]
    known.cluster.fitness.max_lag, known.cluster.fitness.max_lag_bytes = 5.0, 1000
    reports = {
        "a": NodeReport(in_recovery=False, timeline=1, lsn=5000),
        "b": NodeReport(in_recovery=True, lsn=4000, lag_s=5.0),
        "c": NodeReport(in_recovery=True, lsn=3999, lag_s=0.0),
    }

    known.wait(0.3)
    known.probes["a"].answer(reports["a"])
    known.wait(0.7)
    known.probes["b"].answer(reports["b"])
    known.probes["c"].answer(reports["c"])
    assert known.routes.readers == ["b"]
    nodes = known.cluster.machine.nodes
    assert known.cluster.fitness.unfit(nodes["c"]) == "1001 bytes behind"
    known.cluster.fitness.max_lag = 4.0
    assert known.cluster.fitness.unfit(nodes["b"]) == "5 s behind"
    assert known.cluster.fitness.unfit(nodes["a"]) == "writer"
    known.probes["b"].lost()
    known.probes["b"].fail(ProbeFailure.REFUSED, "refused")
    assert known.routes.readers == []
    assert known.cluster.fitness.unfit(nodes["b"]) == "refused"


def test_readers_without_an_upstream(known: ClusterSetting) -> None:
    """They say that they are up to date, and are not read from while others are."""
    stray = NodeReport(in_recovery=True, lsn=5000, lag_s=0.0, source="none")
    old = NodeReport(
        in_recovery=True, lsn=6000, lag_s=0.0, source="streaming", follows=1
    )
    known.wait(0.3)
    known.probes["a"].answer(NodeReport(in_recovery=False, timeline=2, lsn=5000))
    known.wait(0.7)
    known.probes["b"].answer(stray)
    known.probes["c"].answer(old)
    assert known.routes.readers == []
    nodes = known.cluster.machine.nodes
    assert known.cluster.fitness.unfit(nodes["b"]) == "no WAL receiver"
    assert known.cluster.fitness.unfit(nodes["c"]).startswith("follows timeline 1")
    assert known.cluster.fitness.lag_bytes(nodes["b"]) == 0
    assert known.cluster.fitness.lag_bytes(nodes["c"]) is None
    known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
    assert known.routes.readers == ["b", "c"]


def test_readers_that_replay_nothing(known: ClusterSetting) -> None:
    """What the writer has written since counts, not what they say of themselves."""
    known.cluster.fitness.max_lag = 2.0
    still = NodeReport(in_recovery=True, lsn=5000, lag_s=0.0)
    known.wait(0.3)
    known.probes["a"].answer(NodeReport(in_recovery=False, timeline=1, lsn=5000))
    known.wait(0.7)
    known.probes["b"].answer(still)
    known.probes["a"].answer(NodeReport(in_recovery=False, timeline=1, lsn=5001))
    assert known.routes.readers == ["b", "c"]
    answers = {"a": writes(), "b": still, "c": STANDBY}
    for _ in range(11):
        known.wait(0.3)
        for name, answer in answers.items():
            if known.probes[name].asked is not None:
                known.probes[name].answer(answer)
    assert known.routes.readers == ["c"]
    nodes = known.cluster.machine.nodes
    assert known.cluster.fitness.unfit(nodes["b"]).endswith(" s behind")


def test_a_reader_of_another_cluster(known: ClusterSetting) -> None:
    """What it has are other data."""
    known.wait(0.3)
    known.probes["a"].answer(replace(writes(), system=7))
    known.wait(0.7)
    known.probes["b"].answer(replace(STANDBY, system=8))
    known.probes["c"].answer(replace(STANDBY, system=7))
    assert known.routes.readers == ["c"]
    status = known.cluster.machine.nodes["b"]
    assert known.cluster.fitness.unfit(status) == "a node of another cluster"


def test_connections_to_a_lost_node(known: ClusterSetting) -> None:
    """They are not trusted any more; a refusal says nothing of them."""
    known.wait(0.3)
    known.probes["a"].answer(writes())
    known.wait(0.7)
    known.probes["c"].fail(ProbeFailure.UNFIT, "too many clients")
    assert known.routes.lost_nodes == []
    known.probes["b"].answer(STANDBY)
    known.probes["b"].lost()
    known.probes["b"].fail(ProbeFailure.REFUSED)
    assert known.routes.lost_nodes == [("b", False)] * 2
    known.wait(1.1)
    known.probes["b"].fail(ProbeFailure.SILENT)
    assert ("b", True) in known.routes.lost_nodes


def test_a_node_that_does_not_let_us_in() -> None:
    """Said once, with what to do; asked again, but not in a hurry."""
    setting = ClusterSetting()
    for _ in range(2):
        setting.probes["a"].fail(ProbeFailure.UNFIT, "password authentication failed")
        setting.wait(0.5)
        assert setting.probes["a"].asked is None
        setting.wait(0.6)
    words = (
        "a: health check failed: password authentication failed; the monitor logs in"
    )
    assert sum(words in line for line in setting.captured.lines) == 1
    setting.probes["a"].fail(ProbeFailure.UNFIT, "too many clients")
    assert setting.captured.lines[-1].endswith(
        "a: health check failed: too many clients"
    )
    assert setting.routes.done == [("wait",), ("serve as configured",)]
    words = "clients are served by the configured host: a does not answer: password"
    assert setting.logged(words)


def test_a_list_that_cannot_be_had() -> None:
    """No such table, nonsense in it, nothing in it: the host alone is the cluster."""
    for hosts in (None, ["not a host"], []):
        setting = ClusterSetting()
        setting.probes["a"].answer(writes())
        setting.wait()
        if hosts is None:
            setting.probes["a"].fail(ProbeFailure.UNFIT, "no such table")
        else:
            setting.probes["a"].list(*hosts)
        assert setting.routes.done == [("wait",), ("serve", "a", True)]
        steps = list(replay(setting.recorded))
        assert (steps[-1].state, steps[-1].writer) == ("known", "a")


def test_a_node_that_lets_the_others_wait() -> None:
    """Not for ever; the record tells when time was up."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].list("a", "b")
    setting.cluster.machine.limits.start = 0.5
    setting.wait(0.3)
    assert setting.routes.done == [("wait",)]
    setting.wait(0.3)
    assert setting.routes.done == [("wait",), ("serve", "a", True)]
    assert list(replay(setting.recorded))[-1].words == "time is up"


def test_clients_that_wait_for_long(known: ClusterSetting) -> None:
    """The log has it each minute, with the reason and a remedy."""
    known.wait(0.3)
    known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
    known.probes["b"].answer(writes(0))
    known.probes["c"].answer(STANDBY)

    def let_pass(seconds: int) -> int:
        """Let time pass, all nodes answering as before; return how often it is said."""
        for _ in range(seconds * 10):
            known.wait(0.1)
            for name, report in (("b", writes(0)), ("c", STANDBY)):
                if known.probes[name].asked is not None:
                    known.probes[name].answer(report)
            if known.probes["a"].asked is not None:
                known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
        return len(logged())

    def logged() -> list[str]:
        return [line for line in known.captured.lines if "no writer, 3 clients" in line]

    assert let_pass(58) == 0
    assert let_pass(64) == 2
    assert "a: refused" in logged()[0]
    assert "b: takes writes on timeline 0, the last writer, a, was on 1" in logged()[0]
    assert "c: in recovery" in logged()[0]
    assert logged()[0].endswith("; RECONNECT db forgets the last writer")
    known.cluster.forget_writer()
    assert known.logged("the last writer, a, and its timeline (1) are forgotten")


def test_a_changed_entry(known: ClusterSetting) -> None:
    """The nodes are asked as it says, over new connections; what is known stays."""
    probes = dict(known.probes)
    known.monitor.renew("select other", 5433, known.monitor.make_probe)
    assert all(probe.closed for probe in probes.values())
    assert known.routes.done == []
    known.wait(0.1)
    assert known.probes["a"] is not probes["a"]
    known.probes["a"].answer(writes())
    known.wait(0.1)
    assert known.probes["a"].queries == ["select other"]
    assert known.cluster.machine.writer == "a"


def test_stop(known: ClusterSetting) -> None:
    """Nothing goes on after it."""
    known.cluster.stop()
    assert all(probe.closed for probe in known.probes.values())
    assert known.clock.getDelayedCalls() == []
    assert known.routes.done == []


def test_a_call(known: ClusterSetting) -> None:
    """It goes to the writer, or to a node that is named, over a new connection."""
    kept = known.probes["a"]
    found: list[CheckResult] = []
    known.cluster.check(found.append)
    assert known.probes["a"] is not kept
    known.probes["a"].answer(writes())
    assert found == [CheckResult.WELL]
    other = known.cluster.machine.nodes["b"].node
    assert known.routes.readers == ["b", "c"]
    readers: list[str] = []
    known.cluster.check(found.append, other)
    known.cluster.check(lambda _finding: readers.extend(known.routes.readers), other)
    known.probes["b"].fail(ProbeFailure.REFUSED, "Connection refused")
    known.probes["b"].fail(ProbeFailure.REFUSED, "Connection refused")
    assert found == [CheckResult.WELL, CheckResult.UNREACHABLE]
    assert readers == ["c"]  # Clients do not go on reading there.
    known.cluster.check(found.append)
    known.cluster.stop()
    assert len(found) == 2


def test_standbys(known: ClusterSetting) -> None:
    """Those that were in recovery when they last answered."""
    nodes = {name: status.node for name, status in known.cluster.machine.nodes.items()}
    known.cluster.answered("b", STANDBY, known.clock.seconds())
    assert known.cluster.is_standby(nodes["b"])
    assert not known.cluster.is_standby(nodes["a"])
    known.cluster.failed("b", ProbeFailure.LOST, "lost")
    assert known.cluster.is_standby(nodes["b"])
    known.cluster.answered("b", writes(2), known.clock.seconds())
    assert not known.cluster.is_standby(nodes["b"])


def test_why_there_is_no_writer(known: ClusterSetting) -> None:
    """As long as the writer is missing."""
    assert known.cluster.no_writer_reason == ""
    known.wait(0.3)
    known.probes["a"].fail(ProbeFailure.REFUSED, "refused")
    assert known.cluster.no_writer_reason == "a was lost, refused"
    known.probes["b"].answer(writes(2))
    assert known.cluster.no_writer_reason == ""


def test_one_search_is_one_event(known: ClusterSetting) -> None:
    """Its beginning stays, however often no node turns out to be a writer."""
    cluster = known.cluster
    cluster.failed("a", ProbeFailure.REFUSED, "")
    (event,) = cluster.events
    cluster.forget_writer()
    for name in "abc":
        cluster.answered(name, STANDBY, 1.0)
    cluster.listed(named((name, 5432) for name in "abc"))
    assert cluster.machine.writer_state is WriterState.SEARCHING
    assert [*cluster.events] == [event]


def test_what_a_replay_decides_by_is_recorded(known: ClusterSetting) -> None:
    """A standby that follows another timeline, too."""
    before = len(known.recorded)
    for follows in (1, 1, 2):
        known.cluster.answered("b", NodeReport(in_recovery=True, follows=follows), 1.0)
    assert len(known.recorded) == before + 2


def test_why_no_node_is_the_writer(known: ClusterSetting) -> None:
    """There need not be a last writer that has a name."""
    cluster = known.cluster
    cluster.machine.writer, cluster.machine.state = "", ClusterState.SEARCHING
    status = cluster.machine.nodes["a"]
    for timeline, last, words in (
        (None, 3, "takes writes"),
        (2, None, "takes writes on timeline 2"),
        (2, 3, "takes writes on timeline 2, there has been a writer on 3"),
    ):
        status.report = NodeReport(in_recovery=False, timeline=timeline)
        cluster.machine.timeline = last
        assert cluster._why_no_writer(status) == words


def test_reports_are_apart() -> None:
    """What one counts, another does not."""
    one, other = Switchover("x", "a", 1.0, 2.0), Switchover("y", "b", 3.0, 4.0)
    one.loss_counts.errors["08007"] += 1
    assert other.loss_counts.errors == {}
    assert (other.new, other.served_at, other.held) == ("", 0.0, 0)
