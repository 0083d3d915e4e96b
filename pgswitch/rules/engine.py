"""The rules in force, shared by all clients, and the log of their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgswitch.errors import DatabaseDisabled
from pgswitch.pool.cluster_databases import READER
from pgswitch.pool.modes import equip
from pgswitch.relay.interceptor import QueryInterceptor
from pgswitch.rules.evaluate import split_key
from pgswitch.rules.registry import RuleRegistry
from pgswitch.rules.router import QueryRouter

if TYPE_CHECKING:
    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools
    from pgswitch.rules.evaluate import RuleSet
    from pgswitch.rules.rule_function import RuleFunction

LOG_INTERVAL_S: Final = 10.0
"""Minimum time between two log lines with the same text."""
MAX_LOGGED: Final = 1000
"""Maximum number of texts remembered for that."""


class RulesEngine:
    """Holds the registry of rules; attaches interceptors to clients with rules."""

    def __init__(self, context: ServiceContext, pools: Pools) -> None:
        """Start without rules."""
        self.context = context
        self.registry: RuleRegistry | None = None
        self._pools = pools
        self._logged: dict[str, tuple[float, int]] = {}

    def load(self, configuration: Configuration) -> RuleRegistry:
        """Load the rules of a configuration; raises RulesError."""
        return RuleRegistry(configuration, self.registry)

    def put_in_force(self, registry: RuleRegistry) -> None:
        """Use this registry from now on."""
        self.registry = registry
        self._logged.clear()

    def rules_of(self, database: str) -> RuleSet | None:
        """Return the rules for the clients of a database, None if there are none."""
        return None if self.registry is None else self.registry.of_database(database)

    def routes(self, database: str) -> bool:
        """Return whether rules may move clients of a database."""
        rules = self.rules_of(database)
        return rules is not None and rules.routing is not None

    def attach(self, client: Frontend) -> None:
        """Attach an interceptor to a logged-in client whose database has rules."""
        if not client.logged_in or client.replicates or client.console is not None:
            return
        if self.rules_of(client.database) is None:
            return
        equip(client, self.routes)
        if client.stream.relaying and client.stream.interceptor is None:
            QueryInterceptor(client.stream, QueryRouter(self, client, client.stream))

    def resolve_key(self, key: str) -> tuple[DatabaseSpec | None, str]:
        """Return a key's entry (None for an unknown key) and role."""
        spec = self._pools.spec_of_key(key)
        if spec is not None:
            return spec, ""
        name, role = split_key(key)
        return self._pools.spec_of_key(name), role

    def target(
        self, key: str, client: Frontend, rule: RuleFunction, *, is_inside: bool
    ) -> ServerPool | None:
        """Return a client's pool for a key, None for an unknown key.

        A client routed to a database that the console has disabled is disconnected,
        as at a login.  Inside a transaction, ``:reader`` means the node of the cluster
        that the client is using, be it a reader or the writer.
        """
        spec, role = self.resolve_key(key)
        if spec is None:
            rule.stats.unknown += 1
            self.log_limited(
                f"{rule.name} returned nonexistent database key {key!r}:"
                " check [databases]; the client stays where it is"
            )
            return None
        name = spec.name
        here: ServerPool = client.pool
        if (
            name in self._pools.disabled
            and not is_inside
            and not self._pools.is_of(here, name)
        ):
            client.disconnect(DatabaseDisabled(database=name))
            return None
        if not role:
            return self._pools.pool(spec, client.user)
        if is_inside and role == READER and self._pools.is_of(here, name):
            return here
        return self._pools.pool_for_role(spec, client.user, role, here)

    def log_limited(self, text: str) -> None:
        """Log an error, but not for each of ten thousand queries."""
        now = self.context.clock()
        since, more = self._logged.get(text, (None, 0))
        if since is not None and now - since < LOG_INTERVAL_S:
            self._logged[text] = (since, more + 1)
            return
        if len(self._logged) >= MAX_LOGGED:
            self._logged.clear()
        self._logged[text] = (now, 0)
        again = f" ({more} times more before)" if more else ""
        self.context.log.error(f"{text}{again}")
