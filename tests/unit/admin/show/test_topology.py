"""SHOW TOPOLOGY and SHOW SWITCHOVERS of a running cluster."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from pgswitch.admin.show.topology import (
    SWITCHOVERS,
    TOPOLOGY,
    NodeRow,
    SwitchoverRow,
)
from pgswitch.admin.statements import named_rows
from pgswitch.cluster.cluster import LossCounts, Switchover
from pgswitch.cluster.cluster_state import WriterState
from pgswitch.cluster.nodes import ProbeFailure
from tests.fakes.monitored import Monitored
from tests.fakes.probes import writes
from tests.fakes.world import WorldOf
from tests.unit.admin.fakes import NOON
from tests.unit.admin.reading import cells


def test_before_and_after_a_move(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles, reasons and times."""
    monitored = Monitored(world_of, monkeypatch)
    world = monitored.world
    monitored.elect_writer()
    world.pair()
    view = world.service.view
    writer, reader = named_rows("topology", view)
    assert (writer.node, writer.role, writer.state) == ("10.0.0.1", "writer", "known")
    assert (writer.servers, writer.timeline, writer.why) == (1, 1, "")
    assert (reader.role, reader.state, reader.why) == ("reader", "up", "")
    assert reader.probe_age_ms is not None
    assert named_rows("switchovers", view) == []
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED, "refused")
    old, _ = named_rows("topology", view)
    assert (old.role, old.state, old.why) == ("unknown", "unreachable", "refused")
    (event,) = named_rows("switchovers", view)
    assert (event.cause, event.old_writer, event.new_writer) == (
        "refused",
        "10.0.0.1",
        None,
    )
    assert event.confirmed is not None
    assert event.found is None
    monitored.probes["10.0.0.2"].answer(writes(2))
    (event,) = named_rows("switchovers", view)
    assert (event.new_writer, event.timeline, event.errors) == ("10.0.0.2", 2, "")
    assert event.found is not None


def test_a_node_has_its_values_in_their_columns() -> None:
    """The writer has no lag."""
    node = SimpleNamespace(name="a", host="a.example", port=5432)
    report = SimpleNamespace(timeline=2, follows=None, lsn=(1 << 32) + 0xAB)
    status: Any = SimpleNamespace(
        node=node, report=report, answered_at=9.9, failure="", fenced=False
    )
    cluster: Any = SimpleNamespace(
        key="db",
        machine=SimpleNamespace(writer_state=WriterState.KNOWN, writer="a"),
        monitor=SimpleNamespace(polls={"a": SimpleNamespace(answer_time=0.0004)}),
    )
    view: Any = SimpleNamespace(context=SimpleNamespace(clock=lambda: 10.0))
    assert cells(TOPOLOGY, NodeRow(view, cluster, status, "writer", 3, None)) == [
        (
            *("db", "a", "a.example", "5432", "writer", "known", "2", "1/AB"),
            *(None, "100", "400", "3", ""),
        )
    ]


def test_a_switchover_has_its_values_in_their_columns() -> None:
    """A switchover in progress has no later times."""
    event = Switchover(
        cause="no answer in time",
        old="a",
        suspected_at=1.0,
        lost_at=1.25,
        timeline=2,
        held=1,
        longest_wait=0.004,
        loss_counts=LossCounts(retried=2, lost=3, errors=Counter({"08007": 1})),
    )
    cluster: Any = SimpleNamespace(key="db")
    assert cells(SWITCHOVERS, SwitchoverRow(cluster, event, NOON - 1.0)) == [
        (
            *("db", "no answer in time", "a", None, "2"),
            *("2026-11-22 12:00:00.000 UTC", "2026-11-22 12:00:00.250 UTC"),
            *(None, None, "1", "2", "3", "08007:1", "4"),
        )
    ]
