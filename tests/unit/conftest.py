"""Fixtures that several folders share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.world import World, WorldOf


@pytest.fixture
def world_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorldOf:
    """Return what builds a world from ``settings``, ``databases`` and ``users``."""

    def build(**sections: str) -> World:
        return World(tmp_path, monkeypatch, **sections)

    return build


@pytest.fixture
def world(world_of: WorldOf) -> World:
    """Return a world with the usual settings and one database."""
    return world_of()


@pytest.fixture
def other_zone() -> Iterator[None]:
    """Put the process into a time zone with a name of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "ABC-3")
        time.tzset()
        yield
    time.tzset()
