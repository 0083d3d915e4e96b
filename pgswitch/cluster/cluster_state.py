"""The states of a cluster, the inputs of its machine, and the commands it returns.

:data:`CLUSTER_STATES` says which state may follow which; ``machine.py`` says what each
input does in each state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pgswitch.cluster.nodes import Node, NodeReport, NodeStatus
from pgswitch.state_table import StateTable


class WriterState(Enum):
    """What is known of a cluster's writer, as the console and ``replay`` show it."""

    STARTING = "starting"
    ASSUMED = "assumed"
    KNOWN = "known"
    SEARCHING = "searching"


class ClusterState(Enum):
    """The state of a cluster's machine."""

    STARTING = "starting"
    """No node has answered yet; clients wait."""
    DECIDING = "deciding"
    """A node has answered.  The first decision is due when all nodes have answered or
    failed, at the latest after ``switchover_start_timeout``; clients wait."""
    ASSUMED = "assumed"
    """No node says whether it is the writer; the configured host serves clients."""
    REVIEWING = "reviewing"
    """The configured host serves clients, and a node has answered: the decision is due
    as in DECIDING.  A cluster whose only node is a standby stays here."""
    KNOWN = "known"
    """A node has said that it is not in recovery: it is the writer."""
    KNOWN_UNLISTED = "known, unlisted"
    """The list of nodes does not name the writer: a node of the list replaces it as
    soon as it turns out to be a writer on the same timeline."""
    SEARCHING = "searching"
    """No node is known to be the writer; clients wait."""
    FORGETTING = "forgetting"
    """As SEARCHING, and the list of nodes no longer names the last writer: it and its
    timeline are forgotten after ``switchover_forget`` if the other nodes agree."""

    @property
    def writer_state(self) -> WriterState:
        """What this state means for clients."""
        return _WRITER_STATES[self]


_WRITER_STATES = {
    ClusterState.STARTING: WriterState.STARTING,
    ClusterState.DECIDING: WriterState.STARTING,
    ClusterState.ASSUMED: WriterState.ASSUMED,
    ClusterState.REVIEWING: WriterState.ASSUMED,
    ClusterState.KNOWN: WriterState.KNOWN,
    ClusterState.KNOWN_UNLISTED: WriterState.KNOWN,
    ClusterState.SEARCHING: WriterState.SEARCHING,
    ClusterState.FORGETTING: WriterState.SEARCHING,
}


class ClusterInput(Enum):
    """What can happen to a cluster.  "The writer" is the present or the last one."""

    WRITER = "the writer answers, and takes writes"
    WRITER_REPLACED = "the writer takes writes, with another system identifier"
    WRITER_BEHIND = "the writer takes writes, on an older timeline than before"
    WRITER_DEMOTED = "the writer is in recovery"
    STANDBY = "another node is in recovery"
    RIVAL = "another node takes writes, on the same timeline or an unknown one"
    RIVAL_AHEAD = "another node takes writes, on a later timeline"
    RIVAL_BEHIND = "another node takes writes, on an older timeline"
    FOREIGN = "another node takes writes, with another system identifier"
    CONNECTION_LOST = "the monitor's connection to a node is lost"
    WRITER_REFUSES = "the writer refuses connections, starts up or shuts down"
    WRITER_SILENT = "the writer does not answer in time"
    NODE_FAILED = "another node fails, or the writer answers with an error"
    LISTED = "the list of nodes is read, or the entry's hosts change and are the list"
    NO_LIST = "a node that answers cannot give the list of nodes"
    ENTRY_CHANGED = "the entry's hosts change, and there is a list beside them"
    SUSPECTED = "a client's connection to the writer is lost"
    TICKED = "time passes"
    FORGET = "an operator runs RECONNECT"


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What comes with an input."""

    now: float = 0.0
    status: NodeStatus | None = None
    """The node that it is about; of LISTED the writer, if there is one."""
    added: tuple[NodeStatus, ...] = ()
    """Nodes that only the changed entry names."""
    is_renamed: bool = False
    """The list has another name for the writer."""

    @property
    def subject(self) -> NodeStatus:
        """The node, where every input of this kind is about one."""
        assert self.status is not None  # noqa: S101 - see the table of actions
        return self.status

    @property
    def report(self) -> NodeReport:
        """The node's answer, where the input is one."""
        report = self.subject.report
        assert report is not None  # noqa: S101 - see the table of actions
        return report

    @property
    def name(self) -> str:
        """The node's name."""
        return self.subject.node.name


class ClusterEvent(Enum):
    """Why a cluster changes its state."""

    ANSWERED = "a node answers"
    ALL_SILENT = "no node answers any more"
    UNDECIDABLE = "nodes answer, but none of them says whether it is the writer"
    ONLY_STANDBY = "the only node is in recovery"
    NO_WRITER = "all nodes have answered or failed, and none is a writer"
    WRITER_FOUND = "a node takes writes and is on no older timeline"
    WRITER_LOST = "the writer fails, is in recovery or on an older timeline"
    LISTED = "the list of nodes has been read"
    FORGET = "RECONNECT: the last writer and its timeline are forgotten"


_FOUND = (ClusterState.KNOWN, ClusterState.KNOWN_UNLISTED)
_SEARCH = (ClusterState.SEARCHING, ClusterState.FORGETTING)

CLUSTER_STATES: StateTable[ClusterState, ClusterEvent] = StateTable(
    "cluster",
    ClusterState.STARTING,
    {
        ClusterState.STARTING: {
            ClusterEvent.ANSWERED: ClusterState.DECIDING,
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.FORGET: ClusterState.STARTING,
        },
        ClusterState.DECIDING: {
            ClusterEvent.ALL_SILENT: ClusterState.STARTING,
            ClusterEvent.UNDECIDABLE: ClusterState.ASSUMED,
            ClusterEvent.ONLY_STANDBY: ClusterState.REVIEWING,
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.NO_WRITER: ClusterState.SEARCHING,
            ClusterEvent.FORGET: ClusterState.STARTING,
        },
        ClusterState.ASSUMED: {
            ClusterEvent.ANSWERED: ClusterState.REVIEWING,
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.LISTED: ClusterState.ASSUMED,
            ClusterEvent.FORGET: ClusterState.ASSUMED,
        },
        ClusterState.REVIEWING: {
            ClusterEvent.ALL_SILENT: ClusterState.ASSUMED,
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.NO_WRITER: ClusterState.SEARCHING,
            ClusterEvent.LISTED: ClusterState.ASSUMED,
            ClusterEvent.FORGET: ClusterState.ASSUMED,
        },
        ClusterState.KNOWN: {
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.WRITER_LOST: ClusterState.SEARCHING,
            ClusterEvent.LISTED: _FOUND,
        },
        ClusterState.KNOWN_UNLISTED: {
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.WRITER_LOST: ClusterState.SEARCHING,
            ClusterEvent.LISTED: _FOUND,
        },
        ClusterState.SEARCHING: {
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.LISTED: _SEARCH,
            ClusterEvent.FORGET: ClusterState.STARTING,
        },
        ClusterState.FORGETTING: {
            ClusterEvent.WRITER_FOUND: _FOUND,
            ClusterEvent.LISTED: _SEARCH,
            ClusterEvent.FORGET: ClusterState.STARTING,
        },
    },
)


class Listing(Enum):
    """What came of reading the list of nodes."""

    UNREAD = "not read yet"
    READ = "read"
    NONE = "no node has one"


@dataclass(frozen=True, slots=True)
class Ask:
    """Probe a node now, or again when the present probe is over."""

    name: str


@dataclass(frozen=True, slots=True)
class SetWriter:
    """Serve clients from this node."""

    name: str
    cause: str
    same: bool = False
    """It is the node that serves clients already: its connections stay."""


@dataclass(frozen=True, slots=True)
class Assume:
    """Serve clients from the configured host, as those of any other database."""

    cause: str


@dataclass(frozen=True, slots=True)
class LoseWriter:
    """Make clients wait; connections to this node are useless now."""

    name: str
    cause: str
    is_leaving: bool = False
    """It refuses new connections but ends the present ones itself, with a message to
    each; statements it is executing may still be answered."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Do not use a node at all: it takes writes but is not the writer."""

    name: str
    cause: str


@dataclass(frozen=True, slots=True)
class ReadTopology:
    """Read the list of nodes from this node."""

    name: str


MachineCommand = Ask | SetWriter | Assume | LoseWriter | Fence | ReadTopology


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a machine knows, for the machine that continues in its place."""

    writer: str = ""
    """Name of the last writer."""
    timeline: int | None = None
    system: int | None = None
    fenced: frozenset[str] = frozenset()
    """Names of nodes."""
    is_listed: bool = False
    """The nodes come from a list that was read."""
    nodes: tuple[Node, ...] = ()
    """All nodes; empty: those of the entry."""


NOTHING_KNOWN = Knowledge()


@dataclass(slots=True)
class MachineLimits:
    """The settings that the machine uses, in seconds."""

    start: float = 3.0
    """How long the first decision waits for nodes that have not answered
    (``switchover_start_timeout``)."""
    forget: float = 60.0
    """How long a last writer that is not in the list is remembered
    (``switchover_forget``)."""
