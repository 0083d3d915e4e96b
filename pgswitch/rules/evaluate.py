"""What becomes of one Query or Parse: rewritten first, then routed.

Pure: what a function of the user's is still working out is handed to the caller, who
sends the result in when it is there.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.rules.describe import is_of_a_signal
from pgswitch.rules.rule_function import (
    RuleFunction,
    RuleInput,
    is_awaitable,
    rewritten,
    routed,
)

MAX_CACHED: Final = 10_000
"""Answers of a cacheable module that are kept, the least recently used go first."""
MAX_CACHED_LENGTH: Final = 8192
"""Bytes of a query whose answer is kept."""


class RuleResult:
    """What the user's functions make of a query; at first: as it is, where it is."""

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
    slow: tuple[RuleFunction, ...] = ()
    """Whose call kept everybody waiting for too long."""
    awaited: object = None
    """What is to be waited for before more can be said, None when all is said."""
    asked: RuleFunction | None = None
    """Whose answer that will be."""


class RuleSet:
    """The functions for the clients of one database, and what is to be done with them.

    ``refuses`` is rewrite_query_disconnect_on_failure; ``slow_us`` the limit of a
    call in microseconds, 0 for none; ``max_cached`` how many answers are kept.
    """

    def __init__(
        self,
        rewriting: RuleFunction | None,
        routing: RuleFunction | None,
        *,
        refuses: bool = False,
        slow_us: int = 0,
        max_cached: int = MAX_CACHED,
    ) -> None:
        """Begin with an empty store of answers."""
        self.rewriting = rewriting
        self.routing = routing
        self.refuses = refuses
        self.slow_us = slow_us
        self.max_cached = max_cached
        rules = [rule for rule in (rewriting, routing) if rule is not None]
        self.rules = rules
        self.wants_context = any(rule.wants_context for rule in rules)
        self.is_cacheable = bool(rules) and all(rule.cacheable for rule in rules)
        self._kept: dict[tuple[str, str, bytes], RuleResult] = {}

    def kept(self, user: str, codec: str, raw: bytes) -> RuleResult | None:
        """Return the answer kept for a query, if the modules allow that at all."""
        at = (user, codec, raw)
        answer = self._kept.pop(at, None)
        if answer is not None:
            self._kept[at] = answer
            for rule in self.rules:
                rule.stats.kept += 1
        return answer

    def keep(self, user: str, codec: str, raw: bytes, answer: RuleResult) -> None:
        """Keep an answer, unless something went wrong with it."""
        if not self.is_cacheable or answer.failures or len(raw) > MAX_CACHED_LENGTH:
            return
        if len(self._kept) >= self.max_cached:
            del self._kept[next(iter(self._kept))]
        self._kept[user, codec, raw] = answer

    def begin(self, question: RuleInput) -> RuleResult:
        """Rewrite, then route the result; whatever the functions do, nothing raises.

        If the answer says that something is awaited, :meth:`came` or :meth:`failed`
        is to be called with what comes of that.
        """
        answer = RuleResult()
        rule = self.rewriting
        if rule is None:
            if self.routing is not None:
                self._route(question, answer, self.routing.clock())
            return answer
        value = self._called(rule, question, question.text, answer, rule.clock())
        if answer.asked is None:
            self._rewrite(rule, value, question, answer)
        return answer

    def came(self, value: object, question: RuleInput, answer: RuleResult) -> None:
        """Go on with what was awaited."""
        rule = answer.asked
        answer.awaited = None
        answer.asked = None
        if rule is None:
            return
        if rule is self.routing:
            self._routed(rule, value, answer)
        else:
            rule.ended = rule.clock()
            self._rewrite(rule, value, question, answer)

    def failed(
        self, error: BaseException, question: RuleInput, answer: RuleResult
    ) -> None:
        """Go on without what was awaited."""
        rule = answer.asked
        if rule is not None:
            answer.failures = (*answer.failures, rule.failed(error))
        self.came(None, question, answer)

    def _rewrite(
        self, rule: RuleFunction, value: object, question: RuleInput, answer: RuleResult
    ) -> None:
        """Take what rewrite_query gave, and go on with routing."""
        if value is not None:
            try:
                made = rewritten(value, question)
                if made is not None:
                    answer.text, answer.data = made
            except BaseException as error:
                # The user's again: a value can do anything when it is looked at.
                if is_of_a_signal(error):
                    raise
                answer.failures = (*answer.failures, rule.failed(error))
        if self.refuses and answer.failures:
            rule.stats.refused += 1
            answer.refused = True
            return
        begin = rule.ended if answer.text is None else rule.clock()
        self._route(question, answer, begin)

    def _route(self, question: RuleInput, answer: RuleResult, begin: float) -> None:
        """Ask routing_rules about the text that is to be sent."""
        rule = self.routing
        if rule is None:
            return
        text = question.text if answer.text is None else answer.text
        value = self._called(rule, question, text, answer, begin)
        if answer.asked is None and value is not None:
            self._routed(rule, value, answer)

    def _routed(self, rule: RuleFunction, value: object, answer: RuleResult) -> None:
        """Take what routing_rules gave."""
        try:
            answer.key = routed(value)
        except BaseException as error:
            if is_of_a_signal(error):
                raise
            answer.failures = (*answer.failures, rule.failed(error))

    def _called(
        self,
        rule: RuleFunction,
        question: RuleInput,
        text: str,
        answer: RuleResult,
        begin: float,
    ) -> object:
        """Return what a function returns; None, and a failure noted, if it raises.

        What is yet to come is noted in the answer.
        """
        try:
            value = rule.call(question, text, begin)
            if value is not None and is_awaitable(value):
                answer.awaited = value
                answer.asked = rule
        except BaseException as error:
            # The user's; it must not end the process, or leave without an answer.
            if is_of_a_signal(error):
                raise
            answer.failures = (*answer.failures, rule.failed(error))
            return None
        if 0 < self.slow_us < rule.last_us:
            answer.slow = (*answer.slow, rule)
        return value


def parted_key(key: str) -> tuple[str, str]:
    """Return a key and the role that a rule asks for behind a colon, or no role."""
    name, _, role = key.rpartition(":")
    return (name, role) if name and role in ("reader", "writer") else (key, "")
