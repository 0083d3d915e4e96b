"""The table of all ``[pgbouncer]`` settings, as one frozen dataclass.

Each field says everything there is to know about its setting: how its value is
written, its default, whether a RELOAD or SET changes it, whether it has an effect in
this version, and its meaning. The reader, ``SHOW CONFIG`` and the reference page all
use this table. Names, defaults and order are those of PgBouncer 1.25's
``SHOW CONFIG``; the settings of pgbouncer-fast-switchover are sorted in by name.
"""

# ruff: noqa: RUF009  `setting` returns a dataclass field

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pgswitch.config import units
from pgswitch.config.fields import Setting, setting, table_of
from pgswitch.types import AuthType, PoolMode

_OFF = "not_enabled"
"""Text of a user's-module setting that means "none"."""

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
        units.TEXT, None, "[databases] entry in which auth_query runs"
    )
    auth_file: str | None = setting(units.PATH, None, "file of users and their secrets")
    auth_hba_file: str = setting(
        units.PATH, "", "file of host-based access rules, for auth_type hba"
    )
    auth_ident_file: str | None = setting(
        units.PATH,
        None,
        "file that maps operating-system or certificate names to users",
    )
    auth_ldap_options: str | None = setting(
        units.LDAP_OPTIONS,
        None,
        "LDAP server and search, for auth_type ldap",
        secret=True,
    )
    auth_query: str = setting(
        units.TEXT, _AUTH_QUERY, "query that returns the secret of user $1"
    )
    auth_query_cache_ttl: float = setting(
        units.SECONDS,
        "0",
        "believe an answer of auth_query so long, unless a login fails; 0: ask each"
        " time",
    )
    auth_type: AuthType = setting(
        units.AUTH_TYPE, "md5", "what a client must show at login"
    )
    auth_user: str | None = setting(
        units.TEXT, None, "user that runs auth_query for users not in auth_file"
    )
    autodb_idle_timeout: float = setting(
        units.SECONDS,
        "3600",
        "drop a database made from * after so long without use; 0: never",
    )
    cancel_wait_timeout: float = setting(
        units.SECONDS, "10", "drop a cancel request that waited so long; 0: never"
    )
    client_idle_timeout: float = setting(
        units.SECONDS,
        "0",
        "drop a client without a server that is silent so long; 0: never",
    )
    client_login_timeout: float = setting(
        units.SECONDS, "60", "drop a client not logged in after so long; 0: never"
    )
    client_tls13_ciphers: str | None = setting(
        units.TEXT, None, "TLS 1.3 cipher suites offered to clients"
    )
    client_tls_ca_file: str = setting(
        units.PATH,
        "",
        "authorities that client certificates are checked against",
    )
    client_tls_cert_file: str = setting(units.PATH, "", "certificate shown to clients")
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
        "curves for clients: none, auto or names with colons between",
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
        units.TLS_MODE, "disable", "whether clients may or must use TLS"
    )
    conffile: str | None = setting(
        units.PATH,
        None,
        "file that the next RELOAD reads; at first the one given at start",
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
        "how long an answer of the name service is kept",
    )
    dns_nxdomain_ttl: float = setting(
        units.SECONDS, "15", "how long a failed look-up is kept"
    )
    dns_zone_check_period: float = setting(
        units.SECONDS, "0", "how often zone serials are looked at; 0: never"
    )
    idle_transaction_timeout: float = setting(
        units.SECONDS, "0", "close a server idle inside a transaction so long; 0: never"
    )
    ignore_startup_parameters: tuple[str, ...] = setting(
        units.NAMES,
        "",
        "startup parameters that a client may send and that are ignored",
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
        "addresses to listen on; * is all, empty is the unix socket alone",
        boot=True,
    )
    listen_backlog: int = setting(
        units.INTEGER,
        "128",
        "length of the kernel's queue of new connections",
        boot=True,
    )
    listen_port: int = setting(
        units.PORT_OR_ZERO,
        "6432",
        "TCP port, also part of the unix socket's name",
        boot=True,
    )
    log_connections: int = setting(units.INTEGER, "1", "1: log each login")
    log_disconnections: int = setting(
        units.INTEGER, "1", "1: log each disconnection and its reason"
    )
    log_format: str = setting(
        units.LOG_FORMAT, "text", "lines as PgBouncer writes them, or JSON objects"
    )
    log_pooler_errors: int = setting(
        units.INTEGER, "1", "1: log the errors sent to clients"
    )
    log_stats: int = setting(
        units.INTEGER, "1", "1: log the statistics every stats_period"
    )
    logfile: str = setting(units.PATH, "", "file that log lines are appended to")
    login_notify_message: str = setting(
        units.TEXT, "", "notice sent to each client at login; empty: none"
    )
    manhole_authorized_keys: str = setting(
        units.PATH, "", "public keys that may open manhole_ssh", boot=True
    )
    manhole_host_key: str = setting(
        units.PATH, "", "private host key of manhole_ssh, made if missing", boot=True
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
        "loopback address and port of the same shell by SSH; empty: none",
        boot=True,
    )
    max_client_conn: int = setting(units.INTEGER, "100", "client connections in all")
    max_db_client_connections: int = setting(
        units.INTEGER, "0", "clients per database; 0: no limit"
    )
    max_db_connections: int = setting(
        units.INTEGER,
        "0",
        "server connections per database, over all users; 0: no limit",
    )
    max_packet_size: int = setting(
        units.UNSIGNED, "2147483647", "longest protocol message, in bytes"
    )
    max_prepared_statements: int = setting(
        units.INTEGER, "200", "prepared statements kept per server connection; 0: none"
    )
    max_user_client_connections: int = setting(
        units.INTEGER, "0", "clients per user; 0: no limit"
    )
    max_user_connections: int = setting(
        units.INTEGER,
        "0",
        "server connections per user, over all databases; 0: no limit",
    )
    min_pool_size: int = setting(
        units.INTEGER, "0", "server connections kept open per pool"
    )
    peer_id: int = setting(
        units.PEER_NUMBER,
        "0",
        "number of this process among its peers, at most 16383; 0: no peers",
    )
    pidfile: str = setting(
        units.PATH,
        "",
        "file for the process number; needed to run in the background",
        boot=True,
    )
    pkt_buf: int = setting(
        units.INTEGER,
        "4096",
        "no effect: as much is read at once as waits, up to 64 KiB",
        boot=True,
    )
    polling_frequency: float = setting(
        units.SECONDS,
        ".1",
        "time between two looks at a node while a writer is searched",
    )
    pool_mode: PoolMode = setting(
        units.POOL_MODE, "session", "how long a client keeps a server connection"
    )
    pool_idle_timeout: float = setting(
        units.SECONDS, "0", "forget a pool that is empty so long; 0: never"
    )
    query_timeout: float = setting(
        units.SECONDS, "0", "close a server whose query runs so long; 0: never"
    )
    query_wait_notify: int = setting(
        units.INTEGER,
        "5",
        "tell a client by a notice that it waits, after so many seconds; 0: never",
    )
    query_wait_timeout: float = setting(
        units.SECONDS, "120", "drop a client that waits for a server so long; 0: never"
    )
    reader_max_lag: float = setting(
        units.SECONDS,
        "0",
        "a standby that is so far behind gets no readers (KEY:reader); 0: no limit",
    )
    reader_max_lag_bytes: int = setting(
        units.INTEGER,
        "16777216",
        "the same in bytes of the writer's log",
    )
    recreate_disconnected_pools: int = setting(
        units.INTEGER,
        "1",
        "1: reconnect to all nodes when every one of them has failed",
    )
    reserve_pool_size: int = setting(
        units.INTEGER,
        "0",
        "further server connections of a pool whose clients wait",
    )
    reserve_pool_timeout: float = setting(
        units.SECONDS,
        "5",
        "how long a client waits before the reserve is used; 0: no reserve",
    )
    resolv_conf: str = setting(
        units.PATH,
        "",
        "file with the name servers to ask (resolv.conf(5)); not set: ask the system",
        boot=True,
    )
    rewrite_query_disconnect_on_failure: bool = setting(
        units.SWITCH,
        "false",
        "disconnect a client whose query could not be rewritten, else send it"
        " unchanged",
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
    rules_reroute_in_transaction: str = setting(
        units.REROUTE,
        "refuse",
        "what becomes of a query that routing_rules() wants elsewhere inside a"
        " transaction or pipeline: an error, or it stays",
    )
    rules_slow_ms: int = setting(
        units.INTEGER,
        "100",
        "log a call of a user's function that took more milliseconds; 0: never",
    )
    rules_timeout: float = setting(
        units.SECONDS,
        "5",
        "give up a user's asynchronous function after so long; 0: never",
    )
    sbuf_loopcnt: int = setting(
        units.INTEGER, "5", "no effect: each socket is read once in each turn"
    )
    scram_iterations: int = setting(
        units.INTEGER,
        "4096",
        "iterations of the SCRAM secrets made from plain passwords",
    )
    scram_iterations_max: int = setting(
        units.ITERATIONS,
        "200000",
        "most iterations of SCRAM that a server, or a stored secret that a password in"
        " clear is compared with, may ask of us (1 s for 2 million)",
    )
    server_check_delay: float = setting(
        units.SECONDS,
        "30",
        "check a server connection that was idle so long before use",
    )
    server_check_query: str = setting(
        units.TEXT,
        "<empty>",
        "query that checks a server; <empty> is an empty query, nothing is no check",
    )
    server_connect_timeout: float = setting(
        units.SECONDS,
        "15",
        "give up connecting and logging in to a server after so long; 0: never",
    )
    server_failed_delay: float = setting(
        units.SECONDS,
        "30",
        "wait before a failed node is connected to again",
    )
    server_fast_close: int = setting(
        units.INTEGER,
        "0",
        "1: a changed database closes session-mode servers at once",
    )
    server_idle_timeout: float = setting(
        units.SECONDS, "600", "close a server that was idle so long; 0: never"
    )
    server_lifetime: float = setting(
        units.SECONDS, "3600", "close an unused server older than this; 0: use it once"
    )
    server_login_retry: float = setting(
        units.SECONDS, "15", "wait so long after a failed connect or login"
    )
    server_reset_query: str = setting(
        units.TEXT,
        "DISCARD ALL",
        "query before a server goes to another client, in session mode; nothing is"
        " none",
    )
    server_reset_query_always: int = setting(
        units.INTEGER, "0", "1: server_reset_query in every pool mode"
    )
    server_round_robin: int = setting(
        units.INTEGER, "0", "1: use idle servers in turn, else the one used last"
    )
    server_tls13_ciphers: str | None = setting(
        units.TEXT, None, "TLS 1.3 cipher suites offered to servers"
    )
    server_tls_ca_file: str = setting(
        units.PATH,
        "",
        "authorities that server certificates are checked against",
    )
    server_tls_cert_file: str = setting(units.PATH, "", "certificate shown to servers")
    server_tls_ciphers: str = setting(
        units.TEXT,
        "default",
        "OpenSSL cipher list for servers, up to TLS 1.2",
    )
    server_tls_ecdhcurve: str = setting(
        units.TEXT,
        "auto",
        "curves for servers: none, auto or names with colons between",
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
        "whether servers may or must use TLS, and how they are checked",
    )
    so_reuseport: int = setting(
        units.INTEGER, "0", "1: several processes may listen on one port", boot=True
    )
    standby_pool_size: int = setting(
        units.INTEGER,
        "20",
        "most connections of a pool kept open to each standby; 0: none",
    )
    stats_period: int = setting(
        units.INTEGER, "60", "seconds between two averages and statistics lines"
    )
    stats_users: tuple[str, ...] = setting(
        units.NAMES, "", "console users that may only look"
    )
    suspend_timeout: float = setting(
        units.SECONDS,
        "10",
        "close what could not be flushed so long after SUSPEND; 0: never",
    )
    switchover_forget: float = setting(
        units.SECONDS,
        "60",
        "a last writer that is gone from the list of nodes is forgotten after so long,"
        " if the others agree on one",
    )
    switchover_record: str = setting(
        units.PATH, "", "file for all that decides about writers, for `pgswitch replay`"
    )
    switchover_retry: int = setting(
        units.INTEGER,
        "1",
        "1: a statement that a lost server did not carry out is run again once, unseen",
    )
    switchover_silence: float = setting(
        units.SECONDS,
        "1",
        "a node of a cluster that says nothing for so long is held dead",
    )
    switchover_start_timeout: float = setting(
        units.SECONDS,
        "3",
        "at a start, how long nodes of a cluster that do not answer keep clients"
        " waiting once one does",
    )
    syslog: int = setting(units.INTEGER, "0", "1: log to syslog too")
    syslog_facility: str = setting(
        units.FACILITY,
        "daemon",
        "facility of syslog lines; an unknown word means daemon",
    )
    syslog_ident: str = setting(
        units.TEXT, "pgbouncer", "name at the head of syslog lines"
    )
    tcp_defer_accept: int = setting(
        units.INTEGER,
        "1",
        "1: accept a connection when its first bytes are there (Linux)",
    )
    tcp_keepalive: int = setting(units.INTEGER, "1", "1: TCP keepalive")
    tcp_keepcnt: int = setting(
        units.INTEGER,
        "0",
        "keepalive probes before a connection is lost; 0: the system's own",
    )
    tcp_keepidle: int = setting(
        units.INTEGER,
        "0",
        "seconds of silence before the first probe; 0: the system's own",
    )
    tcp_keepintvl: int = setting(
        units.INTEGER, "0", "seconds between probes; 0: the system's own"
    )
    tcp_socket_buffer: int = setting(
        units.INTEGER,
        "0",
        "size of the kernel's socket buffers, in bytes, for connections from now on; "
        "0: the system's own",
    )
    tcp_user_timeout: int = setting(
        units.INTEGER,
        "0",
        "milliseconds that sent data may stay unacknowledged; 0: the system's own",
    )
    topology_refresh: float = setting(
        units.SECONDS, "30", "how often topology_query is run to find new nodes"
    )
    track_extra_parameters: tuple[str, ...] = setting(
        units.COMMA_LIST,
        "IntervalStyle",
        "session parameters kept per client, besides the usual five",
        boot=True,
    )
    transaction_timeout: float = setting(
        units.SECONDS, "0", "close a server whose transaction lasts so long; 0: never"
    )
    unix_socket_dir: str = setting(
        units.PATH,
        "/tmp",  # noqa: S108  as PostgreSQL and PgBouncer do
        "folder of the unix socket; empty: none. Servers without host too",
        boot=True,
    )
    unix_socket_group: str = setting(
        units.TEXT, "", "group of the unix socket, a name or a number", boot=True
    )
    unix_socket_mode: int = setting(
        units.INTEGER, "0777", "permissions of the unix socket", boot=True
    )
    user: str | None = setting(
        units.TEXT, None, "operating-system user to run as", boot=True
    )
    verbose: int = setting(units.INTEGER, "0", "1 and more: log more")


SETTINGS: Mapping[str, Setting] = table_of(Settings)
"""All settings by name, in the order of ``SHOW CONFIG``."""

SETTING_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "service_name": "job_name",
        "topology_monitoring_interval": "topology_refresh",
    }
)
"""Names that are accepted too: old ones, and one of pgbouncer-fast-switchover."""
