"""The configuration as a value: settings, databases, users and peers.

All of it is frozen; a RELOAD or SET makes a new ``Configuration``. A key that an entry
does not set, or sets to "not set here", is None: ``effective.py`` then picks the value.

The functions at the end say what a reload does with a new configuration: which servers
to replace, which settings to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from pgswitch.config import units
from pgswitch.config.settings import SETTINGS, Settings
from pgswitch.config.units import Setting, setting, table_of
from pgswitch.types import CONSOLE_DATABASES, PoolMode

# ruff: noqa: RUF009  `setting` returns a dataclass field


__all__ = [
    "DATABASE_KEYS",
    "MAX_DATABASE_NAME_LENGTH",
    "PEER_KEYS",
    "SETTINGS",
    "TEMPLATE",
    "USER_KEYS",
    "Configuration",
    "DatabaseSpec",
    "PeerSpec",
    "Settings",
    "UserSpec",
]

TEMPLATE = "*"
"""Name of the [databases] entry for all databases without an entry of their own."""

MAX_DATABASE_NAME_LENGTH = 63
"""Maximum length of a database name, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSpec:
    """One entry of ``[databases]``; ``dbname`` is None in the template alone."""

    name: str
    dbname: str | None = setting(
        units.TEXT, None, "database on the server; default: the entry's name"
    )
    host: str | None = setting(
        units.TEXT,
        None,
        "host name, address, /directory or @abstract socket; several with commas"
        " between; default: the unix socket in unix_socket_dir",
    )
    port: int = setting(units.PORT, "5432", "port, the same on every host")
    user: str | None = setting(
        units.TEXT, None, "user that all server connections log in as"
    )
    password: str | None = setting(
        units.TEXT,
        None,
        "password of user; default: its secret in auth_file",
        secret=True,
    )
    auth_user: str | None = setting(units.TEXT, None, "overrides the setting auth_user")
    auth_query: str | None = setting(
        units.TEXT, None, "overrides the setting auth_query"
    )
    auth_dbname: str | None = setting(
        units.DATABASE_NAME, None, "overrides the setting auth_dbname"
    )
    pool_size: int | None = setting(
        units.COUNT, None, "server connections per user; 0: no limit"
    )
    min_pool_size: int | None = setting(
        units.COUNT, None, "minimum number of server connections per user"
    )
    reserve_pool_size: int | None = setting(
        units.COUNT,
        None,
        "extra server connections while clients wait (also: reserve_pool)",
    )
    connect_query: str | None = setting(
        units.TEXT, None, "query to run after login, before a server's first use"
    )
    pool_mode: PoolMode | None = setting(
        units.POOL_MODE, None, "when a server connection goes back to the pool"
    )
    query_wait_timeout: float | None = setting(
        units.TIME,
        None,
        "disconnect a client that has waited this long for a server; 0: never",
    )
    load_balance_hosts: str | None = setting(
        units.LOAD_BALANCE,
        None,
        "round-robin: next host for each connection; disable: next host when one fails",
    )
    max_db_connections: int | None = setting(
        units.POSITIVE_COUNT,
        None,
        "maximum number of server connections, across all users",
    )
    max_db_client_connections: int | None = setting(
        units.POSITIVE_COUNT, None, "maximum number of clients, across all users"
    )
    server_lifetime: float | None = setting(
        units.POSITIVE_TIME, None, "close an unused server older than this"
    )
    client_encoding: str | None = setting(
        units.TEXT, None, "client_encoding requested from the server at login"
    )
    datestyle: str | None = setting(
        units.TEXT, None, "datestyle requested from the server at login"
    )
    timezone: str | None = setting(
        units.TEXT, None, "timezone requested from the server at login"
    )
    application_name: str | None = setting(
        units.TEXT, None, "application_name sent to the server at login"
    )
    sslnegotiation: str | None = setting(
        units.SSL_NEGOTIATION,
        None,
        "direct: start TLS without asking first (PostgreSQL 17 and newer)",
    )
    server_tls_sslmode: str | None = setting(
        units.TLS_MODE, None, "overrides the setting of that name"
    )
    server_tls_ca_file: str | None = setting(
        units.PATH, None, "overrides the setting of that name"
    )
    server_tls_cert_file: str | None = setting(
        units.PATH, None, "overrides the setting of that name"
    )
    server_tls_key_file: str | None = setting(
        units.PATH, None, "overrides the setting of that name"
    )
    server_tls_protocols: tuple[str, ...] | None = setting(
        units.TLS_PROTOCOL_LIST, None, "overrides the setting of that name"
    )
    server_tls_ciphers: str | None = setting(
        units.TEXT, None, "overrides the setting of that name"
    )
    server_tls13_ciphers: str | None = setting(
        units.TEXT, None, "overrides the setting of that name"
    )
    server_tls_ecdhcurve: str | None = setting(
        units.TEXT, None, "overrides the setting of that name"
    )
    topology_query: str | None = setting(
        units.TEXT,
        None,
        "query whose rows name the nodes of the cluster; needs user or auth_user",
    )
    recovery_query: str | None = setting(
        units.TEXT,
        None,
        "query to run instead of pg_is_in_recovery(): true means standby; needs"
        " topology_query",
    )
    routing_rules_py_module_file: str | None = setting(
        units.PATH, None, "overrides the setting of that name"
    )
    rewrite_query_py_module_file: str | None = setting(
        units.PATH, None, "overrides the setting of that name"
    )
    rewrite_query_disconnect_on_failure: bool | None = setting(
        units.SWITCH, None, "overrides the setting of that name"
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the list of hosts; empty means the default unix socket."""
        return tuple(host for host in (self.host or "").split(",") if host)

    def for_autodb(self, name: str) -> DatabaseSpec:
        """Return the entry that this template makes for the database ``name``."""
        return replace(self, name=name, dbname=self.dbname or name)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSpec:
    """One entry of ``[users]``."""

    name: str
    pool_size: int | None = setting(
        units.COUNT, None, "server connections per database; 0: no limit"
    )
    reserve_pool_size: int | None = setting(
        units.COUNT, None, "extra server connections while clients wait"
    )
    pool_mode: PoolMode | None = setting(
        units.POOL_MODE, None, "when a server connection goes back to the pool"
    )
    max_user_connections: int | None = setting(
        units.POSITIVE_COUNT,
        None,
        "maximum number of server connections, across all databases",
    )
    max_user_client_connections: int | None = setting(
        units.POSITIVE_COUNT, None, "maximum number of clients, across all databases"
    )
    query_timeout: float | None = setting(
        units.POSITIVE_TIME, None, "close a server whose query has run this long"
    )
    idle_transaction_timeout: float | None = setting(
        units.POSITIVE_TIME, None, "close a server idle in a transaction for this long"
    )
    transaction_timeout: float | None = setting(
        units.POSITIVE_TIME,
        None,
        "close a server whose transaction has lasted this long",
    )
    client_idle_timeout: float | None = setting(
        units.POSITIVE_TIME,
        None,
        "disconnect a client that has been idle this long, holding no server",
    )
    query_wait_timeout: float | None = setting(
        units.TIME,
        None,
        "disconnect a client that has waited this long for a server; 0: never",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSpec:
    """One entry of ``[peers]``: another process that we forward cancel requests to."""

    peer_id: int
    host: str = field(
        metadata={
            "setting": Setting(
                units.TEXT, None, "host name, address or /directory; required"
            )
        }
    )
    port: int = setting(units.PORT, "6432", "port")
    pool_size: int | None = setting(
        units.COUNT,
        None,
        "half the maximum number of connections to it; default: default_pool_size",
    )


DATABASE_KEYS: Mapping[str, Setting] = table_of(DatabaseSpec)
USER_KEYS: Mapping[str, Setting] = table_of(UserSpec)
PEER_KEYS: Mapping[str, Setting] = table_of(PeerSpec)
"""The keys of an entry by name, for each of the three sections of entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The content of the configuration file.

    ``databases`` has the template under the name ``*``; ``path`` is the file that was
    read; ``set_names`` are the settings that appear in the file.
    """

    settings: Settings = field(default_factory=Settings)
    databases: Mapping[str, DatabaseSpec] = field(
        default_factory=lambda: MappingProxyType({})
    )
    users: Mapping[str, UserSpec] = field(default_factory=lambda: MappingProxyType({}))
    peers: Mapping[int, PeerSpec] = field(default_factory=lambda: MappingProxyType({}))
    path: str = ""
    files: tuple[str, ...] = field(default=(), compare=False)
    """The file and all its includes."""
    set_names: frozenset[str] = frozenset()

    def database(self, name: str) -> DatabaseSpec | None:
        """Return the entry ``name``, else one made from the template, else None."""
        if name in self.databases:
            return self.databases[name]
        template = self.databases.get(TEMPLATE)
        length = len(name.encode(errors="surrogateescape"))
        if (
            template is None
            or name in CONSOLE_DATABASES
            or not 0 < length <= MAX_DATABASE_NAME_LENGTH
        ):
            return None
        return template.for_autodb(name)


RECYCLING_KEYS = (
    "dbname",
    "host",
    "port",
    "user",
    "connect_query",
    "auth_dbname",
    "auth_query",
    "load_balance_hosts",
    "sslnegotiation",
    "server_tls_sslmode",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "server_tls_protocols",
    "server_tls_ciphers",
    "server_tls13_ciphers",
    "server_tls_ecdhcurve",
)
"""Keys of a database whose change requires new server connections."""

RECYCLING_PREFIX = "server_tls"
"""Prefix of the settings whose change requires new connections to every server."""


def needs_reconnect_all(old: Settings, new: Settings) -> bool:
    """Return whether the servers of all databases must be replaced."""
    return any(
        getattr(old, name) != getattr(new, name)
        for name in SETTINGS
        if name.startswith(RECYCLING_PREFIX)
    )


def needs_reconnect(old: DatabaseSpec, new: DatabaseSpec) -> bool:
    """Return whether the servers of one database must be replaced."""
    return any(getattr(old, key) != getattr(new, key) for key in RECYCLING_KEYS)


def carried_over(old: Configuration, new: Configuration) -> Configuration:
    """Return ``new``, with the old values of settings that only a restart changes."""
    unchanged = {
        name: getattr(old.settings, name)
        for name, about in SETTINGS.items()
        if not about.reloadable
    }
    return replace(new, settings=replace(new.settings, **unchanged))
