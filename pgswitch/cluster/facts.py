"""What a cluster's machine is told, what it knows of nodes, and what it commands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pgswitch.cluster.nodes import Node


class WriterState(Enum):
    """What is known of a cluster's writer."""

    STARTING = "starting"
    ASSUMED = "assumed"
    KNOWN = "known"
    SEARCHING = "searching"


class ProbeFailure(Enum):
    """Why a node was asked in vain."""

    LOST = "the connection was lost"
    REFUSED = "cannot connect"
    SILENT = "no answer in time"
    NOT_READY = "does not take connections"
    UNFIT = "it answers, but not the question"
    FULL = "it has no room for another connection"


ANSWERS_OTHERWISE = (ProbeFailure.UNFIT, ProbeFailure.FULL)
"""The node lives, but does not answer our question."""
ANSWERS_SOON = (ProbeFailure.FULL, ProbeFailure.NOT_READY)
"""The node may have room in a moment, or have started up, and much to say."""


class Listing(Enum):
    """What came of the question for the list of nodes, while STARTING."""

    UNREAD = "not read yet"
    READ = "read"
    NONE = "no node has one"


@dataclass(frozen=True, slots=True)
class NodeReport:
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
class NodeStatus:
    """What is known of one node."""

    node: Node
    report: NodeReport | None = None
    """The last answer, None if the last question had none."""
    answered_at: float = 0.0
    failure: str = ""
    fenced: bool = False
    has_spoken: bool = False
    """It has answered or failed since the machine began to judge."""
    is_listed: bool = True
    """The list of nodes names it, or there is no list."""
    has_no_list: bool = False
    """It was asked for the list in vain, while STARTING."""
    is_mute: bool = False
    """It answers, but not our question."""

    @property
    def writes(self) -> bool:
        """Whether it has said that it takes writes."""
        return self.report is not None and not self.report.in_recovery


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
class Assume:
    """Serve clients from the configured host, as those of any other database."""

    cause: str


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


MachineCommand = Ask | SetWriter | Assume | LoseWriter | Fence | ReadTopology


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a machine knew, for one that goes on where it ended."""

    writer: str = ""
    """Name of the last writer."""
    timeline: int | None = None
    system: int | None = None
    fenced: frozenset[str] = frozenset()
    """Names of nodes."""
    is_listed: bool = False
    """The nodes come from a list that was read."""
    nodes: tuple[Node, ...] = ()
    """All of them; none: those of the entry."""


NOTHING_KNOWN = Knowledge()


@dataclass(slots=True)
class MachineLimits:
    """The settings that the machine follows, in seconds."""

    start: float = 3.0
    """For how long nodes may keep the others waiting at the start."""
    forget: float = 60.0
    """After which time a last writer that is gone from the list is forgotten."""
