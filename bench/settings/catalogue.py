"""The values of settings that are tried, and what each of them may cost.

Every setting stands in one of two tables: ``VALUES`` or ``LEFT_OUT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

KINDS = (
    "simple",
    "extended",
    "prepared",
    "connect",
    "tpcb",
    "copy-in",
    "copy-out",
    "result",
    "backup",
)
"""Kinds of work; the last is replication, with the commands of pg_basebackup."""

MIN_PER_STANDBY, MOST = "-2147483648", "2147483647"
LEAST_TIME, LONGEST_TIME = "0", "1e12"
"""What config/units.py accepts."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "application_name_add_host": (MIN_PER_STANDBY, "1", MOST),
    "client_idle_timeout": ("1", LONGEST_TIME),
    "client_login_timeout": (LEAST_TIME, "1", LONGEST_TIME),
    "client_tls_protocols": ("tlsv1.2", "tlsv1.3"),
    "client_tls_sslmode": ("disable",),
    "default_pool_size": (MIN_PER_STANDBY, "0", "1", MOST),
    "disable_pqexec": ("1",),
    "idle_transaction_timeout": ("1", LONGEST_TIME),
    "listen_backlog": (MIN_PER_STANDBY, "0", "1", MOST),
    "log_connections": ("0",),
    "log_disconnections": ("0",),
    "log_format": ("json",),
    "log_pooler_errors": ("0",),
    "log_stats": ("0",),
    "login_notify_message": ("x" * 4000,),
    "max_client_conn": ("16", MOST),
    "max_db_client_connections": (MIN_PER_STANDBY, "16", MOST),
    "max_db_connections": (MIN_PER_STANDBY, "1", MOST),
    "max_packet_size": ("131072", "4294967295"),
    "max_prepared_statements": (MIN_PER_STANDBY, "0", "1", MOST),
    "max_user_client_connections": (MIN_PER_STANDBY, "16", MOST),
    "max_user_connections": (MIN_PER_STANDBY, "1", MOST),
    "min_pool_size": (MIN_PER_STANDBY, "20", MOST),
    "peer_id": ("1", "16383"),
    "pkt_buf": (MIN_PER_STANDBY, "0", "1", "512", MOST),
    "pool_idle_timeout": ("1", LONGEST_TIME),
    "pool_mode": ("session", "statement"),
    "query_timeout": ("60", LONGEST_TIME),
    "query_wait_notify": (MIN_PER_STANDBY, "0", "1", MOST),
    "query_wait_timeout": (LEAST_TIME, "60", LONGEST_TIME),
    "reserve_pool_size": (MIN_PER_STANDBY, "1", MOST),
    "reserve_pool_timeout": (LEAST_TIME, "0.001", LONGEST_TIME),
    "sbuf_loopcnt": (MIN_PER_STANDBY, "0", "1", MOST),
    "server_check_delay": (LEAST_TIME, LONGEST_TIME),
    "server_check_query": ("", "SELECT 1"),
    "server_connect_timeout": (LEAST_TIME, "1", LONGEST_TIME),
    "server_idle_timeout": (LEAST_TIME, "1", LONGEST_TIME),
    "server_lifetime": (LEAST_TIME, "1", LONGEST_TIME),
    "server_login_retry": (LEAST_TIME, LONGEST_TIME),
    "server_reset_query": ("", "SELECT 1"),
    "server_reset_query_always": ("1",),
    "server_round_robin": ("1",),
    "server_tls_protocols": ("tlsv1.2", "tlsv1.3"),
    "server_tls_sslmode": ("allow", "prefer", "require"),
    "so_reuseport": ("1",),
    "stats_period": (MIN_PER_STANDBY, "0", "1", MOST),
    "syslog": ("1",),
    "tcp_defer_accept": (MIN_PER_STANDBY, "0", MOST),
    "tcp_keepalive": ("0", MOST),
    "tcp_keepcnt": (MIN_PER_STANDBY, "1", "127"),
    "tcp_keepidle": (MIN_PER_STANDBY, "1", "32767"),
    "tcp_keepintvl": (MIN_PER_STANDBY, "1", "32767"),
    "tcp_socket_buffer": (MIN_PER_STANDBY, "1", "2048", "16384", "4194304", MOST),
    "tcp_user_timeout": (MIN_PER_STANDBY, "1000", MOST),
    "track_extra_parameters": ("", "IntervalStyle, search_path, work_mem"),
    "transaction_timeout": ("60", LONGEST_TIME),
    "verbose": (MIN_PER_STANDBY, "1", "2", MOST),
}
"""By name, besides the default.

The smallest and the largest that are accepted; where such a value ends or refuses the
work by its meaning, the smallest that does not: a timeout of a second ends nothing
here. What Linux refuses (tcp(7): 127 probes, 32767 s) is above the largest.
"""

_PLACE = "names a file or a place of its own in each run"
_LOGIN = "of logins by other means than trust: tests/integration/test_secrets.py"
_CONSOLE = "of the console, which does no such work"
_NAMES = "of host names and addresses: tests/integration/test_names.py"
_CLUSTER = "of clusters: tests/integration/test_switchover.py"
_RULES = "of the users' functions: `make bench` has rows of them"
_TLS = "of the handshake alone: tests/integration/test_tls_trust.py"
_PROCESS = "of the process, not of its connections"

LEFT_OUT: Mapping[str, str] = {
    "admin_users": _CONSOLE,
    "stats_users": _CONSOLE,
    **dict.fromkeys(
        (
            "auth_dbname",
            "auth_file",
            "auth_hba_file",
            "auth_ident_file",
            "auth_ldap_options",
            "auth_query",
            "auth_query_cache_ttl",
            "auth_type",
            "auth_user",
            "scram_iterations",
            "scram_iterations_max",
        ),
        _LOGIN,
    ),
    "autodb_idle_timeout": "of databases made from *: no pool is idle long enough",
    "cancel_wait_timeout": "nobody cancels here: tests/integration/test_cancelling.py",
    **dict.fromkeys(
        (
            "client_tls13_ciphers",
            "client_tls_ca_file",
            "client_tls_cert_file",
            "client_tls_ciphers",
            "client_tls_dheparams",
            "client_tls_ecdhcurve",
            "client_tls_key_file",
            "server_tls13_ciphers",
            "server_tls_ca_file",
            "server_tls_cert_file",
            "server_tls_ciphers",
            "server_tls_ecdhcurve",
            "server_tls_key_file",
        ),
        _TLS,
    ),
    **dict.fromkeys(
        (
            "conffile",
            "logfile",
            "pidfile",
            "listen_addr",
            "listen_port",
            "unix_socket_dir",
            "unix_socket_group",
            "unix_socket_mode",
        ),
        _PLACE,
    ),
    **dict.fromkeys(
        (
            "dns_max_ttl",
            "dns_nxdomain_ttl",
            "dns_zone_check_period",
            "resolv_conf",
        ),
        _NAMES,
    ),
    "ignore_startup_parameters": "changes what may be asked, not how it is served",
    **dict.fromkeys(
        (
            "job_name",
            "manhole_authorized_keys",
            "manhole_host_key",
            "manhole_socket",
            "manhole_ssh",
            "suspend_timeout",
            "syslog_facility",
            "syslog_ident",
            "user",
        ),
        _PROCESS,
    ),
    **dict.fromkeys(
        (
            "polling_frequency",
            "reader_max_lag",
            "reader_max_lag_bytes",
            "recreate_disconnected_pools",
            "server_failed_delay",
            "standby_pool_size",
            "switchover_forget",
            "switchover_record",
            "switchover_retry",
            "switchover_silence",
            "switchover_start_timeout",
            "topology_refresh",
        ),
        _CLUSTER,
    ),
    **dict.fromkeys(
        (
            "rewrite_query_disconnect_on_failure",
            "rewrite_query_py_module_file",
            "rewrite_query_tag",
            "routing_rules_py_module_file",
            "rules_fast_patterns",
            "rules_reroute_in_transaction",
            "rules_slow_ms",
            "rules_timeout",
        ),
        _RULES,
    ),
    "server_fast_close": "of a reload: tests/integration/test_reload.py",
}
"""The settings that have no row, and why."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Kinds of work that a value refuses, as it is meant to."""

    setting: str
    values: tuple[str, ...]
    kinds: tuple[str, ...]
    reason: str


UNFIT = (
    Unfit(
        "disable_pqexec",
        ("1",),
        ("simple", "connect", "tpcb", "copy-in", "copy-out", "result", "backup"),
        "they are simple queries",
    ),
    Unfit(
        "pool_mode", ("statement",), ("tpcb",), "no transaction of several statements"
    ),
    Unfit(
        "listen_backlog",
        ("0",),
        ("connect",),
        "the kernel drops or resets who comes beside another",
    ),
    Unfit(
        "max_prepared_statements",
        (MIN_PER_STANDBY, "0"),
        ("prepared",),
        "in transaction mode, the next server knows no statement of the client",
    ),
)


UNFIT_PAIRS = (
    *(
        (("pool_mode", "session"), (limit, "1"))
        for limit in ("default_pool_size", "max_db_connections", "max_user_connections")
    ),
    *(
        (("pool_mode", "session"), ("server_reset_query", query))
        for query in VALUES["server_reset_query"]
    ),
    *(
        (("min_pool_size", MOST), ("default_pool_size", no_limit))
        for no_limit in (MIN_PER_STANDBY, "0", MOST)
    ),
)
"""Of settings that do not go together.

In session pooling the second of four clients would wait until the first has left, and
meet its prepared statements where no query resets the server. A pool that is to have
as many servers as there can be takes all that PostgreSQL has.
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much longer a value may make a kind of work, and why.

    ``kinds`` empty: all of them; ``cpu`` is the same for the pooler's own CPU.
    """

    setting: str
    values: tuple[str, ...]
    kinds: tuple[str, ...]
    time: float
    cpu: float
    reason: str


SMALL = ("simple", "extended", "prepared", "connect", "tpcb")
"""Work of small messages."""
TIME, CPU, BULK_CPU = 1.35, 1.5, 5.0
"""What any value may cost: what two equal poolers differ by on a busy machine.

The CPU of bulk data depends on how many of them come at a time, and a server that was
waited for in vain three times is not waited for again (relay/stream.py).
"""
PAIRS = 3.0
"""How often the largest allowance of its values a row with many of them may take."""
WAITS = 1.2
"""What waiting for much may cost."""

ALLOWANCES: tuple[Allowance, ...] = (
    Allowance(
        "application_name_add_host",
        (MIN_PER_STANDBY, "1", MOST),
        SMALL,
        3.0,
        4.0,
        "each client has a name of its own, so a server is told of it at each change",
    ),
    Allowance(
        "default_pool_size",
        ("1",),
        KINDS,
        5.0,
        3.0,
        "four clients take turns with one server",
    ),
    Allowance("max_db_connections", ("1",), KINDS, 5.0, 3.0, "as of default_pool_size"),
    Allowance(
        "max_user_connections", ("1",), KINDS, 5.0, 3.0, "as of default_pool_size"
    ),
    Allowance(
        "listen_backlog",
        ("1",),
        ("connect",),
        400.0,
        3.0,
        "the kernel lets the rest knock again after a second",
    ),
    Allowance(
        "max_prepared_statements",
        ("1",),
        ("prepared",),
        8.0,
        8.0,
        "three statements take turns, each is prepared again",
    ),
    Allowance(
        "server_check_delay",
        (LEAST_TIME,),
        SMALL,
        4.0,
        6.0,
        "a query more for each transaction",
    ),
    Allowance(
        "server_idle_timeout", (LEAST_TIME, "1"), SMALL, 4.0, 6.0, "logins to servers"
    ),
    Allowance(
        "server_lifetime",
        (LEAST_TIME,),
        KINDS,
        100.0,
        200.0,
        "a connection to a server for each transaction",
    ),
    Allowance(
        "server_lifetime", ("1",), SMALL, 4.0, 6.0, "logins to servers, each second"
    ),
    Allowance(
        "server_reset_query_always",
        ("1",),
        KINDS,
        8.0,
        10.0,
        "DISCARD ALL after each transaction, and what it has dropped is prepared again",
    ),
    Allowance(
        "pool_mode",
        ("session",),
        ("connect",),
        8.0,
        4.0,
        "DISCARD ALL after each client",
    ),
    Allowance(
        "login_notify_message",
        ("x" * 4000,),
        ("connect",),
        2.0,
        3.0,
        "4,000 bytes more for each login",
    ),
    Allowance(
        "verbose",
        ("2", MOST),
        KINDS,
        20.0,
        40.0,
        "a line of the log for each message",
    ),
    Allowance(
        "tcp_socket_buffer",
        ("1", "2048", "16384"),
        ("copy-in", "copy-out", "result", "backup"),
        60.0,
        60.0,
        "1 or 8 KiB at a time, and processes change places for each",
    ),
    Allowance(
        "track_extra_parameters",
        ("IntervalStyle, search_path, work_mem",),
        ("connect",),
        2.0,
        2.0,
        "PostgreSQL is asked for what it does not report",
    ),
)
"""Where there is nothing here, a value may cost no more than any other."""


SHOWN_CHARS = 20
"""Of a value."""


def named(name: str, *values: str) -> str:
    """Return a setting and values of it as tables have them: long ones shortened."""
    texts = [
        value if len(value) <= SHOWN_CHARS else f"{value[:8]}... ({len(value)})"
        for value in values
    ]
    return f"{name}={'|'.join(texts)}"


def kinds_for(changes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the kinds of work that these settings do not refuse."""
    refused = {
        kind
        for one in UNFIT
        if changes.get(one.setting) in one.values
        for kind in one.kinds
    }
    return tuple(kind for kind in KINDS if kind not in refused)


def allowed(changes: Mapping[str, str], kind: str) -> tuple[float, float]:
    """Return how much more time, and CPU, these settings may take for a kind of work.

    The largest that one of them may, three times that when there are several.
    """
    time, cpu = TIME, CPU if kind in SMALL else BULK_CPU
    for one in ALLOWANCES:
        if changes.get(one.setting) in one.values and kind in (one.kinds or KINDS):
            time, cpu = max(time, one.time), max(cpu, one.cpu)
    return (time, cpu) if len(changes) <= 1 else (PAIRS * time, inf)
