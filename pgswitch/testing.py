"""Tests rules without a server or a pooler, for the authors of rules.

::

    from pgswitch.testing import ask

    def test_reports_go_to_the_replica():
        outcome = ask("rules.py", "SELECT * FROM report", user="ann")
        assert outcome.database == "replica"

The command ``pgswitch rules`` prints the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from twisted.python.failure import Failure

from pgswitch.rules.evaluate import RuleSet
from pgswitch.rules.loader import REWRITING, ROUTING, RulesError, load_module
from pgswitch.rules.rule_function import Context, RuleFunction, RuleInput
from pgswitch.rules.waiting import as_deferred

SOMEBODY = Context("postgres", "127.0.0.1:5432", "", "", "simple")
"""The ``context`` that functions get if a test passes none.

``SOMEBODY._replace(database="dev")`` is the same in another database.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of the rules for a query."""

    query: str
    """The text that the server would get."""
    database: str | None
    """The key that routing_rules() returned; None: no routing."""
    failures: tuple[str, ...]
    """Errors, as in the log."""
    microseconds: int
    """The time that both functions took together."""
    refused: bool = False
    """The query is not sent at all: ``rewrite_query_disconnect_on_failure``."""


class Rules:
    """The functions of a file, loaded once for many queries."""

    def __init__(self, path: str) -> None:
        """Load the file as the pooler does; raises RulesError.

        The file may have either function or both.
        """
        module = load_module(path)
        self.module = module.module
        """The file as a module, so a test can read and set its variables."""
        found: dict[str, RuleFunction] = {
            name: RuleFunction(module, name, perf_counter)
            for name in (REWRITING, ROUTING)
            if hasattr(module.module, name)
        }
        if not found:
            raise RulesError(f"{path} has neither {REWRITING}() nor {ROUTING}()")
        self._rules = RuleSet(found.get(REWRITING), found.get(ROUTING))

    def ask(
        self,
        query: str,
        *,
        user: str = "postgres",
        in_transaction: bool = False,
        context: Context | None = None,
    ) -> Outcome:
        """Return the outcome of a query; it includes failures.

        An asynchronous function must not wait for events that need a reactor.
        """
        return at_once(
            self._rules,
            query,
            user=user,
            in_transaction=in_transaction,
            context=context,
        )


def ask(
    path: str,
    query: str,
    *,
    user: str = "postgres",
    in_transaction: bool = False,
    context: Context | None = None,
) -> Outcome:
    """Load a file of rules and return the outcome of one query.

    Raises pgswitch.rules.loader.RulesError for a file that the pooler would refuse.
    """
    return Rules(path).ask(
        query, user=user, in_transaction=in_transaction, context=context
    )


def at_once(
    rules: RuleSet,
    query: str,
    *,
    user: str,
    in_transaction: bool = False,
    context: Context | None = None,
) -> Outcome:
    """Return the outcome of a query, for rules that need no reactor."""
    rule_input = RuleInput(user, query, in_transaction, context or SOMEBODY)
    result = rules.begin(rule_input)
    while result.awaited is not None:
        given = _result(result.awaited)
        if isinstance(given, Failure):
            rules.resume_failed(given.value or given, rule_input, result)
        else:
            rules.resume(given, rule_input, result)
    return Outcome(
        query if result.text is None else result.text,
        result.key,
        result.failures,
        sum(rule.last_us for rule in rules.rules),
        result.refused,
    )


def _result(awaited: Any) -> object:  # noqa: ANN401 - the user's
    """Return the immediate result of an awaitable, or a Failure."""
    found: list[object] = []
    deferred = as_deferred(awaited)
    deferred.addBoth(found.append)
    if not found:
        deferred.cancel()
        return Failure(RuntimeError("waits for something that needs a reactor"))
    return found[0]
