"""What becomes of one Query or Parse: rewritten first, then routed.

Pure: what a function of the user's is still working out is handed to the caller, who
sends the result in when it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pgswitch.rules.calling import (
    Question,
    Rule,
    WrongAnswer,
    is_awaitable,
    rewritten,
    routed,
)

Made = TypeVar("Made")

MOST_KEPT: Final = 10_000
"""Answers of a cacheable module that are kept, the least recently used go first."""
LONGEST_KEPT: Final = 8192
"""Bytes of a query whose answer is kept."""

Steps = Generator[Any, Any, None]
"""Gives what is to be waited for, takes the result; at its end all is decided."""


@dataclass(slots=True)
class Answer:
    """What the user's functions make of a query."""

    text: str | None = None
    """The rewritten text, None for unchanged."""
    data: bytes | None = None
    """The same in the client's encoding."""
    key: str | None = None
    """Where to go, None to stay."""
    failures: tuple[str, ...] = ()
    """What went wrong, for the log."""
    refused: bool = False
    """The rewriting failed, and then the query must not be sent."""
    slow: tuple[Rule, ...] = ()
    """Whose call kept everybody waiting for too long."""


class RuleSet:
    """The functions for the clients of one database, and what is to be done with them.

    ``refuses`` is rewrite_query_disconnect_on_failure; ``slow_us`` the limit of a
    call in microseconds, 0 for none.
    """

    def __init__(
        self,
        rewriting: Rule | None,
        routing: Rule | None,
        *,
        refuses: bool = False,
        slow_us: int = 0,
    ) -> None:
        """Begin with an empty store of answers."""
        self.rewriting = rewriting
        self.routing = routing
        self.refuses = refuses
        self.slow_us = slow_us
        rules = [rule for rule in (rewriting, routing) if rule is not None]
        self.rules = rules
        self.wants_context = any(rule.wants_context for rule in rules)
        self.is_cacheable = bool(rules) and all(rule.cacheable for rule in rules)
        self._kept: dict[tuple[str, str, bytes], Answer] = {}

    def kept(self, user: str, codec: str, raw: bytes) -> Answer | None:
        """Return the answer kept for a query, if the modules allow that at all."""
        at = (user, codec, raw)
        answer = self._kept.pop(at, None)
        if answer is not None:
            self._kept[at] = answer
            for rule in self.rules:
                rule.measures.kept += 1
        return answer

    def keep(self, user: str, codec: str, raw: bytes, answer: Answer) -> None:
        """Keep an answer, unless something went wrong with it."""
        if not self.is_cacheable or answer.failures or len(raw) > LONGEST_KEPT:
            return
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[user, codec, raw] = answer

    def begin(self, question: Question, answer: Answer) -> Steps | None:
        """Rewrite, then route the result; whatever the functions do, nothing raises.

        Fills the answer.  If steps are returned, they are to be gone through first.
        """
        rule = self.rewriting
        if rule is None:
            return self._route(question, question.text, answer)
        value = self._called(rule, question, question.text, answer)
        if value is not None and not isinstance(value, str) and is_awaitable(value):
            return self._rest(rule, value, question, answer)
        return self._rewrite(rule, value, question, answer)

    def _rewrite(
        self, rule: Rule, value: object, question: Question, answer: Answer
    ) -> Steps | None:
        """Take what rewrite_query gave, and go on with routing."""
        text = question.text
        made = self._judged(rule, rewritten, value, question, answer)
        if made is not None:
            text, answer.data = made
            answer.text = text
            rule.measures.effects += 1
        elif answer.failures and self.refuses:
            rule.measures.refused += 1
            answer.refused = True
            return None
        return self._route(question, text, answer)

    def _route(self, question: Question, text: str, answer: Answer) -> Steps | None:
        rule = self.routing
        if rule is None:
            return None
        value = self._called(rule, question, text, answer)
        if value is not None and not isinstance(value, str) and is_awaitable(value):
            return self._rest(rule, value, question, answer)
        answer.key = self._judged(rule, routed, value, question, answer)
        return None

    def _called(
        self, rule: Rule, question: Question, text: str, answer: Answer
    ) -> object:
        """Return what a function returns; None, and a failure noted, if it raises."""
        try:
            value = rule(question, text)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's, SystemExit too
            answer.failures = (*answer.failures, rule.failed(error))
            return None
        if 0 < self.slow_us < rule.last_us:
            answer.slow = (*answer.slow, rule)
        return value

    def _judged(
        self,
        rule: Rule,
        judge: Callable[[object, Question], Made | None],
        value: object,
        question: Question,
        answer: Answer,
    ) -> Made | None:
        """Return what an answer amounts to; None, and a failure noted, if nothing."""
        if value is None:
            return None
        try:
            return judge(value, question)
        except WrongAnswer as error:
            answer.failures = (*answer.failures, rule.failed(error))
            return None

    def _rest(
        self, rule: Rule, value: object, question: Question, answer: Answer
    ) -> Steps:
        """Have something waited for, then go on with what comes of it."""
        try:
            value = yield value
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - the user's, SystemExit too
            answer.failures = (*answer.failures, rule.failed(error))
            value = None
        if rule is self.routing:
            answer.key = self._judged(rule, routed, value, question, answer)
            return
        more = self._rewrite(rule, value, question, answer)
        if more is not None:
            yield from more


def plain_key(key: str) -> str:
    """Return a key without the role that a rule may ask for behind a colon."""
    name, _, role = key.rpartition(":")
    return name if name and role in ("reader", "writer") else key
