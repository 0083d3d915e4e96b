"""Cancel requests on their way to a server or a peer, each on its own connection.

A request waits for its connection, is sent, and is over when the other end closes
(manual, "Canceling Requests in Progress").  Until then the server that it is aimed at
gets no other client, or the cancel might hit that client's query.  Where it cannot be
known whether a request that was sent has been carried out, the server is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol

from pgswitch.net.backend import Phase
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

    With ``encryption`` the key is not sent in clear, whatever the other end says.
    """

    host: str | None
    port: int
    address: str = ""
    encryption: Encryption | None = None


class CancelConnection(Protocol):
    """Sends one CancelRequest and waits for the other end to close."""

    def __init__(self, cancel: OutgoingCancel, encryption: Encryption | None) -> None:
        """Take what is to be done."""
        self._cancel: OutgoingCancel | None = cancel
        self._encryption = encryption
        self._negotiation: TlsNegotiation | None = None

    def connectionMade(self) -> None:
        """Send the request, or get the connection encrypted first."""
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
        self._negotiation.begin().addCallbacks(self._negotiated, self._tls_refused)

    def dataReceived(self, data: bytes) -> None:
        """Take the answer to an SSLRequest; nothing else is answered here."""
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
        """Note that the other end has dealt with the request, or that it is lost."""
        if self._cancel is not None:
            self._cancel.closed(in_order=bool(reason.check(ConnectionDone)))

    def let_go(self) -> None:
        """Break the circle of references: the request is over."""
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
        place: CancelTarget,
        backend: Backend | None,
    ) -> None:
        """Begin to wait."""
        self.done: Deferred[str] = Deferred()
        """Fires with the reason to close the requester's connection."""
        self.connection: CancelConnection | None = None
        """There from the attempt to connect on."""
        self.is_sent = False
        self._place = place
        self._company = cancels
        self._requester = requester
        self._key = key
        self._backend = backend
        self._connecting: Deferred[object] | None = None
        self._timer: IDelayedCall | None = None
        if backend is not None:
            backend.cancels.append(self)
            backend.stream.needs_release_check = True

    def limit(self, timer: IDelayedCall) -> None:
        """Keep the timer that calls :meth:`timed_out`."""
        self._timer = timer

    def start(self, connect: Connector) -> None:
        """Connect."""
        place = self._place
        self.connection = CancelConnection(self, place.encryption)
        self._connecting = connect(
            place.host, place.port, self.connection, place.address
        )
        self._connecting.addErrback(lambda _failure: self._end(NOT_SENT))

    def connected(self) -> None:
        """Send the request."""
        self._transport().write(encode.cancel_request(self._key))
        self.is_sent = True
        self._requester.cancel_sent()

    def refused(self, _reason: str) -> None:
        """Give up: the connection could not be encrypted."""
        self._end(NOT_SENT)

    def closed(self, *, in_order: bool) -> None:
        """Note the end of the connection."""
        self._end(SENT, is_doubtful=not in_order)

    def unneeded(self) -> None:
        """Give up unless it is sent: the query it was for is over."""
        if not self.is_sent:
            self._end(NOT_NEEDED)

    def timed_out(self) -> None:
        """Give up: cancel_wait_timeout is over."""
        self._end(TIMED_OUT, is_doubtful=True)

    def _end(self, reason: str, *, is_doubtful: bool = False) -> None:
        """Be over, once; the server goes on, or is closed if the outcome is unknown."""
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
            backend.stream.close_needed |= is_sent and is_doubtful
            # It may have been lost meanwhile.
            if not backend.cancels and backend.phase is not Phase.CLOSED:
                backend.stream.drop_release_check()
                if backend.is_parked:
                    backend.is_parked = False
                    backend.stream.server_source.put_back(backend.stream)
        if self.connection is not None:
            self.connection.let_go()
        self._company.left(self)

    def _transport(self) -> Any:  # noqa: ANN401 - any transport
        return None if self.connection is None else self.connection.transport


class OutgoingCancels:
    """The requests on their way to one pool's servers, or to one peer.

    ``room`` tells how many connections there may be for them at present; those for
    which there is none wait, the first come first.
    """

    def __init__(self, context: ServiceContext, room: Callable[[], int | None]) -> None:
        """Begin with none; a ``room`` of None is no limit."""
        self._context = context
        self._room = room
        self._cancels: list[OutgoingCancel] = []

    def send(
        self,
        requester: Frontend,
        key: bytes,
        place: CancelTarget,
        backend: Backend | None = None,
    ) -> Deferred[str]:
        """Have a request sent; fires with the reason to close the requester's end."""
        cancel = OutgoingCancel(self, requester, key, place, backend)
        self._cancels.append(cancel)
        seconds = self._context.configuration.settings.cancel_wait_timeout
        if seconds:
            cancel.limit(self._context.later(seconds, cancel.timed_out))
        self.go_on()
        return cancel.done

    def left(self, cancel: OutgoingCancel) -> None:
        """Forget a request that is over, and let the next one go."""
        self._cancels.remove(cancel)
        self.go_on()

    def go_on(self) -> None:
        """Begin to send those that there is room for."""
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
        """How many of these have a connection that is being opened."""
        return sum(one.connection is not None for one in self._cancels) - self.active

    @property
    def active(self) -> int:
        """How many have been sent and wait for the other end to close."""
        return sum(one.is_sent for one in self._cancels)
