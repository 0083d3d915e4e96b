"""Looks up the user that a client names: in auth_file, else by auth_query.

auth_query runs at every login of a user that auth_file does not have, unless
``auth_query_cache_ttl`` lets us cache its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred

from pgswitch.errors import AuthDatabaseDisabled, BouncerConfigError
from pgswitch.types import CONSOLE_DATABASES
from pgswitch.wire.auth_query import AuthQuery
from pgswitch.wire.password import Secret

if TYPE_CHECKING:
    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.config.model import DatabaseSpec, Settings
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools

_CACHE_LIMIT = 10_000
"""Cached answers; when there are more, the cache starts again empty."""


class AuthQueryKey(NamedTuple):
    """A call of auth_query: its database, its own user, the query, its argument."""

    database: str
    auth_user: str
    sql: str
    user: str


class User:
    """A user: the name that its pools have, and what it has to prove."""

    __slots__ = ("auth_query", "name", "secret")

    def __init__(
        self,
        name: str,
        secret: Secret | None = None,
        auth_query: AuthQueryKey | None = None,
    ) -> None:
        """Take the name, the secret, and the call of auth_query that returned them.

        ``secret`` is None for an unknown user, and for methods without secrets
        (auth_type any, pam).
        """
        self.name = name
        self.secret = secret
        self.auth_query = auth_query


class UserLookup:
    """Finds users."""

    def __init__(self, context: ServiceContext, pools: Pools, store: AuthFile) -> None:
        """auth_query runs on servers of ``pools``."""
        self._context = context
        self._pools = pools
        self._store = store
        self._cache: dict[AuthQueryKey, tuple[float, User]] = {}

    @property
    def _settings(self) -> Settings:
        return self._context.configuration.settings

    def auth_user(self, spec: DatabaseSpec | None) -> str | None:
        """Return the user that runs auth_query for a database, None if none does."""
        own = None if spec is None else spec.auth_user
        return own or self._settings.auth_user

    def find(
        self, client: Frontend, spec: DatabaseSpec | None
    ) -> User | Deferred[User]:
        """Return the user that the client names.

        Raises, or has the Deferred fail with: BouncerConfigError, AuthDatabaseDisabled,
        or the failure of the server that ran auth_query.
        """
        secret = self._store.secret(client.user)
        if secret is not None:
            return User(client.user, secret)
        key = self._key(client, spec)
        if key is not None:
            client.log_as(client.database, client.user)
            return self._run(client, key)
        self._context.log.log(f"{client.prefix} no such user: {client.user}")
        return User(client.user, None)

    def _key(self, client: Frontend, spec: DatabaseSpec | None) -> AuthQueryKey | None:
        """Return the call of auth_query; None if none can be made."""
        is_console = client.database in CONSOLE_DATABASES
        auth_user = self.auth_user(spec)
        if auth_user is None or (spec is None and not is_console):
            return None
        settings = self._settings
        database = (spec and spec.auth_dbname) or settings.auth_dbname
        if database is None:
            if spec is None:
                raise BouncerConfigError(
                    detail="auth_query has no database to run in: the console is none."
                    " Set auth_dbname, or put the user into auth_file."
                )
            database = spec.name
        sql = (spec and spec.auth_query) or settings.auth_query
        return AuthQueryKey(database, auth_user, sql, client.user)

    def _run(self, client: Frontend, key: AuthQueryKey) -> User | Deferred[User]:
        if key.database in CONSOLE_DATABASES:
            self._context.log.error(
                f'{client.prefix} cannot use the reserved "{key.database}"'
                " database as an auth_dbname"
            )
            raise BouncerConfigError(detail="auth_query cannot run in the console.")
        spec = self._context.configuration.database(key.database)
        if spec is None:
            self._context.log.error(
                f"{client.prefix} authentication database"
                f' "{key.database}" is not configured.'
            )
            raise BouncerConfigError(detail="The database of auth_query is unknown.")
        if spec.name in self._pools.disabled:
            raise AuthDatabaseDisabled(database=spec.name)
        cached = self._cache.get(key)
        if cached is not None and self._context.clock() < cached[0]:
            return cached[1]
        query = AuthQuery(key.sql, key.user)
        pool = self._pools.pool_of(spec, key.auth_user)
        client.begin_login_wait()
        answered = pool.internal_queries.send(query, key.user)
        return answered.addCallback(lambda _: self._on_answer(client, key, query))

    def _on_answer(self, client: Frontend, key: AuthQueryKey, query: AuthQuery) -> User:
        client.end_login_wait()
        if query.unfit:
            self._context.log.error(f"{client.prefix} {query.complaint}")
            raise BouncerConfigError(detail="auth_query did not work: see the log.")
        if query.name is None:
            client.log_as(None, None)
            self._context.log.log(f"{client.prefix} no such user: {client.user}")
            # It has to prove itself like any other: users' names are not disclosed.
            found = User(client.user, None, key)
        else:
            found = User(query.name, query.secret, key)
            if query.secret:
                self._store.auth_query_kinds.add(query.secret.kind)
        ttl = self._settings.auth_query_cache_ttl
        if ttl > 0:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = self._context.clock() + ttl, found
        return found

    def forget(self, user: User) -> None:
        """Forget the answer about a user whose proof failed: its secret may be new."""
        if user.auth_query is not None:
            self._cache.pop(user.auth_query, None)

    def forget_all(self) -> None:
        """Forget all answers."""
        self._cache.clear()
