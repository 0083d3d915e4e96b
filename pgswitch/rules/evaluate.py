"""What becomes of one Query or Parse: rewritten first, then routed.

Pure: what a function of the user's is still working out is handed to the caller, who
sends the result in when it is there.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.rules.describe import is_ctrl_c
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
    pending: RuleFunction | None = None
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
        self._cache: dict[tuple[str, str, bytes], RuleResult] = {}

    def cached(self, user: str, codec: str, raw: bytes) -> RuleResult | None:
        """Return the answer kept for a query, if the modules allow that at all."""
        at = (user, codec, raw)
        result = self._cache.pop(at, None)
        if result is not None:
            self._cache[at] = result
            for rule in self.rules:
                rule.stats.cache_hits += 1
        return result

    def cache(self, user: str, codec: str, raw: bytes, result: RuleResult) -> None:
        """Keep an answer, unless something went wrong with it."""
        if not self.is_cacheable or result.failures or len(raw) > MAX_CACHED_LENGTH:
            return
        if len(self._cache) >= self.max_cached:
            del self._cache[next(iter(self._cache))]
        self._cache[user, codec, raw] = result

    def begin(self, rule_input: RuleInput) -> RuleResult:
        """Rewrite, then route the result; whatever the functions do, nothing raises.

        If the answer says that something is awaited, :meth:`came` or :meth:`failed`
        is to be called with what comes of that.
        """
        result = RuleResult()
        rule = self.rewriting
        if rule is None:
            if self.routing is not None:
                self._route(rule_input, result, self.routing.clock())
            return result
        value = self._called(rule, rule_input, rule_input.text, result, rule.clock())
        if result.pending is None:
            self._rewrite(rule, value, rule_input, result)
        return result

    def resume(self, value: object, rule_input: RuleInput, result: RuleResult) -> None:
        """Go on with what was awaited."""
        rule = result.pending
        result.awaited = None
        result.pending = None
        if rule is None:
            return
        if rule is self.routing:
            self._routed(rule, value, result)
        else:
            rule.ended = rule.clock()
            self._rewrite(rule, value, rule_input, result)

    def resume_failed(
        self, error: BaseException, rule_input: RuleInput, result: RuleResult
    ) -> None:
        """Go on without what was awaited."""
        rule = result.pending
        if rule is not None:
            result.failures = (*result.failures, rule.record_failure(error))
        self.resume(None, rule_input, result)

    def _rewrite(
        self,
        rule: RuleFunction,
        value: object,
        rule_input: RuleInput,
        result: RuleResult,
    ) -> None:
        """Take what rewrite_query gave, and go on with routing."""
        if value is not None:
            try:
                made = rewritten(value, rule_input)
                if made is not None:
                    result.text, result.data = made
            except BaseException as error:
                # The user's again: a value can do anything when it is looked at.
                if is_ctrl_c(error):
                    raise
                result.failures = (*result.failures, rule.record_failure(error))
        if self.refuses and result.failures:
            rule.stats.refused += 1
            result.refused = True
            return
        begin = rule.ended if result.text is None else rule.clock()
        self._route(rule_input, result, begin)

    def _route(self, rule_input: RuleInput, result: RuleResult, begin: float) -> None:
        """Ask routing_rules about the text that is to be sent."""
        rule = self.routing
        if rule is None:
            return
        text = rule_input.text if result.text is None else result.text
        value = self._called(rule, rule_input, text, result, begin)
        if result.pending is None and value is not None:
            self._routed(rule, value, result)

    def _routed(self, rule: RuleFunction, value: object, result: RuleResult) -> None:
        """Take what routing_rules gave."""
        try:
            result.key = routed(value)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            result.failures = (*result.failures, rule.record_failure(error))

    def _called(
        self,
        rule: RuleFunction,
        rule_input: RuleInput,
        text: str,
        result: RuleResult,
        begin: float,
    ) -> object:
        """Return what a function returns; None, and a failure noted, if it raises.

        What is yet to come is noted in the answer.
        """
        try:
            value = rule.call(rule_input, text, begin)
            if value is not None and is_awaitable(value):
                result.awaited = value
                result.pending = rule
        except BaseException as error:
            # The user's; it must not end the process, or leave without an answer.
            if is_ctrl_c(error):
                raise
            result.failures = (*result.failures, rule.record_failure(error))
            return None
        if 0 < self.slow_us < rule.last_us:
            result.slow = (*result.slow, rule)
        return value


def split_key(key: str) -> tuple[str, str]:
    """Return a key and the role that a rule asks for behind a colon, or no role."""
    name, _, role = key.rpartition(":")
    return (name, role) if name and role in ("reader", "writer") else (key, "")
