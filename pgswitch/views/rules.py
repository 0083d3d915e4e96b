"""The user's functions in force, and what they make of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import RouteSnapshot, RuleSnapshot
from pgswitch.rules.deciding import plain_key
from pgswitch.testing import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.pool.context import PoolContext
    from pgswitch.rules.desk import RulesDesk


class RulesView:
    """SHOW RULES and EXPLAIN ROUTE."""

    def __init__(self, context: PoolContext, rules: RulesDesk) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._rules = rules

    def rules(self) -> Sequence[RuleSnapshot]:
        """Return the functions in force, with the databases they are for."""
        book = self._rules.book
        if book is None:
            return ()
        return [
            RuleSnapshot(
                rule=rule.name,
                database=",".join(book.databases[key]),
                file=rule.module.path,
                written_at=rule.module.written_at,
                digest=rule.module.digest,
                calls=rule.measures.times.count,
                kept=rule.measures.kept,
                effects=rule.measures.effects,
                errors=rule.measures.errors,
                refused=rule.measures.refused,
                unknown=rule.measures.unknown,
                p50_us=rule.measures.times.percentile(0.5),
                p99_us=rule.measures.times.percentile(0.99),
                max_us=rule.measures.times.longest,
                last_error=rule.measures.last_error,
            )
            for key, rule in sorted(book.rules.items())
        ]

    def route(self, query: str, user: str, database: str) -> RouteSnapshot:
        """Return what the rules make of a query of a client of this database."""
        rules = self._rules.rules_of(database)
        if rules is None:
            return RouteSnapshot(query=query, database=database, why="no rules")
        outcome = at_once(rules, query, user=user)
        key = outcome.database
        if key is None:
            target, why = database, "routing_rules did not name a database"
        else:
            target, why = plain_key(key), f"routing_rules returned {key!r}"
        spec = self._context.configuration.databases.get(target)
        if spec is None and key is not None:
            why += ", which is no entry of [databases]: the client stays"
        return RouteSnapshot(
            query=outcome.query,
            database=target,
            role=key.rpartition(":")[2] if key and target != key else None,
            node=None if spec is None else f"{spec.host or 'unix'}:{spec.port}",
            why="; ".join([why, *outcome.failures]),
            microseconds=outcome.microseconds,
        )
