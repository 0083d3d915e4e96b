"""SHOW DATABASES and SHOW USERS."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.result_set import END_OF_SLICE, INT4, TEXT, Column, Columns
from pgswitch.admin.show.pools import CONSOLE, load_balancing, standby_connections
from pgswitch.admin.view import ServiceView, Show
from pgswitch.auth.client_counts import CONSOLE_SPEC
from pgswitch.config.model import UserSpec
from pgswitch.types import CONSOLE_USER, PoolMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.config.effective import Effective
    from pgswitch.config.model import DatabaseSpec, Settings


class DatabaseRow(NamedTuple):
    """A ``[databases]`` entry, an automatic database, or the console."""

    view: ServiceView
    effective: Effective
    """The limits in force."""
    spec: DatabaseSpec
    user: str
    """The user by whose settings the limits are found."""
    connections: int
    """Servers open to it."""
    is_console: bool
    """Whether this is the console, which mostly has fixed values."""


def _port(row: DatabaseRow) -> int:
    settings = row.view.context.configuration.settings
    return settings.listen_port if row.is_console else row.spec.port


def _pool_size(row: DatabaseRow) -> int:
    return 2 if row.is_console else row.effective.pool_size(row.spec, row.user)


def _min_pool_size(row: DatabaseRow) -> int:
    return 0 if row.is_console else row.effective.min_pool_size(row.spec, row.user)


def _reserve_pool_size(row: DatabaseRow) -> int:
    return 0 if row.is_console else row.effective.reserve_pool_size(row.spec, row.user)


def _server_lifetime(row: DatabaseRow) -> int:
    if row.is_console:
        return int(row.view.context.configuration.settings.server_lifetime)
    return int(row.effective.server_lifetime(row.spec, row.user))


def _database_mode(row: DatabaseRow) -> str | None:
    mode = PoolMode.STATEMENT if row.is_console else row.spec.pool_mode
    return None if mode is None else str(mode)


def _clients_of_database(row: DatabaseRow) -> int:
    client_counts = row.view.login_service.client_counts
    if row.is_console:
        return client_counts.of_console()
    return client_counts.of_database.get(row.spec.name, 0)


_DATABASE: Final[Columns[DatabaseRow]] = (
    Column("name", TEXT, "Name that clients use.", lambda d: d.spec.name),
    Column(
        *("host", TEXT, "Host or hosts; NULL for the default unix socket."),
        lambda d: d.spec.host,
    ),
    Column("port", INT4, "Port of the server.", _port),
    Column(
        *("database", TEXT, "Name of the database on the server."),
        lambda d: d.spec.dbname or d.spec.name,
    ),
    Column(
        *("force_user", TEXT, "User that servers are always logged in to as, or NULL."),
        lambda d: CONSOLE if d.is_console else d.spec.user,
    ),
    Column("pool_size", INT4, "Maximum number of servers of a pool.", _pool_size),
    Column("min_pool_size", INT4, "Servers that a pool keeps open.", _min_pool_size),
    Column(
        *("reserve_pool_size", INT4, "More servers of a pool, if clients wait long."),
        _reserve_pool_size,
    ),
    Column(
        *("server_lifetime", INT4, "Age beyond which an idle server is closed."),
        _server_lifetime,
        "s",
    ),
    Column(
        *("pool_mode", TEXT, "Pool mode of the entry; NULL where it sets none."),
        _database_mode,
    ),
    Column(
        *(
            "load_balance_hosts",
            TEXT,
            "How hosts are chosen; NULL if there is only one.",
        ),
        lambda d: load_balancing(d.spec),
    ),
    Column(
        *("max_connections", INT4, "Maximum number of servers; 0: no limit."),
        lambda d: d.effective.max_db_connections(d.spec, d.user),
    ),
    Column(
        *("current_connections", INT4, "Servers open to the database."),
        lambda d: d.connections,
    ),
    Column(
        *("max_client_connections", INT4, "Maximum number of clients; 0: no limit."),
        lambda d: d.effective.max_db_client_connections(d.spec, d.user),
    ),
    Column(
        *("current_client_connections", INT4, "Clients of the database."),
        _clients_of_database,
    ),
    Column(
        *("paused", INT4, "1 after `PAUSE` of this database."),
        lambda d: not d.is_console and d.spec.name in d.view.pools.paused,
    ),
    Column(
        *("disabled", INT4, "1 after `DISABLE`."),
        lambda d: not d.is_console and d.spec.name in d.view.pools.disabled,
    ),
)


def database_specs(view: ServiceView) -> dict[str, DatabaseSpec]:
    """Return the entries of all databases but the console's, by name."""
    configuration = view.context.configuration
    specs = {
        name: spec
        for name, spec in configuration.databases.items()
        if spec.dbname is not None
    }
    for pool in view.pools:
        if not pool.is_empty:
            specs.setdefault(pool.key.database, pool.spec)
    for spec in view.pools.cluster_databases.specs():
        specs.setdefault(spec.name, spec)
    # An automatic database may be paused or disabled before its first client.
    for name in {*view.pools.paused, *view.pools.disabled} - specs.keys():
        automatic = configuration.database(name)
        if automatic is not None:
            specs[name] = automatic
    return specs


def _databases(view: ServiceView) -> Iterator[DatabaseRow | None]:
    """Yield the databases by name, the console and automatic ones included."""
    specs = database_specs(view)
    yield from END_OF_SLICE
    connections = Counter(view.pools.connection_limits.of_database)
    for one in standby_connections(view):
        if one is not None:
            connections[one.key.database] += len(one.states)
        yield None
    names = sorted({*specs, CONSOLE})
    yield from END_OF_SLICE
    for name in names:
        effective = view.context.effective
        spec = specs.get(name)
        if spec is None:
            user, spec = CONSOLE_USER, CONSOLE_SPEC
            yield DatabaseRow(view, effective, spec, user, 0, is_console=True)
        else:
            yield DatabaseRow(
                view,
                effective,
                spec,
                spec.user or "",
                connections[name],
                is_console=False,
            )


DATABASES: Final = Show(
    meaning="The databases with the limits in force: entries of `[databases]`, those"
    " that `*` stands for and that are in use, nodes of clusters, the console.",
    find=_databases,
    columns=_DATABASE,
)

# -------------------------------------------------------------------------- users


class UserRow(NamedTuple):
    """A user and its ``[users]`` entry, an empty one if it has none."""

    view: ServiceView
    spec: UserSpec

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.view.context.configuration.settings


def _aligned(size: int | None) -> str:
    """Return a size as PgBouncer writes it in this table: nine wide, or empty."""
    return "" if size is None else f"{size:9}"


_USER: Final[Columns[UserRow]] = (
    Column("name", TEXT, "Name of the user.", lambda u: u.spec.name),
    Column(
        *("pool_size", TEXT, "Maximum number of servers of a pool; empty if not set."),
        lambda u: _aligned(u.spec.pool_size),
    ),
    Column(
        *(
            "reserve_pool_size",
            TEXT,
            "More servers, if clients wait long; empty if not set.",
        ),
        lambda u: _aligned(u.spec.reserve_pool_size),
    ),
    Column(
        *("pool_mode", TEXT, "Pool mode of the user; NULL where it sets none."),
        lambda u: None if u.spec.pool_mode is None else str(u.spec.pool_mode),
    ),
    Column(
        *("max_user_connections", INT4, "Maximum number of servers; 0: no limit."),
        lambda u: u.spec.max_user_connections or u.settings.max_user_connections,
    ),
    Column(
        *("current_connections", INT4, "Servers logged in to as this user."),
        lambda u: u.view.pools.connection_limits.of_user[u.spec.name],
    ),
    Column(
        *(
            "max_user_client_connections",
            INT4,
            "Maximum number of clients; 0: no limit.",
        ),
        lambda u: (
            u.spec.max_user_client_connections or u.settings.max_user_client_connections
        ),
    ),
    Column(
        *("current_client_connections", INT4, "Clients of the user."),
        lambda u: u.view.login_service.client_counts.of_user.get(u.spec.name, 0),
    ),
)


def user_names(view: ServiceView) -> set[str]:
    """Return the users of auth_file, of ``[users]`` and of pools, and our own."""
    names = {*view.store.users(), *view.context.configuration.users}
    return {*names, CONSOLE_USER, *(pool.key.user for pool in view.pools)}


def _users(view: ServiceView) -> Iterator[UserRow | None]:
    """Yield the users by name."""
    names = sorted(user_names(view))
    yield from END_OF_SLICE
    for name in names:
        spec = view.context.configuration.users.get(name) or UserSpec(name=name)
        yield UserRow(view, spec)


USERS: Final = Show(
    meaning="The users of `auth_file` and of `[users]`, those that servers are logged"
    " in to as, and the console's own.",
    find=_users,
    columns=_USER,
)
