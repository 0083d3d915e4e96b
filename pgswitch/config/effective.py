"""The value that holds for a user on a database: the user's, the database's or global.

One rule serves every setting: the user's entry in ``[users]`` overrides the database's
entry, which overrides ``[pgbouncer]``; an entry counts only if it sets the key. So an
entry cannot lift a global limit where 0 means "not set" in the entry
(``max_db_connections`` and similar keys), as in PgBouncer.
"""

from __future__ import annotations

from typing import Any

from pgswitch.config.model import Configuration, DatabaseSpec
from pgswitch.types import PoolMode


class Effective:
    """Effective values of one configuration; size 0 is no limit, time 0 is never.

    ``user`` is the pool's user (the one that servers log in as) for sizes, server
    limits and running times, and the user who logged in for the settings of clients:
    ``client_idle_timeout``, ``query_wait_timeout``, ``max_user_client_connections``.
    """

    __slots__ = (
        "_peers",
        "_settings",
        "_users",
        "has_client_limit",
        "has_silence_limit",
        "max_prepared_statements",
    )

    def __init__(self, configuration: Configuration) -> None:
        self._settings = configuration.settings
        self._users = configuration.users
        self._peers = configuration.peers
        self.has_silence_limit = self._settings.client_idle_timeout > 0 or any(
            user.client_idle_timeout for user in self._users.values()
        )
        """Whether any user has a client_idle_timeout."""
        self.max_prepared_statements = _limit(self._settings.max_prepared_statements)
        """Maximum number of prepared statements of a server; 0 is none."""
        databases = configuration.databases.values()
        self.has_client_limit = any(
            getattr(entry, name, None)
            for entry in (self._settings, *self._users.values(), *databases)
            for name in ("max_db_client_connections", "max_user_client_connections")
        )
        """Whether any user or database limits its clients."""

    def pool_mode(self, database: DatabaseSpec, user: str) -> PoolMode:
        """Return the pool mode: how long a client keeps a server."""
        mode: PoolMode = self._value("pool_mode", database, user)
        return mode

    def pool_size(self, database: DatabaseSpec, user: str) -> int:
        """Return the maximum number of server connections of one pool."""
        own = self._own("pool_size", database, user)
        return _limit(self._settings.default_pool_size if own is None else own)

    def min_pool_size(self, database: DatabaseSpec, user: str) -> int:
        """Return how many server connections are kept open."""
        return _limit(self._value("min_pool_size", database, user))

    def reserve_pool_size(self, database: DatabaseSpec, user: str) -> int:
        """Return how many more servers may be opened while clients wait; 0 is none."""
        return _limit(self._value("reserve_pool_size", database, user))

    def query_wait_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a client may wait for a server."""
        return float(self._value("query_wait_timeout", database, user))

    def query_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a query may run."""
        return float(self._value("query_timeout", database, user))

    def idle_transaction_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a session may be idle in a transaction."""
        return float(self._value("idle_transaction_timeout", database, user))

    def transaction_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a transaction may last."""
        return float(self._value("transaction_timeout", database, user))

    def client_idle_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a client without a server may be idle."""
        return float(self._value("client_idle_timeout", database, user))

    def server_lifetime(self, database: DatabaseSpec, user: str) -> float:
        """Return the age in seconds at which a server is closed; 0: after one use."""
        return float(self._value("server_lifetime", database, user))

    def max_db_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the database's maximum of server connections, over all users."""
        return _limit(self._value("max_db_connections", database, user))

    def max_user_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the user's maximum of server connections, over all databases."""
        return _limit(self._value("max_user_connections", database, user))

    def max_db_client_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the database's maximum of clients, over all users."""
        return _limit(self._value("max_db_client_connections", database, user))

    def max_user_client_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the user's maximum of clients, over all databases."""
        return _limit(self._value("max_user_client_connections", database, user))

    def peer_pool_size(self, peer_id: int) -> int:
        """Return the pool size of a peer; 0 is no limit."""
        peer = self._peers.get(peer_id)
        own = None if peer is None else peer.pool_size
        return _limit(self._settings.default_pool_size if own is None else own)

    def _own(self, name: str, database: DatabaseSpec, user: str) -> Any:  # noqa: ANN401  of the key's type
        """Return the value in the user's or the database's entry, else None."""
        entry = self._users.get(user)
        if entry is not None:  # most users have none; a failing getattr is expensive
            value = getattr(entry, name, None)
            if value is not None:
                return value
        return getattr(database, name, None)

    def _value(self, name: str, database: DatabaseSpec, user: str) -> Any:  # noqa: ANN401  of the key's type
        own = self._own(name, database, user)
        return getattr(self._settings, name) if own is None else own


def _limit(value: int) -> int:
    # A negative limit is no limit; callers only need to know 0.
    return max(value, 0)
