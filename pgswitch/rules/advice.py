"""The rules in force at work: asks them about each client's queries, acts on answers.

One :class:`Advisor` stands beside the gate of each client (relay/gate.py); they share
one :class:`RulesDesk`, which holds the book of rules, and says what went wrong.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from pgswitch.errors import RewriteFailed, RuleMoveRefused
from pgswitch.pool.moving import move
from pgswitch.relay.gate import CHANGED, LATER, REFUSED, UNCHANGED, Gate
from pgswitch.rules.book import Book
from pgswitch.rules.calling import Context, Question
from pgswitch.rules.deciding import Answer, RuleSet, plain_key
from pgswitch.rules.encodings import Codec, codec_of
from pgswitch.wire.encode import error_response
from pgswitch.wire.exchange import FAILED, QUERY

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools
    from pgswitch.rules.calling import Rule
    from pgswitch.rules.deciding import Steps

SAID_AGAIN_S: Final = 10.0
"""How often one and the same complaint about a rule is logged at most."""
MOST_SAID: Final = 1000
"""Complaints that are remembered."""

_ENDS_TRANSACTION: Final = re.compile(
    r"(?>\s+|--[^\n]*(?:\n|$)|/\*(?>.*?\*/))*+"
    r"(?:commit|rollback|end|abort|release|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
"""What must get through wherever it is said, or nobody gets out of a transaction.

Atomic groups: the text is the client's, and must not take long to be found unfit.
"""


class RuleTimeout(Exception):
    """A function of the user's took longer than rules_timeout."""


class RulesDesk:
    """The rules in force, shared by all clients."""

    def __init__(self, context: PoolContext, pools: Pools) -> None:
        """Begin without rules."""
        self.context = context
        self.book: Book | None = None
        self._pools = pools
        self._said: dict[str, tuple[float, int]] = {}

    def load(self, configuration: Configuration) -> Book:
        """Return the book that a configuration asks for; raises RulesError."""
        return Book(configuration, self.book)

    def put_in_force(self, book: Book) -> None:
        """Have queries judged by this book from now on."""
        self.book = book
        self._said.clear()

    def rules_of(self, database: str) -> RuleSet | None:
        """Return the rules for the clients of a database, None if there are none."""
        return None if self.book is None else self.book.of_database(database)

    def routes(self, database: str) -> bool:
        """Tell whether clients of a database may be moved."""
        rules = self.rules_of(database)
        return rules is not None and rules.routing is not None

    def attach(self, client: Frontend) -> None:
        """Put a gate before a client that is logged in, if rules concern it."""
        if not client.logged_in or client.replicates:
            return
        if self.rules_of(client.database) is None:
            return
        if client.link.relaying and client.link.gate is None:
            Gate(client.link, Advisor(self, client))

    def target(self, key: str, client: Frontend, rule: Rule) -> ServerPool | None:
        """Return the pool that a key means for a client, None for an unknown key."""
        spec = self._spec(key)
        if spec is None:
            rule.measures.unknown += 1
            self.complain(
                f"{rule.name} returned nonexistent database key {key!r}:"
                " check [databases]; the client stays where it is"
            )
            return None
        return self._pools.pool(spec, client.user)

    def _spec(self, key: str) -> DatabaseSpec | None:
        """Return the entry of a key, which is not looked for under ``*``."""
        databases = self.context.configuration.databases
        for name in (key, plain_key(key)):
            spec = databases.get(name)
            if spec is not None and spec.dbname is not None:
                return spec
        return None

    def complain(self, text: str) -> None:
        """Log what went wrong, but not for each of ten thousand queries."""
        now = self.context.clock()
        since, more = self._said.get(text, (None, 0))
        if since is not None and now - since < SAID_AGAIN_S:
            self._said[text] = (since, more + 1)
            return
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said[text] = (now, 0)
        again = f" ({more} times more before)" if more else ""
        self.context.log.error(f"{text}{again}")


class Advisor:
    """Asks the rules about one client's queries: the Advisor of relay/gate.py."""

    def __init__(self, desk: RulesDesk, client: Frontend) -> None:
        """Begin with nothing asked."""
        self.data = b""
        self.refusal = b""
        self.provocation = b""
        self.home = ""
        self._desk = desk
        self._client = client
        self._parameters: object = None
        self._codec: Codec = codec_of(None)

    # What the gate asks.

    def ask(
        self, message_type: int, text: bytes, statement: bytes, /, *, is_inside: bool
    ) -> int:
        """Return what becomes of a Query or Parse; the client may have moved."""
        self.home = ""
        rules = self._desk.rules_of(self._client.database)
        if rules is None:
            return UNCHANGED
        user = self._client.user
        codec = self._present_codec()
        if rules.is_cacheable:
            kept = rules.kept(user, codec.name, text)
            if kept is not None:
                return self._act(kept, rules, text, is_inside=is_inside)
        decoded, codec = codec.decode(text)
        question = Question(user, decoded, is_inside, None, codec)
        if rules.wants_context:
            question.context = self._context(message_type, statement)
        answer = Answer()
        steps = rules.begin(question, answer)
        if steps is not None:
            return _Waiting(self, steps, answer, rules, text).begin()
        if rules.is_cacheable:
            rules.keep(user, self._codec.name, text, answer)
        return self._act(answer, rules, text, is_inside=is_inside)

    def is_away(self, home: str, /) -> bool:
        """Tell whether the client's pool is another than that of ``home``."""
        return bool(self._client.pool.key.database != plain_key(home))

    def bring(self, home: str, /, *, is_inside: bool) -> int:
        """Take the client to where a statement of its was sent."""
        rules = self._desk.rules_of(self._client.database)
        if rules is None or rules.routing is None:
            return UNCHANGED
        return self._go(home, rules.routing, b"", is_inside=is_inside)

    # What comes of it.

    def resolved(self, answer: Answer, rules: RuleSet, text: bytes) -> int:
        """Act on an answer that was long in coming."""
        link = self._client.link
        if self._client.closed:
            return UNCHANGED
        is_inside = link.server is not None and not link.exchange.clean
        return self._act(answer, rules, text, is_inside=is_inside)

    def answered(self, outcome: int) -> None:
        """Let the gate go on."""
        gate = self._client.link.gate
        if isinstance(gate, Gate):
            gate.answered(outcome)

    @property
    def desk(self) -> RulesDesk:
        """Return what all advisors share."""
        return self._desk

    def _act(
        self, answer: Answer, rules: RuleSet, text: bytes, *, is_inside: bool
    ) -> int:
        desk = self._desk
        client = self._client
        for failure in answer.failures:
            desk.complain(failure)
        for rule in answer.slow:
            desk.complain(
                f"{rule.name} kept everybody waiting for {rule.last_us / 1000:.0f} ms"
                " (rules_slow_ms)"
            )
        if answer.refused:
            client.disconnect(RewriteFailed())
            return UNCHANGED
        outcome = UNCHANGED
        if answer.data is not None:
            outcome = CHANGED
            self.data = self._tagged(answer.data)
            log = desk.context.log
            if log.debug_enabled:
                log.debug(f"{client.prefix} rewrote: {text!r} as {self.data!r}")
        if answer.key is not None and rules.routing is not None:
            sent = text if answer.data is None else answer.data
            if self._go(answer.key, rules.routing, sent, is_inside=is_inside):
                return REFUSED
            if _ENDS_TRANSACTION.match(sent.decode("ascii", "replace")):
                # A prepared COMMIT is for whatever transaction is open.
                self.home = ""
        return outcome

    def _go(self, key: str, rule: Rule, text: bytes, *, is_inside: bool) -> int:
        """Take the client to the pool of a key, if that is another and may be."""
        desk = self._desk
        client = self._client
        here: ServerPool = client.pool
        if key == here.key.database:
            self.home = key
            return UNCHANGED
        there = desk.target(key, client, rule)
        if there is None:
            return UNCHANGED
        if there is here:
            self.home = key
            return UNCHANGED
        if is_inside:
            return self._refuse(key, rule, text)
        move(client, there)
        self.home = key
        rule.measures.effects += 1
        log = desk.context.log
        if log.debug_enabled:
            log.debug(f"{client.prefix} goes from {here.key} to {there.key}: {text!r}")
        return UNCHANGED

    def _refuse(self, key: str, rule: Rule, text: bytes) -> int:
        """Refuse a move amid a transaction, or ignore that it was asked for."""
        desk = self._desk
        client = self._client
        settings = desk.context.configuration.settings
        if (
            settings.rules_reroute_in_transaction == "ignore"
            or client.link.exchange.status == FAILED
            or _ENDS_TRANSACTION.match(text.decode("ascii", "replace"))
        ):
            return UNCHANGED
        rule.measures.refused += 1
        fault = RuleMoveRefused(key=key, here=client.pool.key.database)
        if desk.context.log.debug_enabled:
            desk.context.log.debug(f"{client.prefix} refused: {fault.text}")
        self.refusal = error_response(fault)
        # Text that is no number: an error on every server, and nothing is done.
        words = re.sub(r"[^\w. -]", "_", key, flags=re.ASCII)
        self.provocation = (
            f"SELECT CAST('pgswitch: move to {words} refused inside a transaction'"
            " AS integer)"
        ).encode()
        return REFUSED

    # Facts.

    def _present_codec(self) -> Codec:
        """Return the codec of the client's client_encoding."""
        parameters = self._client.link.parameters
        if parameters is not self._parameters:
            self._parameters = parameters
            tracking = self._desk.context.tracking
            self._codec = codec_of(tracking.value(parameters, "client_encoding"))
        return self._codec

    def _context(self, message_type: int, statement: bytes) -> Context:
        client = self._client
        name = self._desk.context.tracking.value(
            client.link.parameters, "application_name"
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
        if not self._desk.context.configuration.settings.rewrite_query_tag:
            return data
        tag = b"rewritten_pid='%05d'*/" % os.getpid()
        if data.endswith(b"*/"):
            return data[:-2] + b"," + tag
        return data + b"/*" + tag


class _Waiting:
    """An answer that is yet to come, for as long as rules_timeout allows."""

    def __init__(
        self,
        advisor: Advisor,
        steps: Steps,
        answer: Answer,
        rules: RuleSet,
        text: bytes,
    ) -> None:
        """Take the steps that have something to be waited for."""
        self._advisor = advisor
        self._steps = steps
        self._answer = answer
        self._rules = rules
        self._text = text
        self._timer: IDelayedCall | None = None
        self._turn = 0
        """Counts what was waited for, so that what comes too late is known."""
        self._beginning = True
        self._outcome = LATER

    def begin(self) -> int:
        """Wait; return LATER, or the outcome if it was there at once."""
        self._go_on(self._steps.send, None)
        self._beginning = False
        return self._outcome

    def _wait(self, awaited: object) -> None:
        context = self._advisor.desk.context
        seconds = context.configuration.settings.rules_timeout
        self._turn += 1
        turn = self._turn
        deferred = _deferred(awaited)
        if seconds:
            self._timer = context.later(seconds, lambda: self._too_late(deferred))

        def came(value: object) -> None:
            if turn == self._turn:
                self._go_on(self._steps.send, value)

        def failed(failure: Failure) -> None:
            if turn == self._turn:
                self._go_on(self._steps.throw, failure.value)

        deferred.addCallbacks(came, failed)

    def _too_late(self, deferred: Deferred[Any]) -> None:
        self._turn += 1
        seconds = self._advisor.desk.context.configuration.settings.rules_timeout
        deferred.cancel()
        self._go_on(self._steps.throw, RuleTimeout(f"no answer for {seconds:g} s"))

    def _go_on(self, resume: Callable[[Any], object], value: object) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        try:
            awaited = resume(value)
        except StopIteration:
            outcome = self._advisor.resolved(self._answer, self._rules, self._text)
            if self._beginning:
                self._outcome = outcome
            else:
                self._advisor.answered(outcome)
            return
        self._wait(awaited)


def _deferred(awaited: Any) -> Deferred[Any]:  # noqa: ANN401 - the user's
    """Return what a function of the user's gave as a Deferred."""
    if isinstance(awaited, Deferred):
        return awaited

    async def result() -> object:
        return await awaited

    return Deferred.fromCoroutine(result())
