"""Snapshots of clusters: their nodes, and the switchovers that were."""

from __future__ import annotations

from collections import Counter
from time import time
from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import NodeSnapshot, SwitchoverSnapshot
from pgswitch.cluster.facts import WriterState
from pgswitch.net.server_state import ServerState
from pgswitch.views.steps import POOLS_A_STEP, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgswitch.cluster.cluster import Cluster
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.cluster.facts import NodeStatus
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools


class TopologyView:
    """SHOW TOPOLOGY and SHOW SWITCHOVERS."""

    def __init__(
        self, context: ServiceContext, pools: Pools, clusters: Clusters
    ) -> None:
        """Look at these clusters."""
        self._context = context
        self._pools = pools
        self._clusters = clusters

    def topology(self) -> Sequence[NodeSnapshot]:
        """Return all nodes, cluster by cluster."""
        return shown(self.each_node())

    def each_node(self) -> Iterator[NodeSnapshot | None]:
        """Yield the same one by one."""
        by_key, cluster_databases = self._clusters.by_key, self._pools.cluster_databases
        key_of = {
            name: key
            for key in by_key
            for name in cluster_databases.names(key).values()
        }
        servers: Counter[tuple[str, str | None, int]] = Counter()
        refusals: dict[str, str] = {}
        for number, pool in enumerate(self._pools, 1):
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
            if number % POOLS_A_STEP == 0:
                yield None
        for cluster in list(by_key.values()):
            for status in list(cluster.machine.nodes.values()):
                node = status.node
                there = servers[cluster.key, node.host, node.port]
                yield self._node(cluster, status, there, refusals)

    def switchovers(self) -> Sequence[SwitchoverSnapshot]:
        """Return what happened, the oldest first."""
        offset = time() - self._context.clock()

        def moment(at: float) -> float | None:
            return at + offset if at else None

        return [
            SwitchoverSnapshot(
                database=cluster.key,
                cause=event.cause,
                old_writer=event.old or None,
                new_writer=event.new or None,
                timeline=event.timeline,
                suspected=moment(event.suspected_at),
                confirmed=moment(event.lost_at),
                found=moment(event.found_at),
                served=moment(event.served_at),
                held=event.held,
                retried=event.loss_counts.retried,
                lost=event.loss_counts.lost,
                errors=",".join(
                    f"{code}:{count}"
                    for code, count in sorted(event.loss_counts.errors.items())
                ),
                longest_wait_ms=round(event.longest_wait * 1000),
            )
            for cluster in self._clusters.by_key.values()
            for event in cluster.events
        ]

    def _node(
        self,
        cluster: Cluster,
        status: NodeStatus,
        servers: int,
        refusals: Mapping[str, str],
    ) -> NodeSnapshot:
        node, report = status.node, status.report
        poll = cluster.monitor.polls.get(node.name)
        role = _role(cluster, status)
        now = self._context.clock()
        return NodeSnapshot(
            database=cluster.key,
            node=node.name,
            host=node.host or "unix",
            port=node.port,
            role=role,
            state=cluster.machine.state.value if role == "writer" else _state(status),
            timeline=None if report is None else report.timeline or report.follows,
            lsn=None if report is None else report.lsn,
            lag_bytes=cluster.lag_bytes(status) if role != "writer" else None,
            probe_age_ms=(
                round((now - status.answered_at) * 1000) if status.answered_at else None
            ),
            probe_us=round(poll.took * 1e6) if poll is not None else 0,
            servers=servers,
            why=self._why(cluster, status, refusals, is_writer=role == "writer"),
        )

    def _why(
        self,
        cluster: Cluster,
        status: NodeStatus,
        refusals: Mapping[str, str],
        *,
        is_writer: bool,
    ) -> str:
        """Return why a node is not read from, cannot be asked, or refuses logins."""
        why = status.failure if is_writer else cluster.unfit(status)
        if why:
            return why
        names = self._pools.cluster_databases.names(cluster.key)
        name = cluster.key if is_writer else names.get(status.node, "")
        refusal = refusals.get(name)
        return "" if refusal is None else f"refuses connections: {refusal}"


def _role(cluster: Cluster, status: NodeStatus) -> str:
    """Return what a node is at present."""
    machine = cluster.machine
    if machine.state is WriterState.KNOWN and status.node.name == machine.writer:
        return "writer"
    if status.report is None:
        return "unknown"
    if machine.state is WriterState.STARTING and status.writes and not status.fenced:
        return "unknown"
    return "reader" if status.report.in_recovery else "rival"


def _state(status: NodeStatus) -> str:
    """Return what can be said of a node that is not the writer."""
    if status.fenced:
        return "fenced"
    return "unreachable" if status.report is None else "up"
