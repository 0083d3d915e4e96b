"""The table of all ``[pgbouncer]`` settings, as one frozen dataclass.

Each field describes its setting completely: the type of its value, its default,
whether a RELOAD or SET changes it, and its meaning. The parser, ``SHOW CONFIG`` and
the reference page all use this table. Names, defaults and order are those of PgBouncer
1.25's ``SHOW CONFIG``; pgbouncer-fast-switchover's settings are sorted in by name.
"""

# ruff: noqa: RUF009  `setting` returns a dataclass field

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pgswitch.config import units
from pgswitch.config.units import Setting, setting, table_of
from pgswitch.types import AuthType, PoolMode

_OFF = "not_enabled"
"""Value of a ``..._py_module_file`` setting that means "none"."""

_AUTH_QUERY = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END"
    " FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of the ``[pgbouncer]`` section; times in seconds, None where unset."""

    admin_users: tuple[str, ...] = setting(
        units.NAMES, "", "console users with all rights"
    )
    application_name_add_host: int = setting(
        units.INTEGER,
        "0",
        "1: append the client's address to application_name at login",
    )
    auth_dbname: str | None = setting(
        units.TEXT, None, "[databases] entry that auth_query runs in"
    )
    auth_file: str | None = setting(units.PATH, None, "file of users and their secrets")
    auth_hba_file: str = setting(
        units.PATH, "", "file of host-based access rules, for auth_type=hba"
    )
    auth_ident_file: str | None = setting(
        units.PATH,
        None,
        "file that maps operating-system or certificate names to users",
    )
    auth_ldap_options: str | None = setting(
        units.LDAP_OPTIONS,
        None,
        "LDAP server and search, for auth_type=ldap",
        secret=True,
    )
    auth_query: str = setting(
        units.TEXT, _AUTH_QUERY, "query that returns the secret of user $1"
    )
    auth_query_cache_ttl: float = setting(
        units.SECONDS,
        "0",
        "how long to cache an answer of auth_query; a failed login drops it; 0:"
        " no cache",
    )
    auth_type: AuthType = setting(units.AUTH_TYPE, "md5", "how clients authenticate")
    auth_user: str | None = setting(
        units.TEXT, None, "user that runs auth_query for users not in auth_file"
    )
    autodb_idle_timeout: float = setting(
        units.SECONDS,
        "3600",
        "remove a database created from * after this much time without use; 0: never",
    )
    cancel_wait_timeout: float = setting(
        units.SECONDS, "10", "drop a cancel request that has waited this long; 0: never"
    )
    client_idle_timeout: float = setting(
        units.SECONDS,
        "0",
        "disconnect a client that has been idle this long, holding no server; 0: never",
    )
    client_login_timeout: float = setting(
        units.SECONDS, "60", "disconnect a client whose login takes this long; 0: never"
    )
    client_tls13_ciphers: str | None = setting(
        units.TEXT, None, "TLS 1.3 cipher suites offered to clients"
    )
    client_tls_ca_file: str = setting(
        units.PATH,
        "",
        "certificate authorities that client certificates are verified against",
    )
    client_tls_cert_file: str = setting(
        units.PATH, "", "certificate presented to clients"
    )
    client_tls_ciphers: str = setting(
        units.TEXT,
        "default",
        "OpenSSL cipher list for clients, up to TLS 1.2",
    )
    client_tls_dheparams: str = setting(
        units.DH_PARAMS, "auto", "Diffie-Hellman parameters for clients"
    )
    client_tls_ecdhcurve: str = setting(
        units.TEXT,
        "auto",
        "curves for clients: none, auto or a colon-separated list",
    )
    client_tls_key_file: str = setting(
        units.PATH, "", "private key of client_tls_cert_file"
    )
    client_tls_protocols: tuple[str, ...] = setting(
        units.TLS_PROTOCOL_LIST,
        "secure",
        "TLS versions offered to clients; a leading ! removes one",
    )
    client_tls_sslmode: str = setting(
        units.TLS_MODE, "disable", "TLS mode for client connections"
    )
    conffile: str | None = setting(
        units.PATH,
        None,
        "file that the next RELOAD reads; initially the one given on the command line",
    )
    default_pool_size: int = setting(
        units.INTEGER, "20", "server connections per database and user; 0: no limit"
    )
    disable_pqexec: int = setting(
        units.INTEGER, "0", "1: refuse the simple query protocol", boot=True
    )
    dns_max_ttl: float = setting(
        units.SECONDS,
        "15",
        "how long a DNS answer is cached",
    )
    dns_nxdomain_ttl: float = setting(
        units.SECONDS, "15", "how long a failed DNS lookup is cached"
    )
    dns_zone_check_period: float = setting(
        units.SECONDS, "0", "how often zone serials are checked; 0: never"
    )
    idle_transaction_timeout: float = setting(
        units.SECONDS,
        "0",
        "close a server idle in a transaction for this long; 0: never",
    )
    ignore_startup_parameters: tuple[str, ...] = setting(
        units.NAMES,
        "",
        "startup parameters that clients may send and pgswitch ignores",
    )
    job_name: str = setting(
        units.TEXT,
        "pgbouncer",
        "name of the Windows service; no effect elsewhere",
        boot=True,
    )
    listen_addr: tuple[str, ...] = setting(
        units.COMMA_LIST,
        "",
        "addresses to listen on; *: all; empty: the unix socket only",
        boot=True,
    )
    listen_backlog: int = setting(
        units.INTEGER,
        "128",
        "length of the kernel's queue of new connections; -1: the system's maximum",
        boot=True,
    )
    listen_port: int = setting(
        units.PORT_OR_ZERO,
        "6432",
        "TCP port; also part of the unix socket's name",
        boot=True,
    )
    log_connections: int = setting(units.INTEGER, "1", "1: log each login")
    log_disconnections: int = setting(
        units.INTEGER, "1", "1: log each disconnection and its reason"
    )
    log_format: str = setting(
        units.LOG_FORMAT, "text", "log lines in PgBouncer's format, or JSON objects"
    )
    log_pooler_errors: int = setting(
        units.INTEGER, "1", "1: log the errors sent to clients"
    )
    log_stats: int = setting(
        units.INTEGER, "1", "1: log the statistics every stats_period"
    )
    logfile: str = setting(units.PATH, "", "file to append the log to")
    login_notify_message: str = setting(
        units.TEXT, "", "notice sent to each client at login; empty: none"
    )
    manhole_authorized_keys: str = setting(
        units.PATH, "", "public keys allowed to log in to manhole_ssh", boot=True
    )
    manhole_host_key: str = setting(
        units.PATH, "", "private host key of manhole_ssh; created if missing", boot=True
    )
    manhole_socket: str = setting(
        units.PATH,
        "",
        "unix socket of a Python shell in the process, for its own user; empty: none",
        boot=True,
    )
    manhole_ssh: str = setting(
        units.TEXT,
        "",
        "loopback address and port of the same shell over SSH; empty: none",
        boot=True,
    )
    max_client_conn: int = setting(
        units.INTEGER, "100", "maximum number of client connections"
    )
    max_db_client_connections: int = setting(
        units.INTEGER, "0", "maximum number of clients per database; 0: no limit"
    )
    max_db_connections: int = setting(
        units.INTEGER,
        "0",
        "maximum number of server connections per database, across all users; 0: no"
        " limit",
    )
    max_packet_size: int = setting(
        units.UNSIGNED, "2147483647", "maximum size of a protocol message, in bytes"
    )
    max_prepared_statements: int = setting(
        units.INTEGER,
        "200",
        "prepared statements cached per server connection; 0: none",
    )
    max_user_client_connections: int = setting(
        units.INTEGER, "0", "maximum number of clients per user; 0: no limit"
    )
    max_user_connections: int = setting(
        units.INTEGER,
        "0",
        "maximum number of server connections per user, across all databases; 0: no"
        " limit",
    )
    min_pool_size: int = setting(
        units.INTEGER, "0", "minimum number of server connections per pool"
    )
    peer_id: int = setting(
        units.PEER_NUMBER,
        "0",
        "number of this process among its peers, at most 16383; 0: no peers",
    )
    pidfile: str = setting(
        units.PATH,
        "",
        "file for the process id; required to run in the background",
        boot=True,
    )
    pkt_buf: int = setting(
        units.INTEGER,
        "4096",
        "no effect: one read takes all waiting data, up to 64 KiB",
        boot=True,
    )
    polling_frequency: float = setting(
        units.SECONDS,
        ".1",
        "interval between checks of a node while there is no writer",
    )
    pool_mode: PoolMode = setting(
        units.POOL_MODE, "session", "when a server connection goes back to the pool"
    )
    pool_idle_timeout: float = setting(
        units.SECONDS, "0", "remove a pool that has been empty this long; 0: never"
    )
    query_timeout: float = setting(
        units.SECONDS, "0", "close a server whose query has run this long; 0: never"
    )
    query_wait_notify: int = setting(
        units.INTEGER,
        "5",
        "send a waiting client a notice after this many seconds; 0: never",
    )
    query_wait_timeout: float = setting(
        units.SECONDS,
        "120",
        "disconnect a client that has waited this long for a server; 0: never",
    )
    reader_max_lag: float = setting(
        units.SECONDS,
        "0",
        "a standby this far behind gets no reads (KEY:reader); 0: no limit",
    )
    reader_max_lag_bytes: int = setting(
        units.INTEGER,
        "16777216",
        "the same limit in bytes of WAL",
    )
    recreate_disconnected_pools: int = setting(
        units.INTEGER,
        "1",
        "when no node can be reached, retry every polling_frequency (1) or"
        " server_failed_delay (0)",
    )
    reserve_pool_size: int = setting(
        units.INTEGER,
        "0",
        "extra server connections for a pool whose clients wait",
    )
    reserve_pool_timeout: float = setting(
        units.SECONDS,
        "5",
        "how long a client waits before its pool uses the reserve; 0: no reserve",
    )
    resolv_conf: str = setting(
        units.PATH,
        "",
        "resolv.conf(5) file that names the DNS servers; empty: use the system"
        " resolver",
        boot=True,
    )
    rewrite_query_disconnect_on_failure: bool = setting(
        units.SWITCH,
        "false",
        "true: disconnect a client whose query cannot be rewritten; false: send"
        " it unchanged",
    )
    rewrite_query_py_module_file: str = setting(
        units.PATH,
        _OFF,
        "Python file with rewrite_query(); not_enabled: none",
    )
    rewrite_query_tag: bool = setting(
        units.SWITCH,
        "false",
        "append the comment /*rewritten_pid='NNNNN'*/ to rewritten queries",
    )
    routing_rules_py_module_file: str = setting(
        units.PATH,
        _OFF,
        "Python file with routing_rules(); not_enabled: none",
    )
    rules_fast_patterns: bool = setting(
        units.SWITCH,
        "false",
        "replace the module re in rules: cached patterns, and no search of a text"
        " without the pattern's literal part",
    )
    rules_reroute_in_transaction: str = setting(
        units.REROUTE,
        "refuse",
        "what to do when routing_rules() moves a query inside a transaction or"
        " pipeline: refuse it with an error, or ignore the move",
    )
    rules_slow_ms: int = setting(
        units.INTEGER,
        "100",
        "log a call of a rule function that takes more milliseconds; 0: never",
    )
    rules_timeout: float = setting(
        units.SECONDS,
        "5",
        "cancel an asynchronous rule function after this long; 0: never",
    )
    sbuf_loopcnt: int = setting(
        units.INTEGER, "5", "no effect: each turn of the event loop reads a socket once"
    )
    scram_iterations: int = setting(
        units.INTEGER,
        "4096",
        "iterations for SCRAM secrets built from plain passwords",
    )
    scram_iterations_max: int = setting(
        units.ITERATIONS,
        "200000",
        "maximum SCRAM iterations that a server, or a stored secret checked"
        " against a cleartext password, may demand (2 million take 1 s)",
    )
    server_check_delay: float = setting(
        units.SECONDS,
        "30",
        "check a server connection before use if it has been idle this long",
    )
    server_check_query: str = setting(
        units.TEXT,
        "<empty>",
        "query that checks a server; <empty>: an empty query; nothing: no check",
    )
    server_connect_timeout: float = setting(
        units.SECONDS,
        "15",
        "give up connecting and logging in to a server after this long; 0: never",
    )
    server_failed_delay: float = setting(
        units.SECONDS,
        "30",
        "how long to wait before reconnecting to a failed node",
    )
    server_fast_close: int = setting(
        units.INTEGER,
        "0",
        "1: after RECONNECT or a changed database, close session-mode servers between"
        " transactions, not at the end of the session",
    )
    server_idle_timeout: float = setting(
        units.SECONDS, "600", "close a server that has been idle this long; 0: never"
    )
    server_lifetime: float = setting(
        units.SECONDS, "3600", "close an unused server older than this; 0: use it once"
    )
    server_login_retry: float = setting(
        units.SECONDS, "15", "how long to wait after a failed connect or login"
    )
    server_reset_query: str = setting(
        units.TEXT,
        "DISCARD ALL",
        "query that resets a server before another client gets it, in session"
        " mode; empty: none",
    )
    server_reset_query_always: int = setting(
        units.INTEGER, "0", "1: run server_reset_query in every pool mode"
    )
    server_round_robin: int = setting(
        units.INTEGER,
        "0",
        "1: use idle servers in turn; 0: reuse the most recently used one",
    )
    server_tls13_ciphers: str | None = setting(
        units.TEXT, None, "TLS 1.3 cipher suites offered to servers"
    )
    server_tls_ca_file: str = setting(
        units.PATH,
        "",
        "certificate authorities that server certificates are verified against",
    )
    server_tls_cert_file: str = setting(
        units.PATH, "", "certificate presented to servers"
    )
    server_tls_ciphers: str = setting(
        units.TEXT,
        "default",
        "OpenSSL cipher list for servers, up to TLS 1.2",
    )
    server_tls_ecdhcurve: str = setting(
        units.TEXT,
        "auto",
        "curves for servers: none, auto or a colon-separated list",
    )
    server_tls_key_file: str = setting(
        units.PATH, "", "private key of server_tls_cert_file"
    )
    server_tls_protocols: tuple[str, ...] = setting(
        units.TLS_PROTOCOL_LIST,
        "secure",
        "TLS versions offered to servers; a leading ! removes one",
    )
    server_tls_sslmode: str = setting(
        units.TLS_MODE,
        "prefer",
        "TLS mode for server connections, and how certificates are verified",
    )
    so_reuseport: int = setting(
        units.INTEGER, "0", "1: let several processes listen on one port", boot=True
    )
    standby_pool_size: int = setting(
        units.INTEGER,
        "20",
        "maximum number of connections per pool kept open to each standby; 0: none",
    )
    stats_period: int = setting(
        units.INTEGER,
        "60",
        "seconds between averages, and between statistics lines in the log",
    )
    stats_users: tuple[str, ...] = setting(
        units.NAMES, "", "console users that may only run SHOW"
    )
    suspend_timeout: float = setting(
        units.SECONDS,
        "10",
        "SUSPEND closes connections that could not be flushed in this time; 0: never",
    )
    switchover_forget: float = setting(
        units.SECONDS,
        "60",
        "forget a last writer that has been off the list of nodes this long, if"
        " the other nodes agree on a writer",
    )
    switchover_record: str = setting(
        units.PATH,
        "",
        "file that records all input to writer decisions, for `pgswitch replay`",
    )
    switchover_retry: int = setting(
        units.INTEGER,
        "1",
        "1: rerun, once, a statement that a lost server did not execute",
    )
    switchover_silence: float = setting(
        units.SECONDS,
        "1",
        "treat a cluster node as dead after this much silence",
    )
    switchover_start_timeout: float = setting(
        units.SECONDS,
        "3",
        "how long silent nodes may delay clients at startup once another node has"
        " answered",
    )
    syslog: int = setting(units.INTEGER, "0", "1: also log to syslog")
    syslog_facility: str = setting(
        units.FACILITY,
        "daemon",
        "facility of syslog lines; an unknown word means daemon",
    )
    syslog_ident: str = setting(units.TEXT, "pgbouncer", "program name in syslog lines")
    tcp_defer_accept: int = setting(
        units.INTEGER,
        "1",
        "1: accept a connection only when its first bytes have arrived (Linux)",
    )
    tcp_keepalive: int = setting(units.INTEGER, "1", "1: enable TCP keepalive")
    tcp_keepcnt: int = setting(
        units.INTEGER,
        "0",
        "unanswered keepalive probes before a connection counts as lost; 0:"
        " system default",
    )
    tcp_keepidle: int = setting(
        units.INTEGER,
        "0",
        "seconds of silence before the first keepalive probe; 0: system default",
    )
    tcp_keepintvl: int = setting(
        units.INTEGER, "0", "seconds between keepalive probes; 0: system default"
    )
    tcp_socket_buffer: int = setting(
        units.INTEGER,
        "0",
        "size of kernel socket buffers in bytes (minimum 2048), for new"
        " connections; 0: system default",
    )
    tcp_user_timeout: int = setting(
        units.INTEGER,
        "0",
        "milliseconds that sent data may stay unacknowledged; 0: system default",
    )
    topology_refresh: float = setting(
        units.SECONDS, "30", "how often topology_query runs to find new nodes"
    )
    track_extra_parameters: tuple[str, ...] = setting(
        units.COMMA_LIST,
        "IntervalStyle",
        "session parameters tracked per client, besides the usual five",
        boot=True,
    )
    transaction_timeout: float = setting(
        units.SECONDS,
        "0",
        "close a server whose transaction has lasted this long; 0: never",
    )
    unix_socket_dir: str = setting(
        units.PATH,
        "/tmp",  # noqa: S108  as PostgreSQL and PgBouncer do
        "directory of the unix socket, also for servers without a host; empty: none",
        boot=True,
    )
    unix_socket_group: str = setting(
        units.TEXT, "", "group of the unix socket, by name or number", boot=True
    )
    unix_socket_mode: int = setting(
        units.INTEGER, "0777", "permissions of the unix socket", boot=True
    )
    user: str | None = setting(
        units.TEXT, None, "operating-system user to run as", boot=True
    )
    verbose: int = setting(units.INTEGER, "0", "1 and above: log more")


SETTINGS: Mapping[str, Setting] = table_of(Settings)
"""All settings by name, in the order of ``SHOW CONFIG``."""

SETTING_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "service_name": "job_name",
        "topology_monitoring_interval": "topology_refresh",
    }
)
"""Other accepted names: old ones, and one of pgbouncer-fast-switchover."""
