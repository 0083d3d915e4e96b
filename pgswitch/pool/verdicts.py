"""Clients of one pool whose server was lost, held until it is known why.

A loss is a symptom: the writer may move, or only one backend have been ended, by an
administrator or by what the client asked of it.  So what might be run again is held
until there is a verdict:

======= ====================================== ==========================
MOVED   there is another writer; or the node   it is run again
        of a reader cannot be connected to
LEAVING the writer is given up                 run again if the server
                                               said that it ends (57P01);
                                               else held further
BACK    the same node is the writer again      the same, else told
WELL    a new connection finds the node well   the client is told
UNKNOWN no verdict in time                     the client is told
======= ====================================== ==========================

Nothing is run again a second time, nor when ``query_wait_timeout`` is over since it was
asked first.  What can not be run again is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from time import time
from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.errors import QueryWaitTimeout
from pgswitch.pool.aftermath import Outcome
from pgswitch.pool.bereft import refusal, take_stock, tell
from pgswitch.sql.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IDelayedCall

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.bereft import Loss
    from pgswitch.pool.context import PoolContext
    from pgswitch.relay.client import ClientLink
    from pgswitch.relay.rack import Rack
    from pgswitch.topology.calling import Finding, Heard

PATIENCE_S = 0.5
"""For how much longer than ``switchover_silence``, when a node that says nothing is
given up, a client is held without a verdict, unless a writer is searched."""
CALL_AGAIN_S = 0.05
"""How soon a node is called on again that has not told enough."""
TOLD_ENDED = "57P01"
"""What a server says that is shut down, or whose backend is ended by a command."""
RAN_AGAIN = "statement run again"
"""The cause that SHOW ERRORS has for it, with a SQLSTATE that is no error."""
NO_ERROR = "00000"


class Verdict(Enum):
    """What explains the loss of a server, in words for the client."""

    MOVED = "its node is not used any more"
    LEAVING = "its node is given up"
    BACK = "its node was restarted"
    WELL = "its node is well"
    UNKNOWN = "nothing explains the loss"


TWICE, TOO_LATE = "it had been run again before", "query_wait_timeout is over"
NOT_WANTED, ENDING = "switchover_retry is off", "pgswitch shuts down"
"""Why a statement is not run again, whatever the verdict."""


class Where(Protocol):
    """What is needed of a site; see pool/site.py."""

    @property
    def searching(self) -> bool:
        """Whether there is no place now, and clients wait."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""

    def verdict(self, reason: str) -> Verdict | None:
        """Return what explains the loss of a server, None if that is to be found out.

        ``reason`` is why the server was closed.
        """

    def verdict_of(self, finding: Finding, *, undone: bool) -> Verdict | None:
        """Return what a call on the node says of a loss; None: nothing for certain.

        ``undone``: the server had said that it ends.
        """

    def call(self, heard: Heard) -> None:
        """Call on the node over a new connection, from now on."""

    def note(self, outcome: Outcome | None) -> None:
        """Note what became of a client whose server was lost; None: disconnected."""

    def note_error(self, sqlstate: str) -> None:
        """Note that a client was told of its loss with this SQLSTATE."""

    def refresh(self) -> None:
        """Send clients that wait to where they are served, if that is elsewhere."""


class Home(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: PoolContext
    spec: DatabaseSpec
    rack: Rack

    @property
    def site(self) -> Where | None:
        """Where the servers are, if the database is a cluster."""

    def serve_waiters(self) -> None:
        """Give servers to those who wait; open more."""


def asked_at(link: ClientLink) -> float:
    """Return when a client that waits asked for the first time what it waits for."""
    client = cast("Frontend", link.frontend)
    if client.requeued and client.requeued == link.exchange.query_start:
        return client.requeued_since
    return link.waiting_since


@dataclass(eq=False, slots=True)
class Held:
    """One client that is held."""

    loss: Loss
    timers: list[IDelayedCall] = field(default_factory=list)

    def stop(self) -> None:
        """Wait for nothing any more."""
        for timer in self.timers:
            if timer.active():
                timer.cancel()
        self.timers.clear()


class Verdicts:
    """Decides about the clients of one pool that have lost a server of a cluster."""

    def __init__(self, pool: Home) -> None:
        """Begin with nobody held."""
        self._pool = pool
        self._held: dict[ClientLink, Held] = {}
        """In the order of the losses."""

    def links(self) -> Iterable[ClientLink]:
        """Return the clients that are held."""
        return tuple(self._held)

    def lost(self, link: ClientLink, backend: Backend, reason: str) -> None:
        """Take a client whose server was closed for this reason; they are unlinked."""
        pool = self._pool
        site = pool.site
        assert site is not None  # noqa: S101 - of a cluster's pool
        loss = take_stock(
            link,
            backend,
            reason,
            mode=backend.link.mode,
            on_standby=site.is_standby,
        )
        if loss is None:
            site.note(None)
            return
        if loss.outcome is not Outcome.AGAIN:
            tell(loss)
            site.note(loss.outcome)
            return
        now = pool.context.clock()
        self._count(link, now)
        held = self._held[link] = Held(loss)
        link.halt()
        link.waiting_since = now
        why_not = self._why_not(loss, now)
        if why_not:
            self._refuse(held, why_not)
            return
        verdict = site.verdict(reason)
        if verdict is not None and self._apply(verdict, [held]):
            self._serve()
        if link in self._held:
            self._bound(held)
            if verdict is None:
                self._call(held)

    def requeue(self, link: ClientLink) -> None:
        """Have a client wait again that has asked nothing of the server it lost."""
        context = self._pool.context
        now = context.clock()
        self._count(link, now)
        if context.farewell is not None:
            link.frontend.disconnect(context.farewell())
            return
        if self._is_over(link, now):
            link.frontend.disconnect(QueryWaitTimeout())
            return
        self._wait_first([link], now)
        self._serve()

    def decide(self, verdict: Verdict) -> None:
        """Take a verdict for all that are held; they wait until they are served."""
        self._apply(verdict, [*self._held.values()])

    def call_again(self) -> None:
        """Have the node called on for all that are held: what was found is old."""
        for held in [*self._held.values()]:
            held.stop()
            self._bound(held)
            self._call(held)

    def give_up(self) -> None:
        """Hold nobody any more: there will be no verdict."""
        self.decide(Verdict.UNKNOWN)

    def forget(self, link: ClientLink) -> None:
        """Let go of a client that leaves."""
        held = self._held.pop(link, None)
        if held is not None:
            held.stop()

    def let_go(self, link: ClientLink) -> bool:
        """Leave what a client asks to the caller; False: the client is not held."""
        if link not in self._held:
            return False
        self.forget(link)
        link.again()
        return True

    # One client.

    def _count(self, link: ClientLink, now: float) -> None:
        """Count for this statement, from the first time that it lost a server."""
        client = cast("Frontend", link.frontend)
        start = link.exchange.query_start
        if not start or client.requeued != start:
            start = link.exchange.query_start = start or now
            client.requeued, client.requeued_since, client.reruns = start, start, 0

    def _why_not(self, loss: Loss, now: float) -> str:
        """Return why a statement is not run again, whatever the verdict; or nothing."""
        context = self._pool.context
        if not context.configuration.settings.switchover_retry:
            return NOT_WANTED
        if context.farewell is not None:
            return ENDING
        if loss.client.reruns:
            return TWICE
        return TOO_LATE if self._is_over(loss.link, now) else ""

    def _is_over(self, link: ClientLink, now: float) -> bool:
        """Tell whether a client has waited for a server for as long as it may."""
        client = cast("Frontend", link.frontend)
        pool = self._pool
        limit = pool.context.effective.query_wait_timeout(pool.spec, client.user)
        return bool(limit) and now - client.requeued_since > limit

    def _bound(self, held: Held) -> None:
        """Hold a client for so long at most, unless a writer is searched then."""
        context = self._pool.context
        limit = context.configuration.settings.switchover_silence + PATIENCE_S
        held.timers.append(context.later(limit, partial(self._give_up, held)))

    def _call(self, held: Held) -> None:
        site = self._pool.site
        if site is not None and held.loss.link in self._held:
            site.call(partial(self._found, held))

    def _found(self, held: Held, finding: Finding) -> None:
        """Hear what a call has found that began after the loss."""
        site = self._pool.site
        if site is None or self._held.get(held.loss.link) is not held:
            return
        if site.searching:
            return  # Its end is the verdict.
        verdict = site.verdict_of(finding, undone=held.loss.code == TOLD_ENDED)
        if verdict is not None:
            if self._apply(verdict, [held]):
                self._serve()
            return
        later = self._pool.context.later
        held.timers.append(later(CALL_AGAIN_S, partial(self._call, held)))

    def _give_up(self, held: Held) -> None:
        site = self._pool.site
        if self._held.get(held.loss.link) is not held:
            return
        if site is None or not site.searching:
            self._apply(Verdict.UNKNOWN, [held])

    def _apply(self, verdict: Verdict, concerned: list[Held]) -> bool:
        """Do for some who are held what a verdict says; tell whether any waits now."""
        now = self._pool.context.clock()
        again: list[ClientLink] = []
        for held in concerned:
            loss = held.loss
            if self._held.get(loss.link) is not held:
                continue  # What was told another has ended this one.
            said_so = loss.code == TOLD_ENDED
            if verdict is Verdict.MOVED or (
                said_so and verdict in (Verdict.LEAVING, Verdict.BACK)
            ):
                why_not = self._why_not(loss, now)
                if why_not:
                    self._refuse(held, why_not)
                else:
                    self._run_again(held, verdict)
                    again.append(loss.link)
            elif verdict is not Verdict.LEAVING:
                self._refuse(held, verdict.value)
        self._wait_first(again, now)
        return bool(again)

    def _run_again(self, held: Held, verdict: Verdict) -> None:
        loss, context = held.loss, self._pool.context
        client = loss.client
        self.forget(loss.link)
        loss.link.again()
        client.reruns += 1
        names = ", ".join(map(fingerprint, loss.texts)) or "nothing but its preparation"
        context.log.log(
            f"{client.prefix} server lost ({loss.reason}), {verdict.value}:"
            f" {Outcome.AGAIN.value}: {names}"
        )
        context.failures.note(client.database, NO_ERROR, RAN_AGAIN, time())
        if self._pool.site is not None:
            self._pool.site.note(Outcome.AGAIN)

    def _refuse(self, held: Held, why: str) -> None:
        """Tell a client that what it asked is not run again."""
        fault = refusal(held.loss, why)
        self.forget(held.loss.link)
        if self._pool.site is not None:
            self._pool.site.note_error(fault.sqlstate)
        tell(held.loss, fault)

    def _wait_first(self, links: list[ClientLink], now: float) -> None:
        """Have clients wait for the next servers, before all others."""
        for link in links:
            link.waiting_since = now
        self._pool.rack.waiters[:0] = links

    def _serve(self) -> None:
        """Give servers to those who wait, here or elsewhere."""
        pool = self._pool
        pool.serve_waiters()
        if pool.site is not None:
            pool.site.refresh()
