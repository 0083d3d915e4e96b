"""Errors of the user's routing and rewriting functions."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.report import Fault, LogLevelName, Severity


class RuleMoveRefused(Fault):
    """routing_rules moves a query away from a transaction or pipeline in progress."""

    severity: ClassVar[Severity] = "ERROR"
    text_limit: ClassVar[int | None] = None
    sqlstate = "25001"
    text = (
        'routing_rules asked for database "{key}" inside a transaction or pipeline'
        ' that runs on "{here}"'
    )
    hint = (
        "A transaction stays on one server: have the function return None while "
        "in_transaction is true, or set rules_reroute_in_transaction = ignore."
    )


class RewriteFailed(Fault):
    """rewrite_query failed.

    The setting rewrite_query_disconnect_on_failure forbids sending the query as it is.
    """

    text = "rewrite_query failed (rewrite_query_disconnect_on_failure)"
    hint = "The pooler's log says what went wrong."
    log_level: ClassVar[LogLevelName] = "error"
