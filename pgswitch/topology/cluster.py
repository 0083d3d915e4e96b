"""One cluster at work: hears of its nodes, lets the machine decide, carries that out.

The :class:`Monitor` asks the nodes; what depends on the pools is behind the interface
:class:`Sites`.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.topology import machine as m
from pgswitch.topology import recording
from pgswitch.topology.calling import Calls, Finding
from pgswitch.topology.events import Event, Tally

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from pgswitch.logs import Log
    from pgswitch.topology.calling import Heard
    from pgswitch.topology.monitor import Monitor
    from pgswitch.topology.nodes import Node

EVENTS_KEPT = 100
_FAILURES = {
    Finding.GONE: m.Failure.REFUSED,
    Finding.NOT_READY: m.Failure.NOT_READY,
}
_ABOUT_LOGINS = re.compile("password|authenti|scram|role|pg_hba", re.IGNORECASE)


class Sites(Protocol):
    """What a cluster does to the pools of its database."""

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Use this node from now on, and let clients go on.

        ``same``: it is the present server under another name.
        """

    def hold(self, *, is_leaving: bool) -> None:
        """Have clients wait, and close the connections to the last writer.

        ``is_leaving``: those at work end by themselves, with an answer perhaps.
        """

    def keep_warm(self, nodes: list[Node]) -> None:
        """Keep connections open to these nodes, and to no others."""

    def answers(self, node: Node) -> None:
        """Hear that a node answers that did not, or was not known."""

    def read_from(self, nodes: list[Node], readers: list[Node]) -> None:
        """Take the nodes that there are, and those that are fit for readers."""

    def waiting(self) -> tuple[int, float]:
        """Return how many clients wait, and the longest wait in seconds."""


def _forget(_line: str) -> None:
    """Record nothing."""


@dataclass(slots=True)
class Cluster:
    """A cluster; ``key`` is the name of its database's entry."""

    key: str
    machine: m.Machine
    monitor: Monitor
    """Looks at the same machine."""
    sites: Sites
    clock: Callable[[], float]
    log: Log
    max_lag: float = 0.0
    """By how much a reader may be behind in seconds, and in bytes; 0: any."""
    max_lag_bytes: int = 0
    record: Callable[[str], object] = _forget
    """Takes the machine's inputs, see recording.py."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch, for the records."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    tally: Tally = field(default_factory=Tally)
    """What became of clients since the writer was last well."""
    _writer: str = ""
    """The last writer that was set."""
    _suspected_at: float = 0.0
    """When the first sign was seen that the writer is not well; 0.0: it is."""
    _told: tuple[list[Node], list[Node]] | None = None
    """The last nodes and readers that the sites were told."""
    _warm: list[Node] | None = None
    """The last nodes that they were told to keep connections to."""
    _standbys: set[str] = field(default_factory=set)
    """Nodes that were in recovery when they last answered, lost since or not."""
    _calls: Calls | None = None
    """There once it has started."""

    def start(self, clock: IReactorTime) -> None:
        """Begin to ask; ``clock`` provides IReactorTime."""
        self.record(recording.begun(self.key, self.time(), self.machine.seeds))
        self._calls = Calls(self.monitor.make_probe, clock)
        self.monitor.start(clock, self)

    def stop(self) -> None:
        """Ask no more and close every connection."""
        self.monitor.stop()
        if self._calls is not None:
            self._calls.stop()

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

    def call(self, heard: Heard, node: Node | None = None) -> None:
        """Call on a node over a new connection, by default on the writer."""
        sights = self.machine.sights
        writer = sights.get(self.machine.writer)
        if node is None:
            node = writer.node if writer else next(iter(sights.values())).node
        if self._calls is not None:
            self._calls.call(node, partial(self._called_on, node.name, heard))

    def _called_on(self, name: str, heard: Heard, found: Finding) -> None:
        """Have nobody go on to read from a node that takes no connections.

        The writer is asked over the kept connection too, which decides.
        """
        failure = _FAILURES.get(found)
        if failure is not None and name != self.machine.writer:
            self.failed(name, failure, "")
        heard(found)

    def is_standby(self, node: Node) -> bool:
        """Tell whether a node was in recovery when it last answered."""
        return node.name in self._standbys

    @property
    def why_searching(self) -> str:
        """Why there is no writer now; empty if there is, or nothing is known."""
        event = self.events[-1] if self.events else None
        if self.machine.state is not m.State.SEARCHING or event is None or event.new:
            return ""
        lost = f"{event.old} was lost, " if event.old else ""
        return f"{lost}{event.cause}"

    def served(self) -> None:
        """Hear that a server of the writer's is there for clients."""
        event = self.events[-1] if self.events else None
        if event is not None and event.new and not event.served_at:
            event.served_at = self.clock()
            self.log.log(f"cluster {self.key}: clients are served by {event.new}")

    # What the monitor says; see its Hearer.

    def answered(self, name: str, report: m.Report, now: float) -> None:
        """Take a node's answer; ``now`` is the clock's time."""
        sight = self.machine.sights.get(name)
        before = None if sight is None else sight.report
        commands = self.machine.answered(name, report, now)
        (self._standbys.add if report.in_recovery else self._standbys.discard)(name)
        is_news = before is None or (before.in_recovery, before.timeline) != (
            report.in_recovery,
            report.timeline,
        )
        if is_news or not all(isinstance(one, m.ReadTopology) for one in commands):
            self.record(recording.answered(self.key, self.time(), name, report))
        is_writer = self.machine.state is m.State.KNOWN and name == self.machine.writer
        if is_writer and not commands:
            self._suspected_at, self.tally = 0.0, Tally()
        self._perform(commands)
        if sight is not None and before is None:
            self.sites.answers(sight.node)

    def failed(self, name: str, failure: m.Failure, words: str) -> None:
        """Hear that a node was asked in vain, or that its kept connection ended."""
        self.record(recording.failed(self.key, self.time(), name, failure, words))
        if failure is m.Failure.UNFIT:
            self._complain(name, words)
        if name == self.machine.writer and self.machine.state is m.State.KNOWN:
            self._suspected_at = self._suspected_at or self.clock()
        self._perform(self.machine.failed(name, failure, words))

    def _complain(self, name: str, words: str) -> None:
        """Say why a node cannot be asked, once."""
        sight = self.machine.sights.get(name)
        if sight is None or sight.failure == words:
            return
        hint = ""
        if _ABOUT_LOGINS.search(words):
            hint = (
                "; the monitor logs in with user= and password= of the entry,"
                " without password= with the user's secret in auth_file"
            )
        self.log.warning(f"cluster {self.key}: {name} cannot be asked: {words}{hint}")

    def listed(self, nodes: list[Node]) -> None:
        """Take a new list of nodes, at least one."""
        self.record(recording.listed(self.key, self.time(), nodes))
        before = {sight.node for sight in self.machine.sights.values()}
        commands = self.machine.listed(nodes)
        if before != {sight.node for sight in self.machine.sights.values()}:
            names = ", ".join(node.name for node in nodes)
            self.log.log(f"cluster {self.key}: the nodes are {names}")
        self.monitor.follow()
        self._perform(commands)

    def list_lost(self) -> None:
        """Hear that a node was lost while the list was read."""
        self._perform(self.machine.suspected())

    # Carrying out.

    def _perform(self, commands: list[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Ask):
                self.monitor.ask(command.name)
            elif isinstance(command, m.SetWriter):
                self._set_writer(command)
            elif isinstance(command, m.LoseWriter):
                self._lose_writer(command)
            elif isinstance(command, m.Fence):
                self.log.warning(
                    f"cluster {self.key}: {command.name} is fenced: {command.cause}"
                )
            else:
                self.monitor.read_list(command.name)
        self.monitor.set_tick()
        self._tell_readers()
        self._keep_warm()

    def _tell_readers(self) -> None:
        """Tell the sites which nodes are fit for readers, when that has changed."""
        sights = self.machine.sights.values()
        nodes = [sight.node for sight in sights]
        readers = [sight.node for sight in sights if not self.unfit(sight)]
        if self._told != (nodes, readers):
            self._told = nodes, readers
            self.sites.read_from(nodes, readers)

    def unfit(self, sight: m.Sight) -> str:
        """Return why a node is not to be read from, empty if it is."""
        report = sight.report
        if report is None:
            return sight.failure or "not asked yet"
        if not report.in_recovery:
            return "fenced" if sight.fenced else "writer"
        behind = self.lag_bytes(sight)
        limit = self.max_lag_bytes
        if limit and behind is not None and behind > limit:
            return f"{behind} bytes behind"
        if self.max_lag and (report.lag_s or 0.0) > self.max_lag:
            return f"{report.lag_s:.0f} s behind"
        return ""

    def lag_bytes(self, sight: m.Sight) -> int | None:
        """Return how far a node was behind the writer when both last answered."""
        writer = self.machine.sights.get(self.machine.writer)
        reports = sight.report, writer.report if writer else None
        mine, its = (report.lsn if report else None for report in reports)
        return None if mine is None or its is None else max(0, its - mine)

    def _set_writer(self, command: m.SetWriter) -> None:
        now = self.clock()
        sight = self.machine.sights[command.name]
        event = self.events[-1] if self.events else None
        if event is None or event.new:
            event = Event(command.cause, self._writer, now, now)
            if not command.same:
                self.events.append(event)
        event.new, event.found_at = command.name, now
        event.timeline = self.machine.timeline
        event.held, event.longest_wait = self.sites.waiting()
        event.tally = self.tally
        self._writer = command.name
        self.log.log(
            f"cluster {self.key}: the writer is {command.name}"
            f" ({sight.node.host or 'unix'}:{sight.node.port}): {command.cause}"
        )
        self.sites.serve_from(sight.node, same=command.same)
        self.monitor.follow()

    def _lose_writer(self, command: m.LoseWriter) -> None:
        self.log.warning(
            f"cluster {self.key}: the writer {command.name} is lost: {command.cause}"
        )
        now = self.clock()
        suspected_at = self._suspected_at or now
        event = Event(command.cause, command.name, suspected_at, now, tally=self.tally)
        self.events.append(event)
        self.sites.hold(is_leaving=command.is_leaving)

    def _keep_warm(self) -> None:
        """Tell the sites which nodes may be the next writer, when that has changed."""
        if self.machine.state is m.State.ASSUMED:
            return
        nodes = [
            sight.node
            for name, sight in self.machine.sights.items()
            if name != self.machine.writer and not sight.fenced
        ]
        if self._warm != nodes:
            self._warm = nodes
            self.sites.keep_warm(nodes)
