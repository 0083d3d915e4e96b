"""Applies the rules to one Query or Parse: first rewriting, then routing.

A :class:`RuleFunction` calls one function of the user, times the call and checks the
result; a :class:`RuleSet` has the two functions for the clients of a database.

Pure: the caller awaits the awaitable of an asynchronous function and passes its result
in.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pgswitch.rules.describe import (
    describe_error,
    is_ctrl_c,
    message_of,
    plain_str,
    type_name_of,
)
from pgswitch.rules.encodings import UTF8, Codec
from pgswitch.rules.loader import RuleModule, function_of
from pgswitch.stats.times import Times
from pgswitch.wire.framing import MAX_MESSAGE_SIZE

MICROSECONDS: Final = 1_000_000
_DEFAULT_ARGUMENTS: Final = ("username", "query", "in_transaction")
MAX_CACHED: Final = 10_000
"""Maximum number of cached results; the least recently used are dropped."""
MAX_CACHED_LENGTH: Final = 8192
"""Maximum length of a query with a cached result, in bytes."""
MAX_KEY_LENGTH: Final = 1024
"""Maximum characters of a key from routing_rules; database names are shorter."""
_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"].__get__
"""Reads ``__traceback__`` even if the user's class overrides it."""


class Context(NamedTuple):
    """The argument of a function that has a parameter ``context``."""

    database: str
    """Entry of ``[databases]`` that the client named at its login."""
    address: str
    """The client's address, as in log lines."""
    application_name: str
    statement: str
    """The prepared statement's name; empty for an unnamed one and simple queries."""
    protocol: str
    """``simple`` or ``extended``."""


class RuleInput:
    """The input of the user's functions for one Query or Parse."""

    def __init__(  # noqa: PLR0917 - names cost in each call
        self,
        user: str,
        text: str,
        in_transaction: bool,  # noqa: FBT001 - named as the users' functions name it
        context: Context | None = None,
        codec: Codec = UTF8,
        max_bytes: int = MAX_MESSAGE_SIZE,
    ) -> None:
        """Take the arguments; ``context`` is required if a function wants it.

        ``max_bytes``: bytes that another text may have.
        """
        self.user = user
        self.text = text
        self.in_transaction = in_transaction
        self.context = context
        self.codec = codec
        self.max_bytes = max_bytes


class InvalidResult(Exception):
    """A function returned a value that cannot be used."""


class RuleFunction:
    """A user's function; ``name`` is rewrite_query or routing_rules."""

    def __init__(
        self, module: RuleModule, name: str, clock: Callable[[], float]
    ) -> None:
        """Find the function in its module; raises RulesError."""
        self.module = module
        self.name = name
        self.function, self._arguments, self.wants_context = function_of(module, name)
        self._has_default_arguments = (
            self._arguments == len(_DEFAULT_ARGUMENTS) and not self.wants_context
        )
        self.cacheable = vars(module.module).get("cacheable") is True
        self.stats = RuleStats()
        self.last_us = 0
        """Duration of the last call in microseconds."""
        self.clock = clock
        self.ended = 0.0
        """End of the last call, by the clock."""

    def call(self, rule_input: RuleInput, text: str, begin: float) -> object:
        """Call the function; returns its result, which may be an awaitable.

        ``begin`` is the present time: consecutive calls share one reading of the
        clock.
        """
        try:
            if self._has_default_arguments:
                return self.function(rule_input.user, text, rule_input.in_transaction)
            given = (rule_input.user, text, rule_input.in_transaction)[
                : self._arguments
            ]
            if self.wants_context:
                return self.function(*given, context=rule_input.context)
            return self.function(*given)
        finally:
            self.ended = self.clock()
            self.last_us = int((self.ended - begin) * MICROSECONDS)
            self.stats.times.note(self.last_us)

    def record_failure(self, error: BaseException) -> str:
        """Count a failure; return its text, with the location in the user's code."""
        self.stats.errors += 1
        words = (
            message_of(error) if type(error) is InvalidResult else describe_error(error)
        )
        self.stats.last_error = words + self._location(error)
        return f"{self.name} failed: {self.stats.last_error}"

    def _location(self, error: BaseException) -> str:
        """Return where in the user's code an exception was raised."""
        place = ""
        step = _TRACEBACK(error)
        while step is not None:
            code = step.tb_frame.f_code
            if code.co_filename in self.module.files:
                place = f" ({code.co_filename}, line {step.tb_lineno})"
            step = step.tb_next
        return place


def is_awaitable(value: object) -> bool:
    """Return whether a result is a coroutine, a Deferred or a Future."""
    return not isinstance(value, str) and hasattr(value, "__await__")


def rewritten(value: object, rule_input: RuleInput) -> tuple[str, bytes] | None:
    """Return rewrite_query's result as text and bytes, None for an unchanged query.

    Raises InvalidResult for a value that is not a query.
    """
    if value is None or value is rule_input.text:
        return None
    if not isinstance(value, str):
        raise InvalidResult(f"returned {type_name_of(value)}, neither str nor None")
    value = plain_str(value)
    if not value:
        raise InvalidResult("returned an empty text")
    if value == rule_input.text:
        return None
    if "\0" in value:
        raise InvalidResult("returned a text with a NUL character in it")
    try:
        data = rule_input.codec.encode(value, rule_input.text)
    except UnicodeError as error:
        raise InvalidResult(
            f"returned a text that is not possible in {rule_input.codec.name}: {error}"
        ) from None
    if len(data) > rule_input.max_bytes:
        raise InvalidResult("returned a text too long for max_packet_size")
    return value, data


def routed(value: object) -> str | None:
    """Return routing_rules' result, None to stay; raises InvalidResult."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidResult(f"returned {type_name_of(value)}, neither str nor None")
    key = plain_str(value)
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidResult(f"returned a key of {len(key)} characters")
    return key


class RuleStats:
    """The counts and times of one function, for SHOW RULES."""

    def __init__(self) -> None:
        """Start at zero."""
        self.times = Times()
        self.cache_hits = 0
        """Results from the cache of a cacheable module, without a call."""
        self.moves = 0
        self.rewrites = 0
        self.errors = 0
        self.refused = 0
        """Moves inside a transaction, or clients disconnected for a failure."""
        self.unknown = 0
        """Keys without a ``[databases]`` entry."""
        self.last_error = ""


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
