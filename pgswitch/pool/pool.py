"""One pool: the servers of one database for one user, and the clients that use them.

The Rack does what happens for every transaction; this is the rack's steward and does
the rest: it queues clients and gives them servers.  Parts of it have files of their
own: opening servers (fleet.py), their logins and losses (server_life.py), setting
parameters (settling.py), resets and checks (aftercare.py), auth_query (errands.py),
cancel requests (cancels.py), replication (replication.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, cast

from pgswitch.errors import ServerLoginFailing, TransactionBlocksNotAllowed
from pgswitch.net.backend import Backend, Phase
from pgswitch.pool import server_life
from pgswitch.pool.aftercare import Aftercare, unfit
from pgswitch.pool.cancels import Cancels
from pgswitch.pool.errands import Errands
from pgswitch.pool.fleet import Fleet
from pgswitch.pool.ledger import Demand
from pgswitch.pool.modes import adapt
from pgswitch.pool.opening import PAUSED
from pgswitch.pool.replication import ReplicationSession
from pgswitch.pool.settling import Settling
from pgswitch.pool.verdicts import Verdicts
from pgswitch.pool.waits import Waits
from pgswitch.relay.client import ClientLink
from pgswitch.relay.rack import Rack, is_fit
from pgswitch.types import PoolKey, PoolMode
from pgswitch.wire.login_server import Failed, ServerRefused

if TYPE_CHECKING:
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.site import Place
    from pgswitch.pool.totals import Totals
    from pgswitch.relay.server import ServerLink
    from pgswitch.wire.welcome import Welcome


class ServerPool:
    """A pool; ``key`` names it, ``spec`` is its database entry."""

    def __init__(
        self, key: PoolKey, spec: DatabaseSpec, context: PoolContext, totals: Totals
    ) -> None:
        """Begin without servers; nothing is opened before somebody needs it."""
        self.key = key
        self.spec = spec
        self.context = context
        self.totals = totals
        self.rack = Rack(self)
        self.fleet = Fleet(self)
        self.servers = self.fleet.by_number
        self.clients: dict[int, Frontend] = {}
        """Logged-in clients by number."""
        self.welcome_waiters: list[Frontend] = []
        """Clients whose login waits for the first login of a server."""
        self.welcome: Welcome | None = None
        """What a server reports at login, and so what clients are told at theirs."""
        self.site: Place | None = None
        """Where the servers are, if the database is a cluster."""
        self.replication: dict[int, ReplicationSession] = {}
        """What replication clients have instead of the rack, by client number."""
        self.errands = Errands(self)
        """Questions of auth_query, asked for clients that log in."""
        self.cancels = Cancels(context, self.fleet.room_for_cancels)
        """Cancel requests on their way to its servers."""
        self.paused = False
        """PAUSE of this database is in force."""
        self.last_lifetime_close = float("-inf")
        self.idle_since = context.clock()
        """When it last had a client or a server, as the upkeep saw it."""
        self.settling = Settling(context, self.rack)
        self.aftercare = Aftercare(self)
        self.verdicts = Verdicts(self)
        """Clients whose server is lost, until it is known why."""
        self.waits = Waits()
        """Sees whether a client waits for longer than it may."""
        self.configure()

    # Configuration.

    def configure(self) -> None:
        """Take the settings in force."""
        settings = self.context.configuration.settings
        before = self.rack.mode
        mode = self.context.effective.pool_mode(self.spec, self.key.user)
        self.rack.mode = int(mode)
        self.fleet.configure()
        self.rack.round_robin = bool(settings.server_round_robin)
        self.aftercare.configure()
        self.set_open()
        adapt(self, before)

    @property
    def failing(self) -> str:
        """Return why the last attempt to log in failed; empty if it did not."""
        return self.fleet.attempts.failing

    @property
    def is_empty(self) -> bool:
        """Whether it has neither clients nor servers."""
        return not self.clients and not self.servers and not self.errands

    @property
    def mode(self) -> PoolMode:
        """Return the pool mode in force."""
        return PoolMode(self.rack.mode)

    def recycle(self, spec: DatabaseSpec, *, servers: bool) -> None:
        """Take a changed entry; with ``servers``, close the present ones in time."""
        self.spec = spec
        if servers:
            self.expire_servers()
        self.configure()

    def expire_servers(self) -> None:
        """Have every present server closed instead of used again (RECONNECT)."""
        self.fleet.generation += 1
        self.welcome = None
        self.fleet.expire()
        self.launch()

    def expire_at(self, addresses: Container[str]) -> None:
        """Have the servers at these addresses closed instead of used again."""
        self.fleet.expire(addresses)
        self.launch()

    # Clients come and go.

    def add_client(self, client: Frontend) -> None:
        """Take a client that has authenticated; welcome it now or when possible."""
        self.take_client_back(client)
        session = self.replication.get(client.number)
        if session is not None:
            session.begin()
            return
        site = self.site
        if self.welcome is not None and (site is None or not site.is_unheard):
            client.welcome(self.welcome)
            return
        self.welcome_waiters.append(client)
        client.waiting_since = self.context.clock()
        self.launch()

    def take_client_back(self, client: Frontend) -> None:
        """Take a client that has been welcomed, by another process perhaps."""
        self.clients[client.number] = client
        if client.replicates:
            self.replication[client.number] = ReplicationSession(self, client)

    def let_go(self, client: Frontend) -> None:
        """Forget a client that goes to another pool, its server given back."""
        self.clients.pop(client.number, None)

    def remove_client(self, client: Frontend) -> None:
        """Let go of a client that is leaving, and see to the server it holds."""
        if self.clients.pop(client.number, None) is None:
            return
        if client in self.welcome_waiters:
            self.welcome_waiters.remove(client)
        link: ClientLink = client.link
        if link in self.rack.waiters:
            self.rack.waiters.remove(link)
        self.settling.forget(link)
        if link.halted:
            self.verdicts.forget(link)
        session = self.replication.pop(client.number, None)
        server = link.server
        if session is not None:
            session.end()
        elif server is not None:
            reason = unfit(link, server)
            self.rack.unlink(link, server)
            if reason:
                server.backend.close(reason)
            else:
                self.rack.put_back(server)
        if link.statements is not None:
            link.statements.leave()

    # The rack's steward.

    def wait(self, client: ClientLink) -> None:
        """Queue a client that found no idle server, or tell it why not."""
        if self.context.farewell is not None:
            client.frontend.disconnect(self.context.farewell())
            return
        now = self.context.clock()
        if self.is_failing:
            client.frontend.disconnect(ServerLoginFailing(reason=self.failing))
            self.launch(asked=1)
            return
        client.halt()
        client.waiting_since = now
        client.begin_query(now)
        self.rack.waiters.append(client)
        if self.rack.idle or self.welcome is None or not self.fleet.is_exhausted():
            self.serve_waiters()

    @property
    def is_failing(self) -> bool:
        """Whether no server can be had before the next attempt to log in."""
        is_failing = self.failing and self.site is None and not self.fleet.has_login()
        return bool(is_failing) and not self.is_held()

    def settle(self, client: ClientLink, server: ServerLink) -> bool:
        """Make the server's parameters the client's; False: nothing is to be done."""
        return self.settling.begin(client, _backend(server))

    def discard(self, server: ServerLink) -> None:
        """Close a server that is not to be used."""
        reason = "idle server got dirty"
        if server.stale:
            reason = "obsolete connection"
        elif server.backlogged:
            reason = "server released before everything was sent to it"
        server.backend.close(reason)

    def released(self, server: ServerLink) -> None:
        """Look after a server that came back unlinked and clean."""
        self.aftercare.released(_backend(server))

    def doubted(self, backend: Backend) -> None:
        """Have the monitor look: a server of a cluster takes no writes."""
        del backend
        if self.site is not None:
            self.site.suspect()

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """End a client that opened a transaction, and its server."""
        fault = TransactionBlocksNotAllowed()
        client = backend.link.peer
        if isinstance(client, ClientLink):
            self.rack.unlink(client, backend.link)
            client.frontend.disconnect(fault)
        backend.close(fault.text)

    # Servers come and go.

    def serve_waiters(self) -> None:
        """Give idle servers to those who wait; check used ones; open more."""
        rack = self.rack
        while rack.idle and rack.open and (rack.waiters or self.errands):
            server = rack.idle.pop()
            if server.stale or not is_fit(server):
                self.discard(server)
            else:
                self.aftercare.free(_backend(server))
        if rack.open:
            wanted = len(rack.waiters) + len(self.errands)
            self.aftercare.check_used(wanted - self.fleet.count(Phase.BUSY))
        self.launch()

    def rack_of(self, client: Frontend) -> Rack:
        """Return where a client's servers come from."""
        session = self.replication.get(client.number)
        return self.rack if session is None else session.rack

    def waiting(self) -> list[ClientLink]:
        """Return the clients that wait for a server, those of replication last."""
        waiting = [*self.rack.waiters]
        for session in self.replication.values():
            waiting += session.rack.waiters
        return waiting

    def waiting_since(self) -> float:
        """Return when the client came that has waited longest; infinite if none."""
        since = [link.waiting_since for link in self.rack.waiters[:1]]
        since += [client.waiting_since for client in self.unwelcomed()[:1]]
        return min(since, default=float("inf"))

    def waits_since(self) -> list[float]:
        """Return since when each client waits for a server, at its login too."""
        since = [link.waiting_since for link in self.waiting()]
        since += [link.waiting_since for link in self.verdicts.links()]
        since += [client.waiting_since for client in self.unwelcomed()]
        since += [errand.waiting_since for errand in self.errands.waiting()]
        return [moment for moment in since if moment]

    def is_opening(self) -> bool:
        """Tell whether a server is logging in."""
        return self.fleet.count(Phase.LOGIN) > 0

    def unwelcomed(self) -> list[Frontend]:
        """Return the clients whose login waits for a server's."""
        sessions = self.replication.values()
        replicating = [one.client for one in sessions if not one.client.logged_in]
        return [*self.welcome_waiters, *replicating]

    def adopt(self, backend: Backend) -> None:
        """Make a server of the pool of one that was opened elsewhere.

        It is at a login or at a check; :meth:`logged_in` follows.
        """
        backend.owner = self
        backend.database = self.key.database
        self.fleet.enter(backend)

    def take_back(self, backend: Backend, *, is_idle: bool) -> None:
        """Take in a server that another process has logged in, linked or idle."""
        backend.link.keeper = self.rack
        backend.link.counters = self.rack.counters
        server_life.inherit_welcome(self, backend)
        if is_idle:
            self.rack.keep(backend.link)

    def settle_at(self, site: Place) -> None:
        """Have the servers where ``site`` says; those that are there already stay."""
        self.site = site
        for backend in self.backends():
            if backend.phase is not Phase.LOGIN:
                backend.link.wary = True

    def expect_walsender(self, client: Frontend) -> Backend:
        """Return a new server for a replication client, which another process has."""
        return self.replication[client.number].expect()

    @property
    def place(self) -> DatabaseSpec:
        """The database's entry, with the host in it that is connected to now."""
        return self.spec if self.site is None else self.site.place

    def is_in_use(self) -> bool:
        """Tell whether anybody has a use for connections."""
        return bool(self.clients) or bool(self.servers) or self.spec.user is not None

    def launch(self, *, asked: int = 0) -> None:
        """Open servers for those who wait; ``asked`` were sent away meanwhile."""
        for session in [*self.replication.values()]:
            session.open()
        settings = self.context.configuration.settings
        is_cluster = self.site is not None
        self.fleet.launch(
            self._demand(asked),
            free=self.fleet.count(Phase.BUSY) - len(self.settling),
            login_retry=settings.polling_frequency
            if is_cluster
            else settings.server_login_retry,
        )

    def _demand(self, asked: int) -> Demand:
        """Return who wants servers."""
        waiting = len(self.rack.waiters) + len(self.errands)
        if self.welcome_waiters:
            waiting = max(waiting, 1)
        return Demand(
            waiting=max(waiting, asked),
            overdue=self._overdue() if self.fleet.reserve_size else 0,
            is_wanted=bool(self.clients) or self.spec.user is not None,
            is_known=self.welcome is not None,
            # Logins under way are let finish in a SUSPEND.
            held=self.is_held()
            or (
                self.context.suspended and not self.welcome_waiters and not self.errands
            ),
        )

    def _overdue(self) -> int:
        """Return how many clients have waited for long, as far as that matters."""
        settings = self.context.configuration.settings
        since = self.context.clock() - settings.reserve_pool_timeout
        first = self.rack.waiters[: self.fleet.pool_size + self.fleet.reserve_size]
        return sum(link.waiting_since < since for link in first)

    def logged_in(self, backend: Backend) -> None:
        """Take in a server that has logged in."""
        server_life.logged_in(self, backend)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Note why a login failed; tell those who wait unless others still serve."""
        server_life.login_refused(self, backend, refusal)

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Note that a parameter has changed which no client can have changed."""
        server_life.reported(self, name, value, backend)

    def lost(self, backend: Backend, reason: str) -> None:
        """Let go of a server, and of the client that was using it."""
        server_life.lost(self, backend, reason)

    def learn_welcome(self, backend: Backend) -> None:
        """Have clients told from now on what this server has reported."""
        server_life.learn_welcome(self, backend)

    def welcome_waiting(self) -> None:
        """Go on with the logins that wait, if what clients are told is known."""
        site = self.site
        if self.welcome is None or (site is not None and site.is_unheard):
            return
        waiting, self.welcome_waiters = self.welcome_waiters, []
        for client in waiting:
            client.welcome(self.welcome)

    # Pausing, counting.

    def is_held(self) -> bool:
        """Tell whether no client may get a server now."""
        return self.is_searching() or self.context.paused or self.paused

    def closes_free(self) -> bool:
        """Tell whether servers that are free are closed: no client may have them.

        They stay while it is only waited for what a cluster's nodes say at a start.
        """
        if self.context.paused or self.paused:
            return True
        return self.site is not None and self.site.searching and not self.site.starting

    def is_searching(self) -> bool:
        """Tell whether clients wait because no writer is known."""
        return self.site is not None and self.site.searching

    def set_open(self) -> None:
        """Bring the rack in line with PAUSE and RESUME."""
        held = self.is_held()
        self.rack.open = not held
        self.rack.careful = self.aftercare.is_needed()

    def hold(self) -> None:
        """Close what is idle, now that the pool is paused."""
        self.set_open()
        for backend in list(self.servers.values()):
            if backend.state in ("idle", "used", "new"):
                backend.close(PAUSED)

    def go_on(self) -> None:
        """Serve again, now that the pause has ended."""
        self.set_open()
        self.serve_waiters()

    def is_settling(self, backend: Backend) -> bool:
        """Tell whether a server is having a client's parameters set."""
        return backend in self.settling

    def turns_away(self) -> bool:
        """Tell whether its node refuses logins, and it has no server to spare."""
        return self.fleet.attempts.is_refused and not self.rack.idle

    def load(self) -> int:
        """Return how many servers are at work or asked for."""
        return len(self.servers) - len(self.rack.idle) + len(self.rack.waiters)

    def connections(self) -> Iterator[Backend]:
        """Return the servers, and those kept open elsewhere for later."""
        yield from self.backends()
        if self.site is not None:
            yield from self.site.warm_servers()

    def backends(self) -> Iterator[Backend]:
        """Return the servers, oldest first."""
        return iter(self.fleet)


def _backend(server: ServerLink) -> Backend:
    """Return what a pool's own server links are controlled by."""
    return cast("Backend", server.backend)
