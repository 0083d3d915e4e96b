"""Rules in the tests of those who write them, with no server and no pooler.

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
"""What a function is told that asks for a ``context``, if a test says nothing else.

``SOMEBODY._replace(database="dev")`` is the same in another database.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules make of a query."""

    query: str
    """The text that a server would get."""
    database: str | None
    """The key that routing_rules() returned, None to stay."""
    failures: tuple[str, ...]
    """What went wrong, as the log would say it."""
    microseconds: int
    """How long both functions took together."""
    refused: bool = False
    """It is not sent at all: ``rewrite_query_disconnect_on_failure``."""


class Rules:
    """The functions of a file, to be asked again and again."""

    def __init__(self, path: str) -> None:
        """Load the file as the pooler does; raises RulesError.

        It may have either function or both.
        """
        module = load_module(path)
        self.module = module.module
        """The file as a module, so that a test can set and see what is in it."""
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
        """Return what becomes of a query; failures are in the outcome.

        An asynchronous function must not wait for what only a reactor can bring.
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
    """Load a file of rules and return what becomes of one query.

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
    """Return what rules make of a query, as far as that needs no waiting."""
    question = RuleInput(user, query, in_transaction, context or SOMEBODY)
    answer = rules.begin(question)
    while answer.awaited is not None:
        given = _result(answer.awaited)
        if isinstance(given, Failure):
            rules.failed(given.value or given, question, answer)
        else:
            rules.came(given, question, answer)
    return Outcome(
        query if answer.text is None else answer.text,
        answer.key,
        answer.failures,
        sum(rule.last_us for rule in rules.rules),
        answer.refused,
    )


def _result(awaited: Any) -> object:  # noqa: ANN401 - the user's
    """Return what an awaitable gives at once, or a Failure."""
    found: list[object] = []
    deferred = as_deferred(awaited)
    deferred.addBoth(found.append)
    if not found:
        deferred.cancel()
        return Failure(RuntimeError("waits for something that only a reactor brings"))
    return found[0]
