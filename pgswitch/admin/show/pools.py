"""SHOW POOLS, PEERS and PEER_POOLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.result_set import (
    END_OF_SLICE,
    INT4,
    MICROSECONDS,
    TEXT,
    Cell,
    Column,
    Columns,
)
from pgswitch.admin.view import ServiceView, Show
from pgswitch.pool.writer_route import WriterRoute
from pgswitch.types import CONSOLE_DATABASES, PoolKey, PoolMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.config.model import DatabaseSpec, PeerSpec
    from pgswitch.pool.outgoing_cancels import OutgoingCancels
    from pgswitch.pool.pool import ServerPool

CONSOLE: Final = CONSOLE_DATABASES[0]


class CancelCounts(NamedTuple):
    """Cancel requests on their way to the servers of a pool, or to a peer."""

    active: int = 0
    waiting: int = 0
    connecting: int = 0


def cancel_counts(cancels: OutgoingCancels | None) -> CancelCounts:
    """Return the numbers of the requests; zeros where there never was one."""
    if cancels is None:
        return CancelCounts()
    return CancelCounts(cancels.active, cancels.waiting, cancels.connecting)


class PoolRow(NamedTuple):
    """A pool, a node of a cluster that pools keep connections to, or the console."""

    key: PoolKey
    mode: PoolMode
    states: Sequence[str] = ()
    """Of its servers, one word each."""
    active_clients: int = 0
    waiting_clients: int = 0
    maxwait_us: int = 0
    cancels: CancelCounts = CancelCounts()
    load_balance_hosts: str | None = None


_POOL: Final[Columns[PoolRow]] = (
    Column("database", TEXT, "Database, by its name.", lambda p: p.key.database),
    Column(
        "user", TEXT, "User that servers are logged in to as.", lambda p: p.key.user
    ),
    Column(
        *("cl_active", INT4, "Clients that have a server or are idle."),
        lambda p: p.active_clients,
    ),
    Column(
        *("cl_waiting", INT4, "Clients that wait for a server."),
        lambda p: p.waiting_clients,
    ),
    Column(
        *("cl_active_cancel_req", INT4, "Cancel requests sent and not answered yet."),
        lambda p: p.cancels.active,
    ),
    Column(
        *("cl_waiting_cancel_req", INT4, "Cancel requests not sent yet."),
        lambda p: p.cancels.waiting,
    ),
    Column(
        *("sv_active", INT4, "Servers that a client is using."),
        lambda p: p.states.count("active"),
    ),
    Column(
        *("sv_active_cancel", INT4, "Connections that carry a cancel request."),
        lambda p: p.cancels.active,
    ),
    Column(
        *("sv_being_canceled", INT4, "Servers kept until a cancel request is over."),
        lambda p: p.states.count("being_canceled"),
    ),
    Column(
        *("sv_idle", INT4, "Servers ready for a client."),
        lambda p: p.states.count("idle"),
    ),
    Column(
        "sv_used",
        INT4,
        "Servers idle for so long that `server_check_query` must run first.",
        lambda p: p.states.count("used"),
    ),
    Column(
        *("sv_tested", INT4, "Servers that run a reset or check query."),
        lambda p: p.states.count("tested"),
    ),
    Column(
        "sv_login",
        INT4,
        "Servers in their login, and connections being opened for cancel requests.",
        lambda p: p.states.count("new") + p.cancels.connecting,
    ),
    Column(
        *("maxwait", INT4, "How long the client that waits longest has waited."),
        lambda p: p.maxwait_us // MICROSECONDS,
        "s",
    ),
    Column(
        *("maxwait_us", INT4, "The fraction of a second that belongs to `maxwait`."),
        lambda p: p.maxwait_us % MICROSECONDS,
        "µs",
    ),
    Column("pool_mode", TEXT, "The pool mode in force.", lambda p: str(p.mode)),
    Column(
        "load_balance_hosts",
        TEXT,
        "How hosts are chosen; NULL where the database names only one.",
        lambda p: p.load_balance_hosts,
    ),
)


def _pools(view: ServiceView) -> Iterator[PoolRow | None]:
    """Yield the pools by database and user, the console's own included.

    Connections that pools keep to standbys are shown as pools of those nodes.
    """
    standbys: dict[PoolKey, list[str]] = {}
    modes: dict[PoolKey, PoolMode] = {}
    for one in standby_connections(view):
        if one is not None:
            standbys.setdefault(one.key, []).extend(one.states)
            modes[one.key] = one.mode
        yield None
    pools = {pool.key: pool for pool in view.pools}
    console = PoolKey(CONSOLE, CONSOLE)
    keys = sorted({*pools, *standbys, console})
    yield from END_OF_SLICE
    for key in keys:
        states = standbys.get(key, [])
        if key in pools:
            yield _pool(view, pools[key], states)
        elif key in standbys:
            yield PoolRow(key, modes[key], states)
        else:
            clients = view.login_service.clients.values()
            consoles = sum(one.console is not None for one in clients)
            yield PoolRow(key, PoolMode.STATEMENT, active_clients=consoles)


def standby_connections(view: ServiceView) -> Iterator[PoolRow | None]:
    """Yield the connections that pools keep open to standbys, node by node."""
    for pool in view.pools:
        if not isinstance(pool.route, WriterRoute):
            continue
        for name, backends in pool.route.standbys.by_name():
            states = [backend.state for backend in backends]
            states = [state for state in states if state in {"idle", "new"}]
            yield PoolRow(PoolKey(name, pool.key.user), pool.mode, states)
        yield None


def _pool(view: ServiceView, pool: ServerPool, standbys: Sequence[str]) -> PoolRow:
    waiters = [*pool.held_clients.streams(), *pool.waiting()]
    waiting = len(waiters) + len(pool.waiting_logins())
    since = waiters[0].waiting_since if waiters else 0.0
    waited = view.context.clock() - since if since else 0.0
    return PoolRow(
        pool.key,
        pool.mode,
        states=[*(backend.state for backend in pool.backends()), *standbys],
        active_clients=len(pool.clients) - waiting,
        waiting_clients=waiting + len(pool.internal_queries),
        maxwait_us=int(waited * MICROSECONDS),
        cancels=cancel_counts(pool.cancels),
        load_balance_hosts=load_balancing(pool.spec),
    )


def load_balancing(spec: DatabaseSpec) -> str | None:
    """Return how hosts are chosen, None where there is only one."""
    return (spec.load_balance_hosts or "round-robin") if len(spec.hosts) > 1 else None


POOLS: Final = Show(
    meaning="The pools, one for each database and user; also the console's own.",
    find=_pools,
    columns=_POOL,
)

# ------------------------------------------------------------------------- peers


class PeerRow(NamedTuple):
    """A ``[peers]`` entry and the cancel requests passed on to it."""

    spec: PeerSpec
    pool_size: int
    cancels: CancelCounts


def _peer_id(row: PeerRow) -> Cell:
    return row.spec.peer_id


def _peers(view: ServiceView) -> list[PeerRow]:
    """Return the peers by number."""
    context = view.context
    return [
        PeerRow(
            spec,
            context.effective.peer_pool_size(number),
            cancel_counts(view.keys.peers.get(number)),
        )
        for number, spec in sorted(context.configuration.peers.items())
    ]


def peer_pools(view: ServiceView) -> list[PeerRow]:
    """Return the peers that a cancel request was ever passed on to."""
    return [one for one in _peers(view) if one.spec.peer_id in view.keys.peers]


PEERS: Final = Show(
    meaning="The entries of `[peers]`.",
    find=_peers,
    columns=(
        Column("peer_id", INT4, "Number of the peer.", _peer_id),
        Column(
            "host", TEXT, "Host to send its cancel requests to.", lambda p: p.spec.host
        ),
        Column("port", INT4, "Port to send them to.", lambda p: p.spec.port),
        Column(
            *("pool_size", INT4, "Connections to it at a time."),
            lambda p: p.pool_size,
        ),
    ),
)
PEER_POOLS: Final = Show(
    meaning="The peers that a cancel request was passed on to.",
    find=peer_pools,
    columns=(
        Column("peer_id", INT4, "Number of the peer.", _peer_id),
        Column(
            *("cl_active_cancel_req", INT4, "Requests sent and not answered yet."),
            lambda p: p.cancels.active,
        ),
        Column(
            *("cl_waiting_cancel_req", INT4, "Requests not sent yet."),
            lambda p: p.cancels.waiting,
        ),
        Column(
            *("sv_active_cancel", INT4, "Connections that carry a request."),
            lambda p: p.cancels.active,
        ),
        Column(
            *("sv_login", INT4, "Connections being opened."),
            lambda p: p.cancels.connecting,
        ),
    ),
)
