"""Who a client is: a user of auth_file, one that auth_query names, or a stranger.

auth_query runs at every login of a user that auth_file does not have, unless
``auth_query_cache_ttl`` allows to believe an answer for a while.
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
"""Answers kept at once; more begin anew, which costs a query each."""


class AuthQueryKey(NamedTuple):
    """Where auth_query runs, as whom, what it is, about whom."""

    database: str
    auth_user: str
    sql: str
    user: str


class User:
    """A user: the name that pools go by, and what it has to prove."""

    __slots__ = ("asked", "secret", "user")

    def __init__(
        self, user: str, secret: Secret | None = None, asked: AuthQueryKey | None = None
    ) -> None:
        """Take the name, the secret, and what auth_query was asked to find them.

        ``secret`` is None for a stranger, and where nobody keeps a secret (auth_type
        any, pam).
        """
        self.user = user
        self.secret = secret
        self.asked = asked


class UserLookup:
    """Finds users."""

    def __init__(self, context: ServiceContext, pools: Pools, store: AuthFile) -> None:
        """``pools`` are where auth_query finds its servers."""
        self._context = context
        self._pools = pools
        self._store = store
        self._cache: dict[AuthQueryKey, tuple[float, User]] = {}

    @property
    def _settings(self) -> Settings:
        return self._context.configuration.settings

    def auth_user(self, spec: DatabaseSpec | None) -> str | None:
        """Return who runs auth_query for a database, None if nobody does."""
        own = None if spec is None else spec.auth_user
        return own or self._settings.auth_user

    def find(
        self, client: Frontend, spec: DatabaseSpec | None
    ) -> User | Deferred[User]:
        """Return who the client says it is.

        BouncerConfigError, AuthDatabaseDisabled, or what befell the server that was
        asked: raised, or the failure of the Deferred.
        """
        secret = self._store.secret(client.user)
        if secret is not None:
            return User(client.user, secret)
        question = self._question(client, spec)
        if question is not None:
            client.log_as(client.database, client.user)
            return self._ask(client, question)
        self._context.log.log(f"{client.prefix} no such user: {client.user}")
        return User(client.user, None)

    def _question(
        self, client: Frontend, spec: DatabaseSpec | None
    ) -> AuthQueryKey | None:
        """Return what to ask; None for a stranger that nobody can be asked about."""
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

    def _ask(self, client: Frontend, question: AuthQueryKey) -> User | Deferred[User]:
        if question.database in CONSOLE_DATABASES:
            self._context.log.error(
                f'{client.prefix} cannot use the reserved "{question.database}"'
                " database as an auth_dbname"
            )
            raise BouncerConfigError(detail="auth_query cannot run in the console.")
        spec = self._context.configuration.database(question.database)
        if spec is None:
            self._context.log.error(
                f"{client.prefix} authentication database"
                f' "{question.database}" is not configured.'
            )
            raise BouncerConfigError(detail="The database of auth_query is unknown.")
        if spec.name in self._pools.disabled:
            raise AuthDatabaseDisabled(database=spec.name)
        known = self._cache.get(question)
        if known is not None and self._context.clock() < known[0]:
            return known[1]
        query = AuthQuery(question.sql, question.user)
        pool = self._pools.pool_of(spec, question.auth_user)
        client.begin_login_wait()
        answered = pool.internal_queries.send(query, question.user)
        return answered.addCallback(lambda _: self._answered(client, question, query))

    def _answered(
        self, client: Frontend, question: AuthQueryKey, query: AuthQuery
    ) -> User:
        client.end_login_wait()
        if query.unfit:
            self._context.log.error(f"{client.prefix} {query.complaint}")
            raise BouncerConfigError(detail="auth_query did not work: see the log.")
        if query.name is None:
            client.log_as(None, None)
            self._context.log.log(f"{client.prefix} no such user: {client.user}")
            # Asked for a proof like any other: who may log in is nobody's business.
            found = User(client.user, None, question)
        else:
            found = User(query.name, query.secret, question)
            if query.secret:
                self._store.asked_kinds.add(query.secret.kind)
        ttl = self._settings.auth_query_cache_ttl
        if ttl > 0:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[question] = self._context.clock() + ttl, found
        return found

    def forget(self, identity: User) -> None:
        """Ask anew about a user whose proof failed: its secret may have changed."""
        if identity.asked is not None:
            self._cache.pop(identity.asked, None)

    def forget_all(self) -> None:
        """Ask anew about everybody."""
        self._cache.clear()
