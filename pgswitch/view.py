"""What the console sees of the running service; reads everything, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import StateSnapshot
from pgswitch.config.show import config_rows
from pgswitch.takeover.exporter import TakeoverExporter
from pgswitch.views.memory import MemoryView
from pgswitch.views.names import NamesView
from pgswitch.views.pools import PoolView
from pgswitch.views.rules import RulesView
from pgswitch.views.sockets import SocketView
from pgswitch.views.statistics import StatisticsView
from pgswitch.views.topology import TopologyView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.credentials import ServerCredentials
    from pgswitch.auth.login_service import LoginService
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.dns.resolver import Resolver
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.rules.engine import RulesEngine


class ServiceView:
    """The View of admin/interfaces.py, put together from the parts in views/."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        store: AuthFile,
        keys: CancelKeys,
        *,
        rules: RulesEngine,
        names: Resolver,
        listeners: Listeners,
        credentials: ServerCredentials,
        clusters: Clusters,
    ) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._login_service = login_service
        sockets = SocketView(context, pools, login_service, listeners)
        self.clients = sockets.clients
        self.servers = sockets.servers
        self.sockets = sockets.sockets
        self.each_client = sockets.each_client
        self.each_server = sockets.each_server
        self.each_socket = sockets.each_socket
        subjects = PoolView(context, pools, login_service, store, keys, names=names)
        self.statistics = StatisticsView(context, pools)
        self.exporter = TakeoverExporter(
            context,
            pools,
            login_service,
            credentials,
            clusters=clusters,
            sockets=sockets,
            statistics=self.statistics,
        )
        self.handover = self.exporter.rows
        self.each_descriptor = self.exporter.each_descriptor
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
        alive = MemoryView(context, pools, login_service, store)
        self.memory, self.each_memory = alive.memory, alive.each_memory
        judged = RulesView(pools, rules)
        self.rules = judged.rules
        self.route = judged.route

    def state(self) -> StateSnapshot:
        """Return whether the service is paused or shutting down."""
        return StateSnapshot(
            paused=self._context.paused,
            suspended=self._context.suspended,
            shutting_down=self._login_service.shutting_down,
        )

    def config_rows(self) -> Sequence[tuple[str, str | None, str | None, str]]:
        """Return name, value, default and whether it can be changed."""
        return config_rows(self._context.configuration.settings)
