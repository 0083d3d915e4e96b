"""Decides which node of a cluster is the writer: facts and the time in, commands out.

Theory of operation.  Every node is asked all the time whether it is in recovery
(``monitor.py`` does, and ``cluster.py`` says here what came of it).  There are three
states:

========== ==================================================================
ASSUMED    nothing is known yet: the configured host is taken for the writer
KNOWN      one node has said that it is not in recovery
SEARCHING  none of the nodes is known to be the writer; clients wait
========== ==================================================================

* That a connection is lost, a client's or the monitor's own, is a reason to ask the
  writer at once, not to depose it: somebody may have ended a backend.  A writer that
  refuses connections, starts up, does not answer in time or is in recovery is one no
  more.
* Each promotion begins a new timeline, so of two nodes that both take writes the one
  on the higher timeline is the writer, and the other is *fenced*: not used for
  anything.  The writer never goes back to a lower timeline.
* Timelines say something only within one cluster.  A writer with another system
  identifier (``initdb`` or ``pg_upgrade`` made it) is fenced as long as there is a
  writer, and taken when there is none: the cluster was replaced.
* A node list that no longer names the writer (an address that always leads to it
  gives way to the nodes' own) leaves it in place until one of the list turns out to
  be a writer.
* Without a writer the list is read from any node that answers.  Once it names two
  nodes, a configured host that is in recovery is not taken for the writer any more.
* A node that answers, but not our question (a wrong password, too many connections),
  tells nothing: it is neither a writer nor none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import ClassVar

from pgswitch.topology.nodes import Node


class State(Enum):
    """What is known of a cluster's writer."""

    ASSUMED = "assumed"
    KNOWN = "known"
    SEARCHING = "searching"


class Failure(Enum):
    """Why a node was asked in vain."""

    LOST = "the connection was lost"
    REFUSED = "cannot connect"
    SILENT = "no answer in time"
    NOT_READY = "does not take connections"
    UNFIT = "it answers, but not the question"


@dataclass(frozen=True, slots=True)
class Report:
    """A node's answer."""

    in_recovery: bool
    timeline: int | None = None
    """Where a writer writes; None if it does not say."""
    lsn: int | None = None
    """How far it has written or replayed, in bytes."""
    lag_s: float | None = None
    """For how many seconds a standby has had something to replay; None: unknown."""
    system: int | None = None
    """The system identifier that all nodes of a cluster share; None: unknown."""
    source: str | None = None
    """Where a standby gets its WAL: the status of its WAL receiver, ``archive`` or
    ``none``; None: unknown."""
    follows: int | None = None
    """The timeline that a standby receives; None: unknown."""


@dataclass(slots=True)
class Sight:
    """What is known of one node."""

    node: Node
    report: Report | None = None
    """The last answer, None if the last question had none."""
    answered_at: float = 0.0
    failure: str = ""
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a node now, whatever is under way."""

    name: str


@dataclass(frozen=True, slots=True)
class SetWriter:
    """Serve clients from this node."""

    name: str
    cause: str
    same: bool = False
    """It is what clients are served from already: its connections stay."""


@dataclass(frozen=True, slots=True)
class LoseWriter:
    """Have clients wait; the connections to this node are of no use any more."""

    name: str
    cause: str
    is_leaving: bool = False
    """It takes no new connections, but ends the present ones itself, with a word to
    each; what it is at may still get an answer."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Use a node for nothing: it takes writes but is not the writer."""

    name: str
    cause: str


@dataclass(frozen=True, slots=True)
class ReadTopology:
    """Ask this node for the list of nodes."""

    name: str


Command = Ask | SetWriter | LoseWriter | Fence | ReadTopology


@dataclass(slots=True)
class Machine:
    """The state of one cluster."""

    seeds: list[Node]
    """The hosts of the database's entry: where to look first, and last."""
    state: State = State.ASSUMED
    writer: str = ""
    """Name of the writer; in SEARCHING of the last one, in ASSUMED empty."""
    timeline: int | None = None
    """The highest on which a writer was seen."""
    system: int | None = None
    """The system identifier of the last writer that told one."""
    sights: dict[str, Sight] = field(default_factory=dict)
    _unlisted: bool = False
    """The writer is not in the list of nodes."""

    def __post_init__(self) -> None:
        """Begin with the seeds as nodes."""
        self.sights = {node.name: Sight(node) for node in self.seeds}

    def listed(self, nodes: list[Node]) -> list[Command]:
        """Take a new list of nodes.

        A writer that it does not name stays until a node of the list is one.
        """
        known = {sight.node: sight for sight in self.sights.values()}
        writer = self.sights.get(self.writer)
        self.sights = {node.name: known.get(node) or Sight(node) for node in nodes}
        self._unlisted = writer is not None and writer.node not in nodes
        if writer is not None and self._unlisted:
            self.sights.setdefault(self.writer, writer)
        asks: list[Command] = [Ask(node.name) for node in nodes if node not in known]
        return [*self._doubt(), *asks]

    def suspected(self, name: str = "") -> list[Command]:
        """Take a hint that something is wrong with a node, the writer by default."""
        if name:
            return [Ask(name)] if name in self.sights else []
        return [Ask(self.writer)] if self.state is State.KNOWN else []

    def answered(self, name: str, report: Report, now: float) -> list[Command]:
        """Take a node's answer."""
        sight = self.sights.get(name)
        if sight is None:
            return []
        sight.report, sight.answered_at, sight.failure = report, now, ""
        if report.in_recovery:
            sight.fenced = False
        return self._ANSWERS[self.state](self, sight, report)

    def failed(self, name: str, failure: Failure, words: str = "") -> list[Command]:
        """Note that a node was asked in vain; ``words`` are the driver's."""
        sight = self.sights.get(name)
        if sight is None:
            return []
        sight.report = None
        sight.failure = words or failure.value
        if failure is Failure.LOST:
            return [Ask(name)]
        if self.state is State.ASSUMED:
            return self._doubt()
        if self.state is not State.KNOWN or name != self.writer:
            return []
        if failure is Failure.UNFIT:
            return []
        is_leaving = failure in (Failure.REFUSED, Failure.NOT_READY)
        return self._lose(sight.failure, is_leaving=is_leaving)

    def _answered_while_searching(self, sight: Sight, report: Report) -> list[Command]:
        """Take the first writer that is not behind the last one."""
        if report.in_recovery:
            return [*self._doubt(), ReadTopology(sight.node.name)]
        if self._timelines_ahead(report) < 0:
            return self._fence(sight, "it is on an older timeline than the last writer")
        back = sight.node.name == self.writer
        cause = "the writer is back" if back else "it takes writes"
        if self._is_foreign(report):
            cause = "it takes writes, and the cluster is another one now"
        is_assumed = self.state is State.ASSUMED and self.seeds == [sight.node]
        return self._take(sight, report, cause, same=is_assumed)

    def _answered_while_known(self, sight: Sight, report: Report) -> list[Command]:
        """Check the writer, or another node against it."""
        if sight.node.name == self.writer:
            if report.in_recovery:
                return self._lose("it is in recovery")
            if self._timelines_ahead(report) < 0:
                return self._lose("it is on an older timeline than before")
            self._note(report)
            return []
        return [] if report.in_recovery else self._rivals(sight, report)

    def _rivals(self, sight: Sight, report: Report) -> list[Command]:
        """Decide between the writer and another node that takes writes."""
        ahead = self._timelines_ahead(report)
        if self._unlisted and ahead == 0 and not self._is_foreign(report):
            return self._take(sight, report, "the list of nodes names it", same=True)
        if ahead <= 0:
            return self._fence(sight, "it takes writes, but is not the writer")
        old = self.sights[self.writer]
        commands = self._take(sight, report, "it was promoted")
        return [*commands, *self._fence(old, "another node was promoted")]

    def _take(
        self, sight: Sight, report: Report, cause: str, *, same: bool = False
    ) -> list[Command]:
        name = sight.node.name
        if self._unlisted and name != self.writer:
            del self.sights[self.writer]
            self._unlisted = False
        self.state = State.KNOWN
        self.writer = name
        self._note(report)
        sight.fenced = False
        return [SetWriter(name, cause, same), ReadTopology(name)]

    def _doubt(self) -> list[Command]:
        """Give up the assumption that the configured host is the writer, if need be."""
        sights = self.sights.values()
        reports = [one.report for one in sights if one.report is not None]
        if (
            self.state is not State.ASSUMED
            or len(self.sights) < 2  # noqa: PLR2004 - a cluster of one has no other
            or not reports
            or not all(report.in_recovery for report in reports)
            or any(one.report is None and not one.failure for one in sights)
        ):
            return []
        self.state = State.SEARCHING
        return [LoseWriter("", "the configured host is in recovery")]

    def _lose(self, cause: str, *, is_leaving: bool = False) -> list[Command]:
        self.state = State.SEARCHING
        others = [Ask(name) for name in self.sights if name != self.writer]
        return [LoseWriter(self.writer, cause, is_leaving), *others]

    def _fence(self, sight: Sight, cause: str) -> list[Command]:
        if sight.fenced:
            return []
        sight.fenced = True
        return [Fence(sight.node.name, cause)]

    def _note(self, report: Report) -> None:
        """Keep what the writer says of its cluster and timeline."""
        if self._is_foreign(report):
            self.timeline = None
        self.system = report.system or self.system
        self.timeline = report.timeline or self.timeline

    def _is_foreign(self, report: Report) -> bool:
        """Tell whether a node belongs to another cluster than the last writer."""
        return None not in (report.system, self.system) and (
            report.system != self.system
        )

    def _timelines_ahead(self, report: Report) -> int:
        """Return how far a node is ahead of the last writer; 0: there is no telling."""
        if report.timeline is None or self.timeline is None:
            return 0
        return 0 if self._is_foreign(report) else report.timeline - self.timeline

    _ANSWERS: ClassVar[
        Mapping[State, Callable[[Machine, Sight, Report], list[Command]]]
    ] = MappingProxyType(
        {
            State.ASSUMED: _answered_while_searching,
            State.SEARCHING: _answered_while_searching,
            State.KNOWN: _answered_while_known,
        }
    )
    """State to what an answer does in it."""
