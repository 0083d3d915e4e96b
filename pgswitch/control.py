"""What the operator can have the running service do: the Control of the console.

Signals use the same verbs.  How the process itself ends is the service's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgswitch.admin.interfaces import ShutdownMode
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
"""How often a PAUSE or WAIT_CLOSE that waits looks whether it is done."""


class AdminControl:
    """The verbs of the console."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        *,
        files: ConfigReloader,
        shut_down: Callable[[ShutdownMode, float | None], None],
        suspension: Suspension,
        clusters: Clusters,
    ) -> None:
        """Take the parts to act on; ``shut_down`` is the service's own."""
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._files = files
        self._shut_down = shut_down
        self._suspension = suspension
        self._clusters = clusters

    def reload(self) -> bool:
        """Read the configuration again; return False if the old one stays."""
        return self._files.reload()

    def set(self, key: str, value: str) -> bool:
        """Change a setting until the next reload; False for a bad key or value."""
        try:
            self._files.apply(with_setting(self._context.configuration, key, value))
        except ConfigError as error:
            for problem in error.problems:
                self._context.log.error(problem)
            return False
        return True

    def tls_is_current(self) -> bool:
        """Tell whether the settings of TLS could be put in force."""
        return self._context.tls.is_current

    # Pausing.

    def pause(
        self, database: str | None, *, timeout: float | None = None
    ) -> Deferred[None]:
        """Stop handing out servers; fires when no server is in use any more.

        Fails with PauseTimedOut, the pause undone, when that takes more than
        ``timeout`` seconds, and with PauseEnded when somebody else undoes it.
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
        """Let no client get a server."""
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
        """Stop all reading; fires when everything has come to rest."""
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

        A cluster by its name is judged again if it has no writer.
        """
        if database is not None:
            self._must_exist(database)
            self._clusters.judge_again(database)
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
        """Close a client by its number."""
        client = self._login_service.clients.get(client_id)
        if client is None:
            raise ClientNotFound
        client.disconnect(AdminForcedDisconnect())

    def wait_close(self, database: str | None) -> Deferred[None]:
        """Return a Deferred that fires when no server is to be closed any more."""
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

    # Ending.

    def shutdown(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin to end the process; a DRAIN ends after ``timeout`` seconds at last."""
        self._shut_down(mode, timeout)

    # Helpers of the above.

    def _must_be_running(self) -> None:
        if self._context.paused or self._context.suspended:
            raise AlreadyPaused

    def _must_exist(self, database: str) -> None:
        if self._context.configuration.database(database) is None:
            raise ConsoleNoSuchDatabase(database=database)

    def _once(self, is_done: Callable[[], bool]) -> Deferred[None]:
        """Fire when something has become true; look again until it has.

        A ConsoleError that ``is_done`` raises is the Deferred's failure.
        """
        given_up = False

        def give_up(_deferred: Deferred[None]) -> None:
            nonlocal given_up
            given_up = True

        done: Deferred[None] = Deferred(give_up)

        def look() -> None:
            if given_up:
                return
            try:
                if is_done():
                    done.callback(None)
                    return
            except ConsoleError as fault:
                done.errback(fault)
                return
            self._context.later(POLL_S, look)

        look()
        return done
