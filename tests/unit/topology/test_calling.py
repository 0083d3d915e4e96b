"""Calls on nodes over new connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from pgswitch.topology.calling import PATIENCE_S, Calls, Finding
from pgswitch.topology.facts import Failure
from pgswitch.topology.nodes import Node
from tests.fakes.probes import STANDBY, FakeProbe, writes

NODE, OTHER = Node("a", "a", 5432), Node("b", "b", 5432)


class Calling:
    """Calls whose probes are in the test's hands."""

    def __init__(self) -> None:
        """Begin with none."""
        self.clock = Clock()
        self.probes: list[FakeProbe] = []
        self.found: list[Finding] = []
        self.calls = Calls(self._make, self.clock)

    def _make(self, node: Node, lost: Callable[[], None]) -> FakeProbe:
        self.probes.append(FakeProbe(node, lost))
        return self.probes[-1]

    def call(self, node: Node = NODE) -> None:
        """Call; what is found is noted."""
        self.calls.call(node, self.found.append)


@pytest.fixture
def calling() -> Calling:
    """Return calls."""
    return Calling()


@pytest.mark.parametrize("report", [writes(), STANDBY])
def test_it_answers(calling: Calling, report: object) -> None:
    """Whatever it says; the connection is closed then, and its end of no interest."""
    calling.call()
    (probe,) = calling.probes
    probe.answer(report)  # type: ignore[arg-type]
    assert calling.found == [Finding.WELL]
    assert probe.closed == 1
    probe.lost()


@pytest.mark.parametrize(
    ("failure", "words", "finding"),
    [
        (Failure.REFUSED, "failed: Connection refused", Finding.GONE),
        (Failure.REFUSED, "failed: No such file or directory", Finding.GONE),
        (Failure.REFUSED, "server closed the connection", Finding.NOT_READY),
        (Failure.REFUSED, "server conn crashed?", Finding.NOT_READY),
        (Failure.NOT_READY, "starting up", Finding.NOT_READY),
        (Failure.UNFIT, "too many clients", Finding.WELL),
        (Failure.LOST, "", Finding.NOTHING),
        (Failure.SILENT, "", Finding.NOTHING),
    ],
)
def test_it_does_not(
    calling: Calling, failure: Failure, words: str, finding: Finding
) -> None:
    """Each failure says something, or nothing."""
    calling.call()
    calling.probes[0].fail(failure, words)
    assert calling.found == [finding]


def test_silence(calling: Calling) -> None:
    """It is given up, and the connection closed."""
    calling.call()
    calling.clock.advance(PATIENCE_S)
    assert calling.found == [Finding.NOTHING]
    assert calling.probes[0].closed == 1


def test_one_at_a_time(calling: Calling) -> None:
    """Who asks during a call hears what the next one finds, and with all others."""
    calling.call()
    calling.call()
    calling.call()
    calling.call(OTHER)
    assert [probe.node for probe in calling.probes] == [NODE, OTHER]
    calling.probes[0].answer(writes())
    assert calling.found == [Finding.WELL]
    assert [probe.node for probe in calling.probes] == [NODE, OTHER, NODE]
    calling.probes[2].fail(Failure.NOT_READY)
    assert calling.found == [Finding.WELL, *[Finding.NOT_READY] * 2]
    assert len(calling.probes) == 3


def test_called_again_at_once(calling: Calling) -> None:
    """Whoever hears may call again."""
    calling.calls.call(NODE, lambda _found: calling.call())
    calling.probes[0].answer(writes())
    calling.probes[1].answer(writes())
    assert calling.found == [Finding.WELL]


def test_stop(calling: Calling) -> None:
    """Nobody hears of anything any more."""
    calling.call()
    calling.call()
    calling.calls.stop()
    assert calling.probes[0].closed == 1
    assert calling.found == []
    assert len(calling.probes) == 1
