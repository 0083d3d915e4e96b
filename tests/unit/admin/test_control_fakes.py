"""The seams between console and service."""

from __future__ import annotations

import pytest

from pgswitch.admin.commands import ConsoleLog, Control, ShutdownMode
from tests.unit.admin.fakes import FakeControl, FakeLog


@pytest.mark.parametrize(
    ("seam", "fake"),
    [
        (Control, FakeControl),
        (ConsoleLog, FakeLog),
    ],
)
def test_the_fakes_of_these_tests_have_every_method(seam: type, fake: type) -> None:
    """What a seam names, its fake has: a method added is a method tested."""
    named = {name for name in vars(seam) if not name.startswith("_")}
    assert named
    assert named <= set(dir(fake))


def test_shutdown_has_four_modes() -> None:
    """They are named as they are typed at the console."""
    modes = [one.value for one in ShutdownMode]
    assert modes == ["now", "wait_for_servers", "wait_for_clients", "drain"]
