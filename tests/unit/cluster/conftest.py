"""A cluster whose nodes are known, and one with pools."""

from __future__ import annotations

import pytest

from tests.fakes.cluster import ClusterSetting
from tests.fakes.monitored import Monitored
from tests.fakes.probes import STANDBY, writes
from tests.fakes.world import WorldOf


@pytest.fixture
def known() -> ClusterSetting:
    """Return a cluster of three whose writer is ``a``."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].list("a", "b", "c")
    for name in "bc":
        setting.probes[name].answer(STANDBY)
    setting.routes.done.clear()
    return setting


@pytest.fixture
def monitored(world_of: WorldOf, monkeypatch: pytest.MonkeyPatch) -> Monitored:
    """Return a service with a cluster, its first questions asked."""
    return Monitored(world_of, monkeypatch)
