"""Which value holds for a user on a database: the user's, the database's, or all's.

One rule serves every name: the entry of the user in ``[users]`` wins over the entry of
the database, which wins over ``[pgbouncer]``; an entry takes part only if it can have
the key and does. So an entry cannot lift a limit that is set for all where its own
"not set" is 0 (``max_db_connections`` and its like), as in PgBouncer.
"""

from __future__ import annotations

from typing import Any

from pgswitch.config.model import Configuration, DatabaseSpec
from pgswitch.types import PoolMode


class Effective:
    """Look-ups in one configuration; sizes of 0 are no limit, times of 0 are never.

    ``user`` is the pool's user (the one that servers log in as) for sizes, server
    limits and running times, and the one that logged in for what concerns a client:
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
        """Whether client_idle_timeout is set for anybody."""
        self.max_prepared_statements = _limit(self._settings.max_prepared_statements)
        """Prepared statements that a server keeps; 0 is none."""
        databases = configuration.databases.values()
        self.has_client_limit = any(
            getattr(entry, name, None)
            for entry in (self._settings, *self._users.values(), *databases)
            for name in ("max_db_client_connections", "max_user_client_connections")
        )
        """Whether either of the two limits of clients is set for anybody."""

    def pool_mode(self, database: DatabaseSpec, user: str) -> PoolMode:
        """Return how long a client keeps a server."""
        mode: PoolMode = self._value("pool_mode", database, user)
        return mode

    def pool_size(self, database: DatabaseSpec, user: str) -> int:
        """Return the server connections of one pool."""
        own = self._own("pool_size", database, user)
        return _limit(self._settings.default_pool_size if own is None else own)

    def min_pool_size(self, database: DatabaseSpec, user: str) -> int:
        """Return the server connections kept open."""
        return _limit(self._value("min_pool_size", database, user))

    def reserve_pool_size(self, database: DatabaseSpec, user: str) -> int:
        """Return the further server connections while clients wait; 0 is none."""
        return _limit(self._value("reserve_pool_size", database, user))

    def query_wait_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a client waits for a server."""
        return float(self._value("query_wait_timeout", database, user))

    def query_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a query runs."""
        return float(self._value("query_timeout", database, user))

    def idle_transaction_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a transaction is idle."""
        return float(self._value("idle_transaction_timeout", database, user))

    def transaction_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a transaction lasts."""
        return float(self._value("transaction_timeout", database, user))

    def client_idle_timeout(self, database: DatabaseSpec, user: str) -> float:
        """Return how many seconds a client without a server is silent."""
        return float(self._value("client_idle_timeout", database, user))

    def server_lifetime(self, database: DatabaseSpec, user: str) -> float:
        """Return the age in seconds at which a server is closed; 0 is after one use."""
        return float(self._value("server_lifetime", database, user))

    def max_db_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the server connections of the database over all users."""
        return _limit(self._value("max_db_connections", database, user))

    def max_user_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the server connections of the user over all databases."""
        return _limit(self._value("max_user_connections", database, user))

    def max_db_client_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the clients of the database over all users."""
        return _limit(self._value("max_db_client_connections", database, user))

    def max_user_client_connections(self, database: DatabaseSpec, user: str) -> int:
        """Return the clients of the user over all databases."""
        return _limit(self._value("max_user_client_connections", database, user))

    def peer_pool_size(self, peer_id: int) -> int:
        """Return the connections to a peer; 0 is no limit."""
        peer = self._peers.get(peer_id)
        own = None if peer is None else peer.pool_size
        return _limit(self._settings.default_pool_size if own is None else own)

    def _own(self, name: str, database: DatabaseSpec, user: str) -> Any:  # noqa: ANN401  of the key's type
        """Return the value of the user's or the database's entry, None if neither."""
        entry = self._users.get(user)
        if entry is not None:  # it rarely is there, and a look-up in vain is dear
            value = getattr(entry, name, None)
            if value is not None:
                return value
        return getattr(database, name, None)

    def _value(self, name: str, database: DatabaseSpec, user: str) -> Any:  # noqa: ANN401  of the key's type
        own = self._own(name, database, user)
        return getattr(self._settings, name) if own is None else own


def _limit(value: int) -> int:
    # A negative limit is no limit, and callers need to know one spelling of that only.
    return max(value, 0)
