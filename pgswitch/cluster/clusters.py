"""All clusters of the process, made from the configuration and given their pools."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgswitch.cluster.cluster import Cluster
from pgswitch.cluster.cluster_state import NOTHING_KNOWN, Knowledge, MachineLimits
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.monitor import Monitor
from pgswitch.cluster.node_poll import PollIntervals
from pgswitch.cluster.nodes import Node, named
from pgswitch.cluster.probe_choice import probe_maker
from pgswitch.cluster.routes import PoolRoutes
from pgswitch.pool.reader_route import ReaderRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgswitch.cluster.cluster import Switchover
    from pgswitch.cluster.probe import Probe
    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.dns.resolver import Resolver
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What is known of a cluster, for the process that takes over."""

    writer: Node | None = None
    nodes: tuple[Node, ...] = ()
    readers: tuple[Node, ...] = ()
    databases: Mapping[Node, str] = field(default_factory=dict)
    """The names of the nodes as databases."""
    knowledge: Knowledge = NOTHING_KNOWN
    events: tuple[Switchover, ...] = ()
    seeds: tuple[Node, ...] = ()
    """The hosts of its entry."""


def _seeds(spec: DatabaseSpec) -> list[Node]:
    """Return the hosts of an entry as nodes."""
    return named((host, spec.port) for host in spec.hosts or (None,))


def _leads_to(spec: DatabaseSpec, known: ClusterSnapshot) -> bool:
    """Tell whether an entry names a node of a cluster, or one of its first hosts."""
    endpoints = {node.endpoint for node in [*known.nodes, *known.seeds]}
    return any(node.endpoint in endpoints for node in _seeds(spec))


def _for_other_hosts(known: ClusterSnapshot) -> ClusterSnapshot:
    """Return what remains known when an entry names other hosts: no node."""
    knowledge = replace(
        known.knowledge, writer="", fenced=frozenset(), is_listed=False, nodes=()
    )
    return ClusterSnapshot(knowledge=knowledge, events=known.events)


class Clusters:
    """The clusters by the name of their database's entry."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        names: Resolver,
    ) -> None:
        """Begin with none; ``names`` looks up host names."""
        self._names = names
        self._logged_error = ""
        self.by_key: dict[str, Cluster] = {}
        self._specs: dict[str, DatabaseSpec] = {}
        self._routes: dict[str, PoolRoutes] = {}
        self._inherited: dict[str, ClusterSnapshot] = {}
        """What another process knew of clusters that do not exist here yet."""
        self._context = context
        self._pools = pools
        self._reactor = reactor

    def configure(self, configuration: Configuration) -> None:
        """Bring the clusters in line with a configuration.

        What a cluster's machine knows survives a change of its entry.  If the entry
        still names one of its nodes, the cluster stays, even if its nodes are probed
        differently.  Otherwise it may be the same cluster at another address or another
        cluster: clients wait until its system identifier is known.
        """
        wanted = {
            name: spec
            for name, spec in configuration.databases.items()
            if spec.topology_query
        }
        kept, self._inherited = self._inherited, {}
        for key in [*self.by_key]:
            spec, before = wanted.get(key), self._specs[key]
            if spec == before:
                continue
            if spec is not None and _leads_to(spec, self._snapshot(key)):
                self._renew(key, spec)
                continue
            if spec is not None:
                kept[key] = _for_other_hosts(self._snapshot(key))
            self._drop(key)
        for key, spec in wanted.items():
            if key not in self.by_key:
                self._begin(key, spec, kept.get(key, ClusterSnapshot()))
            self._routes[key].rename_nodes()
            cluster = self.by_key[key]
            cluster.monitor.intervals = self._intervals()
            cluster.fitness.max_lag = configuration.settings.reader_max_lag
            cluster.fitness.max_lag_bytes = configuration.settings.reader_max_lag_bytes
            cluster.limit(self._limits())

    def forget_writer(self, key: str) -> None:
        """Forget a cluster's last writer, if it has no writer now."""
        if key in self.by_key:
            self.by_key[key].forget_writer()

    def _renew(self, key: str, spec: DatabaseSpec) -> None:
        """Take a changed entry for a cluster and for the databases of its readers."""
        self._specs[key] = spec
        self._pools.renew_family(spec)
        maker = self._probe_maker(spec)
        query, port = spec.topology_query or "", spec.port
        self.by_key[key].renew(_seeds(spec), query, port, maker)

    def known(self) -> dict[str, ClusterSnapshot]:
        """Return what is known of all clusters, by the key of their entry."""
        return {key: self._snapshot(key) for key in self.by_key}

    def _snapshot(self, key: str) -> ClusterSnapshot:
        cluster = self.by_key[key]
        cluster_databases = self._pools.cluster_databases
        return ClusterSnapshot(
            self._routes[key].node,
            tuple(status.node for status in cluster.machine.nodes.values()),
            cluster_databases.reader_nodes(key),
            cluster_databases.names(key),
            cluster.machine.knowledge(),
            tuple(cluster.events),
            tuple(cluster.machine.seeds),
        )

    def inherit(self, known: Mapping[str, ClusterSnapshot]) -> None:
        """Take what another process knew; :meth:`configure` uses it.

        Nodes get their databases at once, so that servers there can be taken over.  An
        entry that names other hosts now is treated as after a RELOAD.
        """
        databases = self._context.configuration.databases
        for key, one in known.items():
            spec = databases.get(key)
            if spec is not None and spec.topology_query:
                # Earlier versions do not hand over the hosts of the entry.
                if one.seeds and not _leads_to(spec, one):
                    self._inherited[key] = _for_other_hosts(one)
                    continue
                self._inherited[key] = one
                self._pools.cluster_databases.set(
                    spec, one.nodes, one.readers, databases, one.databases
                )

    def hosts(self) -> set[str]:
        """Return the hosts of all nodes, names and addresses."""
        return {
            status.node.host
            for cluster in self.by_key.values()
            for status in cluster.machine.nodes.values()
            if status.node.host is not None
        }

    def moved(self, host: str, removed: frozenset[str]) -> None:
        """Pass on that a name no longer leads to some addresses."""
        for cluster in [*self.by_key.values()]:
            cluster.moved(host, removed)

    def stop(self) -> None:
        """Stop probing."""
        for key in [*self.by_key]:
            self._drop(key)

    def add_route(self, pool: ServerPool) -> None:
        """Give a new pool its route, if its database is a cluster or a node of one."""
        name = pool.key.database
        if name in self.by_key:
            self._routes[name].add(pool, self.by_key[name])
            return
        found = self._pools.cluster_databases.node_of(name)
        if found is not None and found[0] in self.by_key:
            key, node = found
            better_pool = self._routes[key].better_pool
            pool.set_route(ReaderRoute(pool, node, self.by_key[key], better_pool))

    def _intervals(self) -> PollIntervals:
        settings = self._context.configuration.settings
        return PollIntervals(
            settings.polling_frequency,
            settings.server_failed_delay,
            bool(settings.recreate_disconnected_pools),
            settings.switchover_silence,
            settings.topology_refresh,
            settings.server_connect_timeout,
        )

    def _limits(self) -> MachineLimits:
        settings = self._context.configuration.settings
        return MachineLimits(
            settings.switchover_start_timeout, settings.switchover_forget
        )

    def _probe_maker(
        self, spec: DatabaseSpec
    ) -> Callable[[Node, Callable[[], None]], Probe]:
        """Return a function that makes probes of the nodes of an entry's cluster."""
        addresses = self._names.addresses
        return probe_maker(self._context, spec, self._reactor, addresses)

    def _begin(self, key: str, spec: DatabaseSpec, known: ClusterSnapshot) -> None:
        """Start a cluster, with what is known of it."""
        context = self._context
        seeds = _seeds(spec)
        routes = PoolRoutes(key, self._pools, known.writer)
        self._specs[key], self._routes[key] = spec, routes
        databases = context.configuration.databases
        self._pools.cluster_databases.claim(spec, known.nodes or seeds, databases)
        before = replace(known.knowledge, nodes=known.nodes)
        machine = Machine(seeds, before, limits=self._limits())
        monitor = Monitor(
            key=key,
            query=spec.topology_query or "",
            port=spec.port,
            machine=machine,
            client_answered_at=routes.client_answered_at,
            make_probe=self._probe_maker(spec),
            clock=context.clock,
            log=context.log,
            names=self._names,
        )
        cluster = Cluster(
            key=key,
            machine=machine,
            monitor=monitor,
            routes=routes,
            clock=context.clock,
            log=context.log,
            record=self._record,
        )
        cluster.events.extend(known.events)
        self.by_key[key] = cluster
        for pool in self._pools:
            if pool.route is None:
                self.add_route(pool)
        cluster.start(self._reactor)
        if spec.user is not None:
            # The pool opens a server as soon as the writer is known.
            self._pools.pool(spec, spec.user)

    def _drop(self, key: str) -> None:
        self.by_key.pop(key).stop()
        self._pools.cluster_databases.forget(key)
        del self._specs[key], self._routes[key]
        for pool in self._pools.of_database(key):
            if pool.route is not None:
                pool.route.close()
                pool.route = None
                pool.set_open()

    def _record(self, line: str) -> None:
        """Append an input to the file of the setting switchover_record."""
        path = self._context.configuration.settings.switchover_record
        if not path:
            return
        try:
            with Path(path).open("a") as file:
                file.write(f"{line}\n")
        except OSError as error:
            if str(error) != self._logged_error:
                self._logged_error = str(error)
                self._context.log.error(f"switchover_record: {error}")
