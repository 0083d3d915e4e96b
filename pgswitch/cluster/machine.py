"""Decides which node of a cluster is the writer: facts and the time in, commands out.

Theory of operation.  Every node is asked all the time whether it is in recovery
(``monitor.py`` does, and ``cluster.py`` says here what came of it).  There are four
states:

========== ==================================================================
STARTING   nothing is known yet; clients wait until the nodes have spoken
ASSUMED    the nodes cannot tell: the configured host is taken for the writer
KNOWN      one node has said that it is not in recovery
SEARCHING  none of the nodes is known to be the writer; clients wait
========== ==================================================================

* The configuration is a hint, the nodes' answers decide.  At the start the list of
  nodes is read and each node of it asked; only when all have answered or failed, or
  time is up, the writer on the highest timeline is taken.  While nobody answers at all,
  clients wait.
* Nodes that answer, but neither our question nor the one for the list, cannot tell:
  then the configured host serves as that of any other database.  The same goes for a
  single node that is in recovery.
* That a connection is lost, a client's or the monitor's own, is a reason to ask the
  writer at once, not to depose it: somebody may have ended a backend.  A writer that
  refuses connections, starts up, does not answer in time or is in recovery is one no
  more.
* Each promotion begins a new timeline, so of two nodes that both take writes the one
  on the higher timeline is the writer, and the other is *fenced*: not used for
  anything.  The writer never goes back to a lower timeline.  Nor is a node taken at the
  start for the writer whose timeline is lower than one that a standby follows.
* Timelines say something only within one cluster.  A writer with another system
  identifier (``initdb`` or ``pg_upgrade`` made it) is fenced as long as there is a
  writer, and taken when there is none: the cluster was replaced.
* A node list that no longer names the writer (an address that always leads to it
  gives way to the nodes' own) leaves it in place until one of the list turns out to
  be a writer.
* A promotion can be a mistake.  A last writer that does not answer any more and is gone
  from the list is forgotten after a while, with its timeline, if the others agree on
  one writer; RECONNECT makes the machine forget it at once.
* A node that answers, but not our question (a wrong password, too many connections),
  tells nothing: it is neither a writer nor none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar

from pgswitch.cluster.facts import (
    ANSWERS_OTHERWISE,
    ANSWERS_SOON,
    NOTHING_KNOWN,
    Ask,
    Assume,
    Fence,
    Knowledge,
    Listing,
    LoseWriter,
    MachineCommand,
    MachineLimits,
    NodeReport,
    NodeStatus,
    ProbeFailure,
    ReadTopology,
    SetWriter,
    WriterState,
)
from pgswitch.cluster.nodes import Node

_UNJUDGED = (WriterState.STARTING, WriterState.ASSUMED)
RENAMED = "the list of nodes has another name for it"


@dataclass(slots=True)
class Machine:
    """The state of one cluster."""

    seeds: list[Node]
    """The hosts of the database's entry: where to look first, and last."""
    before: InitVar[Knowledge] = NOTHING_KNOWN
    state: WriterState = WriterState.STARTING
    writer: str = ""
    """Name of the writer; in SEARCHING of the last one, empty if none is known."""
    timeline: int | None = None
    """The highest on which a writer was seen."""
    system: int | None = None
    """The system identifier of the last writer that told one."""
    nodes: dict[str, NodeStatus] = field(default_factory=dict)
    limits: MachineLimits = field(default_factory=MachineLimits)
    listing: Listing = Listing.UNREAD
    _heard_at: float | None = None
    """While a first verdict is due: since when there has been a node that answers."""
    _has_served: bool = False
    """Clients have been served from a node that was known to be the writer."""
    _gone_since: float | None = None
    """While SEARCHING: since when the list has not named the last writer."""

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

    def knowledge(self) -> Knowledge:
        """Return what is known, for a machine that goes on from here."""
        return Knowledge(
            self.writer,
            self.timeline,
            self.system,
            frozenset(name for name, one in self.nodes.items() if one.fenced),
            is_listed=self.listing is Listing.READ,
            nodes=tuple(status.node for status in self.nodes.values()),
        )

    def renewed(self, seeds: list[Node], now: float) -> list[MachineCommand]:
        """Take the hosts of a changed entry, and have new ones asked too.

        They are all the nodes there are where no list was read.  Beside a list they
        count as long as nodes are looked for: whoever changes the entry then may know
        of a node that no list names.
        """
        self.seeds = seeds
        for status in self.nodes.values():
            status.has_no_list = False
        if self.listing is not Listing.READ:
            if self.state in _UNJUDGED:
                self.listing = Listing.UNREAD
            return self._follow(seeds, now)
        places = {status.node.place for status in self.nodes.values()}
        added = [NodeStatus(node) for node in seeds if node.place not in places]
        if self.state is WriterState.KNOWN:
            return []
        for status in added:
            self._keep_unlisted(status)
        return [Ask(status.node.name) for status in added]

    def judge_again(self, now: float) -> list[MachineCommand]:
        """Forget the last writer and its timeline, unless there is a writer now.

        For an operator who knows better: a promotion was a mistake, say.
        """
        asks: list[MachineCommand] = [Ask(name) for name in self.nodes]
        if self.state is WriterState.KNOWN:
            return asks
        if self.state is WriterState.SEARCHING:
            self.state = WriterState.STARTING
        self.writer = ""
        self.timeline = self.system = self._heard_at = self._gone_since = None
        self.listing = Listing.UNREAD
        for status in self.nodes.values():
            status.fenced = status.has_spoken = status.has_no_list = False
            status.is_mute = False
        return [*self._judged(now), *asks]

    def listed(self, nodes: list[Node], now: float) -> list[MachineCommand]:
        """Take a new list of nodes.

        A writer that it does not name stays until a node of the list is one; while
        STARTING the configured hosts stay too, until a node of the list has answered.
        """
        self.listing = Listing.READ
        return self._follow(nodes, now)

    def _follow(self, nodes: list[Node], now: float) -> list[MachineCommand]:
        """Take these as the nodes, and keep what is known of them."""
        before, writer = self.nodes, self.nodes.get(self.writer)
        if self.state is WriterState.ASSUMED:
            self._heard_at = None  # There may be others to wait for now.
        known = {status.node.place: status for status in before.values()}
        self.nodes = {}
        for node in nodes:
            status = known.pop(node.place) if node.place in known else NodeStatus(node)
            status.node, status.is_listed = node, True
            self.nodes[node.name] = status
        for status in known.values():
            if status is writer or self.state is WriterState.STARTING:
                self._keep_unlisted(status)
        asks: list[MachineCommand] = [
            Ask(name) for name, status in self.nodes.items() if not status.has_spoken
        ]
        if writer is not None:
            self._follow_writer(writer, now)
            if writer.node.name != self.writer:
                self.writer = writer.node.name
                if self.state is WriterState.KNOWN:
                    asks.insert(0, SetWriter(self.writer, RENAMED, same=True))
        return [*self._judged(now), *asks]

    def _keep_unlisted(self, status: NodeStatus) -> None:
        """Keep a node that the list does not name, under a name that is free."""
        status.is_listed = False
        if status.node.name in self.nodes:
            full = f"{status.node.host or 'unix'}:{status.node.port}"
            status.node = replace(status.node, name=full)
        self.nodes[status.node.name] = status

    def _follow_writer(self, writer: NodeStatus, now: float) -> None:
        """Note since when the list has not named a last writer that is lost."""
        if writer.is_listed or self.state is not WriterState.SEARCHING:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now

    def list_failed(self, name: str, now: float) -> list[MachineCommand]:
        """Note that a node that answers could not give the list of nodes."""
        status = self.nodes.get(name)
        if status is None or self.listing is Listing.READ:
            return []
        status.has_no_list = True
        for other in self.nodes.values():
            if other.report is not None and not other.has_no_list:
                return [ReadTopology(other.node.name)]
        if all(one.has_spoken for one in self.nodes.values()):
            self.listing = Listing.NONE
        return self._judged(now)

    def ticked(self, now: float) -> list[MachineCommand]:
        """Let time pass: what is overdue is decided with what there is."""
        if self.state is WriterState.SEARCHING:
            return self._forget(now)
        return self._judged(now)

    def suspected(self, name: str = "") -> list[MachineCommand]:
        """Take a hint that something is wrong with a node, the writer by default."""
        if name:
            return [Ask(name)] if name in self.nodes else []
        return [Ask(self.writer)] if self.state is WriterState.KNOWN else []

    def answered(
        self, name: str, report: NodeReport, now: float
    ) -> list[MachineCommand]:
        """Take a node's answer."""
        status = self.nodes.get(name)
        if status is None:
            return []
        status.report, status.answered_at, status.failure = report, now, ""
        status.has_spoken, status.is_mute = True, False
        if report.in_recovery:
            status.fenced = False
        return self._ANSWERS[self.state](self, status, report, now)

    def failed(
        self, name: str, failure: ProbeFailure, now: float, words: str = ""
    ) -> list[MachineCommand]:
        """Note that a node was asked in vain; ``words`` are the driver's."""
        status = self.nodes.get(name)
        if status is None:
            return []
        status.report = None
        status.failure = words or failure.value
        if failure is ProbeFailure.LOST:
            return [*self._judged(now), Ask(name)]
        status.has_spoken = failure not in ANSWERS_SOON
        status.is_mute = failure in ANSWERS_OTHERWISE
        if self.state in _UNJUDGED:
            return self._judged(now)
        if self.state is not WriterState.KNOWN or name != self.writer:
            return []
        if failure in ANSWERS_OTHERWISE:
            return []
        is_leaving = failure in (ProbeFailure.REFUSED, ProbeFailure.NOT_READY)
        return self._lose(status.failure, is_leaving=is_leaving)

    # At the start.

    def _answered_unjudged(
        self, status: NodeStatus, report: NodeReport, now: float
    ) -> list[MachineCommand]:
        """Judge when all have spoken; go on with the writer of before at once."""
        if self._is_same_writer(status, report):
            return self._take(status, report, "it is the writer still", same=True)
        read: list[MachineCommand] = []
        is_wanted = self.listing is Listing.NONE or not status.has_no_list
        if self.listing is not Listing.READ and is_wanted:
            read.append(ReadTopology(status.node.name))
        return [*self._judged(now), *read]

    def _is_same_writer(self, status: NodeStatus, report: NodeReport) -> bool:
        """Tell whether a node is the writer that was known before, and one still."""
        return (
            status.node.name == self.writer
            and not report.in_recovery
            and not self._is_foreign(report)
            and self._timelines_ahead(report) >= 0
        )

    def _judged(self, now: float) -> list[MachineCommand]:
        """Decide for the first time, if there is enough to go by."""
        if self.state not in _UNJUDGED:
            return []
        nodes = self.nodes.values()
        is_start = self.state is WriterState.STARTING
        if not any((one.is_mute and is_start) or one.report for one in nodes):
            self._heard_at = None
            return []
        if self._heard_at is None:
            self._heard_at = now
        is_overdue = now - self._heard_at >= self.limits.start
        listed = [one for one in nodes if one.is_listed]
        is_complete = self.listing is not Listing.UNREAD and all(
            one.has_spoken for one in listed
        )
        answered = [one for one in listed if one.report is not None]
        if not answered:
            # The list may name addresses that cannot be reached from here.
            answered = [one for one in nodes if one.report is not None]
        if answered:
            is_due = is_complete or is_overdue
            return self._first_verdict(answered) if is_due else []
        if is_overdue or all(one.has_spoken for one in listed):
            return self._assume()
        return []

    def _assume(self) -> list[MachineCommand]:
        """Take the configured host for the writer: no node can tell."""
        if self.state is WriterState.ASSUMED:
            return []
        self.state, self._heard_at = WriterState.ASSUMED, None
        mute = next(one for one in self.nodes.values() if one.is_mute)
        return [Assume(f"{mute.node.name} does not answer: {mute.failure}")]

    def _first_verdict(self, answered: list[NodeStatus]) -> list[MachineCommand]:
        """Take the writer on the highest timeline, and fence the others."""
        writers = [one for one in answered if one.writes]
        latest = _followed(answered)
        rivals = [one for one in writers if self._behind(one, latest)]
        ahead = [one for one in writers if one not in rivals]
        commands: list[MachineCommand] = []
        if ahead:
            best = self._best(ahead, answered)
            rivals += [one for one in ahead if one is not best]
            report = best.report
            assert report is not None  # noqa: S101 - it is a writer
            cause = "it takes writes"
            if len(ahead) > 1:
                cause = "it takes writes, on the highest timeline of those that do"
            commands = self._take(best, report, cause, same=self._is_served(best))
            if self.listing is Listing.READ:
                del commands[1:]  # It has just been read.
        for rival in rivals:
            commands += self._fence(rival, "it takes writes, but is not the writer")
        if ahead:
            return commands
        if latest:
            self.timeline = max(latest, self.timeline or 0)
        if len(self.nodes) < 2:  # noqa: PLR2004 - a cluster of one has no other
            return [*commands, *self._assume_standby(answered[0])]
        self.state = WriterState.SEARCHING
        return [*commands, LoseWriter(self.writer, "no node takes writes")]

    def _is_served(self, status: NodeStatus) -> bool:
        """Tell whether a node is where connections of before go: the one seed's.

        They may have been opened before the database was a cluster.
        """
        if self._has_served or len(self.seeds) != 1:
            return False
        (place,) = (node.place for node in self.seeds)
        if status.node.place == place:
            return True
        seed = next((s for s in self.nodes.values() if s.node.place == place), None)
        mine, its = status.report, None if seed is None else seed.report
        if mine is None or its is None or its.in_recovery or mine.system is None:
            return False
        return (mine.system, mine.timeline) == (its.system, its.timeline)

    def _assume_standby(self, status: NodeStatus) -> list[MachineCommand]:
        """Serve from a single node that is in recovery: there is no other."""
        if self.state is WriterState.ASSUMED:
            return []
        self.state = WriterState.ASSUMED
        return [
            Assume(f"{status.node.name} is in recovery, and there is no other node")
        ]

    def _best(
        self, writers: list[NodeStatus], answered: list[NodeStatus]
    ) -> NodeStatus:
        """Return the writer to take: of the same cluster as most, then the latest.

        Of equals the first, as the list or the entry has them.
        """
        systems = [one.report.system for one in answered if one.report is not None]

        def worth(status: NodeStatus) -> tuple[bool, int, int]:
            report = status.report
            assert report is not None  # noqa: S101 - it is a writer
            # Whoever does not tell its system may be of any.
            alike = sum(
                None in (report.system, one) or one == report.system for one in systems
            )
            return not self._is_foreign(report), alike, report.timeline or 0

        return max(writers, key=worth)

    def _behind(self, status: NodeStatus, latest: int) -> bool:
        """Tell whether a writer is behind the last one, or the one others follow."""
        report = status.report
        assert report is not None  # noqa: S101 - it is a writer
        is_old = report.timeline is not None and report.timeline < latest
        return is_old or self._timelines_ahead(report) < 0

    # Without a writer.

    def _answered_while_searching(
        self, status: NodeStatus, report: NodeReport, now: float
    ) -> list[MachineCommand]:
        """Take the first writer that is not behind the last one."""
        read = ReadTopology(status.node.name)
        if report.in_recovery:
            return [read]
        if self._timelines_ahead(report) < 0:
            words = "it is on an older timeline than the last writer"
            return [*self._fence(status, words), read, *self._forget(now)]
        back = status.node.name == self.writer
        cause = "the writer is back" if back else "it takes writes"
        if self._is_foreign(report):
            cause = "it takes writes, and the cluster is another one now"
        return self._take(status, report, cause)

    def _forget(self, now: float) -> list[MachineCommand]:
        """Forget a last writer that is gone, and its timeline, if the rest agrees."""
        gone = self.nodes.get(self.writer)
        if gone is None or self._gone_since is None:
            return []
        listed = [one for one in self.nodes.values() if one.is_listed]
        writers = [one for one in listed if one.writes]
        if (
            now - self._gone_since < self.limits.forget
            or len(writers) != 1
            or 2 * sum(one.report is not None for one in listed) <= len(listed)
        ):
            return []
        (writer,) = writers
        report = writer.report
        assert report is not None  # noqa: S101 - it is a writer
        if any(
            one.follows not in (None, report.timeline)
            for one in (status.report for status in listed)
            if one is not None
        ):
            return []
        cause = (
            f"{gone.node.name}, the last writer, is gone from the list of nodes,"
            " and the others agree"
        )
        self.timeline = None
        return self._take(writer, report, cause)

    # With a writer.

    def _answered_while_known(
        self, status: NodeStatus, report: NodeReport, now: float
    ) -> list[MachineCommand]:
        """Check the writer, or another node against it."""
        del now
        if status.node.name == self.writer:
            if report.in_recovery:
                return self._lose("it is in recovery")
            if self._timelines_ahead(report) < 0:
                return self._lose("it is on an older timeline than before")
            self._note(report)
            return []
        return [] if report.in_recovery else self._rivals(status, report)

    def _rivals(self, status: NodeStatus, report: NodeReport) -> list[MachineCommand]:
        """Decide between the writer and another node that takes writes."""
        ahead = self._timelines_ahead(report)
        old = self.nodes[self.writer]
        if not old.is_listed and ahead == 0 and not self._is_foreign(report):
            return self._take(status, report, "the list of nodes names it", same=True)
        if ahead <= 0:
            return self._fence(status, "it takes writes, but is not the writer")
        commands = self._take(status, report, "it was promoted")
        return [*commands, *self._fence(old, "another node was promoted")]

    def _take(
        self, status: NodeStatus, report: NodeReport, cause: str, *, same: bool = False
    ) -> list[MachineCommand]:
        self.nodes = {
            name: one
            for name, one in self.nodes.items()
            if one.is_listed or one is status
        }
        self.state = WriterState.KNOWN
        self._has_served = True
        self.writer = status.node.name
        self._gone_since = None
        self._note(report)
        status.fenced = False
        return [SetWriter(self.writer, cause, same), ReadTopology(self.writer)]

    def _lose(self, cause: str, *, is_leaving: bool = False) -> list[MachineCommand]:
        self.state = WriterState.SEARCHING
        others = [Ask(name) for name in self.nodes if name != self.writer]
        return [LoseWriter(self.writer, cause, is_leaving), *others]

    def _fence(self, status: NodeStatus, cause: str) -> list[MachineCommand]:
        if status.fenced:
            return []
        status.fenced = True
        return [Fence(status.node.name, cause)]

    def _note(self, report: NodeReport) -> None:
        """Keep what the writer says of its cluster and timeline."""
        if self._is_foreign(report):
            self.timeline = None
        self.system = report.system or self.system
        self.timeline = report.timeline or self.timeline

    def _is_foreign(self, report: NodeReport) -> bool:
        """Tell whether a node belongs to another cluster than the last writer."""
        return None not in (report.system, self.system) and (
            report.system != self.system
        )

    def _timelines_ahead(self, report: NodeReport) -> int:
        """Return how far a node is ahead of the last writer; 0: there is no telling."""
        if report.timeline is None or self.timeline is None:
            return 0
        return 0 if self._is_foreign(report) else report.timeline - self.timeline

    _ANSWERS: ClassVar[
        Mapping[
            WriterState,
            Callable[[Machine, NodeStatus, NodeReport, float], list[MachineCommand]],
        ]
    ] = MappingProxyType(
        {
            WriterState.STARTING: _answered_unjudged,
            WriterState.ASSUMED: _answered_unjudged,
            WriterState.SEARCHING: _answered_while_searching,
            WriterState.KNOWN: _answered_while_known,
        }
    )
    """State to what an answer does in it."""


def _followed(nodes: list[NodeStatus]) -> int:
    """Return the latest timeline that a standby follows, 0 if that is not known.

    It says something only where all nodes belong to one cluster.
    """
    reports = [one.report for one in nodes if one.report is not None]
    if len({one.system for one in reports} - {None}) > 1:
        return 0
    return max((one.follows or 0 for one in reports), default=0)
