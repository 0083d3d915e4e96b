"""Applies the rules to one client: evaluates its queries and acts on the results.

Each client with an interceptor (relay/interceptor.py) has a :class:`QueryRouter`.  All
share a ``RulesEngine`` (engine.py), which holds the registry of rules and logs errors.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from pgswitch.errors import RewriteFailed, RuleMoveRefused
from pgswitch.pool.pool import move_client
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.interceptor import QueryInterceptor
from pgswitch.relay.interfaces import CHANGED, LATER, REFUSED, UNCHANGED
from pgswitch.rules.encodings import UTF8, Codec, codec_of
from pgswitch.rules.evaluate import Context, RuleInput, RuleResult, RuleSet
from pgswitch.rules.waiting import PendingResult
from pgswitch.wire.constants import QUERY, STATUS_FAILED
from pgswitch.wire.encode import error_response
from pgswitch.wire.trace import masked

if TYPE_CHECKING:
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.rules.evaluate import RuleFunction
    from pgswitch.rules.registry import RuleRegistry

_ENDS_TRANSACTION: Final = re.compile(
    r"(?>\s+|--[^\n]*(?:\n|$)|/\*(?>.*?\*/))*+"
    r"(?:commit|rollback|end|abort|release|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Statements that are never refused; otherwise a client could not leave a transaction.

Atomic groups: a client chooses the text, and rejecting it must not take long.
"""


CANCELLED: Final = b"SELECT CAST('pgswitch: cancelled' AS integer)"
"""An error on every server: replaces a query that was canceled before it was sent."""
MAX_AHEAD_LENGTH: Final = 4096
"""Maximum bytes of a query to search for its first word."""
MAX_TAG_LENGTH: Final = 40
"""Maximum bytes of the comment that is appended to a rewritten query."""
MAX_SHOWN_LENGTH: Final = 400
"""Maximum bytes of a query in the log."""


class RouterEngine(Protocol):
    """The part of RulesEngine (engine.py) that routers use."""

    context: ServiceContext
    registry: RuleRegistry | None

    def rules_of(self, database: str) -> RuleSet | None:
        """Return the rules for the clients of a database, None if there are none."""

    def target(
        self, key: str, client: Frontend, rule: RuleFunction, *, is_inside: bool
    ) -> ServerPool | None:
        """Return a client's pool for a key, None for an unknown key."""

    def log_limited(self, text: str) -> None:
        """Log an error, but the same one not too often."""


class QueryRouter:
    """Applies the rules to one client's queries: the Router of relay/interfaces.py."""

    def __init__(
        self, engine: RouterEngine, client: Frontend, stream: ClientStream
    ) -> None:
        """Start with no query; ``stream`` is the client's."""
        self.engine = engine
        self.data = b""
        self.refusal = b""
        self.failing_query = b""
        self.database = ""
        self._client = client
        self._stream = stream
        self._user: str = client.user
        self._registry: RuleRegistry | None = None
        self._rules: RuleSet | None = None
        """The registry's rules for this client."""
        self._parameters: tuple[str | None, ...] | None = None
        self._codec: Codec = UTF8
        """The codec for these parameters."""
        self._waiting: PendingResult | None = None
        """The result of an asynchronous function."""

    # Called by the interceptor.

    def ask(
        self,
        message_type: int,
        text: bytes,
        statement: bytes,
        around: int,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
        /,
    ) -> int:
        """Evaluate a Query or Parse; returns the outcome.  The client may move."""
        self.database = ""
        rules = self._current_rules()
        if rules is None:
            return UNCHANGED
        codec = self._current_codec()
        if rules.is_cacheable:
            cached = rules.cached(self._user, codec.name, text)
            if cached is not None:
                return self._act(cached, rules, text, is_inside)
        decoded, exact = codec.decode(text)
        context = None
        if rules.wants_context:
            context = self._context(message_type, statement)
        max_bytes = self._stream.limit - 1 - around - MAX_TAG_LENGTH
        rule_input = RuleInput(
            self._user, decoded, is_inside, context, exact, max_bytes
        )
        result = rules.begin(rule_input)
        if result.awaited is not None:
            done = partial(self._resolved, result, rules, text)
            waiting = PendingResult(
                self.engine.context, rules, rule_input, result, done
            )
            if not waiting.begin():
                self._waiting = waiting
                return LATER
        elif rules.is_cacheable:
            rules.cache(self._user, codec.name, text, result)
        return self._act(result, rules, text, is_inside)

    def is_away(self, database: str, /) -> bool:
        """Tell whether the client's pool may be another than that of ``database``."""
        return bool(self._client.pool.key.database != database)

    def route_to(self, database: str, /, *, is_inside: bool) -> int:
        """Move the client to the database where one of its statements was sent."""
        rules = self._current_rules()
        if rules is None or rules.routing is None:
            return UNCHANGED
        return self._move_to(database, rules.routing, b"", is_inside)

    def give_up(self) -> None:
        """Cancel the user's function: its result is no longer needed."""
        self.failing_query = CANCELLED
        if self._waiting is not None:
            self._waiting.give_up()
            self._waiting = None

    # Acting on results.

    def _resolved(self, result: RuleResult, rules: RuleSet, text: bytes) -> None:
        """Act on the result of an asynchronous function; resume the interceptor."""
        self._waiting = None
        interceptor = self._stream.interceptor
        if self._client.closed or not isinstance(interceptor, QueryInterceptor):
            return
        interceptor.answered(self._act(result, rules, text, interceptor.is_inside()))

    def _act(
        self,
        result: RuleResult,
        rules: RuleSet,
        text: bytes,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
    ) -> int:
        """Act on a result; return the outcome for the query."""
        if result.failures or result.slow:
            self._log_problems(result)
        if result.refused:
            self._client.disconnect(RewriteFailed())
            return UNCHANGED
        outcome = UNCHANGED
        if result.data is not None and rules.rewriting is not None:
            outcome = CHANGED
            rules.rewriting.stats.rewrites += 1
            self.data = self._tagged(result.data)
            log = self.engine.context.log
            if log.debug_enabled:
                prefix = self._client.prefix
                log.debug(f"{prefix} rewrote: {_shown(text)} as {_shown(self.data)}")
        if result.key is not None and rules.routing is not None:
            sent = text if result.data is None else result.data
            if self._move_to(result.key, rules.routing, sent, is_inside):
                return REFUSED
            if _ends_transaction(sent):
                # A prepared COMMIT may run in a transaction on any server.
                self.database = ""
        return outcome

    def _log_problems(self, result: RuleResult) -> None:
        """Log failures and slow calls."""
        for failure in result.failures:
            self.engine.log_limited(failure)
        limit = self.engine.context.configuration.settings.rules_slow_ms
        for rule in result.slow:
            self.engine.log_limited(
                f"{rule.name} blocked the event loop for {rule.last_us / 1000:.0f} ms"
                f" (limit rules_slow_ms = {limit})"
            )

    def _move_to(
        self,
        key: str,
        rule: RuleFunction,
        text: bytes,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
    ) -> int:
        """Move the client to the pool of a key, if it is another and allowed."""
        engine = self.engine
        client = self._client
        here: ServerPool = client.pool
        if key == here.key.database:
            self.database = key
            return UNCHANGED
        there = engine.target(key, client, rule, is_inside=is_inside)
        if there is None:
            return UNCHANGED
        if there is here:
            self.database = key
            return UNCHANGED
        if is_inside:
            return self._refuse(key, rule, text)
        move_client(client, there)
        self.database = key
        rule.stats.moves += 1
        log = engine.context.log
        if log.debug_enabled:
            shown = _shown(text)
            log.debug(f"{client.prefix} goes from {here.key} to {there.key}: {shown}")
        return UNCHANGED

    def _refuse(self, key: str, rule: RuleFunction, text: bytes) -> int:
        """Refuse or ignore a move inside a transaction."""
        engine = self.engine
        client = self._client
        settings = engine.context.configuration.settings
        exchange = self._stream.exchange
        if (
            settings.rules_reroute_in_transaction == "ignore"
            or (exchange.status == STATUS_FAILED and not exchange.outstanding())
            or _ends_transaction(text)
        ):
            return UNCHANGED
        rule.stats.refused += 1
        fault = RuleMoveRefused(key=key, here=client.pool.key.database)
        if engine.context.log.debug_enabled:
            engine.context.log.debug(f"{client.prefix} refused: {fault.text}")
        self.refusal = error_response(fault)
        client.service.on_fault(client, fault)
        # Text that is not a number: an error on every server, without side effects.
        words = re.sub(r"[^\w. -]", "_", key, flags=re.ASCII)
        self.failing_query = (
            f"SELECT CAST('pgswitch: move to {words} refused inside a transaction'"
            " AS integer)"
        ).encode()
        return REFUSED

    # Helpers.

    def _current_rules(self) -> RuleSet | None:
        """Return the rules in force for this client."""
        registry = self.engine.registry
        if registry is not self._registry:
            self._registry = registry
            self._rules = self.engine.rules_of(self._client.database)
        return self._rules

    def _current_codec(self) -> Codec:
        """Return the codec of the client's client_encoding."""
        parameters = self._stream.parameters
        if parameters is not self._parameters:
            self._parameters = parameters
            tracking = self.engine.context.tracking
            self._codec = codec_of(tracking.value(parameters, "client_encoding"))
        return self._codec

    def _context(self, message_type: int, statement: bytes) -> Context:
        client = self._client
        name = self.engine.context.tracking.value(
            client.stream.parameters, "application_name"
        )
        return Context(
            database=client.database,
            address=str(client.address),
            application_name=name or "",
            statement=statement.decode("utf-8", "surrogateescape"),
            protocol="simple" if message_type == QUERY else "extended",
        )

    def _tagged(self, data: bytes) -> bytes:
        """Append the comment of rewrite_query_tag to a rewritten query."""
        if not self.engine.context.configuration.settings.rewrite_query_tag:
            return data
        tag = b"rewritten_pid='%05d'*/" % os.getpid()
        if data.endswith(b"*/"):
            return data[:-2] + b"," + tag
        return data + b"/*" + tag


def _ends_transaction(text: bytes) -> bool:
    """Return whether a query begins with a statement that ends a transaction."""
    head = text[:MAX_AHEAD_LENGTH].decode("ascii", "replace")
    return _ENDS_TRANSACTION.match(head) is not None


def _shown(text: bytes) -> str:
    """Return a query for the log, shortened and masked."""
    more = len(text) - MAX_SHOWN_LENGTH
    rest = f" and {more} bytes more" if more > 0 else ""
    shown = masked(text[:MAX_SHOWN_LENGTH].decode("utf-8", "backslashreplace"))
    return f"{shown!r}{rest}"
