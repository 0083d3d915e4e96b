"""The rules at work on one client: asks them about its queries, acts on answers.

An :class:`Advisor` stands beside the gate of each client (relay/interceptor.py).  All
share a ``RulesEngine`` (engine.py), which holds the book of rules and says what went
wrong.

This file is written in the typed subset that mypyc compiles and also runs as it is.
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
from pgswitch.rules.evaluate import RuleResult, RuleSet
from pgswitch.rules.rule_function import Context, RuleInput
from pgswitch.rules.waiting import PendingResult
from pgswitch.wire.encode import error_response
from pgswitch.wire.exchange import FAILED, QUERY
from pgswitch.wire.masking import masked

if TYPE_CHECKING:
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.rules.registry import RuleRegistry
    from pgswitch.rules.rule_function import RuleFunction

_ENDS_TRANSACTION: Final = re.compile(
    r"(?>\s+|--[^\n]*(?:\n|$)|/\*(?>.*?\*/))*+"
    r"(?:commit|rollback|end|abort|release|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
"""What must get through wherever it is said, or nobody gets out of a transaction.

Atomic groups: the text is the client's, and must not take long to be found unfit.
"""


CANCELLED: Final = b"SELECT CAST('pgswitch: cancelled' AS integer)"
"""An error on every server: in place of a query that was cancelled early."""
MAX_AHEAD_LENGTH: Final = 4096
"""Bytes of a query in which its first word is looked for."""
MAX_TAG_LENGTH: Final = 40
"""Bytes of the comment that may be put behind a rewritten query."""
MAX_SHOWN_LENGTH: Final = 400
"""Bytes of a query that are logged."""


class RouterEngine(Protocol):
    """What all advisors share; see engine.py."""

    context: ServiceContext
    registry: RuleRegistry | None

    def rules_of(self, database: str) -> RuleSet | None:
        """Return the rules for the clients of a database, None if there are none."""

    def target(
        self, key: str, client: Frontend, rule: RuleFunction, *, is_inside: bool
    ) -> ServerPool | None:
        """Return the pool that a key means for a client, None for an unknown key."""

    def log_limited(self, text: str) -> None:
        """Log what went wrong."""


class QueryRouter:
    """Asks the rules about one client's queries: the Advisor of relay/interfaces.py."""

    def __init__(
        self, engine: RouterEngine, client: Frontend, stream: ClientStream
    ) -> None:
        """Begin with nothing asked; ``stream`` is the client's."""
        self.engine = engine
        self.data = b""
        self.refusal = b""
        self.failing_query = b""
        self.database = ""
        self._client = client
        self._link = stream
        self._user: str = client.user
        self._registry: RuleRegistry | None = None
        self._rules: RuleSet | None = None
        """What the book has for this client."""
        self._parameters: tuple[str | None, ...] | None = None
        self._codec: Codec = UTF8
        """What these parameters ask for."""
        self._waiting: PendingResult | None = None
        """For a function that takes its time."""

    # What the gate asks.

    def ask(
        self,
        message_type: int,
        text: bytes,
        statement: bytes,
        around: int,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
        /,
    ) -> int:
        """Return what becomes of a Query or Parse; the client may have moved."""
        self.database = ""
        rules = self._present_rules()
        if rules is None:
            return UNCHANGED
        codec = self._present_codec()
        if rules.is_cacheable:
            kept = rules.kept(self._user, codec.name, text)
            if kept is not None:
                return self._act(kept, rules, text, is_inside)
        decoded, exact = codec.decode(text)
        context = None
        if rules.wants_context:
            context = self._context(message_type, statement)
        room = self._link.limit - 1 - around - MAX_TAG_LENGTH
        question = RuleInput(self._user, decoded, is_inside, context, exact, room)
        answer = rules.begin(question)
        if answer.awaited is not None:
            done = partial(self._resolved, answer, rules, text)
            waiting = PendingResult(self.engine.context, rules, question, answer, done)
            if not waiting.begin():
                self._waiting = waiting
                return LATER
        elif rules.is_cacheable:
            rules.keep(self._user, codec.name, text, answer)
        return self._act(answer, rules, text, is_inside)

    def is_away(self, home: str, /) -> bool:
        """Tell whether the client's pool may be another than that of ``home``."""
        return bool(self._client.pool.key.database != home)

    def route_to(self, home: str, /, *, is_inside: bool) -> int:
        """Take the client to where a statement of its was sent."""
        rules = self._present_rules()
        if rules is None or rules.routing is None:
            return UNCHANGED
        return self._go(home, rules.routing, b"", is_inside)

    def give_up(self) -> None:
        """Have the user's function stop: nobody waits for its answer any more."""
        self.failing_query = CANCELLED
        if self._waiting is not None:
            self._waiting.give_up()
            self._waiting = None

    # What comes of it.

    def _resolved(self, answer: RuleResult, rules: RuleSet, text: bytes) -> None:
        """Act on an answer that was long in coming, and let the gate go on."""
        self._waiting = None
        interceptor = self._link.interceptor
        if self._client.closed or not isinstance(interceptor, QueryInterceptor):
            return
        interceptor.answered(self._act(answer, rules, text, interceptor.is_inside()))

    def _act(
        self,
        answer: RuleResult,
        rules: RuleSet,
        text: bytes,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
    ) -> int:
        """Do what an answer says; return what becomes of the query."""
        if answer.failures or answer.slow:
            self._complain(answer)
        if answer.refused:
            self._client.disconnect(RewriteFailed())
            return UNCHANGED
        outcome = UNCHANGED
        if answer.data is not None and rules.rewriting is not None:
            outcome = CHANGED
            rules.rewriting.stats.rewrites += 1
            self.data = self._tagged(answer.data)
            log = self.engine.context.log
            if log.debug_enabled:
                prefix = self._client.prefix
                log.debug(f"{prefix} rewrote: {_shown(text)} as {_shown(self.data)}")
        if answer.key is not None and rules.routing is not None:
            sent = text if answer.data is None else answer.data
            if self._go(answer.key, rules.routing, sent, is_inside):
                return REFUSED
            if _ends_transaction(sent):
                # A prepared COMMIT is for whatever transaction is open.
                self.database = ""
        return outcome

    def _complain(self, answer: RuleResult) -> None:
        """Log what went wrong."""
        for failure in answer.failures:
            self.engine.log_limited(failure)
        for rule in answer.slow:
            self.engine.log_limited(
                f"{rule.name} kept everybody waiting for {rule.last_us / 1000:.0f} ms"
                " (rules_slow_ms)"
            )

    def _go(
        self,
        key: str,
        rule: RuleFunction,
        text: bytes,
        is_inside: bool,  # noqa: FBT001 - names cost in each call
    ) -> int:
        """Take the client to the pool of a key, if that is another and may be."""
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
        """Refuse a move amid a transaction, or ignore that it was asked for."""
        engine = self.engine
        client = self._client
        settings = engine.context.configuration.settings
        exchange = self._link.exchange
        if (
            settings.rules_reroute_in_transaction == "ignore"
            or (exchange.status == FAILED and not exchange.outstanding())
            or _ends_transaction(text)
        ):
            return UNCHANGED
        rule.stats.refused += 1
        fault = RuleMoveRefused(key=key, here=client.pool.key.database)
        if engine.context.log.debug_enabled:
            engine.context.log.debug(f"{client.prefix} refused: {fault.text}")
        self.refusal = error_response(fault)
        client.service.on_fault(client, fault)
        # Text that is no number: an error on every server, and nothing is done.
        words = re.sub(r"[^\w. -]", "_", key, flags=re.ASCII)
        self.failing_query = (
            f"SELECT CAST('pgswitch: move to {words} refused inside a transaction'"
            " AS integer)"
        ).encode()
        return REFUSED

    # Facts.

    def _present_rules(self) -> RuleSet | None:
        """Return the rules in force for this client."""
        registry = self.engine.registry
        if registry is not self._registry:
            self._registry = registry
            self._rules = self.engine.rules_of(self._client.database)
        return self._rules

    def _present_codec(self) -> Codec:
        """Return the codec of the client's client_encoding."""
        parameters = self._link.parameters
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
        """Return a rewritten query with the comment that some of our users look for."""
        if not self.engine.context.configuration.settings.rewrite_query_tag:
            return data
        tag = b"rewritten_pid='%05d'*/" % os.getpid()
        if data.endswith(b"*/"):
            return data[:-2] + b"," + tag
        return data + b"/*" + tag


def _ends_transaction(text: bytes) -> bool:
    """Tell whether a query begins with what ends a transaction."""
    head = text[:MAX_AHEAD_LENGTH].decode("ascii", "replace")
    return _ENDS_TRANSACTION.match(head) is not None


def _shown(text: bytes) -> str:
    """Return a query as the log shows it."""
    more = len(text) - MAX_SHOWN_LENGTH
    rest = f" and {more} bytes more" if more > 0 else ""
    shown = masked(text[:MAX_SHOWN_LENGTH].decode("utf-8", "backslashreplace"))
    return f"{shown!r}{rest}"
