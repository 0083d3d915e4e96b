"""What the console sees of a running service as a whole."""

from __future__ import annotations

import pytest

from pgswitch.view import ServiceView
from tests.fakes.world import World


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


def test_state(world: World, view: ServiceView) -> None:
    """Paused, shutting down."""
    assert (view.state().paused, view.state().shutting_down) == (False, False)
    world.service.operations.pause(None)
    world.service.shutdown_wait_for_clients()
    assert (view.state().paused, view.state().shutting_down) == (True, True)


def test_what_there_is_nothing_of(view: ServiceView) -> None:
    """No caches of names or objects; every setting has its line."""
    assert not view.dns_hosts()
    assert ("pool_mode", "transaction", "session", "yes") in view.config_rows()
