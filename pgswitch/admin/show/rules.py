"""SHOW RULES and EXPLAIN ROUTE: the user's functions and what they make of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.result_set import INT8, TEXT, Column, Columns, local_time
from pgswitch.admin.view import ServiceView, Show
from pgswitch.pool.cluster_databases import READER
from pgswitch.rules.rule_function import Context
from pgswitch.testing import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.rules.rule_function import RuleFunction

NO_ADDRESS: Final = "(explain)"
"""Stands for the client's address where there is no client."""


class RuleRow(NamedTuple):
    """A function in force, and the databases it is for."""

    rule: RuleFunction
    databases: Sequence[str]


_RULE: Final[Columns[RuleRow]] = (
    Column("rule", TEXT, "`rewrite_query` or `routing_rules`.", lambda r: r.rule.name),
    Column(
        "database",
        TEXT,
        "Databases whose clients it is for, separated by commas; `*` for all without"
        " rules of their own.",
        lambda r: ",".join(r.databases),
    ),
    Column("file", TEXT, "File of the function.", lambda r: r.rule.module.path),
    Column(
        *("written", TEXT, "When the file was written."),
        lambda r: local_time(r.rule.module.written_at),
    ),
    Column(
        *(
            "digest",
            TEXT,
            "SHA-256 of the file and of what it imports from its folder.",
        ),
        lambda r: r.rule.module.digest,
    ),
    Column("calls", INT8, "Calls.", lambda r: r.rule.stats.times.count),
    Column(
        *("kept", INT8, "Answers of a cacheable module that needed no call."),
        lambda r: r.rule.stats.cache_hits,
    ),
    Column(
        "moves", INT8, "Clients moved to another pool.", lambda r: r.rule.stats.moves
    ),
    Column("rewrites", INT8, "Queries rewritten.", lambda r: r.rule.stats.rewrites),
    Column(
        *("errors", INT8, "Calls that raised an exception or returned nonsense."),
        lambda r: r.rule.stats.errors,
    ),
    Column(
        "refused",
        INT8,
        "Moves asked for inside a transaction, and clients disconnected for a failure.",
        lambda r: r.rule.stats.refused,
    ),
    Column(
        *("unknown", INT8, "Returned keys that are no entry of `[databases]`."),
        lambda r: r.rule.stats.unknown,
    ),
    Column(
        *("p50_us", INT8, "The median time of a call."),
        lambda r: r.rule.stats.times.percentile(0.5),
        "µs",
    ),
    Column(
        *("p99_us", INT8, "The 99th percentile of the time of a call."),
        lambda r: r.rule.stats.times.percentile(0.99),
        "µs",
    ),
    Column(
        *("max_us", INT8, "The longest call."),
        lambda r: r.rule.stats.times.longest,
        "µs",
    ),
    Column(
        *("last_error", TEXT, "The last error, or NULL."),
        lambda r: r.rule.stats.last_error or None,
    ),
)


def _rules(view: ServiceView) -> list[RuleRow]:
    """Return the functions in force."""
    registry = view.rules.registry
    if registry is None:
        return []
    return [
        RuleRow(rule, registry.databases[key])
        for key, rule in sorted(registry.rules.items())
    ]


RULES: Final = Show(
    meaning="The routing and rewriting functions in force.",
    find=_rules,
    columns=_RULE,
)

# -------------------------------------------------------------------------- routes


class RouteRow(NamedTuple):
    """What the rules make of one query."""

    query: str
    database: str
    why: str
    role: str | None = None
    node: str | None = None
    microseconds: int = 0


_ROUTE: Final[Columns[RouteRow]] = (
    Column("query", TEXT, "The query as a server would get it.", lambda r: r.query),
    Column(
        *("database", TEXT, "Database it would go to; empty: where the client is."),
        lambda r: r.database,
    ),
    Column(
        *("role", TEXT, "Role of the node, if the rules chose one."),
        lambda r: r.role,
    ),
    Column("node", TEXT, "Host and port, or those of all readers.", lambda r: r.node),
    Column("why", TEXT, "Why it would go there.", lambda r: r.why),
    Column(
        *("microseconds", INT8, "How long the functions took."),
        lambda r: r.microseconds,
        "µs",
    ),
)


def explain_route(
    query: str = "", user: str = "", database: str = ""
) -> Show[RouteRow]:
    """Return the result of EXPLAIN ROUTE; to read its rows runs the functions.

    ``user`` and ``database`` are those of a client, empty where they do not matter.
    """
    return Show(
        meaning="What the rules make of one query.",
        find=lambda view: [_route(view, query, user, database)],
        columns=_ROUTE,
        needs_admin=True,
    )


def _route(view: ServiceView, query: str, user: str, database: str) -> RouteRow:
    rules = view.rules.rules_of(database)
    if rules is None:
        return RouteRow(query, database, "no rules")
    context = Context(database, NO_ADDRESS, "", "", "simple")
    outcome = at_once(rules, query, user=user, context=context)
    key = outcome.database
    target, role = database, ""
    why = "routing_rules did not name a database"
    if key is not None:
        why = f"routing_rules returned {key!r}"
        spec, role = view.rules.resolve_key(key)
        if spec is None:
            role = ""
            why += ", which is no entry of [databases]: the client stays"
        else:
            target = spec.name
    if outcome.refused:
        why = "the query is not sent, the client is disconnected"
    return RouteRow(
        outcome.query,
        target,
        "; ".join([why, *outcome.failures]),
        role or None,
        _node(view, target, role),
        outcome.microseconds,
    )


def _node(view: ServiceView, name: str, role: str) -> str | None:
    """Return host and port where queries go; those of all readers for that role."""
    pools = view.pools
    places = pools.cluster_databases.readers(name) if role == READER else []
    if not places:
        routes = [pool.route for pool in pools.of_database(name)]
        places = [route.target for route in routes if route is not None][:1]
    spec = pools.spec_of_key(name)
    if not places and spec is not None:
        places = [spec]
    return ", ".join(f"{one.host or 'unix'}:{one.port}" for one in places) or None
