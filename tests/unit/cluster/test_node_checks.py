"""Calls on nodes over new connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from pgswitch.cluster.node_checks import TIMEOUT_S, CheckResult, NodeChecks
from pgswitch.cluster.nodes import Node, ProbeFailure
from tests.fakes.probes import STANDBY, FakeProbe, writes

NODE, OTHER = Node("a", "a", 5432), Node("b", "b", 5432)


class Calling:
    """Calls whose probes are in the test's hands."""

    def __init__(self) -> None:
        """Begin with none."""
        self.clock = Clock()
        self.probes: list[FakeProbe] = []
        self.found: list[CheckResult] = []
        self.calls = NodeChecks(self._make, self.clock)

    def _make(self, node: Node, lost: Callable[[], None]) -> FakeProbe:
        self.probes.append(FakeProbe(node, lost))
        return self.probes[-1]

    def check(self, node: Node = NODE) -> None:
        """Call; what is found is noted."""
        self.calls.check(node, self.found.append)


@pytest.fixture
def calling() -> Calling:
    """Return calls."""
    return Calling()


@pytest.mark.parametrize("report", [writes(), STANDBY])
def test_it_answers(calling: Calling, report: object) -> None:
    """Whatever it says; the connection is closed then, and its end of no interest."""
    calling.check()
    (probe,) = calling.probes
    probe.answer(report)  # type: ignore[arg-type]
    assert calling.found == [CheckResult.WELL]
    assert probe.closed == 1
    probe.lost()


@pytest.mark.parametrize(
    ("failure", "words", "finding"),
    [
        (ProbeFailure.REFUSED, "failed: Connection refused", CheckResult.UNREACHABLE),
        (
            ProbeFailure.REFUSED,
            "failed: No such file or directory",
            CheckResult.UNREACHABLE,
        ),
        (ProbeFailure.REFUSED, "server closed the connection", CheckResult.NOT_READY),
        (ProbeFailure.REFUSED, "server conn crashed?", CheckResult.NOT_READY),
        (ProbeFailure.NOT_READY, "starting up", CheckResult.NOT_READY),
        (ProbeFailure.UNFIT, "too many clients", CheckResult.WELL),
        (ProbeFailure.LOST, "", CheckResult.UNKNOWN),
        (ProbeFailure.SILENT, "", CheckResult.UNKNOWN),
    ],
)
def test_it_does_not(
    calling: Calling, failure: ProbeFailure, words: str, finding: CheckResult
) -> None:
    """Each failure says something, or nothing."""
    calling.check()
    calling.probes[0].fail(failure, words)
    assert calling.found == [finding]


def test_silence(calling: Calling) -> None:
    """It is given up, and the connection closed."""
    calling.check()
    calling.clock.advance(TIMEOUT_S)
    assert calling.found == [CheckResult.UNKNOWN]
    assert calling.probes[0].closed == 1


def test_one_at_a_time(calling: Calling) -> None:
    """A caller during a check waits for the next one, together with all others."""
    calling.check()
    calling.check()
    calling.check()
    calling.check(OTHER)
    assert [probe.node for probe in calling.probes] == [NODE, OTHER]
    calling.probes[0].answer(writes())
    assert calling.found == [CheckResult.WELL]
    assert [probe.node for probe in calling.probes] == [NODE, OTHER, NODE]
    calling.probes[2].fail(ProbeFailure.NOT_READY)
    assert calling.found == [CheckResult.WELL, *[CheckResult.NOT_READY] * 2]
    assert len(calling.probes) == 3


def test_called_again_at_once(calling: Calling) -> None:
    """A callback may start the next check."""
    calling.calls.check(NODE, lambda _found: calling.check())
    calling.probes[0].answer(writes())
    calling.probes[1].answer(writes())
    assert calling.found == [CheckResult.WELL]


def test_stop(calling: Calling) -> None:
    """No callback is called any more."""
    calling.check()
    calling.check()
    calling.calls.stop()
    assert calling.probes[0].closed == 1
    assert calling.found == []
    assert len(calling.probes) == 1
