"""One client connection, apart from the bytes it relays.

A :class:`Frontend` reads the first packets, carries out a login, and connects the
client to its pool or to the console; later it handles only what is rare: errors and
the end.  The login service (``auth/login_service.py``) decides who may log in and
where; it answers by the commands in ``login_commands.py``.  The states are the table in
``connection_states.py``.

A login, step by step (the service's methods are those of :class:`FrontendService`):

1. ``_start`` has the service admit the start-up packet, and begin the login.
2. ``_perform`` carries out the commands: the exchange of ``Authenticate`` leads to
   ``authenticated``, whose commands start the relay or the console.
3. Without a command the client waits; its pool calls ``resume_login``.
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
from pgswitch.net.connection_states import (
    CLIENT_STATES,
    SHOW_WORDS,
    ClientEvent,
    ClientState,
)
from pgswitch.net.console_answers import (
    ConsoleAnswers,
    ConsoleReply,
    ConsoleSession,
    FairQueue,
)
from pgswitch.net.login_commands import Authenticate, StartConsole, StartRelay
from pgswitch.net.sockets import send_with_descriptors
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.tracing import traced
from pgswitch.net.transport import SocketIO, io_for
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.stream import Clock
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
    from collections.abc import Mapping

    from OpenSSL import SSL
    from twisted.python.failure import Failure

    from pgswitch.logs import Log
    from pgswitch.net.login_commands import LoginCommand
    from pgswitch.tls.endpoints import ClientTls
    from pgswitch.wire.client_auth import ClientAuthCommand
    from pgswitch.wire.loss import LostTransaction
    from pgswitch.wire.params import Values, Welcome

LOGIN_LIMIT: Final = 16384
"""Bytes of the first packets that we buffer for a client that is not known yet."""
ANSWER_LIMIT: Final = 65536
"""Bytes of a message of the authentication, its type byte included.

PostgreSQL's limit (PG_MAX_AUTH_TOKEN_LENGTH, 65535, which counts no type byte): tokens
of clouds' identity services are longer than the passwords that people know.
"""
REFUSED_ENCRYPTION: Final = b"N"
ACCEPTED_ENCRYPTION: Final = b"S"
TLS_BEGIN: Final = bytes((TLS_HANDSHAKE,))
UNIX: Final = Address("unix", 0)

# Final names, because each use of an enumeration's member costs a look-up.
_NO_REPLICATION: Final = Replication.NONE
_LOGIN: Final = ClientState.LOGIN
_IDLE: Final = ClientState.IDLE
_CLOSED: Final = ClientState.CLOSED
_LOGIN_DONE: Final = ClientEvent.LOGIN_DONE
_CLOSE: Final = ClientEvent.CLOSE
_CANCELS: Final = (ClientState.WAITING_CANCEL, ClientState.ACTIVE_CANCEL)


class Sessions(Protocol):
    """Prepares the sessions of authenticated clients; see auth/session_setup.py."""

    def start(self, frontend: Frontend, welcome: Welcome) -> StartRelay:
        """Return how to start the relay, now that the servers' parameters are known."""


class ClientRules(Protocol):
    """The rules in force; see rules/engine.py."""

    def attach(self, client: Frontend) -> None:
        """Have the rules see the queries of a client that has just logged in."""


class FrontendService(Protocol):
    """The service as a frontend sees it."""

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
        """Whether the process ends at once, without a word to the clients."""

    @property
    def client_tls(self) -> ClientTls | None:
        """TLS for clients over TCP; None if there is none."""

    @property
    def known_packets(self) -> Mapping[bytes, Startup]:
        """Start-up packets that were parsed before, by their bytes."""

    @property
    def console_queue(self) -> FairQueue:
        """Gives the consoles their turns."""

    @property
    def sessions(self) -> Sessions:
        """Prepares the sessions of clients."""

    @property
    def rules(self) -> ClientRules:
        """The rules in force."""

    def clock(self) -> float:
        """Return monotonic seconds."""

    def on_accept(self, frontend: Frontend) -> int:
        """Note a new connection; return its number."""

    def on_login(self, frontend: Frontend) -> None:
        """Note that a client has logged in."""

    def on_auth_failure(self, frontend: Frontend) -> None:
        """Note that a client did not prove itself."""

    def on_fault(self, frontend: Frontend, fault: Fault) -> None:
        """Note an error that ends a connection, or a transaction."""

    def on_close(self, frontend: Frontend) -> None:
        """Forget a client; called once."""

    def admit(self, frontend: Frontend, startup: Startup) -> bytes:
        """Check a start-up packet; return what to send at once, maybe nothing.

        Calls :meth:`Frontend.take_startup`.  Raises the Fault to refuse with.
        """

    def begin_login(
        self, frontend: Frontend
    ) -> list[LoginCommand] | Deferred[list[LoginCommand]]:
        """Return how a client that is admitted logs in.

        Raises the Fault to refuse with, or has the Deferred fail with it.
        """

    def authenticated(
        self, frontend: Frontend, outcome: Accepted
    ) -> list[LoginCommand]:
        """Return how a client goes on that has proved itself; raises a Fault."""

    def offload(self, offload: Offload) -> Deferred[object]:
        """Make a call in a thread; fires with None if it failed."""

    def cancel(self, frontend: Frontend, key: bytes) -> Deferred[str]:
        """Carry out a cancel request; fires with the reason to close its client."""


class Frontend:
    """A client connection; its ClientStream relays, this does all the rest.

    An ``IProtocol`` that does not inherit from Twisted, so that it can be compiled.
    """

    is_confidential = False
    requeued: float = 0.0
    """Start of the query that has lost a server and is run again; 0.0: none."""
    requeued_since: float = 0.0
    """When it was first sent: its wait for a server has a deadline."""
    reruns: int = 0
    """How often it was run again."""

    def __init__(self, service: FrontendService, address: Address) -> None:
        """Begin before the first packet; ``address`` is the client's."""
        self.service = service
        self.transport: Any = None
        self.stream: ClientStream
        self.io: SocketIO
        # Who the client is: `take_startup`, `log_as` and `identify` set these.
        self.facts: StartupFacts | None = None
        self.replicates = False
        """Whether the client asked for a replication connection."""
        self.startup_parameters: Values = ()
        """The tracked parameters that the start-up packet asks for."""
        self.user = ""
        self.database = ""
        self.log_names: tuple[str | None, str | None] = None, None
        """Database and user in log lines: those that are known to exist."""
        self.identity: Any = None
        """The user behind ``user``, a value of the login service."""
        self.pool: Any = None
        self.console: ConsoleSession | None = None
        self.lost_transaction: LostTransaction | None = None
        """Answers instead of a server, once one was lost in a transaction."""
        # `_change_state` sets these three, nothing else does.
        self._state = _LOGIN
        self.logged_in = False
        self.closed = False
        self.cancel_key = b""
        self.waiting_since = 0.0
        """When the login began to wait for a server; 0.0 if it does not."""
        self._notified_wait = 0.0
        """Start of the last wait that the client was sent a notice about."""
        self.address = address
        self.credentials: tuple[int, int] | None = None
        """Process and user id of the other end of a unix socket."""
        self.tls: TlsFacts | None = None
        """Facts of the TLS handshake, once it is done."""
        self._tls_begun = False
        self._local_address: Address | None = None
        self.connected_at = service.clock()
        self.welcomed_at = self.connected_at
        self.connected_time = time()
        self.number = service.on_accept(self)
        self._reader: FirstPacketReader | None = FirstPacketReader(
            service.known_packets
        )
        self._authenticator: ClientAuthenticator | None = None
        self._unsent = b""
        """The last bytes of the authentication, which go out with what follows."""
        self._awaited: Deferred[Any] | None = None
        """What the login waits for: the login service, or a call in a thread."""
        self._answering: ConsoleAnswers | None = None
        """Answers the console's messages."""

    @property
    def prefix(self) -> str:
        """Return the beginning of log lines about this client."""
        database, user = self.log_names
        return socket_prefix("C", id(self), database, user, self.address)

    @property
    def is_untouched(self) -> bool:
        """Whether the client has sent nothing yet."""
        return (
            self.facts is None
            and self._reader is not None
            and self._reader.is_empty
            and not self._tls_begun
        )

    @property
    def is_cancel_request(self) -> bool:
        """Whether the connection carries a cancel request."""
        return self._state in _CANCELS

    @property
    def local_address(self) -> Address:
        """Return the address that the client has connected to."""
        if self.closed:
            return UNIX
        if self._local_address is None:
            self._local_address = address_of(self.transport.getHost())
        return self._local_address

    # The state.

    @property
    def state(self) -> ClientState:
        """Return the state; see ``connection_states.py`` on the derived ones."""
        if self._state is not _IDLE:
            return self._state
        stream = self.stream
        if stream.server is not None:
            return ClientState.ACTIVE
        if stream.suspended:
            is_waiting = bool(stream.waiting_since)
            return ClientState.WAITING if is_waiting else ClientState.ACTIVE
        return _IDLE

    @property
    def show_state(self) -> str:
        """Return the word of SHOW CLIENTS."""
        return SHOW_WORDS[self.state]

    def _change_state(self, event: ClientEvent) -> None:
        """Change the stored state; raises IllegalTransitionError."""
        state = self._state = CLIENT_STATES.next(self._state, event)
        if state is _IDLE:
            self.logged_in = True
        elif state is _CLOSED:
            self.closed = True

    def begin_login_wait(self) -> None:
        """Note that the login waits for a server."""
        self._change_state(ClientEvent.LOGIN_SUSPENDED)
        self.waiting_since = self.service.clock()

    def end_login_wait(self) -> None:
        """Note that the server has answered what the login waited for."""
        if not self.closed:
            self._change_state(ClientEvent.LOGIN_RESUMED)
        self.waiting_since = 0.0

    def cancel_sent(self) -> None:
        """Note that the server has been sent the cancel request."""
        if not self.closed:
            self._change_state(ClientEvent.CANCEL_SENT)

    # Who the client is.

    def take_startup(self, facts: StartupFacts, parameters: Values) -> None:
        """Take what the start-up packet says; ``parameters`` are the tracked ones."""
        self.facts = facts
        self.user, self.database = facts.user, facts.database
        self.replicates = facts.replication is not _NO_REPLICATION
        self.startup_parameters = parameters

    def log_as(self, database: str | None, user: str | None) -> None:
        """Name the client so in log lines; None for a name that may not exist."""
        self.log_names = database, user

    def identify(
        self,
        identity: Any,  # noqa: ANN401 - the login service's own type
        user: str,
        log_database: str | None,
    ) -> None:
        """Take the user that was found; ``log_database`` is as for :meth:`log_as`."""
        self.identity = identity
        self.user = user
        self.log_names = log_database, user

    # What Twisted calls.

    def makeConnection(self, transport: Any) -> None:  # noqa: ANN401 - of any reactor
        """Take the transport, as ``IProtocol`` has it."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Take the connection, and have the stream read it."""
        transport = self.transport
        fast = isinstance(transport, TcpTransport)
        self.io = SocketIO(transport) if fast else io_for(transport)
        self.stream = ClientStream(
            LOGIN_LIMIT, self.io, self, Clock(self.service.clock, self.connected_at)
        )
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
        """Have the pool and the service forget the client."""
        if self.transport is None:  # It could not be served.
            self._change_state(_CLOSE)
            self.service.on_close(self)
            return
        if not self.closed:
            quiet = not self.logged_in and (
                self._reader is None or self._reader.is_empty
            )
            self._leave("" if quiet else "client unexpected eof")
        self.io.detach()
        self.stream.let_go()

    def adopt_session(
        self,
        transport: Any,  # noqa: ANN401 - of any reactor
        facts: StartupFacts,
        cancel_key: bytes,
    ) -> None:
        """Take a client that has logged in to another process."""
        self.makeConnection(transport)
        # The client is past its first bytes: no TLS handshake can follow.
        self.stream.recv = self.io.recv
        self.io.attach(self.stream)
        self._reader = None
        self.stream.starting = False
        self.take_startup(facts, ())
        self.log_as(self.database, self.user)
        self.cancel_key = cancel_key
        self._change_state(_LOGIN_DONE)
        self.service.on_login(self)

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
        """Handle a first packet; return the bytes to be read as the next one."""
        if isinstance(packet, SslRequest):
            self._ssl_request(rest)
        elif isinstance(packet, GssEncRequest):
            if rest:
                raise UnencryptedDataAfterGssRequest
            self.stream.send(REFUSED_ENCRYPTION)
        elif isinstance(packet, CancelRequest):
            self._reader = None
            self._change_state(ClientEvent.CANCEL_REQUESTED)
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
        """Answer an SSLRequest; no bytes in clear may follow it."""
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
        """Begin the TLS handshake."""
        self._tls_begun = True
        side = self.service.client_tls
        assert side is not None  # noqa: S101 - the callers check it

        def encrypted(connection: SSL.Connection) -> None:
            self.tls = side.facts(connection)
            self.io.attach(self.stream)

        done = self.io.start_tls(self.stream, side, LOGIN_LIMIT)
        done.addCallback(encrypted).addErrback(self._handshake_failed)

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
        reply = self.service.admit(self, startup)
        if reply:
            self.stream.send(reply)
        commands = self.service.begin_login(self)
        # In this order, because telling a Deferred apart takes longer.
        if isinstance(commands, list):
            self._perform(commands)
            if rest and not self.closed:
                self.stream.take(rest)
        else:
            self.stream.hold(rest)
            self._await(commands)

    def _perform(self, commands: list[LoginCommand]) -> None:
        """Carry out the commands of the login service."""
        for command in commands:
            if isinstance(command, StartRelay):
                self.start_relay(command)
                self.service.rules.attach(self)
            elif isinstance(command, Authenticate):
                self._authenticator = command.authenticator
                # Only now: the start-up packet was good, and there is a user to prove.
                self.stream.limit = ANSWER_LIMIT
                self._perform(self._exchange(command.authenticator.begin()))
            else:
                self._start_console(command)

    def _exchange(self, commands: list[ClientAuthCommand]) -> list[LoginCommand]:
        """Carry out the commands of the authentication; return what is next to do."""
        following: list[LoginCommand] = []
        for command in commands:
            if isinstance(command, Send):
                self.stream.send(command.data)
            elif isinstance(command, Refused):
                self.service.on_auth_failure(self)
                raise command.fault
            elif isinstance(command, Offload):
                self._await(
                    self.service.offload(command).addCallback(self._offload_done)
                )
            else:
                self._authenticator = None
                self._unsent = command.last
                try:
                    following = self.service.authenticated(self, command)
                finally:
                    if not following:
                        self._send_unsent()
        return following

    def _offload_done(self, result: object) -> list[LoginCommand]:
        """Go on with the authentication, for which a thread has worked."""
        if self._authenticator is None:
            return []
        return self._exchange(self._authenticator.offload_done(result))

    def _await(self, commands: Deferred[list[LoginCommand]]) -> None:
        """Go on with the login when these commands are there."""
        self._awaited = commands
        commands.addCallbacks(self._resume, self._login_failed)

    def _resume(self, commands: list[LoginCommand]) -> None:
        """Go on with a login that has waited."""
        self._awaited = None
        try:
            self._perform(commands)
        except Fault as fault:
            self.disconnect(fault)
        if not self.closed:
            self.stream.take_held()

    def _login_failed(self, failure: Failure) -> None:
        """End a login whose wait has failed."""
        self._awaited = None
        if self.closed:
            return  # The failure is the cancellation of the wait.
        fault = failure.value
        if not isinstance(fault, Fault):
            self.service.log.error(f"{self.prefix} login: {fault!r}")
            fault = InternalFault()
        self.disconnect(fault)

    def resume_login(self, welcome: Welcome) -> None:
        """Go on with a login that has waited for its pool to know the welcome."""
        if not self.closed:
            self._perform([self.service.sessions.start(self, welcome)])

    def start_relay(self, command: StartRelay) -> None:
        """Have messages go to the servers of a pool, after the end of the login."""
        stream = self.stream
        stream.parameters = stream.startup_parameters = command.parameters
        stream.counters = command.idle_pool.counters
        stream.limit = command.message_limit
        stream.simple = command.simple_queries
        if command.reply:
            self._finish_login(command.reply, command.cancel_key)
        stream.begin_relay(command.idle_pool, command.statements)

    def _start_console(self, command: StartConsole) -> None:
        """Have messages go to the console, after the end of the login."""
        self.console = command.console
        self.stream.parameters = command.parameters
        self.stream.limit = command.message_limit
        self._finish_login(command.reply, command.cancel_key)

    def _finish_login(self, reply: bytes, cancel_key: bytes) -> None:
        """Send the messages that end the login, from AuthenticationOk on."""
        self.cancel_key = cancel_key
        self._change_state(_LOGIN_DONE)
        self.service.on_login(self)
        self.waiting_since = 0.0
        self.welcomed_at = self.service.clock()
        unsent, self._unsent = self._unsent, b""
        self.stream.send(unsent + reply)

    def _send_unsent(self) -> None:
        """Send the last bytes of the authentication, if nothing took them along."""
        if self._unsent:
            self.stream.send(self._unsent)
            self._unsent = b""

    def message(self, message_type: int, body: bytes) -> None:
        """Handle a whole message that is not relayed: of the login, to the console."""
        if self.closed:
            return
        if self._authenticator is not None:
            self._perform(
                self._exchange(self._authenticator.message(message_type, body))
            )
        elif self.console is not None:
            if self._answering is None:
                self._answering = ConsoleAnswers(
                    self, self.console, self.service.console_queue, self.service.log
                )
                self.io.on_drained = self._answering.go_on
            self._answering.take(message_type, body)
        elif message_type == TERMINATE:
            self.terminated()
        elif self.lost_transaction is not None:
            self._refuse(self.lost_transaction, message_type, body)
        else:
            # Authenticated, but ReadyForQuery has not gone out yet.
            raise SilentClose("bad packet")

    # After it.

    def lose_transaction(self, lost: LostTransaction) -> None:
        """Refuse all messages until the client has ended the transaction."""
        self._change_state(ClientEvent.TRANSACTION_LOST)
        self.lost_transaction = lost
        stream = self.stream
        kept = b"" if stream.interceptor is None else stream.interceptor.leave()
        stream.end_relay()
        if stream.suspended:
            stream.take_held()  # It waited for answers that will not come.
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
            self._change_state(ClientEvent.TRANSACTION_ENDED)
            stream = self.stream
            stream.ahead = answer.ahead
            stream.begin_relay(self.pool.idle_pool_of(self), stream.statements)
            self.service.rules.attach(self)

    def notify(self, notice: Notice) -> None:
        """Send a notice between messages."""
        self.stream.send(encode.notice_response(notice))

    def notify_of_wait(self, since: float, notice: Notice) -> None:
        """Send a notice about the wait that began at ``since``, once for each wait."""
        if self._notified_wait != since:
            self._notified_wait = since
            self.notify(notice)

    def reply(self, reply: ConsoleReply) -> None:
        """Send an answer of the console, or the first part of it."""
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
        """Send a reply with descriptors; this blocks the event loop."""
        try:
            send_with_descriptors(self.io.transport.socket, reply.data, reply.attached)
        except OSError as error:
            self.service.log.error(
                f"{self.prefix} cannot send descriptors: {error.strerror or error}"
            )
            self.disconnect(SilentClose("failed to send descriptors"))

    # The end.

    def terminated(self) -> None:
        """End the connection: the client sent Terminate."""
        if not self.closed:
            self._leave("client close request")
            self.io.close()

    def faulted(self, fault: Fault) -> None:
        """End the connection: the client broke the protocol."""
        self.disconnect(fault)

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Close the connection, and send the client the reason.

        ``quietly`` leaves the message out: the client is in the middle of another.
        """
        # The traceback's frames refer to us and to the fault: a reference cycle.
        fault.__traceback__ = fault.__context__ = None
        if self.closed:
            return
        if fault.note is not None:
            self.service.log.warning(f"{self.prefix} {fault.note}")
        self._send_unsent()
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
        """Have everything else let go of this client; called once."""
        self._change_state(_CLOSE)
        if reason and self.service.log_disconnections:
            age = int(self.service.clock() - self.connected_at)
            self.service.log.log(
                f"{self.prefix} closing because: {reason} (age={age}s)"
            )
        self.stream.lost = True
        self.stream.stopped = True
        if self._awaited is not None:
            self._awaited.cancel()
        if self.console is not None:
            self.console.closed()
        if self._answering is not None:
            self._answering.stop()
        if self.pool is not None:
            self.pool.remove_client(self)
        self.service.on_close(self)


# Not as a decorator: mypyc does not compile decorated classes.
classImplements(Frontend, IProtocol)
