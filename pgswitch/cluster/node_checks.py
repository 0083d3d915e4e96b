"""Checks of nodes over new connections, which only a healthy node accepts.

A server that shuts down may still answer on an open connection for a moment.  But its
postmaster stops accepting new connections before it signals any backend.  So a check
that begins after a backend was lost shows for certain whether a shutdown was the cause.
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
"""A check that takes longer is abandoned."""


class CheckResult(Enum):
    """What a check found."""

    WELL = "it takes connections"
    UNREACHABLE = "it cannot be connected to"
    NOT_READY = "it takes no connections"
    """It starts up, shuts down, or restarts after a crash."""
    UNKNOWN = "unknown"


_NOT_LISTENING = re.compile(
    "refused|no such file|unreachable|no route|host is down", re.IGNORECASE
)
"""Errors of the operating system where no server listens.

A server that restarts after a crash keeps listening, and may close new connections
without a message.
"""
CheckCallback = Callable[[CheckResult], None]

_FOUND = {
    ProbeFailure.REFUSED: CheckResult.NOT_READY,
    ProbeFailure.NOT_READY: CheckResult.NOT_READY,
    # It has answered, if only "too many clients already".
    ProbeFailure.UNFIT: CheckResult.WELL,
    ProbeFailure.FULL: CheckResult.WELL,
}


class NodeChecks:
    """Runs one check at a time of each node, for all callers."""

    def __init__(
        self,
        make_probe: Callable[[Node, Callable[[], None]], Probe],
        clock: IReactorTime,
    ) -> None:
        """``make_probe`` makes the probe of a node; ``clock`` is the reactor."""
        self._make_probe = make_probe
        self._clock = clock
        self._waiting: dict[Node, list[CheckCallback]] = {}
        """The callbacks of the next check."""
        self._probes: dict[Node, Probe] = {}
        """The probes of the checks under way."""

    def check(self, node: Node, callback: CheckCallback) -> None:
        """Check a node; a check that is under way began too early to count."""
        self._waiting.setdefault(node, []).append(callback)
        if node not in self._probes:
            self._begin(node)

    def stop(self) -> None:
        """Abandon all checks; no callback is called."""
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
    """Ignore the end of the connection: it has done its work."""


def _answered(_report: NodeReport) -> CheckResult:
    return CheckResult.WELL


def _failed(failure: TwistedFailure) -> CheckResult:
    fault = failure.value
    if not isinstance(fault, ProbeFailed):
        return CheckResult.UNKNOWN
    if fault.failure is ProbeFailure.REFUSED and _NOT_LISTENING.search(str(fault)):
        return CheckResult.UNREACHABLE
    return _FOUND.get(fault.failure, CheckResult.UNKNOWN)
