"""One client connection, apart from the bytes it relays.

A :class:`Frontend` takes the first packets, carries a login through, welcomes the
client and hands it to its pool or to the console; later it hears only of what is
rare: errors, the end.  Who may log in and where is the reception's business
(``auth/login_service.py``), which is asked through the interface below.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from zope.interface import classImplements

from pgswitch.errors import (
    Fault,
    InternalFault,
    Notice,
    SilentClose,
    SslRequired,
    UnencryptedDataAfterGssRequest,
    UnencryptedDataAfterSslRequest,
)
from pgswitch.logs import socket_prefix
from pgswitch.net.acceptor import peer_credentials
from pgswitch.net.backend import address_of
from pgswitch.net.console_answers import (
    ConsoleAnswers,
    ConsoleReply,
    ConsoleSession,
    FairQueue,
)
from pgswitch.net.sockets import send_with_descriptors
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.tracing import traced
from pgswitch.net.transport import SocketIO, io_for
from pgswitch.relay.client_stream import ClientStream
from pgswitch.tls.certificates import TlsFacts
from pgswitch.types import Address
from pgswitch.wire import encode
from pgswitch.wire.client_auth import (
    Accepted,
    ClientAuthenticator,
    Offload,
    Refused,
    Send,
)
from pgswitch.wire.constants import TERMINATE, TLS_HANDSHAKE
from pgswitch.wire.startup import (
    CancelRequest,
    DirectTls,
    FirstPacketReader,
    GssEncRequest,
    Replication,
    SslRequest,
    Startup,
    StartupFacts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from OpenSSL import SSL
    from twisted.python.failure import Failure

    from pgswitch.logs import Log
    from pgswitch.tls.endpoints import ClientTls
    from pgswitch.wire.client_auth import ClientAuthCommand
    from pgswitch.wire.lost_transaction import LostTransaction
    from pgswitch.wire.params import Values
    from pgswitch.wire.welcome import Welcome

LOGIN_LIMIT: Final = 16384
"""Bytes of the first packets that a stranger may have us hold."""
ANSWER_LIMIT: Final = 65536
"""Bytes of a message that answers a question of ours, its type byte included.

PostgreSQL's limit (PG_MAX_AUTH_TOKEN_LENGTH, 65535, which counts no type byte): tokens
of clouds' identity services are longer than the passwords that people know.
"""
REFUSED_ENCRYPTION: Final = b"N"
ACCEPTED_ENCRYPTION: Final = b"S"
NO_REPLICATION: Final = Replication.NONE
"""A final name: the members of an enumeration are looked up anew each time."""
READY: Final = encode.ready_for_query()
TLS_BEGIN: Final = bytes((TLS_HANDSHAKE,))
UNIX: Final = Address("unix", 0)


class FrontendService(Protocol):
    """What a frontend asks the service."""

    @property
    def log(self) -> Log:
        """The log of the service."""

    @property
    def log_pooler_errors(self) -> bool:
        """Whether errors sent to clients are logged."""

    @property
    def log_disconnections(self) -> bool:
        """Whether the end of each connection is logged."""

    @property
    def has_ended(self) -> bool:
        """Whether the process ends at once, which nobody is told."""

    @property
    def client_tls(self) -> ClientTls | None:
        """How clients over TCP may be encrypted; None: not at all."""

    @property
    def known_packets(self) -> Mapping[bytes, Startup]:
        """Start-up packets that need not be taken apart again."""

    @property
    def console_queue(self) -> FairQueue:
        """What grants consoles their turns."""

    def clock(self) -> float:
        """Return monotonic seconds."""

    def on_accept(self, frontend: Frontend) -> int:
        """Note a new connection; return its number."""

    def begin_login(
        self, frontend: Frontend, startup: Startup
    ) -> ClientAuthenticator | Deferred[ClientAuthenticator | None] | None:
        """Check a start-up packet; return the login, None if none is needed.

        Sets the frontend's ``facts``.  Raises the Fault to refuse with, or has the
        Deferred fail with it.
        """

    def accepted(self, frontend: Frontend, outcome: Accepted) -> None:
        """Take a client that has authenticated to its pool or to the console."""

    def work(self, work: Offload) -> Deferred[object]:
        """Do what a login needs done in a thread; fires with None if it failed."""

    def refused(self, frontend: Frontend) -> None:
        """Note that a client did not prove itself."""

    def welcome(self, frontend: Frontend, welcome: Welcome) -> None:
        """Begin the relay of a client, now that its servers' parameters are known."""

    def revive(self, frontend: Frontend) -> None:
        """Begin the relay of a welcomed client once more."""

    def cancel(self, frontend: Frontend, key: bytes) -> Deferred[str]:
        """Carry out a cancel request; fires with the reason to close its client."""

    def on_fault(self, frontend: Frontend, fault: Fault) -> None:
        """Note that a client is told why its connection ends."""

    def on_close(self, frontend: Frontend) -> None:
        """Let go of a client; said once."""


class Frontend:
    """A client connection; its Link relays, this does all the rest.

    An ``IProtocol`` that does not inherit from Twisted, so that it can be compiled.
    """

    is_confidential = False
    requeued: float = 0.0
    """Which statement has lost a server, by the start of its query; 0.0: none."""
    requeued_since: float = 0.0
    """When it was first asked: its wait for a server has a deadline."""
    reruns: int = 0
    """How often it was run again."""

    def __init__(self, service: FrontendService, address: Address) -> None:
        """Begin before the first packet; ``address`` is where it comes from."""
        self.service = service
        self.transport: Any = None
        self.stream: ClientStream
        self.io: SocketIO
        self.facts: StartupFacts | None = None
        self.wanted: Values = ()
        """The tracked parameters that its start-up packet asked for."""
        self.user = ""
        self.database = ""
        self.log_names: tuple[str | None, str | None] = None, None
        """Database and user in log lines: those that are known to exist."""
        self.identity: Any = None
        """Whom the reception has found behind ``user``; its own business."""
        self.pool: Any = None
        self.console: ConsoleSession | None = None
        self.lost_transaction: LostTransaction | None = None
        """Answers instead of a server, once one was lost in a transaction."""
        self.logged_in = False
        self.closed = False
        self.cancel_key = b""
        self.cancelling = ""
        """``waiting`` or ``active`` once this turned out to be a cancel request."""
        self.told_of_wait = 0.0
        """When the wait began of which the client was told, see upkeep.py."""
        self.waiting_since = 0.0
        """When the wait for the welcome began."""
        self.address = address
        self.credentials: tuple[int, int] | None = None
        """Process and user id of the other end of a unix socket."""
        self.tls: TlsFacts | None = None
        """Of the handshake, once there was one."""
        self._tls_begun = False
        self._local_address: Address | None = None
        self.connected_at = service.clock()
        self.welcomed_at = self.connected_at
        self.connected_time = time()
        self.number = service.on_accept(self)
        self._reader: FirstPacketReader | None = FirstPacketReader(
            service.known_packets
        )
        self._login: ClientAuthenticator | None = None
        self._ahead = b""
        """The last bytes of the login, which go out together with the welcome."""
        self._finding: Deferred[Any] | None = None
        """What the login waits for: whom to ask for what, or work in a thread."""
        self._answering: ConsoleAnswers | None = None
        """Of the console's messages."""

    @property
    def prefix(self) -> str:
        """Return what log lines about this client begin with."""
        database, user = self.log_names
        return socket_prefix("C", id(self), database, user, self.address)

    @property
    def replicates(self) -> bool:
        """Whether the client asked for a replication connection."""
        return self.facts is not None and self.facts.replication is not NO_REPLICATION

    @property
    def is_untouched(self) -> bool:
        """Whether nothing has come yet of a first packet."""
        return (
            self.facts is None
            and self._reader is not None
            and self._reader.is_empty
            and not self._tls_begun
        )

    @property
    def local_address(self) -> Address:
        """Return the address that the client has connected to."""
        if self.closed:
            return UNIX
        if self._local_address is None:
            self._local_address = address_of(self.transport.getHost())
        return self._local_address

    @property
    def state(self) -> str:
        """Return the word of SHOW CLIENTS, ``login`` before that list."""
        if self.cancelling:
            return f"{self.cancelling}_cancel_req"
        if not self.logged_in:
            return "waiting" if self.waiting_since else "login"
        if self.stream.server is not None:
            return "active"
        if self.stream.suspended:
            return "waiting" if self.stream.waiting_since else "active"
        return "idle"

    # What Twisted calls.

    def makeConnection(self, transport: Any) -> None:  # noqa: ANN401 - of any reactor
        """Take the transport, as ``IProtocol`` has it."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Find out who is there, and have the Stream read."""
        transport = self.transport
        fast = isinstance(transport, TcpTransport)
        self.io = SocketIO(transport) if fast else io_for(transport)
        self.stream = ClientStream(LOGIN_LIMIT, self.io, self)
        self.io.attach(self.stream)
        if self.address.host == "unix":
            self.credentials = peer_credentials(transport)
            if self.credentials is not None:
                self.address = self.address._replace(pid=self.credentials[0])
        elif self.service.client_tls is not None:
            self.stream.descriptor, self.stream.recv = -1, self._first_recv

    def dataReceived(self, data: bytes) -> None:
        """Take what a transport has read that does not leave it to the Stream."""
        self.io.received(data)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - an end of file or our own doing
        """Say goodbye to pool and reception."""
        if self.transport is None:  # It could not be served.
            self.closed = True
            self.service.on_close(self)
            return
        if not self.closed:
            quiet = not self.logged_in and (
                self._reader is None or self._reader.is_empty
            )
            self._leave("" if quiet else "client unexpected eof")
        self.io.detach()
        self.stream.let_go()

    def go_on_with(
        self,
        transport: Any,  # noqa: ANN401 - of any reactor
        facts: StartupFacts,
        cancel_key: bytes,
    ) -> None:
        """Take a client that has logged in to another process."""
        self.makeConnection(transport)
        # What it says next is no TLS handshake.
        self.stream.recv = self.io.recv
        self.io.attach(self.stream)
        self._reader = None
        self.stream.starting = False
        self.facts = facts
        self.user, self.database = facts.user, facts.database
        self.log_names = self.database, self.user
        self.cancel_key = cancel_key
        self.logged_in = True

    # Before and during the login.

    def first_bytes(self, chunk: bytes) -> None:
        """Take first packets, until a start-up packet begins the login."""
        while chunk and self._reader is not None and not self.closed:
            found = self._reader.feed(chunk)
            if found is None:
                return
            packet, chunk = found
            chunk = self._first_packet(packet, chunk)

    def _first_packet(self, packet: object, rest: bytes) -> bytes:
        """Deal with a first packet; return the bytes still to be read as such."""
        if isinstance(packet, SslRequest):
            self._ssl_request(rest)
        elif isinstance(packet, GssEncRequest):
            if rest:
                raise UnencryptedDataAfterGssRequest
            self.stream.send(REFUSED_ENCRYPTION)
        elif isinstance(packet, CancelRequest):
            self._reader = None
            self.cancelling = "waiting"
            self.service.cancel(self, packet.key).addCallback(
                lambda reason: self.disconnect(SilentClose(reason))
            )
        elif isinstance(packet, Startup):
            self._start(packet, rest)
            return b""
        elif isinstance(packet, DirectTls):
            raise SilentClose("bad packet")
        return rest

    # TLS.

    def _first_recv(self, size: int) -> bytes:
        """Read the first bytes, unless TLS begins with them (sslnegotiation=direct)."""
        is_tls = self.io.peek() == TLS_BEGIN
        if is_tls and self.service.client_tls is not None:
            self._begin_tls()
            raise BlockingIOError
        self.stream.recv = self.io.recv
        self.io.attach(self.stream)
        return self.io.recv(size)

    def _ssl_request(self, rest: bytes) -> None:
        """Answer an SSLRequest, which nothing may follow in clear."""
        if self.tls is not None:
            raise SilentClose("SSL req inside SSL")
        if rest:
            raise UnencryptedDataAfterSslRequest
        if self.address.host == "unix" or self.service.client_tls is None:
            self.stream.send(REFUSED_ENCRYPTION)
        else:
            self.stream.send(ACCEPTED_ENCRYPTION)
            self._begin_tls()

    def _begin_tls(self) -> None:
        """Leave the connection to the handshake."""
        self._tls_begun = True
        side = self.service.client_tls
        assert side is not None  # noqa: S101 - asked before

        def encrypted(connection: SSL.Connection) -> None:
            self.tls = side.facts(connection)
            self.io.attach(self.stream)

        self.io.start_tls(self.stream, side, LOGIN_LIMIT).addCallbacks(
            encrypted, self._handshake_failed
        )

    def _handshake_failed(self, failure: Failure) -> None:
        self.disconnect(SilentClose(f"TLS handshake failed: {failure.value}"))

    # The login.

    def _start(self, startup: Startup, rest: bytes) -> None:
        """Begin the login that a start-up packet asks for."""
        side = self.service.client_tls
        is_in_clear = self.tls is None and self.address.host != "unix"
        if is_in_clear and side is not None and side.options.is_required:
            raise SslRequired
        self._reader = None
        self.stream.starting = False
        if self.service.log.noise_enabled:
            traced(
                self.io, self.stream, self.service.log, self, is_client=True, rest=rest
            )
            self.io.attach(self.stream)
        login = self.service.begin_login(self, startup)
        # Asked in this order, as to tell whether something is a Deferred takes long.
        if login is None or isinstance(login, ClientAuthenticator):
            self._ask(login)
            if rest and not self.closed:
                self.stream.take(rest)
        else:
            self._finding = login
            self.stream.hold(rest)
            login.addCallbacks(self._found, self._not_found)

    def _found(self, login: ClientAuthenticator | None) -> None:
        """Go on, now that it is known what to ask."""
        self._finding = None
        try:
            self._ask(login)
        except Fault as fault:
            self.disconnect(fault)
        if not self.closed:
            self.stream.take_held()

    def _not_found(self, failure: Failure) -> None:
        """Refuse a client that nothing can be asked."""
        self._finding = None
        if self.closed:
            return  # Then the failure is that the search was given up.
        fault = failure.value
        if not isinstance(fault, Fault):
            self.service.log.error(f"{self.prefix} login: {fault!r}")
            fault = InternalFault()
        self.disconnect(fault)

    def _ask(self, login: ClientAuthenticator | None) -> None:
        if login is None:
            self.service.accepted(self, Accepted())
        else:
            self._login = login
            # Only now: the start-up packet was good, and somebody is asked.
            self.stream.limit = ANSWER_LIMIT
            self._perform(login.begin())

    def _perform(self, commands: Iterable[ClientAuthCommand]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.stream.send(command.data)
            elif isinstance(command, Refused):
                self.service.refused(self)
                raise command.fault
            elif isinstance(command, Offload):
                self._finding = self.service.work(command)
                self._finding.addCallbacks(self._offload_done, self._not_found)
            else:
                self._login = None
                self._ahead = command.last
                try:
                    self.service.accepted(self, command)
                finally:
                    self._send_ahead()

    def _send_ahead(self) -> None:
        """Send the last bytes of the login, if no welcome has taken them along."""
        if self._ahead:
            self.stream.send(self._ahead)
            self._ahead = b""

    def _offload_done(self, result: object) -> None:
        """Go on with the login, now that a thread has done something for it."""
        self._finding = None
        if self.closed or self._login is None:
            return
        try:
            self._perform(self._login.offload_done(result))
        except Fault as fault:
            self.disconnect(fault)

    def message(self, message_type: int, body: bytes) -> None:
        """Deal with a whole message: of the login, or to the console."""
        if self.closed:
            return
        if self._login is not None:
            self._perform(self._login.message(message_type, body))
        elif self.console is not None:
            if self._answering is None:
                console_queue, log = self.service.console_queue, self.service.log
                self._answering = ConsoleAnswers(self, self.console, console_queue, log)
                self.io.on_drained = self._answering.go_on
            self._answering.take(message_type, body)
        elif message_type == TERMINATE:
            self.terminated()
        elif self.lost_transaction is not None:
            self._refuse(self.lost_transaction, message_type, body)
        else:
            # Authenticated, but not welcomed yet: nothing may be asked so early.
            raise SilentClose("bad packet")

    # After it.

    def lose_transaction(self, lost: LostTransaction) -> None:
        """Refuse what comes until the client has ended a transaction that is lost."""
        self.lost_transaction = lost
        stream = self.stream
        kept = b"" if stream.interceptor is None else stream.interceptor.leave()
        stream.end_relay()
        if stream.suspended:
            stream.take_held()  # What waited for answers that do not come any more.
        if kept:
            stream.take(kept)

    def _refuse(self, lost: LostTransaction, message_type: int, body: bytes) -> None:
        answer = lost.message(message_type, body)
        for fault in lost.faults:
            self.service.on_fault(self, fault)
        lost.faults.clear()
        if answer.data:
            self.stream.send(answer.data)
        if answer.is_over:
            self.lost_transaction = None
            self.stream.ahead = answer.ahead
            self.service.revive(self)

    def send_welcome(self, told: bytes, key: bytes, notice: Notice | None) -> None:
        """End the login: what the client is told, a cancel key, ReadyForQuery.

        ``told`` is AuthenticationOk and the ParameterStatus messages.
        """
        self.cancel_key = key
        self.logged_in = True
        self.waiting_since = 0.0
        self.welcomed_at = self.service.clock()
        ahead, self._ahead = self._ahead, b""
        self.stream.send(
            b"".join(
                (
                    ahead,
                    told,
                    encode.backend_key_data(key),
                    b"" if notice is None else encode.notice_response(notice),
                    READY,
                )
            )
        )

    def welcome(self, welcome: Welcome) -> None:
        """Hear from the pool what its servers report at login."""
        self.service.welcome(self, welcome)

    def notify(self, notice: Notice) -> None:
        """Send a notice between messages."""
        self.stream.send(encode.notice_response(notice))

    def reply(self, reply: ConsoleReply) -> None:
        """Send what the console says, or the beginning of it."""
        if self.closed:
            return
        for fault in reply.faults:
            if not fault.is_silent and self.service.log_pooler_errors:
                self.service.log.warning(f"{self.prefix} pooler error: {fault.text}")
        if reply.attached:
            self._send_attached(reply)
        elif reply.data:
            self.stream.send(reply.data)
        if reply.close:
            reason = reply.faults[-1].text if reply.faults else "client close request"
            self.disconnect(SilentClose(reason))

    def _send_attached(self, reply: ConsoleReply) -> None:
        """Send a reply with descriptors; the service stands still meanwhile."""
        try:
            send_with_descriptors(self.io.transport.socket, reply.data, reply.attached)
        except OSError as error:
            self.service.log.error(
                f"{self.prefix} cannot send descriptors: {error.strerror or error}"
            )
            self.disconnect(SilentClose("failed to send descriptors"))

    # The end.

    def terminated(self) -> None:
        """Hear from the Link that the client said Terminate."""
        if not self.closed:
            self._leave("client close request")
            self.io.close()

    def faulted(self, fault: Fault) -> None:
        """Hear from the Link that the client broke the protocol."""
        self.disconnect(fault)

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Close the connection for a reason, which the client is told.

        ``quietly`` leaves the message out: the client is in the middle of another.
        """
        # Its frames hold us, and it is held by them: a circle.
        fault.__traceback__ = fault.__context__ = None
        if self.closed:
            return
        if fault.note is not None:
            self.service.log.warning(f"{self.prefix} {fault.note}")
        self._send_ahead()
        self._leave(fault.text)
        last = b""
        if not fault.is_silent and not self.service.has_ended:
            self.service.on_fault(self, fault)
            if self.service.log_pooler_errors:
                self.service.log.warning(f"{self.prefix} pooler error: {fault.text}")
            if not quietly:
                last = encode.error_response(fault)
        self.io.close(last)

    def _leave(self, reason: str) -> None:
        """Let everybody else let go of this client, once."""
        self.closed = True
        if reason and self.service.log_disconnections:
            age = int(self.service.clock() - self.connected_at)
            self.service.log.log(
                f"{self.prefix} closing because: {reason} (age={age}s)"
            )
        self.stream.lost = True
        self.stream.stopped = True
        if self._finding is not None:
            self._finding.cancel()
        if self.console is not None:
            self.console.closed()
        if self._answering is not None:
            self._answering.stop()
        if self.pool is not None:
            self.pool.remove_client(self)
        self.service.on_close(self)


# Not as a decorator: mypyc does not compile decorated classes.
classImplements(Frontend, IProtocol)
