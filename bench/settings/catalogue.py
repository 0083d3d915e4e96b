"""The values of settings to try, and what each of them may cost.

Every setting is in one of two tables: ``VALUES`` or ``LEFT_OUT``.
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
"""Kinds of work; the last is a replication connection as of pg_basebackup."""

MIN, MAX = "-2147483648", "2147483647"
MIN_TIME, MAX_TIME = "0", "1e12"
"""The range that config/units.py accepts."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "application_name_add_host": (MIN, "1", MAX),
    "client_idle_timeout": ("1", MAX_TIME),
    "client_login_timeout": (MIN_TIME, "1", MAX_TIME),
    "client_tls_protocols": ("tlsv1.2", "tlsv1.3"),
    "client_tls_sslmode": ("disable",),
    "default_pool_size": (MIN, "0", "1", MAX),
    "disable_pqexec": ("1",),
    "idle_transaction_timeout": ("1", MAX_TIME),
    "listen_backlog": (MIN, "0", "1", MAX),
    "log_connections": ("0",),
    "log_disconnections": ("0",),
    "log_format": ("json",),
    "log_pooler_errors": ("0",),
    "log_stats": ("0",),
    "login_notify_message": ("x" * 4000,),
    "max_client_conn": ("16", MAX),
    "max_db_client_connections": (MIN, "16", MAX),
    "max_db_connections": (MIN, "1", MAX),
    "max_packet_size": ("131072", "4294967295"),
    "max_prepared_statements": (MIN, "0", "1", MAX),
    "max_user_client_connections": (MIN, "16", MAX),
    "max_user_connections": (MIN, "1", MAX),
    "min_pool_size": (MIN, "20", MAX),
    "peer_id": ("1", "16383"),
    "pkt_buf": (MIN, "0", "1", "512", MAX),
    "pool_idle_timeout": ("1", MAX_TIME),
    "pool_mode": ("session", "statement"),
    "query_timeout": ("60", MAX_TIME),
    "query_wait_notify": (MIN, "0", "1", MAX),
    "query_wait_timeout": (MIN_TIME, "60", MAX_TIME),
    "reserve_pool_size": (MIN, "1", MAX),
    "reserve_pool_timeout": (MIN_TIME, "0.001", MAX_TIME),
    "sbuf_loopcnt": (MIN, "0", "1", MAX),
    "server_check_delay": (MIN_TIME, MAX_TIME),
    "server_check_query": ("", "SELECT 1"),
    "server_connect_timeout": (MIN_TIME, "1", MAX_TIME),
    "server_idle_timeout": (MIN_TIME, "1", MAX_TIME),
    "server_lifetime": (MIN_TIME, "1", MAX_TIME),
    "server_login_retry": (MIN_TIME, MAX_TIME),
    "server_reset_query": ("", "SELECT 1"),
    "server_reset_query_always": ("1",),
    "server_round_robin": ("1",),
    "server_tls_protocols": ("tlsv1.2", "tlsv1.3"),
    "server_tls_sslmode": ("allow", "prefer", "require"),
    "so_reuseport": ("1",),
    "stats_period": (MIN, "0", "1", MAX),
    "syslog": ("1",),
    "tcp_defer_accept": (MIN, "0", MAX),
    "tcp_keepalive": ("0", MAX),
    "tcp_keepcnt": (MIN, "1", "127"),
    "tcp_keepidle": (MIN, "1", "32767"),
    "tcp_keepintvl": (MIN, "1", "32767"),
    "tcp_socket_buffer": (MIN, "1", "2048", "16384", "4194304", MAX),
    "tcp_user_timeout": (MIN, "1000", MAX),
    "track_extra_parameters": ("", "IntervalStyle, search_path, work_mem"),
    "transaction_timeout": ("60", MAX_TIME),
    "verbose": (MIN, "1", "2", MAX),
}
"""By name, without the default.

The smallest and the largest accepted values; where such a value ends or refuses the
work by design, the smallest that does not: no work here takes a second. The limits of
Linux (tcp(7): 127 probes, 32767 s) are the largest values of TCP settings.
"""

_PLACE = "a file or an address that differs in each run"
_LOGIN = "for logins other than trust: tests/integration/test_secrets.py"
_CONSOLE = "for the console, which does no such work"
_NAMES = "for host names and addresses: tests/integration/test_names.py"
_CLUSTER = "for clusters: tests/integration/test_switchover.py"
_RULES = "for the users' functions: `make bench` measures them"
_TLS = "for the handshake only: tests/integration/test_tls_trust.py"
_PROCESS = "for the process, not its connections"

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
    "autodb_idle_timeout": "for databases made from *: no pool is idle long enough",
    "cancel_wait_timeout": "no cancels here: tests/integration/test_cancelling.py",
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
    "ignore_startup_parameters": "changes what clients may ask for, not the answers",
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
    "server_fast_close": "for reloads: tests/integration/test_reload.py",
}
"""The settings without a row, and why."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Kinds of work that a value refuses by design."""

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
        "the kernel drops or resets simultaneous connections",
    ),
    Unfit(
        "max_prepared_statements",
        (MIN, "0"),
        ("prepared",),
        "in transaction mode, the next server lacks the client's statements",
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
        (("min_pool_size", MAX), ("default_pool_size", no_limit))
        for no_limit in (MIN, "0", MAX)
    ),
)
"""Pairs of values that do not go together.

In session pooling the second of four clients would wait until the first leaves, and
would find its prepared statements where no query resets the server. A pool whose
minimum is the largest possible takes all connections of PostgreSQL.
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many times as long a kind of work may take with a value, and why.

    ``kinds`` empty: all kinds; ``cpu`` is the same for the pooler's CPU time.
    """

    setting: str
    values: tuple[str, ...]
    kinds: tuple[str, ...]
    time: float
    cpu: float
    reason: str


SMALL = ("simple", "extended", "prepared", "connect", "tpcb")
"""Kinds of work with small messages."""
TIME, CPU, BULK_CPU = 1.35, 1.5, 5.0
"""What any value may cost: the difference of two equal poolers on a busy machine.

The CPU time of bulk data depends on how much arrives at a time, and a pooler that has
waited for more three times without success does not wait again (relay/stream.py).
"""
PAIRS = 3.0
"""A row with several values may take this many times their largest allowance."""
WAITS = 1.2
"""What waiting for more than a byte may cost."""

ALLOWANCES: tuple[Allowance, ...] = (
    Allowance(
        "application_name_add_host",
        (MIN, "1", MAX),
        SMALL,
        3.0,
        4.0,
        "each client has its own name, which is set on the server at each change",
    ),
    Allowance(
        "default_pool_size",
        ("1",),
        KINDS,
        5.0,
        3.0,
        "four clients take turns with one server",
    ),
    Allowance("max_db_connections", ("1",), KINDS, 5.0, 3.0, "as default_pool_size"),
    Allowance("max_user_connections", ("1",), KINDS, 5.0, 3.0, "as default_pool_size"),
    Allowance(
        "listen_backlog",
        ("1",),
        ("connect",),
        400.0,
        3.0,
        "the kernel makes the others retry after a second",
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
        (MIN_TIME,),
        SMALL,
        4.0,
        6.0,
        "one more query for each transaction",
    ),
    Allowance(
        "server_idle_timeout", (MIN_TIME, "1"), SMALL, 4.0, 6.0, "logins to servers"
    ),
    Allowance(
        "server_lifetime",
        (MIN_TIME,),
        KINDS,
        100.0,
        200.0,
        "a new server connection for each transaction",
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
        "DISCARD ALL after each transaction, and preparing again what it dropped",
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
        "4,000 more bytes for each login",
    ),
    Allowance(
        "verbose",
        ("2", MAX),
        KINDS,
        20.0,
        40.0,
        "a log line for each message",
    ),
    Allowance(
        "tcp_socket_buffer",
        ("1", "2048", "16384"),
        ("copy-in", "copy-out", "result", "backup"),
        60.0,
        60.0,
        "1 or 8 KiB at a time, with a context switch for each",
    ),
    Allowance(
        "track_extra_parameters",
        ("IntervalStyle, search_path, work_mem",),
        ("connect",),
        2.0,
        2.0,
        "PostgreSQL is queried for what it does not report",
    ),
)
"""Other values may cost no more than TIME and CPU say."""


SHOWN_CHARS = 20
"""Longer values are shortened in tables."""


def named(name: str, *values: str) -> str:
    """Return a setting and its values for a table; long values are shortened."""
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
    """Return the allowed ratios of time and CPU for a kind of work with these settings.

    The largest allowance among them; PAIRS times that if there are several.
    """
    time, cpu = TIME, CPU if kind in SMALL else BULK_CPU
    for one in ALLOWANCES:
        if changes.get(one.setting) in one.values and kind in (one.kinds or KINDS):
            time, cpu = max(time, one.time), max(cpu, one.cpu)
    return (time, cpu) if len(changes) <= 1 else (PAIRS * time, inf)
