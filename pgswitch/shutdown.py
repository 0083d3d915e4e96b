"""How the service ends: at once, when servers or clients are done, or by a drain.

===================  ===============================  ==========================
mode                 clients                          ends when
===================  ===============================  ==========================
NOW                  dropped                          now
WAIT_FOR_SERVERS     finish what holds a server;      no server is left
                     who waits for one is told
WAIT_FOR_CLIENTS     served until they leave, those   no client is left
                     in the midst of a login too
DRAIN                told to go as soon as nothing    no client but consoles is
                     of theirs is under way           left, or time is up
===================  ===============================  ==========================

In all but the first the TCP listeners close at once, and later logins are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgswitch.admin.interfaces import ShutdownMode
from pgswitch.errors import Drained, Fault, ServerShuttingDown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgswitch.auth.login_service import LoginService
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools

POLL_S = 0.05
"""How often clients are looked at that are to go."""


class Shutdown:
    """Ends the service, in one of the four ways."""

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
        """Take the parts that have to know; ``pause_all`` is the console's verb."""
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._listeners = listeners
        self._pause_all = pause_all
        self._reactor = reactor
        self._deadline = float("inf")
        self.mode: ShutdownMode | None = None
        """None while the service is to go on."""

    def begin(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin to end; called again, the mode is replaced.

        After ``timeout`` seconds a DRAIN sends away whoever is left.
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
        """End if what is waited for has come about; called three times a second."""
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
        """Pause for good: clients that wait get ``shutdown_fault``."""
        self._context.shutdown_fault = shutdown_fault
        if not self._context.paused:
            self._pause_all()
        for pool in self._pools:
            for stream in pool.waiting():
                stream.frontend.disconnect(shutdown_fault())
            # They are told what became of their work, and leave like others.
            pool.held_clients.release_all()
            for client in pool.unwelcomed():
                client.disconnect(shutdown_fault())
            pool.internal_queries.fail(shutdown_fault())

    def _drain(self) -> None:
        """Send away whoever has nothing under way; end when nobody is left."""
        if self.mode is not ShutdownMode.DRAIN:
            return
        is_late = self._context.clock() >= self._deadline
        for client in list(self._guests()):
            if is_late or _is_done(client):
                client.disconnect(Drained())
        if any(self._guests()):
            self._context.later(POLL_S, self._drain)
        else:
            self._end("clients drained, exiting")

    def _guests(self) -> Iterator[Frontend]:
        """Return the clients that are no consoles and bring no cancel request."""
        return (
            one
            for one in self._login_service.clients.values()
            if one.console is None and not one.cancelling
        )


def _is_done(client: Frontend) -> bool:
    """Tell whether a client can go without losing anything."""
    if not client.logged_in:
        return client.is_untouched
    stream = client.stream
    return stream.exchange.clean and stream.at_boundary() and not stream.suspended
