"""Builds all parts of the pooler, connects them, starts and stops them.

part                   does
=====================  ==========================================================
``ServiceContext``     what all pools share: configuration, log, clock, connector
``TlsContexts``        TLS contexts, for clients and for each kind of server
``AuthFile``           users and secrets of auth_file
``ServerCredentials``  the secrets that servers are logged in to with
``Pools``              the pools, by database and user
``CancelKeys``         from a client's cancel key to its server
``RulesEngine``        the user's routing and rewriting functions
``LoginService``       logs clients in: which user, by which method
``HbaPolicy``          which method a client must use: auth_type, HBA file
``Methods``            the logins by each method
``LoginThreads``       threads for PAM, LDAP, key derivation
``SessionSetup``       gives a logged-in client its pool or the console
``FrontendFactory``    builds the protocol of each client
``Listeners``          the sockets that clients connect to
``ServiceView``        what the console shows
``ConfigReloader``     reads and applies configuration, users and rules
``AdminControl``       what the console and signals can do
``Shutdown``           how the service ends
``Clusters``           which node of each cluster is the writer
``Resolver``           addresses of servers' host names
``Suspension``         stops all reading, for SUSPEND and ``-R``
``Janitor``            the periodic work: one LoopingCall on the reactor
=====================  ==========================================================
=======
This is the map of the program: each part gets its partners here; none looks for them.

=====================  =============================================================
part                   responsibility
=====================  =============================================================
``ServiceContext``     shared by all pools: configuration, log, clock, connector
``TlsContexts``        TLS contexts, for clients and for each kind of server
``AuthFile``           users and secrets of auth_file
``ServerCredentials``  the secrets for logging in to servers
``Pools``              server connections, by database and user
``CancelKeys``         finds the server for a client's cancel key
``RulesEngine``        the user's routing and rewriting functions
``LoginService``       accepts clients: who they are, and how they prove it
``HbaPolicy``          the authentication a client needs: auth_type, HBA file
``Methods``            the authentication methods
``LoginThreads``       threads for PAM, LDAP and password hashing
``SessionSetup``       takes logged-in clients to their pool or the console
``ServiceView``        what the console can see
``Statistics``         counters and averages
``TakeoverExporter``   what another process can take over
``AdminControl``       what the console and signals can do
``ConfigReloader``     loads and reloads the configuration, users and rules
``Shutdown``           the ways the service ends
``Resolver``           addresses of servers' host names
``FrontendFactory``    builds the protocol of each client
``Listeners``          sockets that clients connect to
``Janitor``            the one periodic timer
=====================  =============================================================
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService

from pgswitch.admin.commands import ShutdownMode
from pgswitch.admin.console import LOGIN_PARAMETERS, Console
from pgswitch.admin.descriptors import Descriptors
from pgswitch.admin.incremental import BackgroundTask
from pgswitch.admin.show.service import REFERENCE_VERSION
from pgswitch.admin.statistics import Statistics
from pgswitch.admin.view import ServiceView
from pgswitch.auth.auth_file import AuthFile, VerifierPrecomputer
from pgswitch.auth.credentials import ServerCredentials
from pgswitch.auth.hba_policy import HbaPolicy
from pgswitch.auth.ldap import srv_finder
from pgswitch.auth.login_service import LoginService
from pgswitch.auth.methods import Methods
from pgswitch.auth.session_setup import SessionSetup
from pgswitch.auth.worker_threads import LoginThreads
from pgswitch.cluster.clusters import Clusters
from pgswitch.config.effective import Effective
from pgswitch.control import AdminControl
from pgswitch.dns.lookup import DnsLookup, SystemLookup
from pgswitch.dns.resolver import Resolver
from pgswitch.errors.base import FatalError
from pgswitch.net.connect import TransportConnector
from pgswitch.net.factories import FrontendFactory
from pgswitch.net.listen import Listeners
from pgswitch.pool.cancel_keys import CancelKeys
from pgswitch.pool.context import ServiceContext
from pgswitch.pool.maintenance import Janitor
from pgswitch.pool.pools import Pools
from pgswitch.pool.suspend import Suspension
from pgswitch.process.service_manager import (
    environment,
    inherited_sockets,
    notify_service_manager,
)
from pgswitch.reload import ConfigReloader
from pgswitch.rules.engine import RulesEngine
from pgswitch.shutdown import Shutdown
from pgswitch.stats.counters import stats_line
from pgswitch.takeover.exporter import TakeoverExporter, notify_left_behind
from pgswitch.takeover.importer import TakeoverImporter
from pgswitch.tls.contexts import TlsSetupError
from pgswitch.tls.endpoints import TlsContexts
from pgswitch.wire.params import Tracking
from pgswitch.wire.statements import StatementTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from pgswitch.config.model import Configuration, Settings
    from pgswitch.logs import Log
    from pgswitch.stats.counters import CounterValues
    from pgswitch.takeover.predecessor import Takeover


def set_up_tls(configuration: Configuration, log: Log) -> TlsContexts:
    """Read keys and certificates, which may be readable only by root.

    Raises FatalError if they cannot be used.
    """
    try:
        return TlsContexts(configuration)
    except TlsSetupError as error:
        log.error(f"TLS setup failed: {error}")
        raise FatalError("TLS setup failed") from None


class PgSwitch(MultiService):
    """The pooler as a Twisted service."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        log: Log,
        started: Callable[[], None] | None = None,
        takeover: Takeover | None = None,
        tls: TlsContexts | None = None,
    ) -> None:
        """Build everything; :meth:`startService` opens sockets.

        ``started`` is called when clients can connect; ``takeover`` is the state that
        another process has handed over; ``tls`` is created here if missing.

        Raises FatalError if TLS cannot be set up.
        """
        self._takeover = takeover
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._log = log
        self._started = started
        self._next_period = 0.0
        settings = configuration.settings
        self.store = AuthFile(log)
        self.credentials = ServerCredentials(self.store)
        self._system_lookup = SystemLookup(reactor)
        name_servers = DnsLookup(reactor, settings.resolv_conf)
        self.names = Resolver(
            name_servers if settings.resolv_conf else self._system_lookup,
            name_servers.serial,
            settings=lambda: self._settings,
            clock=monotonic,
            log=log,
            moved=self._moved,
        )
        self.workers = LoginThreads(reactor, log)
        self.context = ServiceContext(
            configuration=configuration,
            effective=Effective(configuration),
            log=log,
            tls=tls or set_up_tls(configuration, log),
            tracking=Tracking(settings.track_extra_parameters),
            statements=StatementTable(),
            connect=TransportConnector(
                reactor, lambda: self._settings, self.names.addresses
            ),
            credentials=self.credentials.for_server,
            derive_keys=self.workers.ours,
            random=os.urandom,
            clock=monotonic,
            later=reactor.callLater,
        )
        self.pools = Pools(self.context)
        self.clusters = Clusters(self.context, self.pools, reactor, self.names)
        self.names.permanent_names = self.clusters.hosts
        self.pools.on_new_pool = self.clusters.add_route
        self.keys = CancelKeys(self.context)
        self.rules = RulesEngine(self.context, self.pools)
        self.hba_policy = HbaPolicy(log, self.workers.waiting)
        self.login_service = LoginService(
            self.context,
            self.pools,
            self.store,
            self.keys,
            credentials=self.credentials,
            hba_policy=self.hba_policy,
            methods=Methods(self.context, self.store, srv_finder(reactor)),
            workers=self.workers,
            session_setup=SessionSetup(
                self.context,
                self.pools,
                self.keys,
                self._open_console,
                rules=self.rules,
                console_parameters=LOGIN_PARAMETERS,
                version=REFERENCE_VERSION,
            ),
        )
        self.frontends = FrontendFactory(self.login_service)
        self.listeners = Listeners(reactor, log)
        self.statistics = Statistics(self.context, self.pools)
        self.exporter = TakeoverExporter(
            self.context,
            self.pools,
            self.login_service,
            self.credentials,
            clusters=self.clusters,
            descriptors=Descriptors(
                self.context, self.pools, self.login_service, self.listeners
            ),
            statistics=self.statistics,
        )
        self.view = ServiceView(
            context=self.context,
            pools=self.pools,
            login_service=self.login_service,
            store=self.store,
            keys=self.keys,
            rules=self.rules,
            names=self.names,
            clusters=self.clusters,
            statistics=self.statistics,
            handover=self.exporter,
        )
        self.suspension = Suspension(
            self.context, self.pools, self.login_service.clients, self.listeners
        )
        self.files = ConfigReloader(
            self.context,
            self.pools,
            self.login_service,
            self.store,
            hba_policy=self.hba_policy,
            rules=self.rules,
            listeners=self.listeners,
            clusters=self.clusters,
        )
        self.operations = AdminControl(
            self.context,
            self.pools,
            self.login_service,
            reloader=self.files,
            shut_down=self.shut_down,
            suspension=self.suspension,
            clusters=self.clusters,
        )
        self.ending = Shutdown(
            self.context,
            self.pools,
            self.login_service,
            self.listeners,
            pause_all=self.operations.pause_all,
            reactor=reactor,
        )
        self._verifiers = VerifierPrecomputer(self.context, self.store, self.hba_policy)
        self._period: BackgroundTask[CounterValues] = BackgroundTask(reactor.callLater)
        self._janitor = Janitor(self.context, self.pools, self._turn, reactor)

    @property
    def configuration(self) -> Configuration:
        """Return the configuration in force."""
        return self.context.configuration

    @property
    def _settings(self) -> Settings:
        return self.context.configuration.settings

    def _moved(self, host: str, gone: frozenset[str]) -> None:
        """Replace servers at addresses that a host name no longer has."""
        self.clusters.moved(host, gone)
        self.pools.close_at(host, gone)

    def _open_console(self, is_admin: bool, is_owner: bool) -> Console:  # noqa: FBT001 - two facts
        return Console(
            self.view,
            self.operations,
            is_admin=is_admin,
            is_owner=is_owner,
            log=self._log,
            counters=self.context.console_counters,
        )

    # Starting and stopping.

    def startService(self) -> None:
        """Read the files, open the listeners and serve; may raise FatalError."""
        super().startService()  # type: ignore[no-untyped-call]
        self.files.read()
        if self._takeover is not None:
            self._take_over(self._takeover)
        else:
            self.listeners.open(
                self._settings,
                self.frontends,
                inherited=inherited_sockets(environment()),
            )
        self._next_period = self.context.clock() + self._settings.stats_period
        self._janitor.start()
        self.clusters.configure(self.configuration)
        if self._takeover is not None:
            # Not before: waiting clients need servers, which open at the writer.
            self.suspension.end()
        self.pools.open_minimum()
        if self._started is not None:
            self._started()

    def _take_over(self, takeover: Takeover) -> None:
        """Restore the state that another process has handed over, then end it."""
        self.context.suspended = True
        self.listeners.take_over(self._settings, self.frontends, takeover.listening())
        self.listeners.pause()
        TakeoverImporter(
            self.context,
            self.pools,
            self.login_service,
            credentials=self.credentials,
            rules=self.rules,
            clusters=self.clusters,
            statistics=self.statistics,
            reactor=self._reactor,
        ).take(takeover.sockets)
        takeover.complete()

    def stopService(self) -> Deferred[None]:
        """Close everything at once."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._janitor.stop()
        self._period.stop()
        self._system_lookup.stop()
        self.workers.stop()
        self.clusters.stop()
        # While suspended, the socket file may already belong to another process.
        return self.listeners.close_all(keep_file=self.context.suspended)

    def reload(self) -> bool:
        """Read all files again; return False if the configuration is invalid."""
        return self.files.reload()

    # Called by signals; the console calls AdminControl for the same.

    @property
    def shutting_down(self) -> bool:
        """Whether a shutdown has begun."""
        return self.ending.mode is not None

    @property
    def suspended(self) -> bool:
        """Whether the service is suspended: it reads from no socket."""
        return self.context.suspended

    @property
    def paused_or_suspended(self) -> bool:
        """Whether the service is paused or suspended."""
        return self.context.paused or self.context.suspended

    def pause_all(self) -> None:
        """Pause all pools: give no server to a client."""
        self.operations.pause_all()

    def resume_all(self) -> None:
        """End a pause or suspension."""
        self.operations.resume_all()

    def shutdown_wait_for_clients(self) -> None:
        """Shut down when the last client has disconnected."""
        self.shut_down(ShutdownMode.WAIT_FOR_CLIENTS)

    def shutdown_wait_for_servers(self) -> None:
        """Shut down when no server is in use any more."""
        self.shut_down(ShutdownMode.WAIT_FOR_SERVERS)

    def shutdown_now(self) -> None:
        """Shut down immediately."""
        self.shut_down(ShutdownMode.NOW)

    def shut_down(self, mode: ShutdownMode, timeout: float | None = None) -> None:
        """Begin a shutdown in one of the four modes."""
        if mode is ShutdownMode.NOW:
            if self.suspended:
                exported = self.exporter.exported
                notify_left_behind(
                    self.context, self.pools, self.login_service, exported
                )
            self.suspension.freeze()
        self.ending.begin(mode, timeout=timeout)

    # Three times a second, by the Janitor's LoopingCall.

    def _turn(self, now: float) -> None:
        self.store.load(self._settings, again=True)
        self._verifiers.poll()
        self.login_service.sweep(now)
        self.names.sweep(now)
        self._end_period(now)
        self.ending.look()

    def _end_period(self, now: float) -> None:
        """Store the counts at the end of a period, and report its averages."""
        if now < self._next_period:
            return
        self._next_period = now + max(self._settings.stats_period, 1)
        if not self._period.is_busy:
            self._period.do(self.statistics.gather_period(now), self._log_period)

    def _log_period(self, averages: CounterValues) -> None:
        line = stats_line(averages)
        if self._settings.log_stats:
            self._log.log(line)
        notify_service_manager(f"STATUS={line}", os.environ)
