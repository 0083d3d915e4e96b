"""SHOW HELP names everything that there is."""

from __future__ import annotations

from pgswitch.admin.commands import VERBS
from pgswitch.admin.show import SHOWS
from pgswitch.admin.usage import USAGE


def test_everything_is_named() -> None:
    """Each SHOW and each command."""
    words = set(USAGE.replace("|", " ").split())
    assert {name.upper() for name in (*SHOWS, *VERBS)} <= words
