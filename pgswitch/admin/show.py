"""SHOW: one table of names, with the columns of each and what fills its rows.

Names, order and types of the columns are those of PgBouncer 1.25.2, because
monitoring tools read them by name, by place and by type.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin import columns, show_pools, show_sockets, show_stats
from pgswitch.admin.rows import (
    NOT_SHOWN,
    Cell,
    Column,
    Rows,
    exact_time,
    int4,
    int8,
    local_time,
    lsn_text,
    numeric,
    text,
    unseen,
)
from pgswitch.types import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import NodeSnapshot, RouteSnapshot

REFERENCE_VERSION: Final = "1.25.2"
"""The PgBouncer release whose console this one is like, as tools read it."""

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
    needs_admin: bool = False
    needs_owner: bool = False
    """Shown only to the process's own user, on the unix socket: it holds secrets."""
    attaches: bool = False
    """Each row begins with a descriptor that goes along to whom it may go."""


def find(name: str) -> Show | None:
    """Return what SHOW ``name`` shows, None if there is no such; any case will do."""
    key = name.lower()
    if key in SESSION_VALUES:
        return Show(text(key), lambda _: [(SESSION_VALUES[key],)])
    return SHOWS.get(key)


def explanation(query: str = "", user: str = "", database: str = "") -> Show:
    """Return what EXPLAIN ROUTE shows of a query."""
    return Show(
        columns.ROUTE,
        lambda view: [_route(view.route(query, user, database))],
        needs_admin=True,
    )


def _route(one: RouteSnapshot) -> tuple[Cell, ...]:
    return (
        *(one.query, one.database, one.role, one.node, one.why),
        one.microseconds,
    )


def _state(view: View) -> Rows:
    state = view.state()
    words = {
        "active": not (state.paused or state.suspended),
        "paused": state.paused,
        "suspended": state.suspended,
    }
    return [(name, "yes" if is_so else "no") for name, is_so in words.items()]


def _lists(view: View) -> Rows:
    found = yield from unseen(view.gather_lists())
    yield from asdict(found).items()


def _memory(view: View) -> Rows:
    for one in view.each_memory():
        if one is None:
            yield NOT_SHOWN
        else:
            total = one.size * (one.used + one.free)
            yield (one.name, one.size, one.used, one.free, total)


def _dns_hosts(view: View) -> Rows:
    return [
        (one.hostname, one.ttl, ",".join(str(Address(addr, 0)) for addr in one.addrs))
        for one in view.dns_hosts()
    ]


def _dns_zones(view: View) -> Rows:
    return [(one.zonename, one.serial, one.count) for one in view.dns_zones()]


def _topology(view: View) -> Rows:
    return (NOT_SHOWN if one is None else _node(one) for one in view.each_node())


def _node(one: NodeSnapshot) -> tuple[Cell, ...]:
    return (
        *(one.database, one.node, one.host, one.port, one.role, one.state),
        *(one.timeline, lsn_text(one.lsn), one.lag_bytes, one.probe_age_ms),
        *(one.probe_us, one.servers, one.why),
    )


def _switchovers(view: View) -> Rows:
    return [
        (
            *(one.database, one.cause, one.old_writer, one.new_writer, one.timeline),
            *(exact_time(one.suspected), exact_time(one.confirmed)),
            *(exact_time(one.found), exact_time(one.served)),
            *(one.held, one.retried, one.lost, one.errors, one.longest_wait_ms),
        )
        for one in view.switchovers()
    ]


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
            one.moves,
            one.rewrites,
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
    "errors": Show(columns.FAILURE, show_stats.errors),
    "fds": Show(
        columns.DESCRIPTOR, show_sockets.descriptors, needs_admin=True, attaches=True
    ),
    "handover": Show(
        columns.HANDOVER, show_sockets.handover, needs_owner=True, attaches=True
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
    "stats_percentiles": Show(columns.STATS_PERCENTILES, show_stats.percentiles),
    "stats_totals": Show(columns.STATS_TOTALS, show_stats.stats_totals),
    "switchovers": Show(columns.SWITCHOVER, _switchovers),
    "topology": Show(columns.NODE, _topology),
    "totals": Show((*text("name"), *numeric("value")), show_stats.totals),
    "users": Show(columns.USER, show_pools.users),
    "version": Show(text("version"), _version),
}
