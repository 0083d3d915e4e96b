"""SHOW TOPOLOGY and SHOW SWITCHOVERS: the nodes of clusters, and what they did."""

from __future__ import annotations

from collections import Counter
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.incremental import POOLS_PER_STEP
from pgswitch.admin.result_set import (
    INT4,
    INT8,
    TEXT,
    Column,
    Columns,
    exact_time,
    lsn_text,
)
from pgswitch.admin.view import ServiceView, Show
from pgswitch.cluster.cluster_state import WriterState
from pgswitch.net.connection_states import ServerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.cluster.cluster import Cluster, Switchover
    from pgswitch.cluster.nodes import NodeStatus

WRITER: Final = "writer"


class NodeRow(NamedTuple):
    """A node of a cluster, as it was seen last."""

    view: ServiceView
    cluster: Cluster
    status: NodeStatus
    role: str
    servers: int
    refusal: str | None
    """Why the node refuses the connections of a pool, if it does."""


def _role(cluster: Cluster, status: NodeStatus) -> str:
    """Return what a node is at present."""
    machine = cluster.machine
    if machine.writer_state is WriterState.KNOWN and status.node.name == machine.writer:
        return WRITER
    if status.report is None:
        return "unknown"
    if (
        machine.writer_state is WriterState.STARTING
        and status.writes
        and not status.fenced
    ):
        return "unknown"
    return "reader" if status.report.in_recovery else "rival"


def _node_state(row: NodeRow) -> str:
    if row.role == WRITER:
        return row.cluster.machine.writer_state.value
    if row.status.fenced:
        return "fenced"
    return "unreachable" if row.status.report is None else "up"


def _timeline(row: NodeRow) -> int | None:
    report = row.status.report
    return None if report is None else report.timeline or report.follows


def _lsn(row: NodeRow) -> str | None:
    return lsn_text(None if row.status.report is None else row.status.report.lsn)


def _lag_bytes(row: NodeRow) -> int | None:
    return None if row.role == WRITER else row.cluster.fitness.lag_bytes(row.status)


def _probe_age_ms(row: NodeRow) -> int | None:
    answered_at = row.status.answered_at
    if not answered_at:
        return None
    return round((row.view.context.clock() - answered_at) * 1000)


def _probe_us(row: NodeRow) -> int:
    poll = row.cluster.monitor.polls.get(row.status.node.name)
    return 0 if poll is None else round(poll.answer_time * 1e6)


def _why(row: NodeRow) -> str:
    """Return why a node is not read from, cannot be asked, or refuses logins."""
    status = row.status
    why = status.failure if row.role == WRITER else row.cluster.fitness.unfit(status)
    if why or row.refusal is None:
        return why
    return f"refuses connections: {row.refusal}"


_NODE: Final[Columns[NodeRow]] = (
    Column("database", TEXT, "Cluster, by its database.", lambda n: n.cluster.key),
    Column("node", TEXT, "Name of the node.", lambda n: n.status.node.name),
    Column(
        "host", TEXT, "Its host, or `unix`.", lambda n: n.status.node.host or "unix"
    ),
    Column("port", INT4, "Its port.", lambda n: n.status.node.port),
    Column(
        "role",
        TEXT,
        "`writer`, `reader`, `rival` (takes writes, but is not the writer) or"
        " `unknown`.",
        lambda n: n.role,
    ),
    Column(
        "state",
        TEXT,
        "`known` for the writer; otherwise `up`, `unreachable`, or `fenced` (not"
        " trusted until it follows the writer).",
        _node_state,
    ),
    Column("timeline", INT8, "Timeline that it writes or follows.", _timeline),
    Column("lsn", TEXT, "WAL position that it has written or replayed.", _lsn),
    Column(
        *("lag_bytes", INT8, "How far it is behind the writer.", _lag_bytes, "bytes")
    ),
    Column("probe_age_ms", INT8, "Age of its last answer.", _probe_age_ms, "ms"),
    Column("probe_us", INT8, "How long that answer took.", _probe_us, "µs"),
    Column("servers", INT8, "Server connections to it.", lambda n: n.servers),
    Column("why", TEXT, "Why it gets no readers, or what is wrong with it.", _why),
)


def _nodes(view: ServiceView) -> Iterator[NodeRow | None]:
    """Yield all nodes, cluster by cluster."""
    by_key, cluster_databases = view.clusters.by_key, view.pools.cluster_databases
    key_of = {
        name: key for key in by_key for name in cluster_databases.names(key).values()
    }
    servers: Counter[tuple[str, str | None, int]] = Counter()
    refusals: dict[str, str] = {}
    for number, pool in enumerate(view.pools, 1):
        name = pool.key.database
        key = key_of.get(name, name)
        if key in by_key:
            for one in pool.connections():
                if one.stored_state is not ServerState.LOGIN:
                    servers[key, one.host, one.address.port] += 1
        if pool.server_connections.login_attempts.is_refused:
            refusals.setdefault(
                name, f"{pool.server_connections.login_attempts.refusal}"
            )
        if number % POOLS_PER_STEP == 0:
            yield None
    for cluster in list(by_key.values()):
        for status in list(cluster.machine.nodes.values()):
            node, role = status.node, _role(cluster, status)
            names = cluster_databases.names(cluster.key)
            name = cluster.key if role == WRITER else names.get(node, "")
            count = servers[cluster.key, node.host, node.port]
            yield NodeRow(view, cluster, status, role, count, refusals.get(name))


TOPOLOGY: Final = Show(
    meaning="The nodes of the clusters: databases with several hosts that are watched.",
    find=_nodes,
    columns=_NODE,
)

# -------------------------------------------------------------------- switchovers


class SwitchoverRow(NamedTuple):
    """A switchover of a cluster."""

    cluster: Cluster
    event: Switchover
    offset: float
    """Seconds from the clock of the service to the time of day."""

    def moment(self, at: float) -> str | None:
        """Return a time of the service's clock as time of day; 0.0: not yet."""
        return exact_time(at + self.offset if at else None)


def _told_errors(row: SwitchoverRow) -> str:
    errors = sorted(row.event.loss_counts.errors.items())
    return ",".join(f"{code}:{count}" for code, count in errors)


_SWITCHOVER: Final[Columns[SwitchoverRow]] = (
    Column("database", TEXT, "Cluster, by its database.", lambda s: s.cluster.key),
    Column("cause", TEXT, "The first sign of it.", lambda s: s.event.cause),
    Column(
        *("old_writer", TEXT, "Node that was the writer; NULL at the start."),
        lambda s: s.event.old or None,
    ),
    Column(
        *("new_writer", TEXT, "Node that became it; NULL until it is found."),
        lambda s: s.event.new or None,
    ),
    Column("timeline", INT8, "Timeline of the new writer.", lambda s: s.event.timeline),
    Column(
        *("suspected", TEXT, "When the first sign was seen."),
        lambda s: s.moment(s.event.suspected_at),
    ),
    Column(
        *("confirmed", TEXT, "When it was certain that the writer was lost."),
        lambda s: s.moment(s.event.lost_at),
    ),
    Column(
        *("found", TEXT, "When the new writer was found."),
        lambda s: s.moment(s.event.found_at),
    ),
    Column(
        *("first_served", TEXT, "When the first server of the new writer was ready."),
        lambda s: s.moment(s.event.served_at),
    ),
    Column(
        *("held", INT8, "Clients that waited when the new writer was found."),
        lambda s: s.event.held,
    ),
    Column(
        *("retried", INT8, "Statements that were run again without an error."),
        lambda s: s.event.loss_counts.retried,
    ),
    Column(
        "lost",
        INT8,
        "Clients that were disconnected.",
        lambda s: s.event.loss_counts.lost,
    ),
    Column(
        *("errors", TEXT, "Errors that clients got, as `SQLSTATE:count`."),
        _told_errors,
    ),
    Column(
        *("longest_wait_ms", INT8, "The longest wait of those clients."),
        lambda s: round(s.event.longest_wait * 1000),
        "ms",
    ),
)


def _switchovers(view: ServiceView) -> list[SwitchoverRow]:
    """Return the switchovers since the start, the oldest first."""
    offset = time() - view.context.clock()
    return [
        SwitchoverRow(cluster, event, offset)
        for cluster in view.clusters.by_key.values()
        for event in cluster.events
    ]


SWITCHOVERS: Final = Show(
    meaning="The switchovers since the start, the oldest first.",
    find=_switchovers,
    columns=_SWITCHOVER,
)
