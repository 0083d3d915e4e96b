"""The program that forks poolers names parts of the service in a text."""

from __future__ import annotations

from bench.settings.environment import PROGRAM
from pgswitch.net.lean_reactor import LeanReactor
from pgswitch.relay.stream import ReadBatching


def test_names_in_the_program() -> None:
    """What it switches off is there under this name."""
    assert "self.event_loop.batching.least = 0" in PROGRAM
    assert ReadBatching().least
    assert "event_loop" in LeanReactor.__init__.__code__.co_names


def test_it_compiles() -> None:
    """It is passed to the interpreter as a text."""
    compile(PROGRAM, "program", "exec")
