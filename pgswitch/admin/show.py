"""SHOW: one table of names, with the columns of each and what fills its rows.

Names, order and types of the columns are those of PgBouncer 1.25.2, because
monitoring tools read them by name, by place and by type.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin import columns
from pgswitch.admin.rows import Cell, Column, int4, int8, numeric, result_set, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import (
        RouteSnapshot,
        SocketSnapshot,
        StatsSnapshot,
    )

    Rows = Iterable[Sequence[Cell]]

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

MICROSECONDS: Final = 1_000_000


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


# ------------------------------------------------------------------------- sockets


def _clients(view: View) -> Rows:
    return [_socket(one, one.state) for one in view.clients()]


def _servers(view: View) -> Rows:
    return [_socket(one, one.state) for one in view.servers()]


def _sockets(view: View) -> Rows:
    return [_buffered(one) for one in view.sockets()]


def _active_sockets(view: View) -> Rows:
    """Return the rows of the sockets that hold bytes, received or to be sent."""
    sockets = view.sockets()
    return [_buffered(s) for s in sockets if s.recv_pos or s.pkt_avail or s.send_avail]


def _buffered(one: SocketSnapshot) -> tuple[Cell, ...]:
    """Return a row of SHOW SOCKETS; its send_remain is 0 in the reference too."""
    prefix = "cl_" if one.kind == "C" else "sv_"
    return (
        *_socket(one, one.socket_state or prefix + one.state),
        one.recv_pos,
        one.pkt_pos,
        one.pkt_remain,
        one.send_pos,
        0,
        one.pkt_avail,
        one.send_avail,
    )


def _socket(one: SocketSnapshot, state: str) -> tuple[Cell, ...]:
    """Return the columns that clients, servers and sockets share."""
    return (
        one.kind,
        "(nouser)" if one.user is None else one.user,
        "(nodb)" if one.database is None else one.database,
        one.replication,
        state,
        one.addr,
        one.port,
        one.local_addr,
        one.local_port,
        local_time(one.connect_time),
        local_time(one.request_time),
        *divmod(one.wait_us, MICROSECONDS),
        one.close_needed,
        hex(one.ptr),
        hex(one.link) if one.link else "",
        one.remote_pid,
        one.tls or None,
        one.application_name or None,
        one.prepared_statements,
        one.id,
    )


def local_time(moment: float) -> str:
    """Return seconds since the epoch as local date, time and zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment))


# ---------------------------------------------------- pools, databases, users, peers


def _pools(view: View) -> Rows:
    return [
        (
            one.database,
            one.user,
            one.cl_active,
            one.cl_waiting,
            one.cl_active_cancel_req,
            one.cl_waiting_cancel_req,
            one.sv_active,
            one.sv_active_cancel,
            one.sv_being_canceled,
            one.sv_idle,
            one.sv_used,
            one.sv_tested,
            one.sv_login,
            *divmod(one.maxwait_us, MICROSECONDS),
            str(one.pool_mode),
            one.load_balance_hosts,
        )
        for one in sorted(view.pools(), key=lambda pool: (pool.database, pool.user))
    ]


def _databases(view: View) -> Rows:
    return [
        (
            one.name,
            one.host,
            one.port,
            one.database,
            one.force_user,
            one.pool_size,
            one.min_pool_size,
            one.reserve_pool_size,
            one.server_lifetime,
            None if one.pool_mode is None else str(one.pool_mode),
            one.load_balance_hosts,
            one.max_connections,
            one.current_connections,
            one.max_client_connections,
            one.current_client_connections,
            one.paused,
            one.disabled,
        )
        for one in view.databases()
    ]


def _users(view: View) -> Rows:
    return [
        (
            one.name,
            _aligned(one.pool_size),
            _aligned(one.reserve_pool_size),
            None if one.pool_mode is None else str(one.pool_mode),
            one.max_user_connections,
            one.current_connections,
            one.max_user_client_connections,
            one.current_client_connections,
        )
        for one in view.users()
    ]


def _aligned(size: int | None) -> str | None:
    """Return a size as the text that the reference makes of it: nine wide."""
    return None if size is None else f"{size:9}"


def _peers(view: View) -> Rows:
    return [(one.peer_id, one.host, one.port, one.pool_size) for one in view.peers()]


def _peer_pools(view: View) -> Rows:
    return [
        (
            one.peer_id,
            one.cl_active_cancel_req,
            one.cl_waiting_cancel_req,
            one.sv_active_cancel,
            one.sv_login,
        )
        for one in view.peers()
        if one.has_pool
    ]


# ---------------------------------------------------------------------- statistics


def _stats(view: View) -> Rows:
    report = view.stats()
    return [
        (name, *totals.values(), *report.averages[name].values())
        for name, totals in sorted(report.totals.items())
    ]


def _stats_totals(view: View) -> Rows:
    return _by_database(view.stats().totals)


def _stats_averages(view: View) -> Rows:
    return _by_database(view.stats().averages)


def _by_database(counters: dict[str, StatsSnapshot]) -> Rows:
    return [(name, *values.values()) for name, values in sorted(counters.items())]


def _totals(view: View) -> Rows:
    report = view.stats()
    return [
        (f"{prefix}_{name}", value)
        for prefix, counters in (
            ("total", report.total),
            ("avg", report.total_averages),
        )
        for name, value in zip(TOTALS_NAMES, counters.values(), strict=True)
    ]


TOTALS_NAMES: Final = (
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
    "client_login_count",
)
"""The counters under the names that SHOW TOTALS gives them."""

# -------------------------------------------------------------------- all the rest


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


def _dns_zones(_: View) -> Rows:
    """Return no row: zones are only known to a resolver that polls serial numbers."""
    return ()


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
    "active_sockets": Show((*columns.SOCKET, *columns.BUFFERS), _active_sockets),
    "clients": Show(columns.SOCKET, _clients),
    "config": Show(text("key", "value", "default", "changeable"), _config),
    "databases": Show(columns.DATABASE, _databases),
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
    "peer_pools": Show(columns.PEER_POOL, _peer_pools),
    "peers": Show(columns.PEER, _peers),
    "pools": Show(columns.POOL, _pools),
    "rules": Show(columns.RULE, _rules),
    "servers": Show(columns.SOCKET, _servers),
    "sockets": Show((*columns.SOCKET, *columns.BUFFERS), _sockets),
    "state": Show(text("key", "value"), _state),
    "stats": Show(columns.STATS, _stats),
    "stats_averages": Show(columns.STATS_AVERAGES, _stats_averages),
    "stats_totals": Show(columns.STATS_TOTALS, _stats_totals),
    "totals": Show((*text("name"), *numeric("value")), _totals),
    "users": Show(columns.USER, _users),
    "version": Show(text("version"), _version),
}
