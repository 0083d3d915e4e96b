"""What the user's routing and rewriting functions lead to."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.report import Fault, LogLevelName, Severity


class RuleMoveRefused(Fault):
    """A rule sends a query elsewhere while a transaction or pipeline is under way.

    The server ends that with an error of its own, which this is told in place of.
    """

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
    """rewrite_query failed, and such a query must not be sent as it is."""

    text = "rewrite_query failed (rewrite_query_disconnect_on_failure)"
    hint = "The pooler's log says what went wrong."
    log_level: ClassVar[LogLevelName] = "error"
