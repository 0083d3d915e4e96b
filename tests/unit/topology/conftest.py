"""A cluster whose nodes are known."""

from __future__ import annotations

import pytest

from tests.fakes.cluster import ClusterSetting
from tests.fakes.probes import STANDBY, writes


@pytest.fixture
def known() -> ClusterSetting:
    """Return a cluster of three whose writer is ``a``."""
    setting = ClusterSetting()
    setting.probes["a"].answer(writes())
    setting.wait()
    setting.probes["a"].list("a", "b", "c")
    for name in "bc":
        setting.probes[name].answer(STANDBY)
    setting.sites.done.clear()
    return setting
