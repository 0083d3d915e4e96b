"""Decides which node of a cluster is the writer: facts and the time in, commands out.

Theory of operation.  ``monitor.py`` probes every node continuously: is it in recovery?
``cluster.py`` passes the results to this machine and carries out its commands.  The
states and the transitions between them are in :data:`CLUSTER_STATES`; the table at the
end of this file says what each input does in each state.

* The configuration is a hint, the nodes' answers decide.  At the start the list of
  nodes is read and each node of it is probed.  Once all have answered or failed, or
  time is up, the machine takes the writer on the highest timeline.  While no node
  answers at all, clients wait.
* If nodes answer, but neither the probe nor the query for the list, the configured host
  serves clients as that of any other database.  The same goes for a single node that is
  in recovery.
* A lost connection, a client's or the monitor's, is a reason to probe the writer at
  once, not to depose it: an administrator may have terminated one backend.  A writer
  that refuses connections, starts up, does not answer in time or is in recovery is no
  longer the writer.
* Each promotion begins a new timeline.  Of two nodes that both take writes, the one on
  the higher timeline is the writer, and the other is *fenced*: not used at all.  The
  writer never goes back to a lower timeline.  At the start, a node is not taken for the
  writer if a standby follows a higher timeline.
* Timelines can be compared only within one cluster.  A writer with another system
  identifier (made by ``initdb`` or ``pg_upgrade``) is fenced as long as there is a
  writer, and taken when there is none: the cluster was replaced.
* A writer that a new list does not name (the list has the nodes' own addresses, the
  entry an address that always leads to the writer) stays the writer until a node of the
  list turns out to be one.
* A promotion can be a mistake.  A last writer that no longer answers and is no longer
  in the list is forgotten after a while, with its timeline, if the other nodes agree on
  one writer.  RECONNECT makes the machine forget it at once.
* A node that rejects the probe (wrong password, too many connections) leaves its role
  unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from itertools import product
from typing import ClassVar

from pgswitch.cluster.cluster_state import (
    CLUSTER_STATES,
    NOTHING_KNOWN,
    Ask,
    Assume,
    ClusterEvent,
    ClusterInput,
    ClusterState,
    Fence,
    InputFacts,
    Knowledge,
    Listing,
    LoseWriter,
    MachineCommand,
    MachineLimits,
    ReadTopology,
    SetWriter,
    WriterState,
)
from pgswitch.cluster.nodes import (
    ALIVE_FAILURES,
    TRANSIENT_FAILURES,
    Node,
    NodeReport,
    NodeStatus,
    ProbeFailure,
    add_unlisted,
    merge_list,
)
from pgswitch.cluster.writer_choice import (
    Lineage,
    agreed_writer,
    choose_writer,
    is_same_server,
    report_of,
)

_START_STATES = (ClusterState.STARTING, ClusterState.DECIDING)
RENAMED = "the list of nodes has another name for it"


MachineAction = Callable[["Machine", InputFacts], list[MachineCommand]]
_COLUMNS = {
    WriterState.STARTING: 0,
    WriterState.ASSUMED: 0,
    WriterState.KNOWN: 1,
    WriterState.SEARCHING: 2,
}


def _actions(
    rows: Mapping[ClusterInput, tuple[MachineAction, MachineAction, MachineAction]],
    exceptions: Mapping[tuple[ClusterState, ClusterInput], MachineAction],
) -> Mapping[tuple[ClusterState, ClusterInput], MachineAction]:
    """Return the action for each state and input."""
    return {
        (state, kind): exceptions.get((state, kind), row[_COLUMNS[state.writer_state]])
        for state, (kind, row) in product(ClusterState, rows.items())
    }


@dataclass(slots=True)
class Machine:
    """The state of one cluster."""

    seeds: list[Node]
    """The hosts of the database's entry: where to look first, and last."""
    before: InitVar[Knowledge] = NOTHING_KNOWN
    state: ClusterState = CLUSTER_STATES.initial
    writer: str = ""
    """Name of the writer; while searching, of the last one; empty: none is known."""
    timeline: int | None = None
    """The highest timeline on which there was a writer."""
    system: int | None = None
    """The system identifier of the last writer whose identifier is known."""
    nodes: dict[str, NodeStatus] = field(default_factory=dict)
    limits: MachineLimits = field(default_factory=MachineLimits)
    listing: Listing = Listing.UNREAD
    _since: float = 0.0
    """In DECIDING and REVIEWING: since when a node has answered.  In FORGETTING: since
    when the list has not named the last writer."""
    _has_served: bool = False
    """A node that was known to be the writer has served clients."""

    def __post_init__(self, before: Knowledge) -> None:
        """Begin with the seeds as nodes, and with what was known before."""
        self.nodes = {
            node.name: NodeStatus(node) for node in before.nodes or self.seeds
        }
        self.writer = before.writer if before.writer in self.nodes else ""
        self.timeline, self.system = before.timeline, before.system
        self._has_served = self.writer != ""
        if before.is_listed:
            self.listing = Listing.READ
        for name in before.fenced & self.nodes.keys():
            self.nodes[name].fenced = True

    @property
    def writer_state(self) -> WriterState:
        """What is known of the writer."""
        return self.state.writer_state

    def knowledge(self) -> Knowledge:
        """Return what is known, for a machine that continues from here."""
        return Knowledge(
            self.writer,
            self.timeline,
            self.system,
            frozenset(name for name, one in self.nodes.items() if one.fenced),
            is_listed=self.listing is Listing.READ,
            nodes=tuple(status.node for status in self.nodes.values()),
        )

    # The inputs.

    def answered(
        self, name: str, report: NodeReport, now: float
    ) -> list[MachineCommand]:
        """Take a node's answer."""
        status = self.nodes.get(name)
        if status is None:
            return []
        status.report, status.answered_at, status.failure = report, now, ""
        status.is_probed, status.rejects_probe = True, False
        if report.in_recovery:
            status.fenced = False
        kind = self._last.kind_of(report, is_writer=name == self.writer)
        return self._act(kind, InputFacts(now, status))

    def failed(
        self, name: str, failure: ProbeFailure, now: float, words: str = ""
    ) -> list[MachineCommand]:
        """Note that a probe of a node failed; ``words`` are the driver's."""
        status = self.nodes.get(name)
        if status is None:
            return []
        status.report, status.failure = None, words or failure.value
        kind = ClusterInput.CONNECTION_LOST
        if failure is not ProbeFailure.LOST:
            status.is_probed = failure not in TRANSIENT_FAILURES
            status.rejects_probe = failure in ALIVE_FAILURES
            kind = ClusterInput.NODE_FAILED
            if name == self.writer:
                kind = _WRITER_FAILURES.get(failure, kind)
        return self._act(kind, InputFacts(now, status))

    def listed(self, nodes: list[Node], now: float) -> list[MachineCommand]:
        """Take a new list of nodes.

        A writer that it does not name stays until a node of the list is one.  While
        STARTING the configured hosts stay too, until a node of the list has answered.
        """
        self.listing = Listing.READ
        return self._use_list(nodes, now)

    def list_failed(self, name: str, now: float) -> list[MachineCommand]:
        """Note that a node that answers could not give the list of nodes."""
        status = self.nodes.get(name)
        if status is None or self.listing is Listing.READ:
            return []
        status.has_no_list = True
        for other in self.nodes.values():
            if other.report is not None and not other.has_no_list:
                return [ReadTopology(other.node.name)]
        if all(one.is_probed for one in self.nodes.values()):
            self.listing = Listing.NONE
        return self._act(ClusterInput.NO_LIST, InputFacts(now, status))

    def entry_changed(self, seeds: list[Node], now: float) -> list[MachineCommand]:
        """Take the hosts of a changed entry, and have new ones probed too.

        Where no list was read they are all the nodes.  Beside a list they count while
        there is no writer: the entry may then name a node that no list names.
        """
        self.seeds = seeds
        for status in self.nodes.values():
            status.has_no_list = False
        if self.listing is not Listing.READ:
            if self.writer_state in (WriterState.STARTING, WriterState.ASSUMED):
                self.listing = Listing.UNREAD
            return self._use_list(seeds, now)
        endpoints = {status.node.endpoint for status in self.nodes.values()}
        added = tuple(
            NodeStatus(node) for node in seeds if node.endpoint not in endpoints
        )
        return self._act(ClusterInput.ENTRY_CHANGED, InputFacts(now, added=added))

    def suspected(self, name: str = "") -> list[MachineCommand]:
        """Take a hint that something is wrong with a node, by default the writer."""
        if name:
            return [Ask(name)] if name in self.nodes else []
        return self._act(ClusterInput.SUSPECTED, InputFacts())

    def ticked(self, now: float) -> list[MachineCommand]:
        """Let time pass: what is overdue is decided with the facts there are."""
        return self._act(ClusterInput.TICKED, InputFacts(now))

    def forget_writer(self, now: float) -> list[MachineCommand]:
        """Forget the last writer and its timeline, unless there is a writer now.

        For an operator who knows better, because a promotion was a mistake, say.
        """
        return self._act(ClusterInput.FORGET, InputFacts(now))

    def _act(self, kind: ClusterInput, facts: InputFacts) -> list[MachineCommand]:
        return self.ACTIONS[self.state, kind](self, facts)

    def _change(self, event: ClusterEvent, after: ClusterState | None = None) -> None:
        """Change the state; ``after`` where the event may lead to several."""
        if after is None:
            self.state = CLUSTER_STATES.next(self.state, event)
        else:
            self.state = CLUSTER_STATES.check(self.state, event, after)

    @property
    def _last(self) -> Lineage:
        """Cluster and timeline of the last writer."""
        return Lineage(self.system, self.timeline)

    # The list of nodes.

    def _use_list(self, nodes: list[Node], now: float) -> list[MachineCommand]:
        """Use these as the nodes, and keep what is known of them."""
        writer, is_start = self.nodes.get(self.writer), self.state in _START_STATES
        self.nodes = merge_list(
            self.nodes, nodes, keep=lambda one: one is writer or is_start
        )
        asks: list[MachineCommand] = [
            Ask(name) for name, status in self.nodes.items() if not status.is_probed
        ]
        is_renamed = writer is not None and writer.node.name != self.writer
        if writer is not None:
            self.writer = writer.node.name
        facts = InputFacts(now, writer, is_renamed=is_renamed)
        return [*self._act(ClusterInput.LISTED, facts), *asks]

    def _wait_for_listed(self, facts: InputFacts) -> list[MachineCommand]:
        """Wait for the nodes of the list before the decision."""
        self._change(ClusterEvent.LISTED)
        return self._decide(facts)

    def _check_listed(self, facts: InputFacts) -> list[MachineCommand]:
        """Note whether the list names the writer, and by which name."""
        self._change(ClusterEvent.LISTED, _known_state(facts.subject))
        if facts.is_renamed:
            return [SetWriter(self.writer, RENAMED, same=True)]
        return []

    def _check_last_listed(self, facts: InputFacts) -> list[MachineCommand]:
        """Begin to forget a last writer that the list does not name."""
        is_listed = facts.status is None or facts.status.is_listed
        if not is_listed and self.state is ClusterState.SEARCHING:
            self._since = facts.now
        self._change(
            ClusterEvent.LISTED,
            ClusterState.SEARCHING if is_listed else ClusterState.FORGETTING,
        )
        return []

    def _add_hosts(self, facts: InputFacts) -> list[MachineCommand]:
        """Probe the hosts that only the entry names."""
        for status in facts.added:
            add_unlisted(self.nodes, status)
        return [Ask(status.node.name) for status in facts.added]

    # At the start.

    def _confirm(self, facts: InputFacts) -> list[MachineCommand]:
        """Continue with the writer of before at once."""
        return self._take(facts.subject, "it is still the writer", same=True)

    def _decide_or_read(self, facts: InputFacts) -> list[MachineCommand]:
        """Decide if that is due, and read the list if it is missing."""
        read: list[MachineCommand] = []
        is_wanted = self.listing is Listing.NONE or not facts.subject.has_no_list
        if self.listing is not Listing.READ and is_wanted:
            read.append(ReadTopology(facts.name))
        return [*self._decide(facts), *read]

    def _decide_and_ask(self, facts: InputFacts) -> list[MachineCommand]:
        """Probe the node again, and decide if that is due."""
        return [*self._decide(facts), *self._ask(facts)]

    def _decide(self, facts: InputFacts) -> list[MachineCommand]:
        """Decide if all nodes have answered or failed, or if time is up."""
        now, nodes = facts.now, self.nodes.values()
        is_start = self.state in _START_STATES
        if not any((one.rejects_probe and is_start) or one.report for one in nodes):
            if self.state in (ClusterState.DECIDING, ClusterState.REVIEWING):
                self._change(ClusterEvent.ALL_SILENT)
            return []
        if self.state in (ClusterState.STARTING, ClusterState.ASSUMED):
            self._change(ClusterEvent.ANSWERED)
            self._since = now
        is_overdue = now - self._since >= self.limits.start
        listed = [one for one in nodes if one.is_listed]
        is_complete = all(one.is_probed for one in listed)
        answered = [one for one in listed if one.report is not None]
        if not answered:
            # The list may name addresses that cannot be reached from here.
            answered = [one for one in nodes if one.report is not None]
        if not answered:
            return self._assume() if is_overdue or is_complete else []
        is_complete = is_complete and self.listing is not Listing.UNREAD
        return self._first_decision(answered) if is_complete or is_overdue else []

    def _assume(self) -> list[MachineCommand]:
        """Take the configured host for the writer: no node says what it is."""
        self._change(ClusterEvent.UNDECIDABLE)
        one = next(one for one in self.nodes.values() if one.rejects_probe)
        return [Assume(f"{one.node.name} does not answer: {one.failure}")]

    def _first_decision(self, answered: list[NodeStatus]) -> list[MachineCommand]:
        """Take the writer on the highest timeline, and fence the others."""
        choice = choose_writer(answered, self._last)
        commands: list[MachineCommand] = []
        if choice.writer is not None:
            same = self._serves_already(choice.writer)
            commands = self._take(choice.writer, choice.cause, same=same)
            if self.listing is Listing.READ:
                del commands[1:]  # The list has just been read.
        for rival in choice.rivals:
            commands += self._fence(rival, "it takes writes, but is not the writer")
        if choice.writer is not None:
            return commands
        if choice.latest:
            self.timeline = max(choice.latest, self.timeline or 0)
        if len(self.nodes) < 2:  # noqa: PLR2004 - a cluster of one has no other
            return [*commands, *self._assume_standby(answered[0])]
        self._change(ClusterEvent.NO_WRITER)
        return [*commands, LoseWriter(self.writer, "no node takes writes")]

    def _assume_standby(self, status: NodeStatus) -> list[MachineCommand]:
        """Serve from a single node that is in recovery."""
        if self.state is ClusterState.REVIEWING:
            return []
        self._change(ClusterEvent.ONLY_STANDBY)
        return [
            Assume(f"{status.node.name} is in recovery, and there is no other node")
        ]

    def _serves_already(self, status: NodeStatus) -> bool:
        """Tell whether earlier connections go to a node: the only seed leads to it.

        They may have been opened before the database was a cluster.
        """
        if self._has_served or len(self.seeds) != 1:
            return False
        (endpoint,) = (node.endpoint for node in self.seeds)
        if status.node.endpoint == endpoint:
            return True
        seed = next(
            (s for s in self.nodes.values() if s.node.endpoint == endpoint), None
        )
        return seed is not None and is_same_server(seed, status)

    def _start_again(self, facts: InputFacts) -> list[MachineCommand]:
        """Forget the last writer and its timeline, and decide as at the start."""
        asks = self._ask_all(facts)
        self._change(ClusterEvent.FORGET)
        self.writer = ""
        self.timeline = self.system = None
        self.listing = Listing.UNREAD
        for status in self.nodes.values():
            status.fenced = status.is_probed = status.has_no_list = False
            status.rejects_probe = False
        return [*self._decide(facts), *asks]

    # Without a writer.

    def _read_list(self, facts: InputFacts) -> list[MachineCommand]:
        """Read the list: it may name a new writer."""
        return [ReadTopology(facts.name)]

    def _fence_old(self, facts: InputFacts) -> list[MachineCommand]:
        """Fence the node, and read the list."""
        cause = "it is on an older timeline than the last writer"
        return [*self._fence(facts.subject, cause), *self._read_list(facts)]

    def _fence_or_forget(self, facts: InputFacts) -> list[MachineCommand]:
        """Fence the node, unless the last writer can be forgotten now."""
        return [*self._fence_old(facts), *self._forget(facts)]

    def _take_back(self, facts: InputFacts) -> list[MachineCommand]:
        """Serve from the last writer again."""
        return self._take(facts.subject, "the writer is back")

    def _take_new(self, facts: InputFacts) -> list[MachineCommand]:
        """Serve from the node: it is the new writer."""
        return self._take(facts.subject, "it takes writes")

    def _take_foreign(self, facts: InputFacts) -> list[MachineCommand]:
        """Serve from the node: the cluster was replaced."""
        cause = "it takes writes, and the cluster was replaced"
        return self._take(facts.subject, cause)

    def _forget(self, facts: InputFacts) -> list[MachineCommand]:
        """Forget the last writer if that is due and most other nodes agree on one."""
        writer = agreed_writer([one for one in self.nodes.values() if one.is_listed])
        if writer is None or facts.now - self._since < self.limits.forget:
            return []
        cause = (
            f"{self.writer}, the last writer, is no longer in the list of nodes,"
            " and the others agree"
        )
        self.timeline = None
        return self._take(writer, cause)

    # With a writer.

    def _note(self, facts: InputFacts) -> list[MachineCommand]:
        """Keep the writer's timeline and system identifier."""
        self._remember(facts.report)
        return []

    def _lose_demoted(self, facts: InputFacts) -> list[MachineCommand]:
        """Search for the new writer."""
        del facts
        return self._lose("it is in recovery")

    def _lose_behind(self, facts: InputFacts) -> list[MachineCommand]:
        """Search for the writer on the later timeline."""
        del facts
        return self._lose("it is on an older timeline than before")

    def _lose_refusing(self, facts: InputFacts) -> list[MachineCommand]:
        """Search; its present connections end by themselves."""
        return self._lose(facts.subject.failure, is_leaving=True)

    def _lose_silent(self, facts: InputFacts) -> list[MachineCommand]:
        """Search; its present connections are closed."""
        return self._lose(facts.subject.failure)

    def _fence_rival(self, facts: InputFacts) -> list[MachineCommand]:
        """Fence the node: there is a writer."""
        return self._fence(facts.subject, "it takes writes, but is not the writer")

    def _take_listed(self, facts: InputFacts) -> list[MachineCommand]:
        """Take the node for the writer under the name that the list has for it."""
        return self._take(facts.subject, "the list of nodes names it", same=True)

    def _promote(self, facts: InputFacts) -> list[MachineCommand]:
        """Serve from the node, and fence the former writer."""
        former = self.nodes[self.writer]
        commands = self._take(facts.subject, "it was promoted")
        return [*commands, *self._fence(former, "another node was promoted")]

    def _ask_writer(self, facts: InputFacts) -> list[MachineCommand]:
        """Probe the writer at once."""
        del facts
        return [Ask(self.writer)]

    # In any state.

    def _ask_all(self, facts: InputFacts) -> list[MachineCommand]:
        """Probe all nodes at once."""
        del facts
        return [Ask(name) for name in self.nodes]

    def _ignore(self, facts: InputFacts) -> list[MachineCommand]:
        """Do nothing."""
        del facts
        return []

    def _ask(self, facts: InputFacts) -> list[MachineCommand]:
        """Probe the node again at once."""
        return [Ask(facts.name)]

    def _take(
        self, status: NodeStatus, cause: str, *, same: bool = False
    ) -> list[MachineCommand]:
        self.nodes = {
            name: one
            for name, one in self.nodes.items()
            if one.is_listed or one is status
        }
        self._change(ClusterEvent.WRITER_FOUND, _known_state(status))
        self._has_served = True
        self.writer = status.node.name
        self._remember(report_of(status))
        status.fenced = False
        return [SetWriter(self.writer, cause, same), ReadTopology(self.writer)]

    def _lose(self, cause: str, *, is_leaving: bool = False) -> list[MachineCommand]:
        self._change(ClusterEvent.WRITER_LOST)
        others = [Ask(name) for name in self.nodes if name != self.writer]
        return [LoseWriter(self.writer, cause, is_leaving), *others]

    def _fence(self, status: NodeStatus, cause: str) -> list[MachineCommand]:
        if status.fenced:
            return []
        status.fenced = True
        return [Fence(status.node.name, cause)]

    def _remember(self, report: NodeReport) -> None:
        """Keep the cluster's identity and timeline from the writer's answer."""
        lineage = self._last.continued_by(report)
        self.system, self.timeline = lineage.system, lineage.timeline

    ACTIONS: ClassVar[Mapping[tuple[ClusterState, ClusterInput], MachineAction]] = (
        _actions(
            {
                # Before the first decision, with a writer, without one.
                ClusterInput.WRITER: (_confirm, _note, _take_back),
                ClusterInput.WRITER_REPLACED: (_decide_or_read, _note, _take_foreign),
                ClusterInput.WRITER_BEHIND: (_decide_or_read, _lose_behind, _fence_old),
                ClusterInput.WRITER_DEMOTED: (
                    _decide_or_read,
                    _lose_demoted,
                    _read_list,
                ),
                ClusterInput.STANDBY: (_decide_or_read, _ignore, _read_list),
                ClusterInput.RIVAL: (_decide_or_read, _fence_rival, _take_new),
                ClusterInput.RIVAL_AHEAD: (_decide_or_read, _promote, _take_new),
                ClusterInput.RIVAL_BEHIND: (_decide_or_read, _fence_rival, _fence_old),
                ClusterInput.FOREIGN: (_decide_or_read, _fence_rival, _take_foreign),
                ClusterInput.CONNECTION_LOST: (_decide_and_ask, _ask, _ask),
                ClusterInput.WRITER_REFUSES: (_decide, _lose_refusing, _ignore),
                ClusterInput.WRITER_SILENT: (_decide, _lose_silent, _ignore),
                ClusterInput.NODE_FAILED: (_decide, _ignore, _ignore),
                ClusterInput.LISTED: (_decide, _check_listed, _check_last_listed),
                ClusterInput.NO_LIST: (_decide, _ignore, _ignore),
                ClusterInput.ENTRY_CHANGED: (_add_hosts, _ignore, _add_hosts),
                ClusterInput.SUSPECTED: (_ignore, _ask_writer, _ignore),
                ClusterInput.TICKED: (_decide, _ignore, _ignore),
                ClusterInput.FORGET: (_start_again, _ask_all, _start_again),
            },
            {
                (ClusterState.ASSUMED, ClusterInput.LISTED): _wait_for_listed,
                (ClusterState.REVIEWING, ClusterInput.LISTED): _wait_for_listed,
                (ClusterState.KNOWN_UNLISTED, ClusterInput.RIVAL): _take_listed,
                (ClusterState.FORGETTING, ClusterInput.WRITER_BEHIND): _fence_or_forget,
                (ClusterState.FORGETTING, ClusterInput.RIVAL_BEHIND): _fence_or_forget,
                (ClusterState.FORGETTING, ClusterInput.TICKED): _forget,
            },
        )
    )
    """What each input does in each state."""


_WRITER_FAILURES = {
    ProbeFailure.REFUSED: ClusterInput.WRITER_REFUSES,
    ProbeFailure.NOT_READY: ClusterInput.WRITER_REFUSES,
    ProbeFailure.SILENT: ClusterInput.WRITER_SILENT,
}


def _known_state(writer: NodeStatus) -> ClusterState:
    """Return the state of a cluster that has this writer."""
    return ClusterState.KNOWN if writer.is_listed else ClusterState.KNOWN_UNLISTED
