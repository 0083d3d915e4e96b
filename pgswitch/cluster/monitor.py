"""Asks the nodes of a cluster what they are, each in its time.

There is one watch, with one connection, for each node that the machine knows.  A tick
looks at them all: whoever is due is asked, whoever is silent for too long is given up.
How often depends on the machine's state, which is only read here; what comes of it goes
to the :class:`MonitorListener`.  The list of nodes is read over the same connections.

Two things have deadlines of their own.  A question on a kept connection has
``switchover_silence``, and what the way there and back takes.  A connect has
``server_connect_timeout``: over a long way TCP, TLS and SCRAM are many times there and
back.  A node that was heard before is *held* silent earlier, ``switchover_silence``
after a connect began; the connect goes on.  A host that has not even accepted the
connection is tried again sooner, for the kernel repeats a lost packet ever more rarely.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.internet.task import LoopingCall

from pgswitch.cluster.cluster_state import WriterState
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.node_failure_log import LONG_S, NodeFailureLog
from pgswitch.cluster.nodes import (
    ALIVE_FAILURES,
    BadRow,
    Node,
    NodeReport,
    ProbeFailure,
    nodes_of,
)
from pgswitch.cluster.probe_query import ProbeFailed

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure as TwistedFailure

    from pgswitch.cluster.node_queries import QueryRows
    from pgswitch.logs import Log

WRITER_PACE_S = 0.25
NODE_PACE_S = 1.0
SEARCH_PACE_S = 0.003
"""How soon a node that has answered is asked again while there is no writer."""
MAX_STATEMENT_WAIT_S = 0.25
"""For how long a standby may keep a question that it answers when it is promoted."""
STEADY_TICK_S = 0.05
ALERT_PACE_S, ALERT_S = 0.02, 2.0
"""How often all nodes are asked, and for how long, once a client's server was lost: the
rest of a crashed writer may go on answering while another is promoted."""
SEARCH_LIST_PACE_S = 1.0
"""How often the list of nodes is read while there is no writer."""
MOVED = "its name leads to another address"
MAX_MISSES = 3
"""So many times ``switchover_silence`` a host has at most to accept a connection."""
STALL_S = 0.2
"""If ticks are further apart, it was us who slept; nobody else was silent."""


class Probe(Protocol):
    """A connection to one node; see driver_probe.py."""

    @property
    def is_connected(self) -> bool:
        """Whether a question costs no connect."""

    @property
    def is_reached(self) -> bool:
        """Whether the host has accepted the connection, logged in or not yet."""

    @property
    def address(self) -> str:
        """Where the host was reached last; empty: nowhere yet, or a unix socket."""

    def ask(self, patience_s: float = 0.0) -> Deferred[NodeReport]:
        """Ask what the node is; fails with ProbeFailed.

        A standby may answer so many seconds later, or when it is promoted.
        """

    def read(self, query: str) -> Deferred[QueryRows]:
        """Run a query; fails with ProbeFailed."""

    def close(self) -> None:
        """Close the connection; what was asked fails."""


class NodeNames(Protocol):
    """The host names of nodes; see dns/resolver.py."""

    def pin(self, host: str, address: str) -> None:
        """Have a name lead to this one of its addresses."""

    def unpin(self, host: str) -> None:
        """Have all addresses of a name tried again."""


class MonitorListener(Protocol):
    """Whoever hears what came of the questions; see cluster.py."""

    def answered(self, name: str, report: NodeReport, now: float) -> None:
        """Take a node's answer; ``now`` is the clock's time."""

    def failed(self, name: str, failure: ProbeFailure, words: str) -> None:
        """Hear that a node was asked in vain, or that its kept connection ended."""

    def listed(self, nodes: list[Node]) -> None:
        """Take a new list of nodes, at least one."""

    def list_failed(self, name: str) -> None:
        """Hear that a node that answers could not give the list of nodes."""

    def list_lost(self, name: str) -> None:
        """Hear that a node was lost while the list was read from it."""

    def ticked(self, now: float) -> None:
        """Let time pass; ``now`` is the clock's time."""


@dataclass(slots=True)
class PollIntervals:
    """The settings that say how often nodes are asked, in seconds."""

    polling_frequency: float = 0.1
    server_failed_delay: float = 30.0
    recreate: bool = True
    silence: float = 1.0
    """A node that says nothing for so long is held dead."""
    connect_timeout: float = 15.0
    """How long a connect may last, login and all; 0: for ever."""
    refresh: float = 30.0
    """How often the list of nodes is read."""


@dataclass(slots=True)
class NodePoll:
    """What goes on with one node."""

    node: Node
    probe: Probe
    busy: bool = False
    again: bool = False
    asked_at: float = float("-inf")
    heard_at: float = float("-inf")
    took: float = 0.0
    """How many seconds the last answer took."""
    is_refused: bool = False
    """It lives, but did not answer the last question: haste would be of no use."""
    is_connecting: bool = False
    """A connection is being made for the question."""
    began_at: float = float("-inf")
    """When the connect began, or the question once there was a connection."""
    login_took: float = float("inf")
    """The shortest that a connect has taken, in seconds."""
    round_trip: float = float("inf")
    """The shortest that an answer on this connection has taken."""
    misses: int = 0
    """How often in a row the host has not accepted a connection in time."""
    is_silent: bool = False
    """It was said to be silent, while the connect goes on."""
    deadline: str = ""
    """Which one has ended the attempt."""
    address: str = ""
    """Where it has answered last, if its host has a name."""
    failure_log: NodeFailureLog = field(default_factory=NodeFailureLog)


@dataclass(slots=True)
class Monitor:
    """Asks one cluster's nodes; ``key`` is the name of its database's entry."""

    key: str
    query: str
    """Reads the list of nodes."""
    port: int
    """The port of nodes that are listed without one."""
    machine: Machine
    """Says which nodes there are and what is known; never told anything here."""
    client_heard_at: Callable[[Node], float]
    """Returns when a client's query was last answered by a node."""
    make_probe: Callable[[Node, Callable[[], None]], Probe]
    clock: Callable[[], float]
    log: Log
    names: NodeNames | None = None
    intervals: PollIntervals = field(default_factory=PollIntervals)
    polls: dict[str, NodePoll] = field(default_factory=dict)
    _listener: MonitorListener = field(init=False, repr=False, compare=False)
    _loop: LoopingCall | None = None
    _ticked_at: float = float("-inf")
    _list_from: str = ""
    """The node to read the list from when it has time."""
    _read_from: str = ""
    _read_at: float = float("-inf")
    _complaint: str = ""
    _alert_until: float = 0.0
    _is_ticking: bool = False
    _closed: bool = False

    def start(self, clock: IReactorTime, listener: MonitorListener) -> None:
        """Begin to ask; ``clock`` provides IReactorTime."""
        self._listener = listener
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self.follow()
        self.set_tick()

    def stop(self) -> None:
        """Ask no more and close every connection."""
        self._closed = True
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        for poll in self.polls.values():
            poll.probe.close()
        self.polls.clear()

    def follow(self) -> None:
        """Have one watch for each node that the machine knows."""
        for name, poll in list(self.polls.items()):
            status = self.machine.nodes.get(name)
            if status is None or status.node != poll.node:
                # Before it is closed, or what it was asked would count as failed.
                del self.polls[name]
                poll.probe.close()
        for name, status in self.machine.nodes.items():
            if name not in self.polls:
                ended = partial(self._connection_ended, name)
                probe = self.make_probe(status.node, ended)
                self.polls[name] = NodePoll(status.node, probe)

    def renew(
        self,
        query: str,
        port: int,
        make_probe: Callable[[Node, Callable[[], None]], Probe],
    ) -> None:
        """Ask from now on as a changed entry says, over new connections."""
        self.query, self.port, self.make_probe = query, port, make_probe
        self._read_at, self._complaint = float("-inf"), ""
        former, self.polls = self.polls, {}
        for poll in former.values():
            poll.probe.close()
        self.follow()

    def set_tick(self) -> None:
        """Tick as fast as the machine's state needs it."""
        loop = self._loop
        if loop is None or self._closed:
            return
        interval = SEARCH_PACE_S
        if self._is_known():
            is_alert = self.clock() < self._alert_until
            interval = ALERT_PACE_S if is_alert else STEADY_TICK_S
        if loop.running and (loop.interval == interval or self._is_ticking):
            # In the midst of a tick the next one is yet to be planned.
            loop.interval = interval
            return
        if loop.running:
            loop.stop()
        loop.start(interval, now=False)

    def moved(self, name: str, gone: Container[str]) -> None:
        """Ask a node where it is now, if its name has left where it was."""
        poll = self.polls.get(name)
        if poll is None or (poll.address and poll.address not in gone):
            return
        self._left(poll)
        poll.deadline = MOVED
        poll.probe.close()
        self._ask(poll)

    def address_of(self, node: Node) -> str:
        """Return where a node that has a name has answered; empty: nowhere."""
        poll = self.polls.get(node.name)
        return "" if poll is None or poll.node != node else poll.address

    def _left(self, poll: NodePoll) -> None:
        """Say that a node is not where it was, if it was anywhere."""
        if poll.address:
            poll.address = ""
            self.log.log(f"cluster {self.key}: {poll.node.name}: {MOVED}")
            self._listener.failed(poll.node.name, ProbeFailure.REFUSED, MOVED)

    def _settle(self, poll: NodePoll) -> None:
        """Note where a node has answered, and have the pools connect there."""
        host, address = poll.node.host, poll.probe.address
        if not address or host is None or host == address:
            return
        if address != poll.address:
            self._left(poll)
            poll.address = address
            if self.names is not None:
                self.names.unpin(host)
        if self.names is not None:
            # Another cluster's monitor may have found it of no use meanwhile.
            self.names.pin(host, address)

    def alert(self) -> None:
        """Ask all nodes often for a while."""
        self._alert_until = self.clock() + ALERT_S

    def ask(self, name: str) -> None:
        """Ask a node now, or once more when what it does now is over."""
        poll = self.polls.get(name)
        if poll is not None:
            self._ask(poll)

    def read_list(self, name: str) -> None:
        """Read the list of nodes from this one when it has time.

        Without a writer, only if it has not just been read from it.
        """
        is_new = (
            self.machine.writer_state is WriterState.STARTING
            and name != self._read_from
        )
        age = self.clock() - self._read_at
        if self._is_known() or is_new or age >= SEARCH_LIST_PACE_S:
            self._list_from = name

    def _is_known(self) -> bool:
        return self.machine.writer_state is WriterState.KNOWN

    def _tick(self) -> None:
        self._is_ticking = True
        try:
            self._look_around()
        finally:
            self._is_ticking = False

    def _look_around(self) -> None:
        """Ask whoever is due, and give up whoever is silent."""
        self.set_tick()
        now = self.clock()
        was_awake = now - self._ticked_at < STALL_S
        self._ticked_at = now
        if self._is_known() and now - self._read_at >= self.intervals.refresh:
            self._list_from = self.machine.writer
        source = self.polls.get(self._list_from)
        if source is not None:
            self._read_topology(source)
        for poll in [*self.polls.values()]:
            if poll.busy:
                self._wait_for(poll, now, was_awake=was_awake)
            elif now - poll.asked_at >= self._pace_of(poll):
                self._ask(poll)
        self._listener.ticked(now)

    def _wait_for(self, poll: NodePoll, now: float, *, was_awake: bool) -> None:
        """Look whether a deadline is over for a node that is being asked."""
        if poll.is_connecting and poll.probe.is_connected:
            self._logged_in(poll, now)
        if not was_awake:
            return
        if poll.is_connecting:
            self._wait_for_login(poll, now)
        elif self._is_silent(poll, now):
            limit = f"{self.intervals.silence:g} s (switchover_silence)"
            self._give_up(poll, f"no answer within {limit}")

    def _logged_in(self, poll: NodePoll, now: float) -> None:
        """Begin to wait for the answer, now that there is a connection."""
        poll.is_connecting = False
        poll.login_took = min(poll.login_took, now - poll.began_at)
        poll.round_trip = float("inf")
        poll.began_at = now
        poll.misses = 0

    def _wait_for_login(self, poll: NodePoll, now: float) -> None:
        """Give a connect up, or have its node held silent meanwhile."""
        lasted, limit = now - poll.began_at, self.intervals.connect_timeout
        setting = f"{limit:g} s" if limit else "for ever"
        setting += " (server_connect_timeout)"
        patience_s = self.intervals.silence * (1 + poll.misses % MAX_MISSES)
        if limit and lasted >= limit:
            self._give_up(poll, f"not logged in within {setting}")
        elif not poll.probe.is_reached and lasted >= patience_s:
            poll.misses += 1
            self._give_up(poll, f"connection not accepted within {patience_s:g} s")
        elif lasted >= LONG_S:
            self._tell(poll, f"not logged in yet, which may last {setting}")
        if poll.busy and self._is_overdue(poll, now):
            poll.is_silent = True
            silent = ProbeFailure.SILENT
            self._listener.failed(poll.node.name, silent, silent.value)

    def _is_overdue(self, poll: NodePoll, now: float) -> bool:
        """Tell whether a node that was heard before is to be held silent."""
        if poll.is_silent or poll.heard_at == float("-inf"):
            return False
        limit = self.intervals.silence
        return (
            now - poll.began_at >= limit + poll.login_took
            and now - self.client_heard_at(poll.node) >= limit
        )

    def _give_up(self, poll: NodePoll, deadline: str) -> None:
        poll.deadline = deadline
        poll.probe.close()

    def _is_silent(self, poll: NodePoll, now: float) -> bool:
        """Tell whether a node has let us wait for an answer for too long.

        It counts as alive as long as it answers clients' queries.
        """
        limit, asked_for = self.intervals.silence, now - poll.began_at
        way = min(poll.round_trip, poll.login_took, limit)
        # It may have fallen silent right after its last answer.
        if now - poll.heard_at < limit + way or asked_for < limit / 2 + way:
            return False
        return now - self.client_heard_at(poll.node) >= limit

    def _pace_of(self, poll: NodePoll) -> float:
        """Return how many seconds there are between two questions to a node."""
        is_known = self._is_known()
        if not poll.probe.is_connected:
            every = not any(one.probe.is_connected for one in self.polls.values())
            if is_known:
                return min(self.intervals.server_failed_delay, NODE_PACE_S)
            if every and not self.intervals.recreate:
                return self.intervals.server_failed_delay
            least = NODE_PACE_S if poll.is_refused else 0.0
            return max(self.intervals.polling_frequency, least)
        if not is_known:
            return SEARCH_PACE_S
        if self.clock() < self._alert_until:
            return ALERT_PACE_S
        is_writer = poll.node.name == self.machine.writer
        return WRITER_PACE_S if is_writer else NODE_PACE_S

    def _ask(self, poll: NodePoll) -> None:
        if poll.busy:
            poll.again = True
            return
        poll.busy = True
        poll.asked_at = poll.began_at = self.clock()
        poll.is_connecting = not poll.probe.is_connected
        poll.deadline = ""
        patience_s = self._patience_with(poll)
        poll.probe.ask(patience_s).addCallbacks(
            self._answered,
            self._failed,
            callbackArgs=(poll, patience_s),
            errbackArgs=(poll,),
        ).addErrback(self._puzzled)

    def _patience_with(self, poll: NodePoll) -> float:
        """Return for how many seconds a standby may wait until it is promoted.

        Only while a move is suspected, and not for so long that it seems silent.
        """
        if not poll.probe.is_connected:
            return 0.0
        if self._is_known() and (
            poll.node.name == self.machine.writer or self.clock() >= self._alert_until
        ):
            return 0.0
        return min(MAX_STATEMENT_WAIT_S, self.intervals.silence / 4)

    def _answered(self, report: NodeReport, poll: NodePoll, patience_s: float) -> None:
        now = poll.heard_at = self.clock()
        if not patience_s:
            poll.took = now - poll.asked_at
            if not poll.is_connecting:
                poll.round_trip = min(poll.round_trip, now - poll.began_at)
        if poll.is_connecting:
            self._logged_in(poll, now)
        poll.is_refused = poll.is_silent = False
        poll.failure_log.over()
        if self._is_over(poll):
            return
        self._settle(poll)
        self._listener.answered(poll.node.name, report, now)
        self._once_more(poll)

    def _failed(self, failure: TwistedFailure, poll: NodePoll) -> None:
        fault = failure.value
        if not isinstance(fault, ProbeFailed):
            fault = ProbeFailed(ProbeFailure.REFUSED, repr(fault))
        poll.is_refused = fault.failure in ALIVE_FAILURES
        if self._is_over(poll):
            return
        host = poll.node.host
        is_no_way = fault.failure in (ProbeFailure.REFUSED, ProbeFailure.SILENT)
        if is_no_way and self.names is not None and host is not None:
            self.names.unpin(host)
        words = poll.deadline or str(fault)
        self._tell(poll, words, at_once=poll.is_refused)
        self._listener.failed(poll.node.name, fault.failure, str(fault))
        self._once_more(poll)

    def _tell(self, poll: NodePoll, words: str, *, at_once: bool = False) -> None:
        """Tell the log why a node cannot be asked, if it is time to."""
        now = self.clock()
        line = poll.failure_log.line(words, poll.asked_at, now, at_once=at_once)
        if line:
            self.log.warning(f"cluster {self.key}: {poll.node.name} {line}")

    def _is_over(self, poll: NodePoll) -> bool:
        """Note the end of a question; True if nobody wants to know any more."""
        poll.busy = False
        return self._closed or self.polls.get(poll.node.name) is not poll

    def _once_more(self, poll: NodePoll) -> None:
        is_current = self.polls.get(poll.node.name) is poll
        if poll.again and not poll.busy and is_current:
            poll.again = False
            self._ask(poll)

    def _puzzled(self, failure: TwistedFailure) -> None:
        self.log.error(f"cluster {self.key}: {failure.getTraceback()}")

    def _connection_ended(self, name: str) -> None:
        """Hear that the kept connection to a node ended by itself."""
        if not self._closed:
            self._listener.failed(name, ProbeFailure.LOST, "")

    # The list of nodes.

    def _read_topology(self, source: NodePoll) -> None:
        """Read the list of nodes from this one, unless it has no time now."""
        if source.busy or not source.probe.is_connected:
            return
        self._list_from = ""
        self._read_from = source.node.name
        self._read_at = source.asked_at = source.began_at = self.clock()
        source.busy, source.is_connecting, source.deadline = True, False, ""
        source.probe.read(self.query).addCallbacks(
            self._listed,
            self._not_listed,
            callbackArgs=(source,),
            errbackArgs=(source,),
        ).addErrback(self._puzzled)

    def _listed(self, result: QueryRows, poll: NodePoll) -> None:
        if self._is_over(poll):
            return
        poll.heard_at = self.clock()
        try:
            nodes = nodes_of(*result, self.port)
        except BadRow as error:
            self._complain(f"the topology query named {error}")
            self._listener.list_failed(poll.node.name)
            return
        if not nodes:
            self._complain("the topology query named no node")
            self._listener.list_failed(poll.node.name)
            return
        self._complaint = ""
        self._listener.listed(nodes)
        self._once_more(poll)

    def _not_listed(self, failure: TwistedFailure, poll: NodePoll) -> None:
        if self._is_over(poll):
            return
        fault = failure.value
        self._complain(f"the topology query failed: {fault}")
        if isinstance(fault, ProbeFailed) and fault.failure is ProbeFailure.UNFIT:
            self._listener.list_failed(poll.node.name)
        else:
            self._read_from = ""
            self._listener.list_lost(poll.node.name)

    def _complain(self, words: str) -> None:
        """Say what is wrong with the topology query, once."""
        if words != self._complaint:
            self._complaint = words
            self.log.warning(f"cluster {self.key}: {words}; the nodes stay as they are")
