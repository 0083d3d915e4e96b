"""What SHOW TOPOLOGY and SHOW SWITCHOVERS read from a cluster at work."""

from __future__ import annotations

import pytest

from pgswitch.cluster.nodes import ProbeFailure
from tests.fakes.monitored import Monitored
from tests.fakes.probes import writes
from tests.fakes.world import WorldOf


def test_before_and_after_a_move(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles, reasons and times."""
    monitored = Monitored(world_of, monkeypatch)
    world = monitored.world
    monitored.settle()
    world.pair()
    view = world.service.view
    writer, reader = view.topology()
    assert (writer.node, writer.role, writer.state) == ("10.0.0.1", "writer", "known")
    assert (writer.servers, writer.timeline, writer.why) == (1, 1, "")
    assert (reader.role, reader.state, reader.why) == ("reader", "up", "")
    assert reader.probe_age_ms is not None
    assert view.switchovers() == []
    world.wait(0.5)
    monitored.probes["10.0.0.1"].fail(ProbeFailure.REFUSED, "refused")
    old, _ = view.topology()
    assert (old.role, old.state, old.why) == ("unknown", "unreachable", "refused")
    (event,) = view.switchovers()
    assert (event.cause, event.old_writer, event.new_writer) == (
        "refused",
        "10.0.0.1",
        None,
    )
    assert event.confirmed is not None
    assert event.found is None
    monitored.probes["10.0.0.2"].answer(writes(2))
    (event,) = view.switchovers()
    assert (event.new_writer, event.timeline, event.errors) == ("10.0.0.2", 2, "")
    assert event.found is not None
