"""The four ways to shut down: immediately, after servers or clients, or by a drain.

===================  ===============================  ==========================
mode                 clients                          ends when
===================  ===============================  ==========================
NOW                  are disconnected                 immediately
WAIT_FOR_SERVERS     may finish while they hold a     no server is left
                     server; waiting ones get an
                     error
WAIT_FOR_CLIENTS     are served until they leave,     no client is left
                     those still logging in as well
DRAIN                are disconnected as soon as      no client but consoles is
                     they have nothing in progress    left, or the timeout ends
===================  ===============================  ==========================

In all modes but NOW the TCP listeners close at once, and new logins are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgswitch.admin.commands import ShutdownMode
from pgswitch.errors import Drained, Fault, ServerShuttingDown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgswitch.auth.login_service import LoginService
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools

POLL_S = 0.05
"""Seconds between two checks of the clients during a DRAIN."""


class Shutdown:
    """Ends the service, in one of the four modes."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        listeners: Listeners,
        *,
        pause_all: Callable[[], None],
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """Take the parts to stop; ``pause_all`` is the console's PAUSE."""
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._listeners = listeners
        self._pause_all = pause_all
        self._reactor = reactor
        self._deadline = float("inf")
        self.mode: ShutdownMode | None = None
        """None while no shutdown has begun."""

    def begin(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin a shutdown; a second call replaces the mode.

        After ``timeout`` seconds a DRAIN disconnects the remaining clients.
        """
        self.mode = mode
        if mode is ShutdownMode.NOW:
            self._context.ended = True
            self._login_service.refuse_logins()
            if self._reactor.running:
                self._reactor.stop()
            return
        self._listeners.close_tcp()
        self._login_service.refuse_logins(
            serve_present=mode is ShutdownMode.WAIT_FOR_CLIENTS
        )
        if mode is ShutdownMode.WAIT_FOR_SERVERS:
            self._turn_waiters_away(ServerShuttingDown)
        elif mode is ShutdownMode.DRAIN:
            if timeout is not None:
                self._deadline = self._context.clock() + timeout
            self._turn_waiters_away(Drained)
            self._drain()

    def look(self) -> None:
        """End if the condition of the mode is met; called three times a second."""
        if (
            self.mode is ShutdownMode.WAIT_FOR_CLIENTS
            and not self._login_service.clients
        ):
            self._end("client connections dropped, exiting")
        elif self.mode is ShutdownMode.WAIT_FOR_SERVERS and not any(
            pool.servers for pool in self._pools
        ):
            self._end("server connections dropped, exiting")

    def _end(self, text: str) -> None:
        self._context.log.log(text)
        self.begin(ShutdownMode.NOW)

    def _turn_waiters_away(self, shutdown_fault: type[Fault]) -> None:
        """Pause for good, and disconnect waiting clients with ``shutdown_fault``."""
        self._context.shutdown_fault = shutdown_fault
        if not self._context.paused:
            self._pause_all()
        for pool in self._pools:
            for stream in pool.waiting():
                stream.frontend.disconnect(shutdown_fault())
            # They get an error about their statement, and then leave like others.
            pool.held_clients.release_all()
            for client in pool.waiting_logins():
                client.disconnect(shutdown_fault())
            pool.internal_queries.fail(shutdown_fault())

    def _drain(self) -> None:
        """Disconnect clients that have nothing in progress; end when none is left."""
        if self.mode is not ShutdownMode.DRAIN:
            return
        is_late = self._context.clock() >= self._deadline
        for client in list(self._clients()):
            if is_late or _is_done(client):
                client.disconnect(Drained())
        if any(self._clients()):
            self._context.later(POLL_S, self._drain)
        else:
            self._end("clients drained, exiting")

    def _clients(self) -> Iterator[Frontend]:
        """Return the clients without consoles and cancel requests."""
        return (
            one
            for one in self._login_service.clients.values()
            if one.console is None and not one.is_cancel_request
        )


def _is_done(client: Frontend) -> bool:
    """Return whether a client can be disconnected without losing any work."""
    if not client.logged_in:
        return client.is_untouched
    stream = client.stream
    return stream.exchange.clean and stream.at_boundary() and not stream.suspended
