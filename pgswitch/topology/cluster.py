"""One cluster at work: asks its nodes, lets the machine decide, carries that out.

What depends on the pools is behind the interface :class:`Sites`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.internet.task import LoopingCall

from pgswitch.topology import machine as m
from pgswitch.topology import recording
from pgswitch.topology.events import Event, Tally
from pgswitch.topology.nodes import BadRow, Node, nodes_of
from pgswitch.topology.probe import ProbeFailed

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure as TwistedFailure

    from pgswitch.logs import Log
    from pgswitch.topology.probe import Rows

WRITER_PACE_S = 0.25
NODE_PACE_S = 1.0
SEARCH_PACE_S = 0.003
"""How often a node that answers is asked while there is no writer: the new writer is
found so much later than it could be, at most."""
STEADY_TICK_S = 0.05
ALERT_PACE_S, ALERT_S = 0.02, 2.0
"""How often all nodes are asked, and for how long, once a client's server was lost: the
rest of a crashed writer may go on answering while another is promoted."""
SEARCH_LIST_PACE_S = 1.0
"""How often the list of nodes is read while there is no writer."""
STALL_S = 0.2
"""If ticks are further apart, it was us who slept; nobody else was silent."""
EVENTS_KEPT = 100


class Probe(Protocol):
    """A connection to one node; see probe.py."""

    @property
    def is_connected(self) -> bool:
        """Whether a question costs no connect."""

    def ask(self) -> Deferred[m.Report]:
        """Ask what the node is; fails with ProbeFailed."""

    def read(self, query: str) -> Deferred[Rows]:
        """Run a query; fails with ProbeFailed."""

    def close(self) -> None:
        """Close the connection; what was asked fails."""


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

    def read_from(self, nodes: list[Node], readers: list[Node]) -> None:
        """Take the nodes that there are, and those that are fit for readers."""

    def waiting(self) -> tuple[int, float]:
        """Return how many clients wait, and the longest wait in seconds."""

    def heard_at(self, node: Node) -> float:
        """Return when a client's query was last answered by this node."""


def _forget(_line: str) -> None:
    """Record nothing."""


@dataclass(slots=True)
class Pace:
    """The settings that say how often nodes are asked, in seconds."""

    polling_frequency: float = 0.1
    server_failed_delay: float = 30.0
    recreate: bool = True
    silence: float = 1.0
    """A node that says nothing for so long is held dead."""
    refresh: float = 30.0
    """How often the list of nodes is read."""
    max_lag: float = 0.0
    """By how much a reader may be behind in seconds, and in bytes; 0: any."""
    max_lag_bytes: int = 0


@dataclass(slots=True)
class _Watch:
    """What goes on with one node."""

    node: Node
    probe: Probe
    busy: bool = False
    again: bool = False
    asked_at: float = float("-inf")
    heard_at: float = float("-inf")
    took: float = 0.0


@dataclass(slots=True)
class Cluster:
    """A cluster; ``key`` is the name of its database's entry."""

    key: str
    query: str
    port: int
    machine: m.Machine
    sites: Sites
    make_probe: Callable[[Node, Callable[[], None]], Probe]
    clock: Callable[[], float]
    log: Log
    pace: Pace = field(default_factory=Pace)
    record: Callable[[str], object] = _forget
    """Takes the machine's inputs, see recording.py."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch, for the records."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    tally: Tally = field(default_factory=Tally)
    """What became of clients since the writer was last well."""
    watches: dict[str, _Watch] = field(default_factory=dict)
    _loop: LoopingCall | None = None
    _ticked_at: float = float("-inf")
    _list_from: str = ""
    """The node to read the list from when it has time."""
    _read_at: float = float("-inf")
    _complaint: str = ""
    _writer: str = ""
    """The last writer that was set."""
    _alert_until: float = 0.0
    _is_ticking: bool = False
    _suspected_at: float = 0.0
    """When the first sign was seen that the writer is not well; 0.0: it is."""
    _told: tuple[list[Node], list[Node]] | None = None
    """The last nodes and readers that the sites were told."""
    _closed: bool = False

    def start(self, clock: IReactorTime) -> None:
        """Begin to ask; ``clock`` provides IReactorTime."""
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self.record(recording.begun(self.key, self.time(), self.machine.seeds))
        self._follow_nodes()
        self._set_tick()

    def stop(self) -> None:
        """Ask no more and close every connection."""
        self._closed = True
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        for watch in self.watches.values():
            watch.probe.close()
        self.watches.clear()

    def suspect(self, node: Node | None = None) -> None:
        """Take a hint from a client's server: its loss, or what it said.

        The server is one of ``node``, by default of the writer.
        """
        name = "" if node is None else node.name
        if node is None:
            now = self.clock()
            self._suspected_at = self._suspected_at or now
            self._alert_until = now + ALERT_S
        self.record(recording.suspected(self.key, self.time(), name))
        self._perform(self.machine.suspected(name))

    def served(self) -> None:
        """Hear that a server of the writer's is there for clients."""
        event = self.events[-1] if self.events else None
        if event is not None and event.new and not event.served_at:
            event.served_at = self.clock()
            self.log.log(f"cluster {self.key}: clients are served by {event.new}")

    # Asking.

    def _set_tick(self) -> None:
        """Tick as fast as the state needs it."""
        loop = self._loop
        if loop is None or self._closed:
            return
        interval = SEARCH_PACE_S
        if self.machine.state is m.State.KNOWN:
            is_alert = self.clock() < self._alert_until
            interval = ALERT_PACE_S if is_alert else STEADY_TICK_S
        if loop.running and (loop.interval == interval or self._is_ticking):
            # In the midst of a tick the next one is yet to be planned.
            loop.interval = interval
            return
        if loop.running:
            loop.stop()
        loop.start(interval, now=False)

    def _tick(self) -> None:
        self._is_ticking = True
        try:
            self._look_around()
        finally:
            self._is_ticking = False

    def _look_around(self) -> None:
        """Ask whoever is due, and give up whoever is silent."""
        self._set_tick()
        now = self.clock()
        was_awake = now - self._ticked_at < STALL_S
        self._ticked_at = now
        is_known = self.machine.state is m.State.KNOWN
        if is_known and now - self._read_at >= self.pace.refresh:
            self._list_from = self.machine.writer
        source = self.watches.get(self._list_from)
        if source is not None:
            self._read_topology(source)
        for watch in [*self.watches.values()]:
            if watch.busy:
                if was_awake and self._is_silent(watch, now):
                    watch.probe.close()
            elif now - watch.asked_at >= self._pace_of(watch):
                self._ask(watch)

    def _is_silent(self, watch: _Watch, now: float) -> bool:
        """Tell whether a node has let us wait for too long.

        It counts as alive as long as it answers clients' queries.
        """
        limit = self.pace.silence
        asked_for = now - watch.asked_at
        if watch.probe.is_connected:
            # It may have fallen silent right after its last answer.
            if now - watch.heard_at < limit or asked_for < limit / 2:
                return False
            return now - self.sites.heard_at(watch.node) >= limit
        return asked_for >= limit

    def _pace_of(self, watch: _Watch) -> float:
        """Return how many seconds there are between two questions to a node."""
        is_known = self.machine.state is m.State.KNOWN
        if not watch.probe.is_connected:
            every = not any(one.probe.is_connected for one in self.watches.values())
            if is_known or (every and not self.pace.recreate):
                return self.pace.server_failed_delay
            return self.pace.polling_frequency
        if not is_known:
            return SEARCH_PACE_S
        if self.clock() < self._alert_until:
            return ALERT_PACE_S
        is_writer = watch.node.name == self.machine.writer
        return WRITER_PACE_S if is_writer else NODE_PACE_S

    def _ask(self, watch: _Watch) -> None:
        if watch.busy:
            watch.again = True
            return
        watch.busy = True
        watch.asked_at = self.clock()
        watch.probe.ask().addCallbacks(
            self._answered,
            self._failed,
            callbackArgs=(watch,),
            errbackArgs=(watch,),
        ).addErrback(self._puzzled)

    def _answered(self, report: m.Report, watch: _Watch) -> None:
        now = self.clock()
        watch.took, watch.heard_at = now - watch.asked_at, now
        if self._is_over(watch):
            return
        self._take_answer(watch.node.name, report, now)
        self._once_more(watch)

    def _take_answer(self, name: str, report: m.Report, now: float) -> None:
        sight = self.machine.sights.get(name)
        before = None if sight is None else sight.report
        commands = self.machine.answered(name, report, now)
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

    def _take_failure(self, name: str, failure: m.Failure, words: str) -> None:
        self.record(recording.failed(self.key, self.time(), name, failure, words))
        if name == self.machine.writer and self.machine.state is m.State.KNOWN:
            self._suspected_at = self._suspected_at or self.clock()
        self._perform(self.machine.failed(name, failure, words))

    def _failed(self, failure: TwistedFailure, watch: _Watch) -> None:
        fault = failure.value
        if not isinstance(fault, ProbeFailed):
            fault = ProbeFailed(m.Failure.REFUSED, repr(fault))
        if self._is_over(watch):
            return
        self._take_failure(watch.node.name, fault.failure, str(fault))
        self._once_more(watch)

    def _is_over(self, watch: _Watch) -> bool:
        """Note the end of a question; True if nobody wants to know any more."""
        watch.busy = False
        return self._closed or self.watches.get(watch.node.name) is not watch

    def _once_more(self, watch: _Watch) -> None:
        if watch.again and not watch.busy:
            watch.again = False
            self._ask(watch)

    def _puzzled(self, failure: TwistedFailure) -> None:
        self.log.error(f"cluster {self.key}: {failure.getTraceback()}")

    def _connection_ended(self, name: str) -> None:
        """Hear that the kept connection to a node ended by itself."""
        if not self._closed:
            self._take_failure(name, m.Failure.LOST, "")

    # Carrying out.

    def _perform(self, commands: list[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Ask):
                watch = self.watches.get(command.name)
                if watch is not None:
                    self._ask(watch)
            elif isinstance(command, m.SetWriter):
                self._set_writer(command)
            elif isinstance(command, m.LoseWriter):
                self._lose_writer(command)
            elif isinstance(command, m.Fence):
                self.log.warning(
                    f"cluster {self.key}: {command.name} is fenced: {command.cause}"
                )
            elif self.machine.state is m.State.KNOWN or self._may_list():
                self._list_from = command.name
        self._set_tick()
        self._tell_readers()

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
        limit = self.pace.max_lag_bytes
        if limit and behind is not None and behind > limit:
            return f"{behind} bytes behind"
        if self.pace.max_lag and (report.lag_s or 0.0) > self.pace.max_lag:
            return f"{report.lag_s:.0f} s behind"
        return ""

    def lag_bytes(self, sight: m.Sight) -> int | None:
        """Return how far a node was behind the writer when both last answered."""
        writer = self.machine.sights.get(self.machine.writer)
        reports = sight.report, writer.report if writer else None
        mine, its = (report.lsn if report else None for report in reports)
        return None if mine is None or its is None else max(0, its - mine)

    def _may_list(self) -> bool:
        """Tell whether it is time to read the list without a writer."""
        return self.clock() - self._read_at >= SEARCH_LIST_PACE_S

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
        self._follow_nodes()
        self.sites.serve_from(sight.node, same=command.same)
        self._keep_warm()

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
        self.sites.keep_warm(
            [
                sight.node
                for name, sight in self.machine.sights.items()
                if name != self.machine.writer and not sight.fenced
            ]
        )

    def _follow_nodes(self) -> None:
        """Have one watch for each node."""
        for name, watch in list(self.watches.items()):
            sight = self.machine.sights.get(name)
            if sight is None or sight.node != watch.node:
                watch.probe.close()
                del self.watches[name]
        for name, sight in self.machine.sights.items():
            if name not in self.watches:
                ended = partial(self._connection_ended, name)
                probe = self.make_probe(sight.node, ended)
                self.watches[name] = _Watch(sight.node, probe)

    # The list of nodes.

    def _read_topology(self, writer: _Watch) -> None:
        """Read the list of nodes from this one, unless it has no time now."""
        if writer.busy or not writer.probe.is_connected:
            return
        self._list_from = ""
        self._read_at = writer.asked_at = self.clock()
        writer.busy = True
        writer.probe.read(self.query).addCallbacks(
            self._listed,
            self._not_listed,
            callbackArgs=(writer,),
            errbackArgs=(writer,),
        ).addErrback(self._puzzled)

    def _listed(self, result: Rows, watch: _Watch) -> None:
        if self._is_over(watch):
            return
        watch.heard_at = self.clock()
        try:
            nodes = nodes_of(*result, self.port)
        except BadRow as error:
            self._complain(f"the topology query named {error}")
            return
        if not nodes:
            self._complain("the topology query named no node")
            return
        self._complaint = ""
        self.record(recording.listed(self.key, self.time(), nodes))
        before = {sight.node for sight in self.machine.sights.values()}
        commands = self.machine.listed(nodes)
        if before != {sight.node for sight in self.machine.sights.values()}:
            names = ", ".join(node.name for node in nodes)
            self.log.log(f"cluster {self.key}: the nodes are {names}")
        self._follow_nodes()
        self._keep_warm()
        self._perform(commands)
        self._once_more(watch)

    def _not_listed(self, failure: TwistedFailure, watch: _Watch) -> None:
        if self._is_over(watch):
            return
        fault = failure.value
        self._complain(f"the topology query failed: {fault}")
        is_unfit = isinstance(fault, ProbeFailed) and fault.failure is m.Failure.UNFIT
        if not is_unfit:
            self._perform(self.machine.suspected())

    def _complain(self, words: str) -> None:
        """Say what is wrong with the topology query, once."""
        if words != self._complaint:
            self._complaint = words
            self.log.warning(f"cluster {self.key}: {words}; the nodes stay as they are")
