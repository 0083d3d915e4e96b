"""Whatever happens to a cluster, its record leads to the same once more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgswitch.cluster.cluster_state import MachineLimits, WriterState
from pgswitch.cluster.nodes import Node, NodeReport, ProbeFailure
from pgswitch.cluster.recording import replay
from tests.fakes.cluster import ClusterSetting
from tests.fakes.probes import FakeProbe

NODES = [Node(name, name, 1) for name in "abcd"]
NAMES = st.sampled_from("abcd")
SOME = st.lists(st.sampled_from(NODES), min_size=1, max_size=4, unique=True)
REPORTS = st.builds(
    NodeReport,
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 4)),
    system=st.sampled_from([None, 1, 2]),
    follows=st.one_of(st.none(), st.integers(1, 4)),
)
INPUTS = st.lists(
    st.one_of(
        st.tuples(st.just("answered"), NAMES, REPORTS),
        st.tuples(st.just("failed"), NAMES, st.sampled_from(list(ProbeFailure))),
        st.tuples(st.just("listed"), SOME),
        st.tuples(st.just("renewed"), SOME),
        st.tuples(st.just("no list"), NAMES),
        st.tuples(st.just("limits"), st.integers(0, 4)),
        st.tuples(st.sampled_from(["judge again", "time", "suspected"])),
        st.tuples(st.just("wait"), st.integers(0, 3)),
    ),
    max_size=40,
)


def happens(setting: ClusterSetting, kind: str, *what: object) -> None:
    """Have one input reach a cluster."""
    cluster, now = setting.cluster, setting.clock.seconds()
    match [kind, *what]:
        case "answered", str(name), NodeReport() as report:
            cluster.answered(name, report, now)
        case "failed", str(name), ProbeFailure() as failure:
            cluster.failed(name, failure, "words")
        case "listed", list(nodes):
            cluster.listed(nodes)
        case "renewed", list(nodes):
            cluster.renew(nodes, "select 1", 1, FakeProbe)
        case "no list", str(name):
            cluster.list_failed(name)
        case "limits", int(start):
            cluster.limit(MachineLimits(start=float(start), forget=2.0))
        case ["judge again"]:
            cluster.forget_writer()
        case ["suspected"]:
            cluster.suspect()
        case "wait", int(seconds):
            setting.clock.rightNow += seconds
    cluster.ticked(setting.clock.seconds())


@given(INPUTS)
def test_a_replay_agrees(inputs: list[tuple[object, ...]]) -> None:
    """State, writer and the last commands; clients wait in STARTING and SEARCHING."""
    setting = ClusterSetting()
    cluster = setting.cluster
    cluster.time = setting.clock.seconds
    for kind, *what in inputs:
        happens(setting, str(kind), *what)
        last = [*replay(setting.recorded)][-1]
        machine = cluster.machine
        assert (last.state, last.writer) == (machine.writer_state.value, machine.writer)
        done = [one[0] for one in setting.routes.done]
        is_held = machine.writer_state in (WriterState.STARTING, WriterState.SEARCHING)
        assert is_held is (done[-1] in ("wait", "hold"))
    cluster.stop()
