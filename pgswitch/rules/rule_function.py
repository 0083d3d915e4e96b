"""Calls one of the user's functions, times the call and checks the result.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pgswitch.rules.describe import describe_error, message_of, plain_str, type_name_of
from pgswitch.rules.encodings import UTF8, Codec
from pgswitch.rules.loader import RuleModule, function_of
from pgswitch.stats.times import Times
from pgswitch.wire.framing import MAX_MESSAGE_SIZE

MICROSECONDS: Final = 1_000_000
_DEFAULT_ARGUMENTS: Final = ("username", "query", "in_transaction")
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
