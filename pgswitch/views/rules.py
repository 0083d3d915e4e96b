"""The user's functions in force, and what they make of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import RouteSnapshot, RuleSnapshot
from pgswitch.pool.cluster_databases import READER
from pgswitch.rules.rule_function import Context
from pgswitch.testing import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.pool.pools import Pools
    from pgswitch.rules.engine import RulesEngine

NO_ADDRESS = "(explain)"
"""Stands for the client's address where there is no client."""


class RulesView:
    """SHOW RULES and EXPLAIN ROUTE."""

    def __init__(self, pools: Pools, rules: RulesEngine) -> None:
        """Look at these parts of the service."""
        self._pools = pools
        self._rules = rules

    def rules(self) -> Sequence[RuleSnapshot]:
        """Return the functions in force, with the databases they are for."""
        registry = self._rules.registry
        if registry is None:
            return ()
        return [
            RuleSnapshot(
                rule=rule.name,
                database=",".join(registry.databases[key]),
                file=rule.module.path,
                written_at=rule.module.written_at,
                digest=rule.module.digest,
                calls=rule.stats.times.count,
                kept=rule.stats.kept,
                moves=rule.stats.moves,
                rewrites=rule.stats.rewrites,
                errors=rule.stats.errors,
                refused=rule.stats.refused,
                unknown=rule.stats.unknown,
                p50_us=rule.stats.times.percentile(0.5),
                p99_us=rule.stats.times.percentile(0.99),
                max_us=rule.stats.times.longest,
                last_error=rule.stats.last_error,
            )
            for key, rule in sorted(registry.rules.items())
        ]

    def route(self, query: str, user: str, database: str) -> RouteSnapshot:
        """Return what the rules make of a query of a client of this database."""
        rules = self._rules.rules_of(database)
        if rules is None:
            return RouteSnapshot(query=query, database=database, why="no rules")
        context = Context(database, NO_ADDRESS, "", "", "simple")
        outcome = at_once(rules, query, user=user, context=context)
        key = outcome.database
        target, role = database, ""
        why = "routing_rules did not name a database"
        if key is not None:
            why = f"routing_rules returned {key!r}"
            spec, role = self._rules.resolve_key(key)
            if spec is None:
                role = ""
                why += ", which is no entry of [databases]: the client stays"
            else:
                target = spec.name
        if outcome.refused:
            why = "the query is not sent, the client is disconnected"
        return RouteSnapshot(
            query=outcome.query,
            database=target,
            role=role or None,
            node=self._node(target, role),
            why="; ".join([why, *outcome.failures]),
            microseconds=outcome.microseconds,
        )

    def _node(self, name: str, role: str) -> str | None:
        """Return host and port where queries go; those of all readers for that role."""
        readers = self._pools.cluster_databases.readers(name) if role == READER else []
        places = (
            readers
            or [
                pool.route.target
                for pool in self._pools.of_database(name)
                if pool.route is not None
            ][:1]
        )
        spec = self._pools.spec_of_key(name)
        if spec is not None:
            places = places or [spec]
        return ", ".join(f"{p.host or 'unix'}:{p.port}" for p in places) or None
