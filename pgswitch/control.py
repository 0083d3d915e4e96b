"""The commands that change the running service: the console's ``Control``.

Signals call the same methods.  The service itself ends the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgswitch.admin.commands import ShutdownMode
from pgswitch.config.load import ConfigError, with_setting
from pgswitch.errors import (
    AdminForcedDisconnect,
    AlreadyPaused,
    ClientNotFound,
    ConsoleError,
    ConsoleNoSuchDatabase,
    ConsoleShuttingDown,
    DatabaseNotPaused,
    PauseEnded,
    PauseTimedOut,
    PoolerNotPaused,
    SuspendWithPausedDatabases,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.auth.login_service import LoginService
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.pool.suspend import Suspension
    from pgswitch.reload import ConfigReloader

POLL_S = 0.01
"""Seconds between two checks of a waiting PAUSE or WAIT_CLOSE."""


class AdminControl:
    """Carries out the console's commands."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        *,
        reloader: ConfigReloader,
        shut_down: Callable[[ShutdownMode, float | None], None],
        suspension: Suspension,
        clusters: Clusters,
    ) -> None:
        """Take the parts to act on; ``shut_down`` is the service's method."""
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._reloader = reloader
        self._shut_down = shut_down
        self._suspension = suspension
        self._clusters = clusters

    def reload(self) -> bool:
        """Read the configuration again; return False if the old one stays in force."""
        return self._reloader.reload()

    def set(self, key: str, value: str) -> bool:
        """Change a setting until the next reload; False for an invalid key or value."""
        try:
            self._reloader.apply(with_setting(self._context.configuration, key, value))
        except ConfigError as error:
            for problem in error.problems:
                self._context.log.error(problem)
            return False
        return True

    def tls_is_current(self) -> bool:
        """Return whether the present TLS settings are in force."""
        return self._context.tls.is_current

    # Pausing.

    def pause(
        self, database: str | None, *, timeout: float | None = None
    ) -> Deferred[None]:
        """Stop giving servers to clients; fires when no server is in use any more.

        Fails with PauseTimedOut after ``timeout`` seconds, and undoes the pause; fails
        with PauseEnded if another command ends the pause.
        """
        self._must_be_running()
        if database is None:
            self.pause_all()
        else:
            self._must_exist(database)
            self._pools.set_paused(database, paused=True)
        begun = self._context.clock()

        def is_done() -> bool:
            if not (self._context.paused or database in self._pools.paused):
                raise PauseEnded
            busy = self._pools.busy_servers(database)
            if not busy:
                return True
            if timeout is not None and self._context.clock() - begun >= timeout:
                self.resume(database)
                raise PauseTimedOut(seconds=timeout, busy=busy)
            return False

        return self._once(is_done)

    def resume(self, database: str | None) -> None:
        """End a pause."""
        if database is None:
            if self._login_service.shutting_down:
                raise ConsoleShuttingDown
            if not (self._context.paused or self._context.suspended):
                raise PoolerNotPaused
            self.resume_all()
            return
        self._must_exist(database)
        if database not in self._pools.paused:
            raise DatabaseNotPaused(database=database)
        self._pools.set_paused(database, paused=False)

    def pause_all(self) -> None:
        """Pause all pools: give no server to a client."""
        self._context.paused = True
        for pool in self._pools:
            pool.pause()

    def resume_all(self) -> None:
        """End PAUSE or SUSPEND; pauses of single databases stay."""
        if self._context.suspended:
            self._suspension.end()
        if not self._context.paused:
            return
        self._context.paused = False
        for pool in self._pools:
            pool.resume()

    def suspend(self) -> Deferred[None]:
        """Stop reading from all sockets; fires when everything is quiesced."""
        self._must_be_running()
        if self._pools.paused:
            raise SuspendWithPausedDatabases
        return self._suspension.begin()

    # Databases, servers, clients.

    def disable(self, database: str) -> None:
        """Refuse new logins to a database."""
        self._must_exist(database)
        self._pools.disabled.add(database)

    def enable(self, database: str) -> None:
        """Accept new logins to a database."""
        self._must_exist(database)
        self._pools.disabled.discard(database)

    def reconnect(self, database: str | None) -> None:
        """Close each server when it is next released.

        A cluster without a writer, named as ``database``, looks for one again.
        """
        if database is not None:
            self._must_exist(database)
            self._clusters.forget_writer(database)
        for pool in self._pools.of_database(database):
            pool.expire_servers()

    def kill(self, database: str | None) -> None:
        """Pause, then close all clients and servers."""
        self._must_be_running()
        if database is None:
            names = {pool.key.database for pool in self._pools}
        else:
            self._must_exist(database)
            names = {database}
        for name in names:
            self._pools.set_paused(name, paused=True)
            for pool in self._pools.of_database(name):
                self._pools.drop(pool)

    def kill_client(self, client_id: int) -> None:
        """Disconnect a client by its number."""
        client = self._login_service.clients.get(client_id)
        if client is None:
            raise ClientNotFound
        client.disconnect(AdminForcedDisconnect())

    def wait_close(self, database: str | None) -> Deferred[None]:
        """Return a Deferred that fires when no server remains to be closed."""
        if database is not None:
            self._must_exist(database)
        return self._once(
            lambda: (
                not any(
                    hasattr(backend, "stream") and backend.stream.close_needed
                    for pool in self._pools.of_database(database)
                    for backend in pool.backends()
                )
            )
        )

    # Shutdown.

    def shutdown(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin a shutdown; a DRAIN takes at most ``timeout`` seconds."""
        self._shut_down(mode, timeout)

    # Helpers of the methods above.

    def _must_be_running(self) -> None:
        if self._context.paused or self._context.suspended:
            raise AlreadyPaused

    def _must_exist(self, database: str) -> None:
        if self._context.configuration.database(database) is None:
            raise ConsoleNoSuchDatabase(database=database)

    def _once(self, is_done: Callable[[], bool]) -> Deferred[None]:
        """Return a Deferred that fires when a condition becomes true; polls it.

        The Deferred fails with a ConsoleError that ``is_done`` raises.
        """
        given_up = False

        def give_up(_deferred: Deferred[None]) -> None:
            nonlocal given_up
            given_up = True

        done: Deferred[None] = Deferred(give_up)

        def poll() -> None:
            if given_up:
                return
            try:
                if is_done():
                    done.callback(None)
                    return
            except ConsoleError as fault:
                done.errback(fault)
                return
            self._context.later(POLL_S, poll)

        poll()
        return done
