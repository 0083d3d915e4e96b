"""Columns of the SHOW results that have many: names, order and types.

They are those of PgBouncer 1.25.2, because monitoring tools read them by name, by
place and by type. Small results have theirs in the table of ``show``.
"""

from __future__ import annotations

from typing import Final

from pgswitch.admin.rows import bytea, int4, int8, numeric, text

SOCKET: Final = (
    *text("type", "user", "database", "replication", "state"),
    *(*text("addr"), *int4("port"), *text("local_addr"), *int4("local_port")),
    *text("connect_time", "request_time"),
    *int4("wait", "wait_us", "close_needed"),
    *(*text("ptr", "link"), *int4("remote_pid"), *text("tls", "application_name")),
    *int4("prepared_statements", "id"),
)
BUFFERS: Final = int4(
    *("recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain"),
    *("pkt_avail", "send_avail"),
)
DESCRIPTOR: Final = (
    *(*int4("fd"), *text("task", "user", "database", "addr"), *int4("port")),
    *(*int8("cancel"), *int4("link")),
    *text("client_encoding", "std_strings", "datestyle", "timezone", "password"),
    *bytea("scram_client_key", "scram_server_key"),
)
HANDOVER: Final = (*DESCRIPTOR, *text("state"))
"""Ours."""
POOL: Final = (
    *text("database", "user"),
    *int4("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req"),
    *int4("sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used"),
    *int4("sv_tested", "sv_login", "maxwait", "maxwait_us"),
    *text("pool_mode", "load_balance_hosts"),
)
DATABASE: Final = (
    *(*text("name", "host"), *int4("port"), *text("database", "force_user")),
    *int4("pool_size", "min_pool_size", "reserve_pool_size", "server_lifetime"),
    *text("pool_mode", "load_balance_hosts"),
    *int4("max_connections", "current_connections"),
    *int4("max_client_connections", "current_client_connections"),
    *int4("paused", "disabled"),
)
USER: Final = (
    *text("name", "pool_size", "reserve_pool_size", "pool_mode"),
    *int4("max_user_connections", "current_connections"),
    *int4("max_user_client_connections", "current_client_connections"),
)
RULE: Final = (
    *text("rule", "database", "file", "written", "digest"),
    *int8("calls", "kept", "moves", "rewrites", "errors", "refused", "unknown"),
    *(*int8("p50_us", "p99_us", "max_us"), *text("last_error")),
)
"""Ours; the reference has no such thing."""
NODE: Final = (
    *text("database", "node", "host"),
    *(*int4("port"), *text("role", "state")),
    *int8("timeline"),
    *text("lsn"),
    *int8("lag_bytes", "probe_age_ms", "probe_us", "servers"),
    *text("why"),
)
SWITCHOVER: Final = (
    *text("database", "cause", "old_writer", "new_writer"),
    *int8("timeline"),
    *text("suspected", "confirmed", "found", "first_served"),
    *int8("held", "retried", "lost"),
    *text("errors"),
    *int8("longest_wait_ms"),
)
ROUTE: Final = (
    *text("query", "database", "role", "node", "why"),
    *int8("microseconds"),
)
PEER: Final = (*int4("peer_id"), *text("host"), *int4("port", "pool_size"))
PEER_POOL: Final = int4(
    *("peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req"),
    *("sv_active_cancel", "sv_login"),
)
STATS: Final = (
    *text("database"),
    *numeric("total_server_assignment_count", "total_xact_count", "total_query_count"),
    *numeric("total_received", "total_sent"),
    *numeric("total_xact_time", "total_query_time", "total_wait_time"),
    *numeric("total_client_parse_count", "total_server_parse_count"),
    *numeric("total_bind_count", "total_client_login_count"),
    *numeric("avg_server_assignment_count", "avg_xact_count", "avg_query_count"),
    *numeric("avg_recv", "avg_sent"),
    *numeric("avg_xact_time", "avg_query_time", "avg_wait_time"),
    *numeric("avg_client_parse_count", "avg_server_parse_count"),
    *numeric("avg_bind_count", "avg_client_login_count"),
)
STATS_PERCENTILES: Final = (
    *text("database"),
    *numeric("query_p50", "query_p95", "query_p99"),
    *numeric("xact_p50", "xact_p95", "xact_p99"),
    *numeric("wait_p50", "wait_p95", "wait_p99"),
)
"""Ours, in microseconds."""
FAILURE: Final = (
    *(*text("database", "sqlstate", "cause"), *int8("count"), *text("last")),
)
"""Ours."""
_STATS_COMMON: Final = (
    *text("database"),
    *numeric("server_assignment_count", "xact_count", "query_count"),
    *numeric("bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time"),
)
STATS_TOTALS: Final = (
    *_STATS_COMMON,
    *numeric("client_parse_count", "server_parse_count"),
    *numeric("bind_count", "client_login_count"),
)
STATS_AVERAGES: Final = (
    *_STATS_COMMON,
    *numeric("avg_client_parse_count", "avg_server_parse_count"),
    *numeric("avg_bind_count", "avg_client_login_count"),
)
