"""Snapshots of clusters: their nodes, and the switchovers that were."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import NodeSnapshot, SwitchoverSnapshot
from pgswitch.net.backend import Phase
from pgswitch.topology.machine import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools
    from pgswitch.topology.cluster import Cluster
    from pgswitch.topology.clusters import Clusters
    from pgswitch.topology.machine import Sight
    from pgswitch.topology.nodes import Node


class TopologyView:
    """SHOW TOPOLOGY and SHOW SWITCHOVERS."""

    def __init__(self, context: PoolContext, pools: Pools, clusters: Clusters) -> None:
        """Look at these clusters."""
        self._context = context
        self._pools = pools
        self._clusters = clusters

    def topology(self) -> Sequence[NodeSnapshot]:
        """Return all nodes, cluster by cluster."""
        return [
            self._node(cluster, sight)
            for cluster in self._clusters.by_key.values()
            for sight in cluster.machine.sights.values()
        ]

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
                retried=event.tally.retried,
                lost=event.tally.lost,
                errors=",".join(
                    f"{code}:{count}"
                    for code, count in sorted(event.tally.errors.items())
                ),
                longest_wait_ms=round(event.longest_wait * 1000),
            )
            for cluster in self._clusters.by_key.values()
            for event in cluster.events
        ]

    def _node(self, cluster: Cluster, sight: Sight) -> NodeSnapshot:
        node, report = sight.node, sight.report
        watch = cluster.monitor.watches.get(node.name)
        role = _role(cluster, sight)
        now = self._context.clock()
        return NodeSnapshot(
            database=cluster.key,
            node=node.name,
            host=node.host or "unix",
            port=node.port,
            role=role,
            state=cluster.machine.state.value if role == "writer" else _state(sight),
            timeline=None if report is None else report.timeline or report.follows,
            lsn=None if report is None else report.lsn,
            lag_bytes=cluster.lag_bytes(sight) if role != "writer" else None,
            probe_age_ms=(
                round((now - sight.answered_at) * 1000) if sight.answered_at else None
            ),
            probe_us=round(watch.took * 1e6) if watch is not None else 0,
            servers=self._servers(cluster, node),
            why=self._why(cluster, sight, is_writer=role == "writer"),
        )

    def _why(self, cluster: Cluster, sight: Sight, *, is_writer: bool) -> str:
        """Return why a node is not read from, cannot be asked, or refuses logins."""
        why = sight.failure if is_writer else cluster.unfit(sight)
        if why:
            return why
        names = self._pools.families.names(cluster.key)
        name = cluster.key if is_writer else names.get(sight.node, "")
        for pool in self._pools.of_database(name):
            if pool.fleet.attempts.is_refused:
                return f"refuses connections: {pool.fleet.attempts.refusal}"
        return ""

    def _servers(self, cluster: Cluster, node: Node) -> int:
        """Return how many connections of pools there are to a node."""
        return sum(
            backend.phase is not Phase.LOGIN
            and (backend.host, backend.address.port) == (node.host, node.port)
            for pool in self._pools
            if self._pools.is_of(pool, cluster.key)
            for backend in pool.connections()
        )


def _role(cluster: Cluster, sight: Sight) -> str:
    """Return what a node is at present."""
    machine = cluster.machine
    if machine.state is State.KNOWN and sight.node.name == machine.writer:
        return "writer"
    if sight.report is None:
        return "unknown"
    return "reader" if sight.report.in_recovery else "rival"


def _state(sight: Sight) -> str:
    """Return what can be said of a node that is not the writer."""
    if sight.fenced:
        return "fenced"
    return "unreachable" if sight.report is None else "up"
