"""All clusters of the process: made from the configuration, joined to their pools."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgswitch.cluster.cluster import Cluster
from pgswitch.cluster.facts import NOTHING_KNOWN, Knowledge, MachineLimits
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.monitor import Monitor, PollIntervals
from pgswitch.cluster.nodes import Node, named
from pgswitch.cluster.pool_routes import PoolRoutes
from pgswitch.cluster.probe_choice import probe_maker
from pgswitch.pool.reader_route import ReaderRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgswitch.cluster.monitor import Probe
    from pgswitch.cluster.switchovers import Switchover
    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.dns.resolver import Resolver
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What is known of a cluster, for a process that goes on with it."""

    writer: Node | None = None
    nodes: tuple[Node, ...] = ()
    readers: tuple[Node, ...] = ()
    databases: Mapping[Node, str] = field(default_factory=dict)
    """What the nodes are called as databases."""
    knowledge: Knowledge = NOTHING_KNOWN
    events: tuple[Switchover, ...] = ()
    seeds: tuple[Node, ...] = ()
    """The hosts of its entry."""


def _seeds(spec: DatabaseSpec) -> list[Node]:
    """Return the hosts of an entry as nodes."""
    return named((host, spec.port) for host in spec.hosts or (None,))


def _leads_to(spec: DatabaseSpec, known: ClusterSnapshot) -> bool:
    """Tell whether an entry names a node of a cluster, or a host it began with."""
    places = {node.place for node in [*known.nodes, *known.seeds]}
    return any(node.place in places for node in _seeds(spec))


def _elsewhere(known: ClusterSnapshot) -> ClusterSnapshot:
    """Return what is known for an entry that names other hosts: no node of them."""
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
        """Begin with none; ``names`` looks host names up."""
        self._names = names
        self._complaint = ""
        self.by_key: dict[str, Cluster] = {}
        self._specs: dict[str, DatabaseSpec] = {}
        self._routes: dict[str, PoolRoutes] = {}
        self._inherited: dict[str, ClusterSnapshot] = {}
        """What another process knew of clusters that are still to be begun."""
        self._context = context
        self._pools = pools
        self._reactor = reactor

    def configure(self, configuration: Configuration) -> None:
        """Bring the clusters in line with a configuration.

        What a cluster's machine knows outlives a change of its entry: one that leads
        to any of its nodes goes on as it is, however its nodes are asked from now on.
        One that leads elsewhere may be the same cluster by another address or another
        one, as its system identifier will tell: clients wait until it has.
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
            if spec is not None and _leads_to(spec, self._known(key)):
                self._renew(key, spec)
                continue
            if spec is not None:
                kept[key] = _elsewhere(self._known(key))
            self._drop(key)
        for key, spec in wanted.items():
            if key not in self.by_key:
                self._begin(key, spec, kept.get(key, ClusterSnapshot()))
            self._routes[key].make_way()
            cluster = self.by_key[key]
            cluster.monitor.intervals = self._pace()
            cluster.max_lag = configuration.settings.reader_max_lag
            cluster.max_lag_bytes = configuration.settings.reader_max_lag_bytes
            cluster.limit(self._limits())

    def judge_again(self, key: str) -> None:
        """Have a cluster's nodes judged as at a start, if it has no writer."""
        if key in self.by_key:
            self.by_key[key].judge_again()

    def _renew(self, key: str, spec: DatabaseSpec) -> None:
        """Go on with a cluster whose entry has changed, readers' databases too."""
        self._specs[key] = spec
        self._pools.renew_cluster(spec)
        maker = self._probe_maker(spec)
        query, port = spec.topology_query or "", spec.port
        self.by_key[key].renew(_seeds(spec), query, port, maker)

    def known(self) -> dict[str, ClusterSnapshot]:
        """Return what is known of all clusters, by the key of their entry."""
        return {key: self._known(key) for key in self.by_key}

    def _known(self, key: str) -> ClusterSnapshot:
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

    def go_on_with(self, known: Mapping[str, ClusterSnapshot]) -> None:
        """Begin where another process was, at the next :meth:`configure`.

        Nodes have their databases at once, so that servers there can be taken over.
        An entry that leads elsewhere by now is one as after a RELOAD.
        """
        databases = self._context.configuration.databases
        for key, one in known.items():
            spec = databases.get(key)
            if spec is not None and spec.topology_query:
                # An earlier version does not say what its entry was.
                if one.seeds and not _leads_to(spec, one):
                    self._inherited[key] = _elsewhere(one)
                    continue
                self._inherited[key] = one
                self._pools.cluster_databases.set(
                    spec, one.nodes, one.readers, databases, one.databases
                )

    def hosts(self) -> set[str]:
        """Return the hosts of all nodes, those that are names among them."""
        return {
            status.node.host
            for cluster in self.by_key.values()
            for status in cluster.machine.nodes.values()
            if status.node.host is not None
        }

    def moved(self, host: str, gone: frozenset[str]) -> None:
        """Hear that a name leads to some addresses no longer."""
        for cluster in [*self.by_key.values()]:
            cluster.moved(host, gone)

    def stop(self) -> None:
        """Ask no node any more."""
        for key in [*self.by_key]:
            self._drop(key)

    def adopt(self, pool: ServerPool) -> None:
        """Tell a new pool where its servers are, if its database is a cluster."""
        name = pool.key.database
        if name in self.by_key:
            self._routes[name].add(pool, self.by_key[name])
            return
        found = self._pools.cluster_databases.node_of(name)
        if found is not None and found[0] in self.by_key:
            key, node = found
            better_pool = self._routes[key].better_pool
            pool.set_route(ReaderRoute(pool, node, self.by_key[key], better_pool))

    def _pace(self) -> PollIntervals:
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
        """Return what makes probes of the nodes of an entry's cluster."""
        addresses = self._names.addresses
        return probe_maker(self._context, spec, self._reactor, addresses)

    def _begin(self, key: str, spec: DatabaseSpec, known: ClusterSnapshot) -> None:
        """Watch a cluster of which some is known already."""
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
            client_heard_at=routes.heard_at,
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
                self.adopt(pool)
        cluster.start(self._reactor)
        if spec.user is not None:
            # It opens a server as soon as it is known where.
            self._pools.pool(spec, spec.user)

    def _drop(self, key: str) -> None:
        self.by_key.pop(key).stop()
        self._pools.cluster_databases.remove(key)
        del self._specs[key], self._routes[key]
        for pool in self._pools.of_database(key):
            if pool.route is not None:
                pool.route.close()
                pool.route = None
                pool.update_open()

    def _record(self, line: str) -> None:
        """Append an input to the file of the setting switchover_record."""
        path = self._context.configuration.settings.switchover_record
        if not path:
            return
        try:
            with Path(path).open("a") as file:
                file.write(f"{line}\n")
        except OSError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._context.log.error(f"switchover_record: {error}")
