"""What the console sees of the running service; reads everything, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import StateSnapshot
from pgswitch.config.show import config_rows
from pgswitch.handover.giving import Estate
from pgswitch.views.memory import MemoryView
from pgswitch.views.names import NamesView
from pgswitch.views.pools import PoolView
from pgswitch.views.rules import RulesView
from pgswitch.views.sockets import SocketView
from pgswitch.views.statistics import StatisticsView
from pgswitch.views.topology import TopologyView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.auth.credentials import Credentials
    from pgswitch.auth.reception import FrontDesk
    from pgswitch.auth.store import AuthStore
    from pgswitch.names.resolver import Names
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.cancelling import CancelKeys
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools
    from pgswitch.rules.desk import RulesDesk
    from pgswitch.topology.clusters import Clusters


class ServiceView:
    """The View of admin/interfaces.py, put together from the parts in views/."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        desk: FrontDesk,
        store: AuthStore,
        keys: CancelKeys,
        *,
        rules: RulesDesk,
        names: Names,
        listeners: Listeners,
        credentials: Credentials,
        clusters: Clusters,
    ) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._desk = desk
        sockets = SocketView(context, pools, desk, listeners)
        self.clients = sockets.clients
        self.servers = sockets.servers
        self.sockets = sockets.sockets
        self.each_client = sockets.each_client
        self.each_server = sockets.each_server
        self.each_socket = sockets.each_socket
        subjects = PoolView(context, pools, desk, store, keys, names=names)
        self.statistics = StatisticsView(context, pools)
        self.estate = Estate(
            context,
            pools,
            desk,
            credentials,
            clusters=clusters,
            sockets=sockets,
            statistics=self.statistics,
        )
        self.handover = self.estate.rows
        self.each_descriptor = self.estate.each_descriptor
        self.pools, self.each_pool = subjects.pools, subjects.each_pool
        self.databases = subjects.databases
        self.each_database = subjects.each_database
        self.users, self.each_user = subjects.users, subjects.each_user
        self.peers = subjects.peers
        self.lists, self.gather_lists = subjects.lists, subjects.gather_lists
        counted = self.statistics
        self.stats, self.gather_stats = counted.stats, counted.gather_stats
        self.percentiles = counted.percentiles
        self.each_percentiles = counted.each_percentiles
        self.errors, self.each_error = counted.errors, counted.each_error
        resolved = NamesView(names)
        self.dns_hosts = resolved.dns_hosts
        self.dns_zones = resolved.dns_zones
        watched = TopologyView(context, pools, clusters)
        self.topology, self.each_node = watched.topology, watched.each_node
        self.switchovers = watched.switchovers
        alive = MemoryView(context, pools, desk, store)
        self.memory, self.each_memory = alive.memory, alive.each_memory
        judged = RulesView(pools, rules)
        self.rules = judged.rules
        self.route = judged.route

    def state(self) -> StateSnapshot:
        """Return whether the service is paused or shutting down."""
        return StateSnapshot(
            paused=self._context.paused,
            suspended=self._context.suspended,
            shutting_down=self._desk.shutting_down,
        )

    def config_rows(self) -> Sequence[tuple[str, str | None, str | None, str]]:
        """Return name, value, default and whether it can be changed."""
        return config_rows(self._context.configuration.settings)
