"""Every SHOW by its name.

Names, order and types of the columns are those of PgBouncer 1.25.2, because
monitoring tools read them by name, by place and by type.
"""

from __future__ import annotations

from typing import Any, Final

from pgswitch.admin.show import (
    databases,
    memory,
    pools,
    rules,
    service,
    sockets,
    stats,
    topology,
)
from pgswitch.admin.view import ServiceView, Show

SHOWS: Final[dict[str, Show[Any]]] = {
    "active_sockets": sockets.ACTIVE_SOCKETS,
    "clients": sockets.CLIENTS,
    "config": service.CONFIG,
    "databases": databases.DATABASES,
    "dns_hosts": service.DNS_HOSTS,
    "dns_zones": service.DNS_ZONES,
    "errors": stats.ERRORS,
    "fds": sockets.FDS,
    "handover": sockets.HANDOVER,
    "lists": service.LISTS,
    "mem": memory.MEM,
    "peer_pools": pools.PEER_POOLS,
    "peers": pools.PEERS,
    "pools": pools.POOLS,
    "rules": rules.RULES,
    "servers": sockets.SERVERS,
    "sockets": sockets.SOCKETS,
    "state": service.STATE,
    "stats": stats.STATS,
    "stats_averages": stats.STATS_AVERAGES,
    "stats_percentiles": stats.STATS_PERCENTILES,
    "stats_totals": stats.STATS_TOTALS,
    "switchovers": topology.SWITCHOVERS,
    "topology": topology.TOPOLOGY,
    "totals": stats.TOTALS,
    "users": databases.USERS,
    "version": service.VERSION,
}


def find(name: str) -> Show[Any] | None:
    """Return what SHOW ``name`` shows, None if it is unknown; case does not matter."""
    key = name.lower()
    return service.SESSION_SHOWS.get(key) or SHOWS.get(key)


def named_rows(name: str, view: ServiceView) -> list[Any]:
    """Return all rows of a SHOW at once, with the columns as attributes."""
    return SHOWS[name].named_rows(view)
