"""One cluster: takes results from its monitor, lets the machine decide, carries it out.

The :class:`Monitor` probes the nodes; what depends on the pools is behind the interface
:class:`ClusterRoutes`.
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
from pgswitch.cluster.replication_lag import ReaderFitness

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
        """Make clients wait until the writer is known."""

    def serve_as_configured(self) -> None:
        """Serve clients from the host of the database's entry."""

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Serve clients from this node.

        :param same: it is the present server under another name.
        """

    def wait_for_writer(self, *, is_leaving: bool) -> None:
        """Make clients wait, and close the connections to the last writer.

        :param is_leaving: busy connections end by themselves, perhaps with an answer.
        """

    def keep_standbys(self, nodes: list[Node]) -> None:
        """Keep connections open to these nodes, and to no others."""

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close standby connections to addresses that a node no longer has."""

    def node_answers(self, node: Node) -> None:
        """Use a node that has answered for the first time, or again."""

    def node_lost(self, node: Node, *, is_silent: bool) -> None:
        """Stop using idle connections to a node: its probe failed.

        :param is_silent: it does not answer at all, so that its clients would wait for
            ever.
        """

    def set_readers(self, nodes: list[Node], readers: list[Node]) -> None:
        """Take all nodes, and those that are fit for readers."""

    def waiting(self) -> tuple[int, float]:
        """Return how many clients wait, and the longest wait in seconds."""


def _discard(_line: str) -> None:
    """Record nothing."""


def _decision_facts(report: NodeReport) -> tuple[object, ...]:
    """Return the parts of an answer that the machine decides by."""
    return report.in_recovery, report.timeline, report.system, report.follows


@dataclass(slots=True)
class Cluster:
    """A cluster; ``key`` is the name of its database's entry."""

    key: str
    machine: Machine
    monitor: Monitor
    """Reads the same machine."""
    routes: ClusterRoutes
    clock: Callable[[], float]
    log: Log
    record: Callable[[str], object] = _discard
    """Takes the machine's inputs, see recording.py."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch, for the records."""
    events: deque[Switchover] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    loss_counts: LossCounts = field(default_factory=LossCounts)
    """What became of clients since the writer last answered without a suspicion."""
    fitness: ReaderFitness = field(init=False)
    _writer: str = ""
    """The last writer that was set."""
    _suspected_at: float = 0.0
    """When the first sign of trouble with the writer was seen; 0.0: none."""
    _published: tuple[list[Node], list[Node]] | None = None
    """The nodes and readers that the routes have."""
    _wait_logged_at: float = 0.0
    """When the log last said that clients wait for a writer; at first, the start."""
    _standby_nodes: list[Node] | None = None
    """The nodes that the routes keep standby connections to."""
    _standbys: set[str] = field(default_factory=set)
    """Nodes that were in recovery when they last answered, even if lost since."""
    _checks: NodeChecks | None = None
    """None until the cluster starts."""

    def __post_init__(self) -> None:
        """Rate readers by the same machine."""
        self.fitness = ReaderFitness(self.machine)

    def start(self, clock: IReactorTime) -> None:
        """Begin to probe; ``clock`` provides IReactorTime.

        Clients wait for the first decision.
        """
        self.record(recording.begun(self.key, self.time(), self.machine))
        self._writer, self._wait_logged_at = self.machine.writer, self.clock()
        self.routes.wait()
        self._checks = NodeChecks(self._make_probe, clock)
        self.monitor.start(clock, self)

    def _make_probe(self, node: Node, ended: Callable[[], None]) -> Probe:
        """Return a probe of a node, made as the entry says now."""
        return self.monitor.make_probe(node, ended)

    def renew(
        self,
        seeds: list[Node],
        query: str,
        port: int,
        make_probe: Callable[[Node, Callable[[], None]], Probe],
    ) -> None:
        """Take a changed entry: its hosts, the topology query, and the login."""
        self.record(recording.entry_changed(self.key, self.time(), seeds))
        commands = self.machine.entry_changed(seeds, self.clock())
        self.monitor.renew(query, port, make_probe)
        self._perform(commands)

    def limit(self, limits: MachineLimits) -> None:
        """Take the settings that the machine uses."""
        if limits != self.machine.limits:
            self.machine.limits = limits
            self.record(recording.limited(self.key, self.time(), limits))

    def stop(self) -> None:
        """Stop probing and close every connection."""
        self.monitor.stop()
        if self._checks is not None:
            self._checks.stop()

    def suspect(self, node: Node | None = None) -> None:
        """Take a hint from a server connection: it was lost, or reported a fault.

        It went to ``node``, by default to the writer.
        """
        name = "" if node is None else node.name
        if node is None:
            self._suspected_at = self._suspected_at or self.clock()
            self.monitor.alert()
        self.record(recording.suspected(self.key, self.time(), name))
        self._perform(self.machine.suspected(name))

    def moved(self, host: str, removed: Container[str]) -> None:
        """Probe the nodes with this host name, which has lost some addresses.

        If it is the writer, clients wait until it has answered: the machine at its old
        address may still be up and take writes.
        """
        for name, status in [*self.machine.nodes.items()]:
            if status.node.host == host:
                self.monitor.moved(name, removed)
                self.routes.close_at(status.node, removed)

    def address_of(self, node: Node) -> str:
        """Return the address where a node with a host name answered; empty: none."""
        return self.monitor.address_of(node)

    def check(self, callback: CheckCallback, node: Node | None = None) -> None:
        """Check a node over a new connection, by default the writer."""
        nodes = self.machine.nodes
        writer = nodes.get(self.machine.writer)
        if node is None:
            node = writer.node if writer else next(iter(nodes.values())).node
        if self._checks is not None:
            self._checks.check(node, partial(self._checked, node.name, callback))

    def _checked(self, name: str, callback: CheckCallback, found: CheckResult) -> None:
        """Stop reading from a node that takes no connections.

        The writer is also probed over the monitor's connection, which decides.
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
        """Note that a connection to the writer is ready for clients."""
        event = self.events[-1] if self.events else None
        if event is not None and event.new and not event.served_at:
            event.served_at = self.clock()
            self.log.log(f"cluster {self.key}: clients are served by {event.new}")

    def forget_writer(self) -> None:
        """Probe all nodes, and forget a last writer that does not answer."""
        machine = self.machine
        if machine.writer_state is not WriterState.KNOWN and machine.writer:
            self.log.warning(
                f"cluster {self.key}: RECONNECT: the last writer, {machine.writer}, and"
                f" its timeline ({machine.timeline}) are forgotten"
            )
        self.record(recording.writer_forgotten(self.key, self.time()))
        self._perform(machine.forget_writer(self.clock()))

    # The monitor's results; see its MonitorListener.

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
        """Log that clients wait for a writer, and why there is none."""
        held, longest = self.routes.waiting()
        if not held:
            return
        hint = ""
        if any(status.fenced for status in self.machine.nodes.values()):
            hint = f"; RECONNECT {self.key} forgets the last writer"
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
            self.fitness.note_writer(name, report, now)
        if is_writer and not commands:
            self._suspected_at, self.loss_counts = 0.0, LossCounts()
        self._perform(commands)
        if status is not None and before is None:
            self.routes.node_answers(status.node)

    def failed(self, name: str, failure: ProbeFailure, words: str) -> None:
        """Take the failure of a probe, or the end of an idle connection."""
        self.record(recording.failed(self.key, self.time(), name, failure, words))
        if (
            name == self.machine.writer
            and self.machine.writer_state is WriterState.KNOWN
        ):
            self._suspected_at = self._suspected_at or self.clock()
        status = self.machine.nodes.get(name)
        self._perform(self.machine.failed(name, failure, self.clock(), words))
        if status is not None and failure not in ALIVE_FAILURES:
            # After the rest: its clients find other readers now.
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
        """Note that a node that answers could not give the list of nodes."""
        self.record(recording.list_failed(self.key, self.time(), name))
        self._perform(self.machine.list_failed(name, self.clock()))

    def list_lost(self, name: str) -> None:
        """Note that a node was lost while the list was read from it."""
        self._perform(self.machine.suspected(name))

    # Carrying out commands.

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
        """Give the routes the nodes that are fit for readers, when they have changed.

        Before the first decision there are none, and no client loses the one it has.
        """
        if self.machine.writer_state is WriterState.STARTING:
            return
        statuses = self.machine.nodes.values()
        nodes = [status.node for status in statuses]
        readers = [status.node for status in statuses if not self.fitness.unfit(status)]
        if self._published != (nodes, readers):
            self._published = nodes, readers
            self.routes.set_readers(nodes, readers)

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
            # Else the search goes on, in the process that has taken over, say.
            since = self._suspected_at or now
            event = Switchover(
                command.cause, command.name, since, now, loss_counts=self.loss_counts
            )
            self.events.append(event)
        self.routes.wait_for_writer(is_leaving=command.is_leaving)

    def _update_standbys(self) -> None:
        """Give the routes the candidates for the next writer, if they have changed."""
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
