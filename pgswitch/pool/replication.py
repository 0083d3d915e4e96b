"""A replication client and the server connection that is its own.

A walsender is of no use to anybody else, so it is never pooled: opened for one
client (manual, "Streaming Replication Protocol"), closed with it.  To the client's
link it is a rack of one server in session pooling; to the pool it is one more of its
servers, which counts against pool_size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.errors import (
    Fault,
    ServerClosed,
    ServerLoginRefused,
)
from pgswitch.net.backend import Phase
from pgswitch.pool.attempts import INTERVENTION, NO_RESOURCES
from pgswitch.pool.opening import NO_FAILURES
from pgswitch.relay.rack import Rack
from pgswitch.relay.server import SESSION
from pgswitch.wire.login_server import Failed, ServerRefused
from pgswitch.wire.startup import Replication
from pgswitch.wire.welcome import Welcome

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.fleet import Fleet
    from pgswitch.pool.site import Place
    from pgswitch.relay.client import ClientLink
    from pgswitch.relay.server import ServerLink

CLIENT_CLOSED = "replication client was closed"
CLIENT_LEFT = "replication client disconnected"
PASSING = (NO_RESOURCES, INTERVENTION)
"""Classes of what a node refuses a login with that may be over soon."""
_STARTUP_WORDS = {Replication.LOGICAL: "database", Replication.PHYSICAL: "true"}


class Home(Protocol):
    """What a session needs of the pool it belongs to; see pool/pool.py."""

    context: PoolContext
    welcome: Welcome | None
    rack: Rack
    fleet: Fleet
    site: Place | None

    def is_held(self) -> bool:
        """Tell whether no client may get a server now."""


class _NoSteward:
    """Of the rack of a client that has left: there is nothing to be done."""

    def wait(self, client: ClientLink) -> None:
        """Do nothing."""

    def settle(self, client: ClientLink, server: ServerLink) -> bool:
        """Set nothing."""
        del client, server
        return False

    def discard(self, server: ServerLink) -> None:
        """Do nothing: it is closed."""

    released = discard


_GONE = _NoSteward()


class ReplicationSession:
    """Steward of the rack of one replication client, owner of its one server."""

    def __init__(self, pool: Home, client: Frontend) -> None:
        """Begin without a server."""
        self.rack = Rack(self)
        self.rack.mode = SESSION
        self.rack.counters = pool.rack.counters
        self._pool = pool
        self.client = client
        self._backend: Backend | None = None

    def begin(self) -> None:
        """Welcome the client with what is known of the pool's servers, or ask ours.

        A server is opened for the welcome only if none has been seen: the database
        that a physical client names need not exist.
        """
        if self._pool.welcome is not None:
            self.client.welcome(self._pool.welcome)
        else:
            self.client.waiting_since = self._pool.context.clock()
            self.open()

    def end(self) -> None:
        """Close the server: the client has left."""
        if self._backend is not None:
            is_free = self.client.link.exchange.clean
            self._backend.close(CLIENT_CLOSED if is_free else CLIENT_LEFT)
        # The two hold each other.
        self.rack.steward = _GONE

    def open(self) -> None:
        """Open the server if one is wanted and there is room for it."""
        client, pool = self.client, self._pool
        is_wanted = bool(self.rack.waiters) or not client.logged_in
        if not is_wanted or self._backend is not None or pool.is_held():
            return
        if not pool.fleet.make_room():
            return
        facts = client.facts
        assert facts is not None  # noqa: S101 - the client has logged in
        given = {"replication": _STARTUP_WORDS[facts.replication]}
        if facts.options is not None:
            given["options"] = facts.options
        self._backend = pool.fleet.open_for(self, given | facts.tracked)
        self._backend.replication = facts.replication.value

    def expect(self) -> Backend:
        """Return the server, whose connection another process has opened."""
        backend = self._backend = self._pool.fleet.expect(self)
        assert self.client.facts is not None  # noqa: S101 - the client has logged in
        backend.replication = self.client.facts.replication.value
        return backend

    # The rack's steward.

    def wait(self, client: ClientLink) -> None:
        """Have the client wait for its server, which is opened now."""
        farewell = self._pool.context.farewell
        if farewell is not None:
            self.client.disconnect(farewell())
            return
        client.halt()
        client.waiting_since = self._pool.context.clock()
        self.rack.waiters.append(client)
        self.open()

    def settle(self, client: ClientLink, server: ServerLink) -> bool:
        """Set nothing: the start-up packet had it, and a walsender knows no SET."""
        del client, server
        return False

    def discard(self, server: ServerLink) -> None:
        """Close the server."""
        cast("Backend", server.backend).close(CLIENT_LEFT)

    released = discard

    # The server's owner.

    def logged_in(self, backend: Backend) -> None:
        """Welcome the client if that is still to be done, and join the two."""
        link = self.client.link
        backend.link.keeper = self.rack
        backend.link.counters = self.rack.counters
        backend.is_fresh = False
        if not self.client.logged_in:
            self.client.welcome(
                Welcome(backend.parameters, self._pool.context.tracking)
            )
        if self.rack.waiters:
            self.rack.hand_on(backend.link)
        elif not link.lost:
            self.rack.join(link, backend.link)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Tell the client, and nobody else, unless its cluster may soon serve it."""
        log = self._pool.context.log
        fault: Fault
        if isinstance(refusal, ServerRefused):
            log.warning(f"server login failed: {refusal.severity} {refusal.message}")
            if self._pool.site is not None and refusal.sqlstate[:2] in PASSING:
                return
            fault = ServerLoginRefused(
                message=refusal.message, sqlstate=refusal.sqlstate
            )
        else:
            log.error(f"{backend.prefix} {refusal.reason}")
            fault = refusal.client_fault or ServerClosed(reason=refusal.reason)
        self.client.disconnect(fault)

    def lost(self, backend: Backend, reason: str) -> None:
        """End the client, unless all that was lost is an attempt to be made again."""
        self._backend = None
        pool = self._pool
        pool.fleet.strike_off(backend, reason)
        if pool.site is not None and reason not in NO_FAILURES:
            pool.site.suspect()
        if backend.phase_at_close is Phase.LOGIN:
            if reason not in NO_FAILURES and pool.site is None:
                self.client.disconnect(ServerClosed(reason=reason))
            return
        link = backend.link
        if link.peer is not None:
            self.rack.unlink(self.client.link, link)
        self.client.disconnect(backend.loss(), quietly=link.skip != 0)

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Do nothing: the client hears it from its own server."""

    def doubted(self, backend: Backend) -> None:
        """Do nothing: a stream writes nothing."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Do nothing: in session pooling every transaction is allowed."""
