"""One function of the user: called, timed, and its answer judged.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pgswitch.rules.describe import kind_of, plain, told, words_of
from pgswitch.rules.encodings import UTF8, Codec
from pgswitch.rules.loader import RuleModule, function_of
from pgswitch.rules.rule_stats import RuleStats
from pgswitch.wire.framing import MAX_MESSAGE_SIZE

MICROSECONDS: Final = 1_000_000
_USUAL: Final = ("username", "query", "in_transaction")
MAX_KEY_LENGTH: Final = 1024
"""Characters of a key that routing_rules may return: names of databases are shorter."""
_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"].__get__
"""What no class of the user's can hide."""


class Context(NamedTuple):
    """What a function that has a parameter ``context`` is told besides."""

    database: str
    """Entry of ``[databases]`` that the client named at its login."""
    address: str
    """Where the client comes from, as log lines show it."""
    application_name: str
    statement: str
    """Name of the prepared statement, empty for an unnamed one and simple queries."""
    protocol: str
    """``simple`` or ``extended``."""


class RuleInput:
    """One Query or Parse, as the user's functions are asked about it."""

    def __init__(  # noqa: PLR0917 - names cost in each call
        self,
        user: str,
        text: str,
        in_transaction: bool,  # noqa: FBT001 - named as the users' functions name it
        context: Context | None = None,
        codec: Codec = UTF8,
        room: int = MAX_MESSAGE_SIZE,
    ) -> None:
        """Take the arguments; ``context`` is needed when a function wants it.

        ``room``: bytes that another text may have.
        """
        self.user = user
        self.text = text
        self.in_transaction = in_transaction
        self.context = context
        self.codec = codec
        self.room = room


class InvalidResult(Exception):
    """A function returned what cannot be used."""


class RuleFunction:
    """A user's function; ``name`` is rewrite_query or routing_rules."""

    def __init__(
        self, module: RuleModule, name: str, clock: Callable[[], float]
    ) -> None:
        """Take the function out of its module; raises RulesError."""
        self.module = module
        self.name = name
        self.function, self._arguments, self.wants_context = function_of(module, name)
        self._is_usual = self._arguments == len(_USUAL) and not self.wants_context
        self.cacheable = vars(module.module).get("cacheable") is True
        self.stats = RuleStats()
        self.last_us = 0
        """How long the last call took."""
        self.clock = clock
        self.ended = 0.0
        """When that was, by the clock."""

    def call(self, question: RuleInput, text: str, begin: float) -> object:
        """Return what the function returns, perhaps something to wait for.

        ``begin`` is the time now: where one call follows another, one look at the
        clock is enough for both.
        """
        try:
            if self._is_usual:
                return self.function(question.user, text, question.in_transaction)
            given = (question.user, text, question.in_transaction)[: self._arguments]
            if self.wants_context:
                return self.function(*given, context=question.context)
            return self.function(*given)
        finally:
            self.ended = self.clock()
            self.last_us = int((self.ended - begin) * MICROSECONDS)
            self.stats.times.note(self.last_us)

    def failed(self, error: BaseException) -> str:
        """Count a failure; return it in words, with its place in the user's code."""
        self.stats.errors += 1
        words = words_of(error) if type(error) is InvalidResult else told(error)
        self.stats.last_error = words + self._place(error)
        return f"{self.name} failed: {self.stats.last_error}"

    def _place(self, error: BaseException) -> str:
        """Return where in the user's code an exception comes from."""
        place = ""
        step = _TRACEBACK(error)
        while step is not None:
            code = step.tb_frame.f_code
            if code.co_filename in self.module.files:
                place = f" ({code.co_filename}, line {step.tb_lineno})"
            step = step.tb_next
        return place


def is_awaitable(value: object) -> bool:
    """Tell whether an answer is yet to come: a coroutine, a Deferred, a Future."""
    return not isinstance(value, str) and hasattr(value, "__await__")


def rewritten(value: object, question: RuleInput) -> tuple[str, bytes] | None:
    """Return text and bytes that rewrite_query gave, None to leave the query as it is.

    Raises WrongAnswer for what is no query.
    """
    if value is None or value is question.text:
        return None
    if not isinstance(value, str):
        raise InvalidResult(f"returned {kind_of(value)}, neither str nor None")
    value = plain(value)
    if not value:
        raise InvalidResult("returned an empty text")
    if value == question.text:
        return None
    if "\0" in value:
        raise InvalidResult("returned a text with a NUL character in it")
    try:
        data = question.codec.encode(value, question.text)
    except UnicodeError as error:
        raise InvalidResult(
            f"returned a text that is not possible in {question.codec.name}: {error}"
        ) from None
    if len(data) > question.room:
        raise InvalidResult("returned a text too long for max_packet_size")
    return value, data


def routed(value: object) -> str | None:
    """Return the key that routing_rules gave, None to stay; raises WrongAnswer."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidResult(f"returned {kind_of(value)}, neither str nor None")
    key = plain(value)
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidResult(f"returned a key of {len(key)} characters")
    return key
