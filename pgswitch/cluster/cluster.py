"""One cluster at work: hears of its nodes, lets the machine decide, carries that out.

The :class:`Monitor` asks the nodes; what depends on the pools is behind the interface
:class:`Sites`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster import recording
from pgswitch.cluster.cluster_state import (
    Ask,
    Assume,
    Fence,
    LoseWriter,
    MachineCommand,
    MachineLimits,
    ReadTopology,
    SetWriter,
    WriterState,
)
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.node_checks import CheckResult, NodeChecks
from pgswitch.cluster.nodes import ALIVE_FAILURES, NodeReport, NodeStatus, ProbeFailure
from pgswitch.cluster.replication_lag import WalPositions

if TYPE_CHECKING:
    from collections.abc import Container

    from twisted.internet.interfaces import IReactorTime

    from pgswitch.cluster.monitor import Monitor
    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.cluster.probe import Probe
    from pgswitch.logs import Log

MAX_EVENTS = 100
LOG_WAIT_EVERY_S = 60.0
"""How often the log says that clients wait for a writer."""
_FAILURES = {
    CheckResult.UNREACHABLE: ProbeFailure.REFUSED,
    CheckResult.NOT_READY: ProbeFailure.NOT_READY,
}


@dataclass(slots=True)
class LossCounts:
    """What became of clients whose server was lost."""

    retried: int = 0
    """Statements that were run again without the client noticing."""
    lost: int = 0
    """Clients that were disconnected."""
    errors: Counter[str] = field(default_factory=Counter)
    """Errors that clients got, by SQLSTATE."""


@dataclass(slots=True)
class Switchover:
    """One switchover; times in seconds of the cluster's clock, 0.0: not yet."""

    cause: str
    old: str
    suspected_at: float
    """When the first sign was seen."""
    lost_at: float
    """When it was certain."""
    new: str = ""
    timeline: int | None = None
    found_at: float = 0.0
    served_at: float = 0.0
    """When the first server of the new writer was ready for clients."""
    held: int = 0
    """Clients that waited when the new writer was found."""
    longest_wait: float = 0.0
    """The longest of their waits, in seconds."""
    loss_counts: LossCounts = field(default_factory=LossCounts)


class ClusterRoutes(Protocol):
    """What a cluster does to the pools of its database."""

    def wait(self) -> None:
        """Have clients wait until it is known where the writer is."""

    def serve_as_configured(self) -> None:
        """Use the host of the database's entry, and let clients go on."""

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Use this node from now on, and let clients go on.

        ``same``: it is the present server under another name.
        """

    def hold(self, *, is_leaving: bool) -> None:
        """Have clients wait, and close the connections to the last writer.

        ``is_leaving``: those at work end by themselves, with an answer perhaps.
        """

    def keep_standbys(self, nodes: list[Node]) -> None:
        """Keep connections open to these nodes, and to no others."""

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close connections kept for later to addresses that a node has no longer."""

    def node_answers(self, node: Node) -> None:
        """Hear that a node answers that did not, or was not known."""

    def node_lost(self, node: Node, *, is_silent: bool) -> None:
        """Trust connections to a node no more: it was asked in vain.

        ``is_silent``: it says nothing at all, so that whoever waits for it would do so
        for ever.
        """

    def set_readers(self, nodes: list[Node], readers: list[Node]) -> None:
        """Take the nodes that there are, and those that are fit for readers."""

    def waiting(self) -> tuple[int, float]:
        """Return how many clients wait, and the longest wait in seconds."""


def _discard(_line: str) -> None:
    """Record nothing."""


def _decision_facts(report: NodeReport) -> tuple[object, ...]:
    """Return what of an answer the machine may decide by."""
    return report.in_recovery, report.timeline, report.system, report.follows


@dataclass(slots=True)
class Cluster:
    """A cluster; ``key`` is the name of its database's entry."""

    key: str
    machine: Machine
    monitor: Monitor
    """Looks at the same machine."""
    routes: ClusterRoutes
    clock: Callable[[], float]
    log: Log
    max_lag: float = 0.0
    """By how much a reader may be behind in seconds, and in bytes; 0: any."""
    max_lag_bytes: int = 0
    record: Callable[[str], object] = _discard
    """Takes the machine's inputs, see recording.py."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch, for the records."""
    events: deque[Switchover] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    loss_counts: LossCounts = field(default_factory=LossCounts)
    """What became of clients since the writer was last well."""
    positions: WalPositions = field(default_factory=WalPositions)
    """Where the writer was lately."""
    _writer: str = ""
    """The last writer that was set."""
    _suspected_at: float = 0.0
    """When the first sign was seen that the writer is not well; 0.0: it is."""
    _published: tuple[list[Node], list[Node]] | None = None
    """The last nodes and readers that the sites were told."""
    _wait_logged_at: float = 0.0
    """When the log last said that clients wait for a writer; at first, the start."""
    _standby_nodes: list[Node] | None = None
    """The last nodes that they were told to keep connections to."""
    _standbys: set[str] = field(default_factory=set)
    """Nodes that were in recovery when they last answered, lost since or not."""
    _checks: NodeChecks | None = None
    """There once it has started."""

    def start(self, clock: IReactorTime) -> None:
        """Begin to ask; ``clock`` provides IReactorTime.

        Clients wait until the nodes have spoken.
        """
        self.record(recording.begun(self.key, self.time(), self.machine))
        self._writer, self._wait_logged_at = self.machine.writer, self.clock()
        self.routes.wait()
        self._checks = NodeChecks(self._make_probe, clock)
        self.monitor.start(clock, self)

    def _make_probe(self, node: Node, ended: Callable[[], None]) -> Probe:
        """Return what asks a node as the entry says now."""
        return self.monitor.make_probe(node, ended)

    def renew(
        self,
        seeds: list[Node],
        query: str,
        port: int,
        make_probe: Callable[[Node, Callable[[], None]], Probe],
    ) -> None:
        """Go on as a changed entry says: its hosts, its list, and how to log in."""
        self.record(recording.entry_changed(self.key, self.time(), seeds))
        commands = self.machine.entry_changed(seeds, self.clock())
        self.monitor.renew(query, port, make_probe)
        self._perform(commands)

    def limit(self, limits: MachineLimits) -> None:
        """Take the settings that the machine follows."""
        if limits != self.machine.limits:
            self.machine.limits = limits
            self.record(recording.limited(self.key, self.time(), limits))

    def stop(self) -> None:
        """Ask no more and close every connection."""
        self.monitor.stop()
        if self._checks is not None:
            self._checks.stop()

    def suspect(self, node: Node | None = None) -> None:
        """Take a hint from a client's server: its loss, or what it said.

        The server is one of ``node``, by default of the writer.
        """
        name = "" if node is None else node.name
        if node is None:
            self._suspected_at = self._suspected_at or self.clock()
            self.monitor.alert()
        self.record(recording.suspected(self.key, self.time(), name))
        self._perform(self.machine.suspected(name))

    def moved(self, host: str, gone: Container[str]) -> None:
        """Hear that a name leads to some addresses no longer.

        The node is asked where it is now.  If it is the writer, clients wait until it
        has answered: the machine at its old address may be there, and taking writes.
        """
        for name, status in [*self.machine.nodes.items()]:
            if status.node.host == host:
                self.monitor.moved(name, gone)
                self.routes.close_at(status.node, gone)

    def address_of(self, node: Node) -> str:
        """Return where the monitor has asked a node that has a name; empty: nowhere."""
        return self.monitor.address_of(node)

    def check(self, callback: CheckCallback, node: Node | None = None) -> None:
        """Call on a node over a new connection, by default on the writer."""
        nodes = self.machine.nodes
        writer = nodes.get(self.machine.writer)
        if node is None:
            node = writer.node if writer else next(iter(nodes.values())).node
        if self._checks is not None:
            self._checks.check(node, partial(self._checked, node.name, callback))

    def _checked(self, name: str, callback: CheckCallback, found: CheckResult) -> None:
        """Have nobody go on to read from a node that takes no connections.

        The writer is asked over the kept connection too, which decides.
        """
        failure = _FAILURES.get(found)
        if failure is not None and name != self.machine.writer:
            self.failed(name, failure, "")
        callback(found)

    def is_standby(self, node: Node) -> bool:
        """Tell whether a node was in recovery when it last answered."""
        return node.name in self._standbys

    @property
    def no_writer_reason(self) -> str:
        """Why there is no writer now; empty if there is, or nothing is known."""
        if self.machine.writer_state is WriterState.STARTING:
            return f"it is not known yet which node is the writer ({self._reasons()})"
        event = self.events[-1] if self.events else None
        if (
            self.machine.writer_state is not WriterState.SEARCHING
            or event is None
            or event.new
        ):
            return ""
        lost = f"{event.old} was lost, " if event.old else ""
        return f"{lost}{event.cause}"

    def server_ready(self) -> None:
        """Hear that a server of the writer's is there for clients."""
        event = self.events[-1] if self.events else None
        if event is not None and event.new and not event.served_at:
            event.served_at = self.clock()
            self.log.log(f"cluster {self.key}: clients are served by {event.new}")

    def forget_writer(self) -> None:
        """Have all nodes asked, and a last writer that does not answer forgotten."""
        machine = self.machine
        if machine.writer_state is not WriterState.KNOWN and machine.writer:
            self.log.warning(
                f"cluster {self.key}: RECONNECT: the last writer, {machine.writer}, and"
                f" its timeline ({machine.timeline}) are forgotten"
            )
        self.record(recording.writer_forgotten(self.key, self.time()))
        self._perform(machine.forget_writer(self.clock()))

    # What the monitor says; see its Hearer.

    def ticked(self, now: float) -> None:
        """Let time pass; ``now`` is the clock's time."""
        commands = self.machine.ticked(now)
        if commands:
            self.record(recording.ticked(self.key, self.time()))
            self._perform(commands)
        if self.machine.writer_state not in (
            WriterState.STARTING,
            WriterState.SEARCHING,
        ):
            self._wait_logged_at = now
        elif now - self._wait_logged_at >= LOG_WAIT_EVERY_S:
            self._wait_logged_at = now
            self._log_waiting()

    def _log_waiting(self) -> None:
        """Say in the log that clients wait for a writer, and why there is none."""
        held, longest = self.routes.waiting()
        if not held:
            return
        hint = ""
        if any(status.fenced for status in self.machine.nodes.values()):
            hint = f"; RECONNECT {self.key} has the nodes judged again"
        self.log.warning(
            f"cluster {self.key}: no writer, {held} clients wait, the longest for"
            f" {longest:.0f} s ({self._reasons()}){hint}"
        )

    def _reasons(self) -> str:
        """Return for each node why it is not the writer."""
        return "; ".join(
            f"{name}: {self._why_no_writer(status)}"
            for name, status in self.machine.nodes.items()
        )

    def _why_no_writer(self, status: NodeStatus) -> str:
        """Return why a node is not the writer."""
        report, machine = status.report, self.machine
        if report is None:
            return status.failure or "no answer yet"
        if report.in_recovery:
            return "in recovery"
        if report.timeline is None:
            return "takes writes"
        words = f"takes writes on timeline {report.timeline}"
        if machine.timeline is None:
            return words
        if machine.writer:
            last = f"the last writer, {machine.writer}, was"
        else:
            last = "there has been a writer"
        return f"{words}, {last} on {machine.timeline}"

    def answered(self, name: str, report: NodeReport, now: float) -> None:
        """Take a node's answer; ``now`` is the clock's time."""
        status = self.machine.nodes.get(name)
        before = None
        if status is not None and status.is_probed:
            before = status.report
        commands = self.machine.answered(name, report, now)
        (self._standbys.add if report.in_recovery else self._standbys.discard)(name)
        is_news = before is None or _decision_facts(before) != _decision_facts(report)
        if is_news or not all(isinstance(one, ReadTopology) for one in commands):
            self.record(recording.answered(self.key, self.time(), name, report))
        is_writer = (
            self.machine.writer_state is WriterState.KNOWN
            and name == self.machine.writer
        )
        if is_writer:
            self.positions.horizon_s = self.max_lag
            self.positions.note(name, report, now)
        if is_writer and not commands:
            self._suspected_at, self.loss_counts = 0.0, LossCounts()
        self._perform(commands)
        if status is not None and before is None:
            self.routes.node_answers(status.node)

    def failed(self, name: str, failure: ProbeFailure, words: str) -> None:
        """Hear that a node was asked in vain, or that its kept connection ended."""
        self.record(recording.failed(self.key, self.time(), name, failure, words))
        if (
            name == self.machine.writer
            and self.machine.writer_state is WriterState.KNOWN
        ):
            self._suspected_at = self._suspected_at or self.clock()
        status = self.machine.nodes.get(name)
        self._perform(self.machine.failed(name, failure, self.clock(), words))
        if status is not None and failure not in ALIVE_FAILURES:
            # Later than the rest: clients find other readers by now.
            self.routes.node_lost(status.node, is_silent=failure is ProbeFailure.SILENT)

    def listed(self, nodes: list[Node]) -> None:
        """Take a new list of nodes, at least one."""
        self.record(recording.listed(self.key, self.time(), nodes))
        before = {status.node for status in self.machine.nodes.values()}
        commands = self.machine.listed(nodes, self.clock())
        if before != {status.node for status in self.machine.nodes.values()}:
            names = ", ".join(node.name for node in nodes)
            self.log.log(f"cluster {self.key}: the nodes are {names}")
        self.monitor.follow()
        self._perform(commands)

    def list_failed(self, name: str) -> None:
        """Hear that a node that answers could not give the list of nodes."""
        self.record(recording.list_failed(self.key, self.time(), name))
        self._perform(self.machine.list_failed(name, self.clock()))

    def list_lost(self, name: str) -> None:
        """Hear that a node was lost while the list was read from it."""
        self._perform(self.machine.suspected(name))

    # Carrying out.

    def _perform(self, commands: list[MachineCommand]) -> None:
        for command in commands:
            if isinstance(command, Ask):
                self.monitor.ask(command.name)
            elif isinstance(command, SetWriter):
                self._set_writer(command)
            elif isinstance(command, Assume):
                self.log.warning(
                    f"cluster {self.key}: clients are served by the configured host:"
                    f" {command.cause}"
                )
                self.routes.serve_as_configured()
            elif isinstance(command, LoseWriter):
                self._lose_writer(command)
            elif isinstance(command, Fence):
                self.log.warning(
                    f"cluster {self.key}: {command.name} is fenced: {command.cause}"
                )
            else:
                self.monitor.read_list(command.name)
        self.monitor.set_tick()
        self._update_readers()
        self._update_standbys()

    def _update_readers(self) -> None:
        """Tell the sites which nodes are fit for readers, when that has changed.

        Before the first verdict none is, nor does anybody lose the one it has.
        """
        if self.machine.writer_state is WriterState.STARTING:
            return
        statuses = self.machine.nodes.values()
        nodes = [status.node for status in statuses]
        readers = [status.node for status in statuses if not self.unfit(status)]
        if self._published != (nodes, readers):
            self._published = nodes, readers
            self.routes.set_readers(nodes, readers)

    def unfit(self, status: NodeStatus) -> str:
        """Return why a node is not to be read from, empty if it is."""
        report = status.report
        if report is None:
            return status.failure or "no answer yet"
        if not report.in_recovery:
            is_open = (
                self.machine.writer_state is WriterState.STARTING and not status.fenced
            )
            if is_open:
                return "takes writes; other nodes have not spoken yet"
            return "fenced" if status.fenced else "writer"
        return self._not_following(status, report) or self._too_far_behind(
            status, report
        )

    def _not_following(self, status: NodeStatus, report: NodeReport) -> str:
        """Return why a standby does not follow the writer, empty if it may do so."""
        machine = self.machine
        if None not in (report.system, machine.system) and (
            report.system != machine.system
        ):
            return "a node of another cluster"
        if machine.writer_state is not WriterState.KNOWN:
            return ""  # There is nobody to follow, and nothing newer elsewhere.
        return self.positions.not_following(
            status.node.name, report, status.answered_at
        )

    def _too_far_behind(self, status: NodeStatus, report: NodeReport) -> str:
        """Return by how much a standby is too far behind, empty if it is not."""
        behind = self.positions.behind(report)
        limit = self.max_lag_bytes
        if limit and behind is not None and behind > limit:
            return f"{behind} bytes behind"
        lag_s = report.lag_s or 0.0
        if self.machine.writer_state is WriterState.KNOWN:
            lag_s = self.positions.lag_s(report, status.answered_at)
        if self.max_lag and lag_s > self.max_lag:
            return f"{lag_s:.0f} s behind"
        return ""

    def lag_bytes(self, status: NodeStatus) -> int | None:
        """Return how far a node was behind the writer when both last answered.

        None if that is not known: on different timelines positions mean nothing.
        """
        return None if status.report is None else self.positions.behind(status.report)

    def _set_writer(self, command: SetWriter) -> None:
        now = self.clock()
        status = self.machine.nodes[command.name]
        event = self.events[-1] if self.events else None
        if event is None or event.new:
            event = Switchover(command.cause, self._writer, now, now)
            if not command.same:
                self.events.append(event)
        event.new, event.found_at = command.name, now
        event.timeline = self.machine.timeline
        event.held, event.longest_wait = self.routes.waiting()
        event.loss_counts = self.loss_counts
        self._writer = command.name
        self.log.log(
            f"cluster {self.key}: the writer is {command.name}"
            f" ({status.node.host or 'unix'}:{status.node.port}): {command.cause}"
        )
        self.routes.serve_from(status.node, same=command.same)
        self.monitor.follow()

    def _lose_writer(self, command: LoseWriter) -> None:
        what = f"the writer {command.name} is lost" if command.name else "no writer"
        self.log.warning(f"cluster {self.key}: {what}: {command.cause}")
        now = self.clock()
        if not self.events or self.events[-1].new:
            # Else it is the same search still, taken up by another process, say.
            since = self._suspected_at or now
            event = Switchover(
                command.cause, command.name, since, now, loss_counts=self.loss_counts
            )
            self.events.append(event)
        self.routes.hold(is_leaving=command.is_leaving)

    def _update_standbys(self) -> None:
        """Tell the sites which nodes may be the next writer, when that has changed."""
        if self.machine.writer_state in (WriterState.STARTING, WriterState.ASSUMED):
            return
        nodes = [
            status.node
            for name, status in self.machine.nodes.items()
            if name != self.machine.writer and not status.fenced
        ]
        if self._standby_nodes != nodes:
            self._standby_nodes = nodes
            self.routes.keep_standbys(nodes)
