"""All clusters of the process: made from the configuration, joined to their pools."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgswitch.pool.reader_site import ReaderSite
from pgswitch.topology.cluster import Cluster
from pgswitch.topology.facts import NOTHING_KNOWN, Knowledge, Limits
from pgswitch.topology.machine import Machine
from pgswitch.topology.monitor import Monitor, Pace
from pgswitch.topology.nodes import Node, named
from pgswitch.topology.probes import probe_maker
from pgswitch.topology.sites import PoolSites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.names.resolver import Names
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools
    from pgswitch.topology.events import Event
    from pgswitch.topology.monitor import Probe


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a cluster, for a process that goes on with it."""

    writer: Node | None = None
    nodes: tuple[Node, ...] = ()
    readers: tuple[Node, ...] = ()
    databases: Mapping[Node, str] = field(default_factory=dict)
    """What the nodes are called as databases."""
    knowledge: Knowledge = NOTHING_KNOWN
    events: tuple[Event, ...] = ()
    seeds: tuple[Node, ...] = ()
    """The hosts of its entry."""


def _seeds(spec: DatabaseSpec) -> list[Node]:
    """Return the hosts of an entry as nodes."""
    return named((host, spec.port) for host in spec.hosts or (None,))


def _leads_to(spec: DatabaseSpec, known: Known) -> bool:
    """Tell whether an entry names a node of a cluster, or a host it began with."""
    places = {node.place for node in [*known.nodes, *known.seeds]}
    return any(node.place in places for node in _seeds(spec))


def _elsewhere(known: Known) -> Known:
    """Return what is known for an entry that names other hosts: no node of them."""
    knowledge = replace(
        known.knowledge, writer="", fenced=frozenset(), is_listed=False, nodes=()
    )
    return Known(knowledge=knowledge, events=known.events)


class Clusters:
    """The clusters by the name of their database's entry."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        names: Names,
    ) -> None:
        """Begin with none; ``names`` looks host names up."""
        self._names = names
        self._complaint = ""
        self.by_key: dict[str, Cluster] = {}
        self._specs: dict[str, DatabaseSpec] = {}
        self._sites: dict[str, PoolSites] = {}
        self._inherited: dict[str, Known] = {}
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
                self._begin(key, spec, kept.get(key, Known()))
            self._sites[key].make_way()
            cluster = self.by_key[key]
            cluster.monitor.pace = self._pace()
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
        self._pools.renew_family(spec)
        maker = self._probe_maker(spec)
        query, port = spec.topology_query or "", spec.port
        self.by_key[key].renew(_seeds(spec), query, port, maker)

    def known(self) -> dict[str, Known]:
        """Return what is known of all clusters, by the key of their entry."""
        return {key: self._known(key) for key in self.by_key}

    def _known(self, key: str) -> Known:
        cluster = self.by_key[key]
        families = self._pools.families
        return Known(
            self._sites[key].node,
            tuple(sight.node for sight in cluster.machine.sights.values()),
            families.reader_nodes(key),
            families.names(key),
            cluster.machine.knowledge(),
            tuple(cluster.events),
            tuple(cluster.machine.seeds),
        )

    def go_on_with(self, known: Mapping[str, Known]) -> None:
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
                self._pools.families.set(
                    spec, one.nodes, one.readers, databases, one.databases
                )

    def hosts(self) -> set[str]:
        """Return the hosts of all nodes, those that are names among them."""
        return {
            sight.node.host
            for cluster in self.by_key.values()
            for sight in cluster.machine.sights.values()
            if sight.node.host is not None
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
            self._sites[name].add(pool, self.by_key[name])
            return
        found = self._pools.families.node_of(name)
        if found is not None and found[0] in self.by_key:
            key, node = found
            elsewhere = self._sites[key].elsewhere
            pool.settle_at(ReaderSite(pool, node, self.by_key[key], elsewhere))

    def _pace(self) -> Pace:
        settings = self._context.configuration.settings
        return Pace(
            settings.polling_frequency,
            settings.server_failed_delay,
            bool(settings.recreate_disconnected_pools),
            settings.switchover_silence,
            settings.topology_refresh,
            settings.server_connect_timeout,
        )

    def _limits(self) -> Limits:
        settings = self._context.configuration.settings
        return Limits(settings.switchover_start_timeout, settings.switchover_forget)

    def _probe_maker(
        self, spec: DatabaseSpec
    ) -> Callable[[Node, Callable[[], None]], Probe]:
        """Return what makes probes of the nodes of an entry's cluster."""
        addresses = self._names.addresses
        return probe_maker(self._context, spec, self._reactor, addresses)

    def _begin(self, key: str, spec: DatabaseSpec, known: Known) -> None:
        """Watch a cluster of which some is known already."""
        context = self._context
        seeds = _seeds(spec)
        sites = PoolSites(key, self._pools, known.writer)
        self._specs[key], self._sites[key] = spec, sites
        databases = context.configuration.databases
        self._pools.families.claim(spec, known.nodes or seeds, databases)
        before = replace(known.knowledge, nodes=known.nodes)
        machine = Machine(seeds, before, limits=self._limits())
        monitor = Monitor(
            key=key,
            query=spec.topology_query or "",
            port=spec.port,
            machine=machine,
            client_heard_at=sites.heard_at,
            make_probe=self._probe_maker(spec),
            clock=context.clock,
            log=context.log,
            names=self._names,
        )
        cluster = Cluster(
            key=key,
            machine=machine,
            monitor=monitor,
            sites=sites,
            clock=context.clock,
            log=context.log,
            record=self._record,
        )
        cluster.events.extend(known.events)
        self.by_key[key] = cluster
        for pool in self._pools:
            if pool.site is None:
                self.adopt(pool)
        cluster.start(self._reactor)
        if spec.user is not None:
            # It opens a server as soon as it is known where.
            self._pools.pool(spec, spec.user)

    def _drop(self, key: str) -> None:
        self.by_key.pop(key).stop()
        self._pools.families.forget(key)
        del self._specs[key], self._sites[key]
        for pool in self._pools.of_database(key):
            if pool.site is not None:
                pool.site.close()
                pool.site = None
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
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._context.log.error(f"switchover_record: {error}")
