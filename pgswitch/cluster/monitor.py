"""Probes the nodes of a cluster, each when it is due, and reads their list.

Each node that the machine knows has a :class:`NodePoll` with one connection.  A tick
looks at all of them: nodes that are due are probed, and the connections to nodes that
are silent for too long are closed.  How often depends on the machine's state, which is
only read here; the results go to the :class:`MonitorListener`.  The list of nodes is
read over the same connections.

A host that has not even accepted the TCP connection is tried again sooner than
``server_connect_timeout``, because the kernel repeats a lost packet at ever longer
intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.internet.task import LoopingCall

from pgswitch.cluster.cluster_state import WriterState
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.node_poll import LOG_AFTER_S, NodePoll, PollIntervals
from pgswitch.cluster.nodes import (
    ALIVE_FAILURES,
    BadRow,
    Node,
    NodeReport,
    ProbeFailure,
    nodes_of,
)
from pgswitch.cluster.probe import ProbeFailed

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure as TwistedFailure

    from pgswitch.cluster.probe import Probe, QueryRows
    from pgswitch.logs import Log

WRITER_INTERVAL_S = 0.25
NODE_INTERVAL_S = 1.0
SEARCH_INTERVAL_S = 0.003
"""How soon a node that has answered is probed again while there is no writer."""
MAX_STATEMENT_WAIT_S = 0.25
"""How long a standby may delay the answer to a query, waiting for its promotion."""
STEADY_TICK_S = 0.05
ALERT_INTERVAL_S, ALERT_S = 0.02, 2.0
"""How often all nodes are probed, and for how long, once a client's server was lost:
the remaining backends of a crashed writer may still answer when another node has been
promoted."""
SEARCH_LIST_INTERVAL_S = 1.0
"""How often the list of nodes is read while there is no writer."""
MOVED = "its name leads to another address"
MAX_ACCEPT_TIMEOUTS = 3
"""A host has at most this many times ``switchover_silence`` to accept a connection."""
STALL_S = 0.2
"""If ticks are further apart, this process stalled: no node counts as silent."""


class NodeNames(Protocol):
    """The host names of nodes; see dns/resolver.py."""

    def pin(self, host: str, address: str) -> None:
        """Have a name lead to this one of its addresses."""

    def unpin(self, host: str) -> None:
        """Have all addresses of a name tried again."""


class MonitorListener(Protocol):
    """Takes the results; see cluster.py."""

    def answered(self, name: str, report: NodeReport, now: float) -> None:
        """Take a node's answer; ``now`` is the clock's time."""

    def failed(self, name: str, failure: ProbeFailure, words: str) -> None:
        """Take the failure of a probe, or the end of an idle connection."""

    def listed(self, nodes: list[Node]) -> None:
        """Take a new list of nodes, at least one."""

    def list_failed(self, name: str) -> None:
        """Note that a node that answers could not give the list of nodes."""

    def list_lost(self, name: str) -> None:
        """Note that a node was lost while the list was read from it."""

    def ticked(self, now: float) -> None:
        """Let time pass; ``now`` is the clock's time."""


@dataclass(slots=True)
class Monitor:
    """Probes one cluster's nodes; ``key`` is the name of its database's entry."""

    key: str
    query: str
    """Reads the list of nodes."""
    port: int
    """The port of nodes that the list names without one."""
    machine: Machine
    """Has the nodes and what is known of them; only read here."""
    client_answered_at: Callable[[Node], float]
    """Returns when a node last answered a client's query."""
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
    """The node to read the list from when it is not busy."""
    _read_from: str = ""
    _read_at: float = float("-inf")
    _logged: str = ""
    _alert_until: float = 0.0
    _is_ticking: bool = False
    _closed: bool = False

    def start(self, clock: IReactorTime, listener: MonitorListener) -> None:
        """Begin to probe; ``clock`` provides IReactorTime."""
        self._listener = listener
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self.follow()
        self.set_tick()

    def stop(self) -> None:
        """Stop probing and close every connection."""
        self._closed = True
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        for poll in self.polls.values():
            poll.probe.close()
        self.polls.clear()

    def follow(self) -> None:
        """Keep one poll for each node that the machine knows."""
        for name, poll in list(self.polls.items()):
            status = self.machine.nodes.get(name)
            if status is None or status.node != poll.node:
                # Before the close, or the query under way would count as failed.
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
        """Probe as a changed entry says, over new connections."""
        self.query, self.port, self.make_probe = query, port, make_probe
        self._read_at, self._logged = float("-inf"), ""
        former, self.polls = self.polls, {}
        for poll in former.values():
            poll.probe.close()
        self.follow()

    def set_tick(self) -> None:
        """Set the interval of the ticks to what the machine's state needs."""
        loop = self._loop
        if loop is None or self._closed:
            return
        interval = SEARCH_INTERVAL_S
        if self._is_known():
            is_alert = self.clock() < self._alert_until
            interval = ALERT_INTERVAL_S if is_alert else STEADY_TICK_S
        if loop.running and (loop.interval == interval or self._is_ticking):
            # During a tick the next one is not scheduled yet.
            loop.interval = interval
            return
        if loop.running:
            loop.stop()
        loop.start(interval, now=False)

    def moved(self, name: str, removed: Container[str]) -> None:
        """Probe a node whose name no longer leads to its address."""
        poll = self.polls.get(name)
        if poll is None or (poll.address and poll.address not in removed):
            return
        self._leave_address(poll)
        poll.close_cause = MOVED
        poll.probe.close()
        self._ask(poll)

    def address_of(self, node: Node) -> str:
        """Return the address where a node with a host name answered; empty: none."""
        poll = self.polls.get(node.name)
        return "" if poll is None or poll.node != node else poll.address

    def _leave_address(self, poll: NodePoll) -> None:
        """Report that a node has left its address, if it had one."""
        if poll.address:
            poll.address = ""
            self.log.log(f"cluster {self.key}: {poll.node.name}: {MOVED}")
            self._listener.failed(poll.node.name, ProbeFailure.REFUSED, MOVED)

    def _pin_address(self, poll: NodePoll) -> None:
        """Note where a node has answered, and make the pools connect there."""
        host, address = poll.node.host, poll.probe.address
        if not address or host is None or host == address:
            return
        if address != poll.address:
            self._leave_address(poll)
            poll.address = address
            if self.names is not None:
                self.names.unpin(host)
        if self.names is not None:
            # Another cluster's monitor may have unpinned it meanwhile.
            self.names.pin(host, address)

    def alert(self) -> None:
        """Probe all nodes often for a while."""
        self._alert_until = self.clock() + ALERT_S

    def ask(self, name: str) -> None:
        """Probe a node now, or again when the present query is over."""
        poll = self.polls.get(name)
        if poll is not None:
            self._ask(poll)

    def read_list(self, name: str) -> None:
        """Read the list of nodes from this one when it is not busy.

        Without a writer, only if it was not read from it a moment ago.
        """
        is_new = (
            self.machine.writer_state is WriterState.STARTING
            and name != self._read_from
        )
        age = self.clock() - self._read_at
        if self._is_known() or is_new or age >= SEARCH_LIST_INTERVAL_S:
            self._list_from = name

    def _is_known(self) -> bool:
        return self.machine.writer_state is WriterState.KNOWN

    def _tick(self) -> None:
        self._is_ticking = True
        try:
            self._poll_nodes()
        finally:
            self._is_ticking = False

    def _poll_nodes(self) -> None:
        """Probe nodes that are due, and give up on nodes that are silent."""
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
                self._check_deadline(poll, now, was_awake=was_awake)
            elif now - poll.asked_at >= self._interval_of(poll):
                self._ask(poll)
        self._listener.ticked(now)

    def _check_deadline(self, poll: NodePoll, now: float, *, was_awake: bool) -> None:
        """Give up on a node whose query is overdue, or report it as silent."""
        if poll.is_connecting and poll.probe.is_connected:
            poll.logged_in(now)
        if not was_awake:
            return
        if poll.is_connecting:
            self._wait_for_login(poll, now)
        elif self._is_silent(poll, now):
            limit = f"{self.intervals.silence:g} s (switchover_silence)"
            self._give_up(poll, f"no answer within {limit}")

    def _wait_for_login(self, poll: NodePoll, now: float) -> None:
        """Give up on a connect, or report its node as silent meanwhile."""
        lasted, limit = now - poll.began_at, self.intervals.connect_timeout
        setting = f"{limit:g} s" if limit else "for ever"
        setting += " (server_connect_timeout)"
        accept_s = self.intervals.silence * (
            1 + poll.accept_timeouts % MAX_ACCEPT_TIMEOUTS
        )
        if limit and lasted >= limit:
            self._give_up(poll, f"not logged in within {setting}")
        elif not poll.probe.is_reached and lasted >= accept_s:
            poll.accept_timeouts += 1
            self._give_up(poll, f"connection not accepted within {accept_s:g} s")
        elif lasted >= LOG_AFTER_S:
            self._log_failure(poll, f"not logged in yet, which may last {setting}")
        if poll.busy and self._is_silent(poll, now):
            poll.is_reported_silent = True
            silent = ProbeFailure.SILENT
            self._listener.failed(poll.node.name, silent, silent.value)

    def _give_up(self, poll: NodePoll, cause: str) -> None:
        poll.close_cause = cause
        poll.probe.close()

    def _is_silent(self, poll: NodePoll, now: float) -> bool:
        """Tell whether a node has not answered for too long.

        It counts as alive as long as it answers clients' queries.
        """
        silence = self.intervals.silence
        if poll.is_connecting:
            is_overdue = poll.is_connect_overdue(now, silence)
        else:
            is_overdue = poll.is_answer_overdue(now, silence)
        return is_overdue and now - self.client_answered_at(poll.node) >= silence

    def _interval_of(self, poll: NodePoll) -> float:
        """Return how many seconds to wait between two probes of a node."""
        is_known = self._is_known()
        if not poll.probe.is_connected:
            is_cut_off = not any(one.probe.is_connected for one in self.polls.values())
            if is_known:
                return min(self.intervals.server_failed_delay, NODE_INTERVAL_S)
            if is_cut_off and not self.intervals.recreate:
                return self.intervals.server_failed_delay
            minimum = NODE_INTERVAL_S if poll.is_rejected else 0.0
            return max(self.intervals.polling_frequency, minimum)
        if not is_known:
            return SEARCH_INTERVAL_S
        if self.clock() < self._alert_until:
            return ALERT_INTERVAL_S
        is_writer = poll.node.name == self.machine.writer
        return WRITER_INTERVAL_S if is_writer else NODE_INTERVAL_S

    def _ask(self, poll: NodePoll) -> None:
        if poll.busy:
            poll.ask_again = True
            return
        poll.begin(self.clock())
        poll.is_connecting = not poll.probe.is_connected
        wait_s = self._wait_allowed(poll)
        poll.probe.ask(wait_s).addCallbacks(
            self._answered,
            self._failed,
            callbackArgs=(poll, wait_s),
            errbackArgs=(poll,),
        ).addErrback(self._log_bug)

    def _wait_allowed(self, poll: NodePoll) -> float:
        """Return how many seconds a standby may delay its answer until it is promoted.

        Only while a switchover is suspected, and too short for it to seem silent.
        """
        if not poll.probe.is_connected:
            return 0.0
        if self._is_known() and (
            poll.node.name == self.machine.writer or self.clock() >= self._alert_until
        ):
            return 0.0
        return min(MAX_STATEMENT_WAIT_S, self.intervals.silence / 4)

    def _answered(self, report: NodeReport, poll: NodePoll, wait_s: float) -> None:
        now = self.clock()
        poll.answered(now, has_waited=wait_s > 0)
        if self._is_over(poll):
            return
        self._pin_address(poll)
        self._listener.answered(poll.node.name, report, now)
        self._ask_if_wanted(poll)

    def _failed(self, failure: TwistedFailure, poll: NodePoll) -> None:
        fault = failure.value
        if not isinstance(fault, ProbeFailed):
            fault = ProbeFailed(ProbeFailure.REFUSED, repr(fault))
        poll.is_rejected = fault.failure in ALIVE_FAILURES
        if self._is_over(poll):
            return
        host = poll.node.host
        is_unreachable = fault.failure in (ProbeFailure.REFUSED, ProbeFailure.SILENT)
        if is_unreachable and self.names is not None and host is not None:
            self.names.unpin(host)
        words = poll.close_cause or str(fault)
        self._log_failure(poll, words, at_once=poll.is_rejected)
        self._listener.failed(poll.node.name, fault.failure, str(fault))
        self._ask_if_wanted(poll)

    def _log_failure(
        self, poll: NodePoll, words: str, *, at_once: bool = False
    ) -> None:
        """Log why the probe of a node failed, if that is due."""
        now = self.clock()
        line = poll.failure_log.line(words, poll.asked_at, now, at_once=at_once)
        if line:
            self.log.warning(f"cluster {self.key}: {poll.node.name}: {line}")

    def _is_over(self, poll: NodePoll) -> bool:
        """Note the end of a query; True if its result is no longer wanted."""
        poll.busy = False
        return self._closed or self.polls.get(poll.node.name) is not poll

    def _ask_if_wanted(self, poll: NodePoll) -> None:
        is_current = self.polls.get(poll.node.name) is poll
        if poll.ask_again and not poll.busy and is_current:
            poll.ask_again = False
            self._ask(poll)

    def _log_bug(self, failure: TwistedFailure) -> None:
        self.log.error(f"cluster {self.key}: {failure.getTraceback()}")

    def _connection_ended(self, name: str) -> None:
        """Report that the idle connection to a node has ended."""
        if not self._closed:
            self._listener.failed(name, ProbeFailure.LOST, "")

    # The list of nodes.

    def _read_topology(self, source: NodePoll) -> None:
        """Read the list of nodes from this one, unless it is busy."""
        if source.busy or not source.probe.is_connected:
            return
        self._list_from = ""
        self._read_from = source.node.name
        self._read_at = self.clock()
        source.begin(self._read_at)
        source.is_connecting = False
        source.probe.read(self.query).addCallbacks(
            self._listed,
            self._not_listed,
            callbackArgs=(source,),
            errbackArgs=(source,),
        ).addErrback(self._log_bug)

    def _listed(self, result: QueryRows, poll: NodePoll) -> None:
        if self._is_over(poll):
            return
        poll.answered_at = self.clock()
        try:
            nodes = nodes_of(*result, self.port)
        except BadRow as error:
            self._log_once(f"the topology query named {error}")
            self._listener.list_failed(poll.node.name)
            return
        if not nodes:
            self._log_once("the topology query named no node")
            self._listener.list_failed(poll.node.name)
            return
        self._logged = ""
        self._listener.listed(nodes)
        self._ask_if_wanted(poll)

    def _not_listed(self, failure: TwistedFailure, poll: NodePoll) -> None:
        if self._is_over(poll):
            return
        fault = failure.value
        self._log_once(f"the topology query failed: {fault}")
        if isinstance(fault, ProbeFailed) and fault.failure is ProbeFailure.UNFIT:
            self._listener.list_failed(poll.node.name)
        else:
            self._read_from = ""
            self._listener.list_lost(poll.node.name)

    def _log_once(self, words: str) -> None:
        """Log what is wrong with the topology query, once."""
        if words != self._logged:
            self._logged = words
            self.log.warning(f"cluster {self.key}: {words}; the nodes stay as they are")
