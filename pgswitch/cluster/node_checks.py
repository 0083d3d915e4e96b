"""Calls on nodes: questions over new connections, which only a healthy node takes.

A kept connection may still be answered for a moment by a server that shuts down.  A
postmaster that has begun to takes no new connections any more, and it has begun before
any of its backends hears of it.  So a call that begins after a backend was lost tells
for certain whether a shutdown was the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.probe import ProbeFailed

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure as TwistedFailure

    from pgswitch.cluster.nodes import Node
    from pgswitch.cluster.probe import Probe

TIMEOUT_S = 1.0
"""A call that is not answered in this time is given up."""


class CheckResult(Enum):
    """What a call found."""

    WELL = "it takes connections"
    UNREACHABLE = "it cannot be connected to"
    NOT_READY = "it takes no connections"
    """It starts, it stops, or it was restarted for a crash."""
    UNKNOWN = "there is no telling"


_NOBODY_THERE = re.compile(
    "refused|no such file|unreachable|no route|host is down", re.IGNORECASE
)
"""What the operating system says of a place where no server is.

A server that restarts after a crash goes on listening, and may hang up without a word
to somebody who connects meanwhile.
"""
CheckCallback = Callable[[CheckResult], None]

_FOUND = {
    ProbeFailure.REFUSED: CheckResult.NOT_READY,
    ProbeFailure.NOT_READY: CheckResult.NOT_READY,
    # It has answered, if only that there are too many clients already.
    ProbeFailure.UNFIT: CheckResult.WELL,
    ProbeFailure.FULL: CheckResult.WELL,
}


class NodeChecks:
    """One call at a time on each node, for all who want to know."""

    def __init__(
        self,
        make_probe: Callable[[Node, Callable[[], None]], Probe],
        clock: IReactorTime,
    ) -> None:
        """``make_probe`` returns what asks a node; ``clock`` is the reactor."""
        self._make_probe = make_probe
        self._clock = clock
        self._waiting: dict[Node, list[CheckCallback]] = {}
        """Who waits for the next call."""
        self._probes: dict[Node, Probe] = {}
        """Of the calls under way."""

    def check(self, node: Node, callback: CheckCallback) -> None:
        """Call on a node from now on; a call that is under way began too early."""
        self._waiting.setdefault(node, []).append(callback)
        if node not in self._probes:
            self._begin(node)

    def stop(self) -> None:
        """Give up what is under way; nobody hears of it."""
        self._waiting.clear()
        probes, self._probes = self._probes, {}
        for probe in probes.values():
            probe.close()

    def _begin(self, node: Node) -> None:
        callbacks = self._waiting.pop(node)
        probe = self._probes[node] = self._make_probe(node, _ended)
        asking = probe.ask().addTimeout(TIMEOUT_S, self._clock)
        asking.addCallbacks(_answered, _failed)
        asking.addCallback(partial(self._over, node, probe, callbacks))

    def _over(
        self,
        node: Node,
        probe: Probe,
        callbacks: list[CheckCallback],
        found: CheckResult,
    ) -> None:
        if self._probes.get(node) is not probe:
            return
        del self._probes[node]
        probe.close()
        for one in callbacks:
            one(found)
        if node in self._waiting and node not in self._probes:
            self._begin(node)


def _ended() -> None:
    """Take no notice: the connection has done its work."""


def _answered(_report: NodeReport) -> CheckResult:
    return CheckResult.WELL


def _failed(failure: TwistedFailure) -> CheckResult:
    fault = failure.value
    if not isinstance(fault, ProbeFailed):
        return CheckResult.UNKNOWN
    if fault.failure is ProbeFailure.REFUSED and _NOBODY_THERE.search(str(fault)):
        return CheckResult.UNREACHABLE
    return _FOUND.get(fault.failure, CheckResult.UNKNOWN)
