"""The service with a cluster in it whose probes answer what a test wants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.cluster.nodes import Node
from tests.fakes.probes import STANDBY, FakeProbe, writes
from tests.fakes.world import World, WorldOf

ENTRY = "db = host=10.0.0.1 user=app password=secret topology_query='select 1'"
OTHER = "other = host=10.0.0.9"


class Monitored:
    """A world with one cluster, its probes in the test's hands."""

    def __init__(self, world_of: WorldOf, monkeypatch: pytest.MonkeyPatch) -> None:
        """Start it."""
        self.probes: dict[str, FakeProbe] = {}

        def make(node: Node, lost: Callable[[], None]) -> FakeProbe:
            self.probes[node.name] = FakeProbe(node, lost)
            return self.probes[node.name]

        monkeypatch.setattr(
            "pgswitch.cluster.clusters.probe_maker", lambda *_given: make
        )
        self.world: World = world_of(databases=f"{ENTRY}\n{OTHER}")
        self.world.wait(0.5)

    def elect_writer(self) -> None:
        """Have 10.0.0.1 be the writer, 10.0.0.2 a standby."""
        self.probes["10.0.0.1"].answer(writes())
        self.world.wait(0.5)
        self.probes["10.0.0.1"].list("10.0.0.1", "10.0.0.2")
        self.world.wait(0.5)
        self.probes["10.0.0.2"].answer(STANDBY)
