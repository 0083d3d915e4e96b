"""SHOW: one table of names, with the columns of each and what fills its rows.

Names, order and types of the columns are those of PgBouncer 1.25.2, because
monitoring tools read them by name, by place and by type.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin import columns, show_pools, show_sockets, show_stats
from pgswitch.admin.rows import (
    Column,
    Rows,
    int4,
    int8,
    local_time,
    numeric,
    result_set,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import RouteSnapshot

REFERENCE_VERSION: Final = "1.25.2"
"""The PgBouncer release whose console this one is like, as tools read it."""

USAGE: Final = """
	SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
	SHOW PEERS|PEER_POOLS
	SHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
	SHOW DNS_HOSTS|DNS_ZONES
	SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
	SET key = arg
	RELOAD
	PAUSE [<db>]
	RESUME [<db>]
	DISABLE <db>
	ENABLE <db>
	RECONNECT [<db>]
	KILL [<db>]
	KILL_CLIENT <client_id>
	SUSPEND
	SHUTDOWN
	SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
	WAIT_CLOSE [<db>]"""
"""The DETAIL of SHOW HELP, letter by letter as the reference sends it."""

SESSION_VALUES: Final = {
    "client_encoding": "UTF-8",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "datestyle": "ISO",
    "timezone": "GMT",
}
"""What drivers ask of every server: shown as fixed, and SET of them ignored."""


class Show(NamedTuple):
    """Columns of a result, and the function that makes its rows from a View."""

    columns: tuple[Column, ...]
    rows: Callable[[View], Rows]


def show(name: str, view: View) -> bytes | None:
    """Return RowDescription and DataRows of SHOW ``name``, None if there is no such.

    ``name`` may be written in any case.
    """
    key = name.lower()
    if key in SESSION_VALUES:
        return result_set(text(key), [(SESSION_VALUES[key],)])
    if key not in SHOWS:
        return None
    wanted = SHOWS[key]
    return result_set(wanted.columns, wanted.rows(view))


def explained(route: RouteSnapshot) -> bytes:
    """Return RowDescription and DataRow of EXPLAIN ROUTE."""
    row = (
        *(route.query, route.database, route.role, route.node, route.why),
        route.microseconds,
    )
    return result_set(columns.ROUTE, [row])


def _state(view: View) -> Rows:
    state = view.state()
    words = {
        "active": not (state.paused or state.suspended),
        "paused": state.paused,
        "suspended": state.suspended,
    }
    return [(name, "yes" if is_so else "no") for name, is_so in words.items()]


def _lists(view: View) -> Rows:
    return list(asdict(view.lists()).items())


def _memory(view: View) -> Rows:
    return [
        (one.name, one.size, one.used, one.free, one.size * (one.used + one.free))
        for one in view.memory()
    ]


def _dns_hosts(view: View) -> Rows:
    return [(one.hostname, one.ttl, ",".join(one.addrs)) for one in view.dns_hosts()]


def _dns_zones(view: View) -> Rows:
    return [(one.zonename, one.serial, one.count) for one in view.dns_zones()]


def _version(_: View) -> Rows:
    return [(f"PgBouncer {REFERENCE_VERSION}",)]


def _rules(view: View) -> Rows:
    return [
        (
            one.rule,
            one.database,
            one.file,
            local_time(one.written_at),
            one.digest,
            one.calls,
            one.kept,
            one.effects,
            one.errors,
            one.refused,
            one.unknown,
            one.p50_us,
            one.p99_us,
            one.max_us,
            one.last_error or None,
        )
        for one in view.rules()
    ]


def _config(view: View) -> Rows:
    return view.config_rows()


# ----------------------------------------------------------------------- the table

SHOWS: Final[dict[str, Show]] = {
    "active_sockets": Show(
        (*columns.SOCKET, *columns.BUFFERS), show_sockets.active_sockets
    ),
    "clients": Show(columns.SOCKET, show_sockets.clients),
    "config": Show(text("key", "value", "default", "changeable"), _config),
    "databases": Show(columns.DATABASE, show_pools.databases),
    "dns_hosts": Show(
        (*text("hostname"), *int8("ttl"), *text("addrs")),
        _dns_hosts,
    ),
    "dns_zones": Show(
        (*text("zonename"), *int8("serial"), *int4("count")),
        _dns_zones,
    ),
    "lists": Show((*text("list"), *int4("items")), _lists),
    "mem": Show((*text("name"), *int4("size", "used", "free", "memtotal")), _memory),
    "peer_pools": Show(columns.PEER_POOL, show_pools.peer_pools),
    "peers": Show(columns.PEER, show_pools.peers),
    "pools": Show(columns.POOL, show_pools.pools),
    "rules": Show(columns.RULE, _rules),
    "servers": Show(columns.SOCKET, show_sockets.servers),
    "sockets": Show((*columns.SOCKET, *columns.BUFFERS), show_sockets.sockets),
    "state": Show(text("key", "value"), _state),
    "stats": Show(columns.STATS, show_stats.stats),
    "stats_averages": Show(columns.STATS_AVERAGES, show_stats.stats_averages),
    "stats_totals": Show(columns.STATS_TOTALS, show_stats.stats_totals),
    "totals": Show((*text("name"), *numeric("value")), show_stats.totals),
    "users": Show(columns.USER, show_pools.users),
    "version": Show(text("version"), _version),
}
