"""Cancel requests to servers and peers, each on a connection of its own.

A request waits for its connection, is sent, and is over when the other end closes
(manual, "Canceling Requests in Progress").  Until then the server that it is aimed at
gets no other client, or the request might cancel that client's query.  If it is unknown
whether a request that was sent has been carried out, the server is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol

from pgswitch.net.connection_states import ServerEvent, ServerState
from pgswitch.net.tls_negotiation import REFUSED, Encryption, TlsNegotiation
from pgswitch.net.tls_socket import TlsLayer, start_tls
from pgswitch.wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL import SSL
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import Connector, ServiceContext
    from pgswitch.tls.certificates import TlsFacts

SENT = "successfully sent cancel request"
NOT_NEEDED = "not sending cancel request for client that is now idle"
NOT_SENT = "failed to send cancel request"
TIMED_OUT = "cancel_wait_timeout"


@dataclass(frozen=True, slots=True)
class CancelTarget:
    """Where a request goes; ``address`` is the host's, if it is known.

    With ``encryption`` the key is never sent in clear, even if the other end has no
    TLS.
    """

    host: str | None
    port: int
    address: str = ""
    encryption: Encryption | None = None


class CancelConnection(Protocol):
    """Sends one CancelRequest and waits for the other end to close."""

    def __init__(self, cancel: OutgoingCancel, encryption: Encryption | None) -> None:
        """Send ``cancel``."""
        self._cancel: OutgoingCancel | None = cancel
        self._encryption = encryption
        self._negotiation: TlsNegotiation | None = None

    def connectionMade(self) -> None:
        """Send the request, after the TLS handshake if one is wanted."""
        transport: Any = self.transport
        if self._cancel is None:
            transport.abortConnection()
            return
        if self._encryption is None:
            self._cancel.connected()
            return
        self._negotiation = TlsNegotiation(
            self._encryption, transport, partial(_start_tls, transport)
        )
        done = self._negotiation.begin()
        done.addCallback(self._negotiated).addErrback(self._tls_refused)

    def dataReceived(self, data: bytes) -> None:
        """Take the answer to an SSLRequest; a CancelRequest gets no answer."""
        if self._negotiation is not None:
            self._negotiation.received(data)

    def _negotiated(self, facts: TlsFacts | None) -> None:
        if self._cancel is None:
            return
        if facts is None:
            self._cancel.refused(REFUSED)
        else:
            self._cancel.connected()

    def _tls_refused(self, failure: Failure) -> None:
        if self._cancel is not None:
            self._cancel.refused(str(failure.value))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Note that the other end has handled the request, or that it is lost."""
        if self._cancel is not None:
            self._cancel.closed(in_order=bool(reason.check(ConnectionDone)))

    def detach(self) -> None:
        """Break the reference cycle: the request is over."""
        self._cancel = self._negotiation = None


def _start_tls(transport: Any, creator: Encryption) -> Deferred[SSL.Connection]:  # noqa: ANN401 - any transport
    """Do a handshake; fires with the connection that OpenSSL has made of it."""

    def connection_of(layer: TlsLayer) -> SSL.Connection:
        return layer.connection

    return start_tls(transport, creator).addCallback(connection_of)


class OutgoingCancel:
    """One cancel request; ``backend`` is the server it is aimed at, None at a peer."""

    def __init__(
        self,
        cancels: OutgoingCancels,
        requester: Frontend,
        key: bytes,
        target: CancelTarget,
        backend: Backend | None,
    ) -> None:
        """Wait for a connection."""
        self.done: Deferred[str] = Deferred()
        """Fires with the reason to close the requester's connection."""
        self.connection: CancelConnection | None = None
        """Set when it starts to connect."""
        self.is_sent = False
        self._target = target
        self._cancels = cancels
        self._requester = requester
        self._key = key
        self._backend = backend
        self._connecting: Deferred[object] | None = None
        self._timer: IDelayedCall | None = None
        if backend is not None:
            backend.cancels.append(self)
            backend.stream.needs_release_check = True

    def set_timer(self, timer: IDelayedCall) -> None:
        """Store the timer that calls :meth:`timed_out`, to stop it at the end."""
        self._timer = timer

    def start(self, connect: Connector) -> None:
        """Connect."""
        target = self._target
        self.connection = CancelConnection(self, target.encryption)
        self._connecting = connect(
            target.host, target.port, self.connection, target.address
        )
        self._connecting.addErrback(lambda _failure: self._end(NOT_SENT))

    def connected(self) -> None:
        """Send the request."""
        self._transport().write(encode.cancel_request(self._key))
        self.is_sent = True
        self._requester.cancel_sent()

    def refused(self, _reason: str) -> None:
        """End: the TLS handshake failed."""
        self._end(NOT_SENT)

    def closed(self, *, in_order: bool) -> None:
        """End: the connection is closed."""
        self._end(SENT, is_uncertain=not in_order)

    def drop_unsent(self) -> None:
        """Drop it unless it has been sent: the query it was for is over."""
        if not self.is_sent:
            self._end(NOT_NEEDED)

    def timed_out(self) -> None:
        """End: cancel_wait_timeout is over."""
        self._end(TIMED_OUT, is_uncertain=True)

    def _end(self, reason: str, *, is_uncertain: bool = False) -> None:
        """End once; release the server, or have it closed if the outcome is unknown."""
        if self.done.called:
            return
        backend, is_sent = self._backend, self.is_sent
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.done.callback(reason)
        transport = self._transport()
        if transport is None and self._connecting is not None:
            self._connecting.cancel()
        if transport is not None and transport.connected:
            transport.abortConnection()
        if backend is not None:
            backend.cancels.remove(self)
            backend.stream.close_needed |= is_sent and is_uncertain
            # The server may be closed already.
            if not backend.cancels and backend.stored_state is not ServerState.CLOSED:
                backend.stream.drop_release_check()
                if backend.stored_state is ServerState.BEING_CANCELED:
                    backend.change_state(ServerEvent.CANCEL_DONE)
                    backend.stream.server_source.put_back(backend.stream)
        if self.connection is not None:
            self.connection.detach()
        self._cancels.remove(self)

    def _transport(self) -> Any:  # noqa: ANN401 - any transport
        return None if self.connection is None else self.connection.transport


class OutgoingCancels:
    """The requests to one pool's servers, or to one peer.

    ``room`` returns how many connections they may use at present; the others wait,
    first come, first served.
    """

    def __init__(self, context: ServiceContext, room: Callable[[], int | None]) -> None:
        """Begin with none; a ``room`` of None means no limit."""
        self._context = context
        self._room = room
        self._cancels: list[OutgoingCancel] = []

    def send(
        self,
        requester: Frontend,
        key: bytes,
        target: CancelTarget,
        backend: Backend | None = None,
    ) -> Deferred[str]:
        """Send a request; fires with the reason to close the requester's connection."""
        cancel = OutgoingCancel(self, requester, key, target, backend)
        self._cancels.append(cancel)
        seconds = self._context.configuration.settings.cancel_wait_timeout
        if seconds:
            cancel.set_timer(self._context.later(seconds, cancel.timed_out))
        self.start_next()
        return cancel.done

    def remove(self, cancel: OutgoingCancel) -> None:
        """Remove a request that is over, and start the next one."""
        self._cancels.remove(cancel)
        self.start_next()

    def start_next(self) -> None:
        """Start those that there is room for."""
        for cancel in [*self._cancels]:
            if cancel.connection is not None or cancel.done.called:
                continue
            room = self._room()
            if room is not None and room <= self.connecting + self.active:
                return
            cancel.start(self._context.connect)

    @property
    def waiting(self) -> int:
        """How many have not been sent yet."""
        return len(self._cancels) - self.active

    @property
    def connecting(self) -> int:
        """How many of these are connecting."""
        return sum(one.connection is not None for one in self._cancels) - self.active

    @property
    def active(self) -> int:
        """How many have been sent and wait for the other end to close."""
        return sum(one.is_sent for one in self._cancels)
