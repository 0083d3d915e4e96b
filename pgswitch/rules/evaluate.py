"""Applies the rules to one Query or Parse: first rewriting, then routing.

Pure: the caller awaits the awaitable of an asynchronous function and passes its result
in.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
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
"""Maximum number of cached results; the least recently used are dropped."""
MAX_CACHED_LENGTH: Final = 8192
"""Maximum length of a query with a cached result, in bytes."""


class RuleResult:
    """The result of the user's functions for a query; at first: no change."""

    text: str | None = None
    """The rewritten text, None for unchanged."""
    data: bytes | None = None
    """The rewritten text in the client's encoding."""
    key: str | None = None
    """The database key to route to, None to stay."""
    failures: tuple[str, ...] = ()
    """Error texts for the log."""
    refused: bool = False
    """Rewriting failed, and the query must not be sent."""
    slow: tuple[RuleFunction, ...] = ()
    """Functions whose call blocked the event loop for too long."""
    awaited: object = None
    """The awaitable to wait for, None when the result is complete."""
    pending: RuleFunction | None = None
    """The function that returned it."""


class RuleSet:
    """The functions for the clients of one database, and their settings.

    ``refuses`` is rewrite_query_disconnect_on_failure; ``slow_us`` is the limit of a
    call in microseconds, 0 for none; ``max_cached`` limits the cached results.
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
        """Start with an empty cache."""
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
        """Return the cached result of a query, None if there is none."""
        at = (user, codec, raw)
        result = self._cache.pop(at, None)
        if result is not None:
            self._cache[at] = result
            for rule in self.rules:
                rule.stats.cache_hits += 1
        return result

    def cache(self, user: str, codec: str, raw: bytes, result: RuleResult) -> None:
        """Cache a result, if the modules allow it and no function failed."""
        if not self.is_cacheable or result.failures or len(raw) > MAX_CACHED_LENGTH:
            return
        if len(self._cache) >= self.max_cached:
            del self._cache[next(iter(self._cache))]
        self._cache[user, codec, raw] = result

    def begin(self, rule_input: RuleInput) -> RuleResult:
        """Rewrite, then route; raises nothing, whatever the functions do.

        If the result has something to await, call :meth:`resume` or
        :meth:`resume_failed` with its outcome.
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
        """Continue with the value of the awaitable."""
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
        """Continue after the awaitable has failed."""
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
        """Take the value of rewrite_query, and continue with routing."""
        if value is not None:
            try:
                made = rewritten(value, rule_input)
                if made is not None:
                    result.text, result.data = made
            except BaseException as error:
                # The user's code again: an object can do anything when it is used.
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
        """Call routing_rules with the text that will be sent."""
        rule = self.routing
        if rule is None:
            return
        text = rule_input.text if result.text is None else result.text
        value = self._called(rule, rule_input, text, result, begin)
        if result.pending is None and value is not None:
            self._routed(rule, value, result)

    def _routed(self, rule: RuleFunction, value: object, result: RuleResult) -> None:
        """Take the value of routing_rules."""
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
        """Call a function; if it raises, record the failure and return None.

        An awaitable is stored in the result.
        """
        try:
            value = rule.call(rule_input, text, begin)
            if value is not None and is_awaitable(value):
                result.awaited = value
                result.pending = rule
        except BaseException as error:
            # The user's code must not end the process or leave the query hanging.
            if is_ctrl_c(error):
                raise
            result.failures = (*result.failures, rule.record_failure(error))
            return None
        if 0 < self.slow_us < rule.last_us:
            result.slow = (*result.slow, rule)
        return value


def split_key(key: str) -> tuple[str, str]:
    """Split a key into name and role: ``a:reader``; the role is empty without one."""
    name, _, role = key.rpartition(":")
    return (name, role) if name and role in ("reader", "writer") else (key, "")
