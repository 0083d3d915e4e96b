"""Values that the running service shows on the admin console.

One class per kind of row. The service fills them at the moment of the question;
the console only formats them. Units and meanings are those of the reference's
console: times of day are seconds since the epoch, lengths of time are
microseconds, ``None`` is shown as NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from pgswitch.types import PoolMode


@dataclass(slots=True, kw_only=True)
class SocketSnapshot:
    """One client or server connection (SHOW CLIENTS, SERVERS and SOCKETS).

    Not frozen as the others: that takes twice the time, and there may be thousands.

    ``state`` is the bare word of SHOW CLIENTS or SERVERS (``active``, ``idle``,
    ``waiting``, ``used``, ...); ``socket_state`` is the word of SHOW SOCKETS, where it
    is not simply ``cl_`` or ``sv_`` before ``state``.
    """

    kind: str
    """``C`` for a client, ``S`` for a server."""
    id: int
    """Number that KILL_CLIENT takes; one count for clients and servers."""
    user: str | None
    """None while unknown, shown as ``(nouser)``."""
    database: str | None
    """The ``[databases]`` entry; None while unknown, shown as ``(nodb)``."""
    state: str
    addr: str
    """Remote end: an IP address in text, or ``unix``."""
    port: int
    local_addr: str
    local_port: int
    connect_time: float
    """Seconds since the epoch."""
    request_time: float
    """Seconds since the epoch at which the last request began."""
    ptr: int
    """Any number that names this socket, shown in hexadecimal as log lines do."""
    replication: str = "none"
    """``none``, ``logical`` or ``physical``."""
    socket_state: str | None = None
    wait_us: int = 0
    """Microseconds since the start of the open query; 0 when none is open."""
    close_needed: bool = False
    """Whether a server is to be closed at its release."""
    link: int | None = None
    """``ptr`` of the other end while linked."""
    remote_pid: int = 0
    """Peer process on a unix socket; for servers the first half of the cancel key."""
    tls: str | None = None
    """Version and cipher, such as ``TLSv1.3/TLS_AES_256_GCM_SHA384``."""
    application_name: str | None = None
    prepared_statements: int = 0
    recv_pos: int = 0
    """Bytes received and not yet forwarded."""
    pkt_pos: int = 0
    pkt_remain: int = 0
    """Bytes of the message under way that are still to come."""
    send_pos: int = 0
    pkt_avail: int = 0
    send_avail: int = 0
    """Bytes that wait to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorSnapshot:
    """One open socket (SHOW FDS), for another process to go on with."""

    fd: int
    task: str
    """``pooler`` for a listening socket, ``client``, ``server``."""
    user: str | None = None
    database: str | None = None
    addr: str
    """An IP address in text, or ``unix``; of the remote end, except when listening."""
    port: int
    cancel_key: bytes = b""
    """That of a client, or that of the server; shown as a number where it fits one."""
    link: int = 0
    """``fd`` of the other end while linked."""
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    """The tracked ones, by their own names."""
    password: str | None = None
    scram_client_key: bytes | None = None
    scram_server_key: bytes | None = None
    state: str = ""
    """All else that is known of it (SHOW HANDOVER), see takeover/serialize.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """One pool (SHOW POOLS), the console's own ``pgbouncer`` pool included.

    ``cl_active`` counts linked and idle clients; ``maxwait_us`` is the age of the
    query of the client that waits longest, in microseconds.
    """

    database: str
    user: str
    pool_mode: PoolMode
    cl_active: int = 0
    cl_waiting: int = 0
    cl_active_cancel_req: int = 0
    cl_waiting_cancel_req: int = 0
    sv_active: int = 0
    sv_active_cancel: int = 0
    sv_being_canceled: int = 0
    sv_idle: int = 0
    sv_used: int = 0
    sv_tested: int = 0
    sv_login: int = 0
    maxwait_us: int = 0
    load_balance_hosts: str | None = None
    """Set only where the database names several hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSnapshot:
    """One ``[databases]`` entry (SHOW DATABASES); its numbers are those in force."""

    name: str
    host: str | None
    """None for the unix socket directory."""
    port: int
    database: str
    """Name of the database on the server."""
    force_user: str | None = None
    pool_size: int = 0
    min_pool_size: int = 0
    reserve_pool_size: int = 0
    server_lifetime: int = 0
    """Seconds."""
    pool_mode: PoolMode | None = None
    """None where the entry sets none of its own."""
    load_balance_hosts: str | None = None
    max_connections: int = 0
    current_connections: int = 0
    max_client_connections: int = 0
    current_client_connections: int = 0
    paused: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSnapshot:
    """One user of auth_file or ``[users]`` (SHOW USERS).

    None stands where the user sets nothing of its own; ``max_*`` are in force.
    """

    name: str
    pool_size: int | None = None
    reserve_pool_size: int | None = None
    pool_mode: PoolMode | None = None
    max_user_connections: int = 0
    current_connections: int = 0
    max_user_client_connections: int = 0
    current_client_connections: int = 0


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """The twelve counters of a database, as totals or as averages.

    Totals count since the pool began; times are microseconds. As averages, counts
    and bytes are per second, times per query, per transaction and per assignment.
    The order is the order of the columns.
    """

    server_assignment_count: int = 0
    xact_count: int = 0
    query_count: int = 0
    client_bytes: int = 0
    """Message bytes received from clients."""
    server_bytes: int = 0
    """Message bytes received from servers, hence sent to clients."""
    xact_time: int = 0
    query_time: int = 0
    wait_time: int = 0
    client_parse_count: int = 0
    server_parse_count: int = 0
    bind_count: int = 0
    client_login_count: int = 0

    def values(self) -> tuple[int, ...]:
        """Return the twelve numbers in the order of the columns."""
        return tuple(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsReport:
    """What the SHOW STATS family tells: every database, and all of them together.

    ``total_averages`` is not a sum: the average times of all pools are taken over
    all their queries.
    """

    totals: dict[str, StatsSnapshot] = field(default_factory=dict)
    """By database; one entry for each database that has a pool."""
    averages: dict[str, StatsSnapshot] = field(default_factory=dict)
    """By database, with the same keys as ``totals``."""
    total: StatsSnapshot = StatsSnapshot()
    total_averages: StatsSnapshot = StatsSnapshot()


@dataclass(frozen=True, slots=True)
class FailureSnapshot:
    """How often clients of a database were told of an error (SHOW ERRORS)."""

    database: str
    sqlstate: str
    cause: str
    """The text of ours with open places for names, or ``server``."""
    count: int
    last_at: float = 0.0
    """Seconds since the epoch; 0.0 where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSnapshot:
    """One ``[peers]`` entry (SHOW PEERS) and its cancel requests (SHOW PEER_POOLS)."""

    peer_id: int
    host: str | None
    port: int
    pool_size: int
    has_pool: bool = False
    """Whether a cancel request was ever passed on to it; only then in PEER_POOLS."""
    cl_active_cancel_req: int = 0
    cl_waiting_cancel_req: int = 0
    sv_active_cancel: int = 0
    sv_login: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSnapshot:
    """One function of the user's (SHOW RULES); times are of its own calls."""

    rule: str
    """``rewrite_query`` or ``routing_rules``."""
    database: str
    """Whose clients it is for, divided by commas; ``*``: all without their own."""
    file: str
    written_at: float
    """Time stamp of the file, in seconds since the epoch."""
    digest: str
    """SHA-256 of the file and of what it imported from its folder."""
    calls: int = 0
    kept: int = 0
    """Answers given without a call, for a cacheable module."""
    moves: int = 0
    rewrites: int = 0
    """Texts rewritten, or clients moved."""
    errors: int = 0
    refused: int = 0
    unknown: int = 0
    """Keys returned that are no ``[databases]`` entry."""
    p50_us: int = 0
    p99_us: int = 0
    max_us: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSnapshot:
    """What the rules make of one query (EXPLAIN ROUTE)."""

    query: str
    """As a server would get it."""
    database: str
    """Where it would go; empty for wherever the client is."""
    role: str | None = None
    node: str | None = None
    """Host and port of that database."""
    why: str
    microseconds: int = 0
    """How long the functions took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """What the whole pooler is doing (SHOW STATE): running, paused or suspended."""

    paused: bool = False
    suspended: bool = False
    shutting_down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsSnapshot:
    """How many there are of each thing (SHOW LISTS), in the order of its rows."""

    databases: int = 0
    users: int = 0
    peers: int = 0
    pools: int = 0
    peer_pools: int = 0
    free_clients: int = 0
    """Always 0: no client object is kept for reuse."""
    used_clients: int = 0
    login_clients: int = 0
    free_servers: int = 0
    """Always 0: no server object is kept for reuse."""
    used_servers: int = 0
    dns_names: int = 0
    dns_zones: int = 0
    dns_queries: int = 0
    dns_pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot:
    """Objects of one kind (SHOW MEM); ``size`` is the bytes of one of them."""

    name: str
    size: int
    used: int
    free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsHostSnapshot:
    """One name whose addresses are kept (SHOW DNS_HOSTS); ``ttl`` in seconds."""

    hostname: str
    ttl: int
    addrs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsZoneSnapshot:
    """One zone that names belong to (SHOW DNS_ZONES)."""

    zonename: str
    serial: int
    """0 until it has been asked for, see dns_zone_check_period."""
    count: int
    """Names in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """One node of a cluster (SHOW TOPOLOGY)."""

    database: str
    node: str
    host: str
    port: int
    role: str
    """``writer``, ``reader``, ``rival`` (it takes writes all the same), ``unknown``."""
    state: str
    timeline: int | None
    lsn: int | None
    """How far it has written or replayed, in bytes."""
    lag_bytes: int | None
    probe_age_ms: int | None
    """Since its last answer."""
    probe_us: int
    """How long that took."""
    servers: int
    why: str
    """Why it gets no readers, or what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchoverSnapshot:
    """One switchover (SHOW SWITCHOVERS); times in seconds since the epoch."""

    database: str
    cause: str
    old_writer: str | None
    new_writer: str | None
    timeline: int | None
    suspected: float | None
    confirmed: float | None
    found: float | None
    served: float | None
    held: int
    retried: int
    lost: int
    errors: str
    """``SQLSTATE:count``, divided by commas."""
    longest_wait_ms: int
