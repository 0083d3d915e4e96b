"""One connection to a PostgreSQL server: all but the bytes that it relays.

The :class:`ServerStream` relays them.  A :class:`Backend` handles what is rare in a
server's life: the login, our own queries (connect_query, reset, check, SET), reported
parameters, the end.  It reports each of these to its *owner*, the pool, which decides
what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol

from pgswitch.errors import (
    BadPacketHeader,
    Fault,
    ParameterStatusNotStored,
    ServerBadHeader,
    ServerClosed,
    ServerMessageTooLong,
    ServerUnaskedAnswer,
)
from pgswitch.logs import socket_prefix
from pgswitch.net.connection_states import (
    SERVER_STATES,
    CloseReason,
    ServerEvent,
    ServerState,
)
from pgswitch.net.sockets import unix_port
from pgswitch.net.tls_negotiation import Encryption, TlsNegotiation
from pgswitch.net.tracing import traced
from pgswitch.net.transport import SocketIO, io_for
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import Clock
from pgswitch.types import Address
from pgswitch.wire import decode, encode
from pgswitch.wire.constants import (
    COMMAND_COMPLETE,
    COPY_BOTH_RESPONSE,
    COPY_IN_RESPONSE,
    ERROR_RESPONSE,
    NOTICE_RESPONSE,
    NOTIFICATION_RESPONSE,
    PARAMETER_STATUS,
    READY_FOR_QUERY,
    TAG_DEALLOCATE_ALL,
    TAG_DISCARD_ALL,
)
from pgswitch.wire.framing import LONG_MESSAGE
from pgswitch.wire.loss import ShutdownNotice, notice_fields, shutdown_notice
from pgswitch.wire.server_auth import (
    MAX_LOGIN_BYTES,
    MAX_PARAMETERS,
    Failed,
    LoginDone,
    Offload,
    Send,
    ServerAuthCommand,
    ServerAuthenticator,
    ServerRefused,
)

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from pgswitch.logs import Log
    from pgswitch.tls.certificates import TlsFacts
    from pgswitch.wire.params import Tracking, Values
    from pgswitch.wire.statements import ServerStatements

FIXED_PARAMETERS = frozenset(
    ("in_hot_standby", "integer_datetimes", "server_encoding", "server_version")
)
"""Parameters that no client can SET: a reported value holds for all clients."""

COPY_RESPONSES = (COPY_IN_RESPONSE, COPY_BOTH_RESPONSE)
PROTOCOL_VIOLATION = b"08P01"
_SETTING = (b"SET\0", b"RESET\0")
"""Tags of statements that may change a parameter that is not reported."""

AnswerCallback = Callable[[dict[str, str] | None], None]
"""Called with the fields of the ErrorResponse to our query; None if it succeeded."""


class DeriveKeys(Protocol):
    """Calls a function in a thread; see auth/worker_threads.py."""

    def __call__(
        self, call: Callable[[], object], whose: object = None, /
    ) -> Deferred[object]:
        """Fire with what it returns; the calls for different ``whose`` take turns."""


class ServerQuery(Protocol):
    """A query of ours that reads its answer itself."""

    request: bytes
    unfit: str
    """Why the server must be closed, now that it has answered; empty: it need not."""

    def message(self, kind: int, body: bytes) -> None:
        """Take one message of the answer; ReadyForQuery is not among them."""


class PendingCancel(Protocol):
    """A cancel request aimed at a server; see pool/outgoing_cancels.py."""

    def drop_unsent(self) -> None:
        """Drop it unless it has been sent: the query it was for is over."""


class BackendOwner(Protocol):
    """What a backend reports its events to: the pool, or the user of one server."""

    def logged_in(self, backend: Backend) -> None:
        """Take a server that has logged in and is ready for queries."""

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Take the reason why the login failed; :meth:`lost` follows."""

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Take the new value of a parameter that no client can change."""

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Note that the connection is closed, by either side; called once."""

    def on_read_only(self, backend: Backend) -> None:
        """Note that the server of a cluster takes no writes."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Note that a client opened a transaction that its pool mode forbids."""


class Backend(TwistedProtocol):
    """A server connection, but for the bytes that its ServerStream relays."""

    shutdown_notices: Mapping[str, str] = MappingProxyType({})
    """The fields of the FATAL message with which the server announced its end."""
    is_fresh = True
    """No client has had it yet, so the parameters that it reports are defaults."""
    close_reason: CloseReason | None = None
    """None while the connection is open."""
    close_detail = ""
    """Replaces the reason's text, unless empty."""
    loss_detail: str | None = None
    """A DETAIL for the client that was using the server."""
    gave_shutdown_notice = False
    """The server has sent a shutdown notice, and has rolled back what it was doing."""
    is_quiet = False
    """Its owner logs why it cannot be connected to."""
    _reports: set[str]
    """Names, in lower case, of the parameters that the server reports."""
    _offload: Deferred[object] | None = None
    """A computation in a thread that the login waits for."""
    _stored_size = 0
    """Characters of reported parameters that have been stored since the login."""
    _after_chunk: Callable[[], None] | None = None
    """Called when the chunk in which the server became ready is processed."""
    _is_setting = False
    """Our query sets tracked parameters, and the caller notes which."""

    def __init__(
        self,
        *,
        number: int,
        owner: BackendOwner,
        names: tuple[str, str],
        startup: bytes,
        login: ServerAuthenticator,
        derive_keys: DeriveKeys,
        statements: ServerStatements,
        tracking: Tracking,
        log: Log,
        limit: int,
        generation: int,
        clock: Callable[[], float],
    ) -> None:
        """Begin in LOGIN.

        ``names`` are the database's entry and the pool's user, ``clock`` returns
        monotonic seconds.
        """
        self._clock = clock
        self.number = number
        self.owner = owner
        self.database, self.user = names
        self.generation = generation
        self.stored_state = SERVER_STATES.initial
        """IDLE for ACTIVE too, see :attr:`state`; only :meth:`change_state` sets it."""
        self.parameters: dict[str, str] = {}
        """What the server reported at its login, in its order; fixed parameters are
        kept up to date."""
        self.cancel_key = b""
        self.host: str | None = None
        """As in the database's entry, perhaps a name; None: the default socket."""
        self.address = Address("unix", 0)
        self.local_address = Address("unix", 0)
        self.tls: TlsFacts | None = None
        """Facts about the TLS connection, after the handshake."""
        self.connected_at = self._clock()
        self.connected_time = time()
        self.busy_since = 0.0
        """When our last query was sent, in monotonic seconds."""
        self.state_at_close = SERVER_STATES.initial
        self.encryption: Encryption | None = None
        """TLS of this connection and of its cancel requests; None: none."""
        self.is_logged = False
        """Log the TLS handshake (log_connections)."""
        self.replication = "none"
        """The word of SHOW SERVERS; a walsender belongs to one client until its end."""
        self.cancels: list[PendingCancel] = []
        """Cancel requests aimed at it that are under way."""
        self.stream: ServerStream
        self._startup = startup
        self._login = login
        self._derive_keys = derive_keys
        self._statements = statements
        self._tracking = tracking
        self._log = log
        self._limit = limit
        self._io: SocketIO | None = None
        self._answered: AnswerCallback | None = None
        self._error: dict[str, str] | None = None
        self._query: ServerQuery | None = None
        self._ready = False
        self._negotiation: TlsNegotiation | None = None

    # What Twisted calls.

    def connectionMade(self) -> None:
        """Start TLS, or the login."""
        transport: Any = self.transport
        io = self._io = io_for(transport)
        stream = self.stream = ServerStream(
            self._limit, io, self, self._statements, Clock(self._clock, self._clock())
        )
        io.hold(stream)
        port = self.address.port
        self.address = address_of(transport.getPeer(), port)
        self.local_address = address_of(transport.getHost(), port)
        if self.encryption is None:
            self._negotiated(None)
            return
        self._negotiation = TlsNegotiation(
            self.encryption, transport, partial(io.start_tls, stream)
        )
        done = self._negotiation.begin()
        done.addCallback(self._negotiated).addErrback(self._tls_refused)

    def _negotiated(self, facts: TlsFacts | None) -> None:
        """Send the start-up packet."""
        self._negotiation = None
        self.tls = facts
        assert self._io is not None  # noqa: S101 - connected
        self._io.attach(self.stream)
        if self._startup:
            self.stream.send(self._startup)
        if facts is not None and self.is_logged:
            self._log.log(f"{self.prefix} SSL established: {facts.description}")
        if self._log.noise_enabled:
            traced(self._io, self.stream, self._log, self, is_client=False)
            self._io.attach(self.stream)

    def _tls_refused(self, failure: Failure) -> None:
        reason = str(failure.value)
        self._negotiation = None
        if not self.is_quiet:
            self._log.warning(f"{self.prefix} {reason}")
        self.close(CloseReason.TLS_FAILED, detail=reason, terminate=False)

    def dataReceived(self, data: bytes) -> None:
        """Take what a transport has read that does not leave it to the stream."""
        if self._negotiation is not None:
            self._negotiation.received(data)
        elif self._io is not None:
            self._io.received(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002 - the reason is ours or an end of file
        """Report the loss to the owner, and release everything."""
        if self.stored_state is not ServerState.CLOSED:
            why, detail = self._why_lost()
            self._gone(why, detail, ServerEvent.LOST)
        self._negotiation = None
        if self._io is not None:
            self._io.detach()
            self.stream.let_go()

    def _why_lost(self) -> tuple[CloseReason, str]:
        """Return the reason, and its detail, for an end that was not ours.

        With TLS 1.3 a server that rejects our certificate says so after our side of
        the handshake is done (RFC 8446, section 4.4.2.4): what looks like a crash may
        have had an alert before it.
        """
        tls = None if self._io is None else self._io.tls
        if tls is None or not tls.error:
            return CloseReason.CRASHED, ""
        reason = f"TLS failed: {tls.error}"
        if not self.is_quiet:
            self._log.warning(f"{self.prefix} {reason}")
        if self.stored_state is ServerState.LOGIN:
            return CloseReason.TLS_FAILED, reason
        self.loss_detail = f"{reason}."
        return CloseReason.CRASHED, ""

    def inherit(
        self,
        transport: Any,  # noqa: ANN401 - of any reactor
        *,
        reported: dict[str, str],
        parameters: Values,
        cancel_key: bytes,
    ) -> None:
        """Take over a connection that another process has logged in.

        ``reported`` is what the server reported at that login, ``parameters`` are the
        present values of the tracked ones.
        """
        self._startup = b""
        self.makeConnection(transport)  # type: ignore[no-untyped-call]
        self.parameters = reported
        self.cancel_key = cancel_key
        self.stream.parameters = parameters
        self._reports = {name.lower() for name in reported}
        self.is_fresh = False
        self.change_state(ServerEvent.INHERITED)

    # Called by the pool.

    @property
    def state(self) -> ServerState:
        """The state, ACTIVE while the stream is linked to a client."""
        stored = self.stored_state
        if stored is ServerState.IDLE and self.stream.exchange is not None:
            return ServerState.ACTIVE
        return stored

    def change_state(self, event: ServerEvent) -> None:
        """Enter the state that follows from an event.

        :raises IllegalTransitionError: the event has no place in the present state.
        """
        self.stored_state = SERVER_STATES.next(self.stored_state, event)

    @property
    def prefix(self) -> str:
        """The beginning of log lines about this server."""
        return socket_prefix("S", id(self), self.database, self.user, self.address)

    @property
    def is_confidential(self) -> bool:
        """Whether rows that it sends now are secret: answers to auth_query."""
        return self._query is not None

    def loss_fault(self) -> Fault:
        """Return the error for the client that was using it when it was closed."""
        reason = self.close_reason
        if reason is None or reason.fault is ServerClosed:
            return ServerClosed(reason=self.close_text)
        return reason.fault(detail=self.loss_detail)

    def run(
        self,
        sql: str,
        answered: AnswerCallback,
        *,
        event: ServerEvent = ServerEvent.TEST_SENT,
    ) -> None:
        """Run our own query on an unlinked server; its rows are dropped."""
        self._send_query(encode.query(sql), answered, event)

    def run_set(self, sql: str, answered: AnswerCallback) -> None:
        """Run a query of :meth:`Tracking.set_queries` on an unlinked server."""
        self._is_setting = True
        self._send_query(encode.query(sql), answered, ServerEvent.PARAMETERS_SENT)

    def set_parameter(self, name: str, value: str | None) -> None:
        """Note that the server has accepted a value, if it may not have reported it.

        A server does not report a value that equals the last one, which may have had
        other bytes in another encoding.
        """
        is_reported = name.lower() in self._reports
        if not is_reported or (value is not None and not value.isascii()):
            stream = self.stream
            stream.parameters = self._tracking.changed(stream.parameters, name, value)

    def ask(
        self,
        question: ServerQuery,
        answered: AnswerCallback,
        *,
        event: ServerEvent = ServerEvent.QUERY_SENT,
    ) -> None:
        """Run a query on an unlinked server; ``question`` gets its answer."""
        self._query = question
        self._send_query(question.request, answered, event)

    @property
    def close_text(self) -> str:
        """Why it was closed, for the log and for its client; empty while it is open."""
        if self.close_detail or self.close_reason is None:
            return self.close_detail
        return self.close_reason.text

    def close(
        self, reason: CloseReason, *, detail: str = "", terminate: bool = True
    ) -> None:
        """Close the connection; the owner's ``lost`` is called at once."""
        if self.stored_state is ServerState.CLOSED:
            return
        last = (
            encode.terminate()
            if terminate and self.stored_state is not ServerState.LOGIN
            else b""
        )
        io = self._io
        self._gone(reason, detail, ServerEvent.CLOSED)
        if io is not None:
            io.close(last)

    # Called by the stream.

    def message(self, message_type: int, body: bytes) -> None:
        """Handle a whole message while no client is linked."""
        if self.stored_state is ServerState.LOGIN:
            if self.tls is not None:
                self._login.end_point = self.tls.end_point
            self._perform(self._login.message(message_type, body))
        elif message_type == PARAMETER_STATUS:
            name = self._note_parameter(body)
            if (
                not self.stored_state.runs_query
                and not self.is_fresh
                and name not in FIXED_PARAMETERS
            ):
                self._dirty()
        elif self.stored_state.runs_query:
            self._query_message(message_type, body)
        elif message_type != NOTIFICATION_RESPONSE:
            what = f"got packet '{chr(message_type)}' from server when not linked"
            if message_type == NOTICE_RESPONSE or _is_shutdown_notice(
                message_type, body
            ):
                self._log.warning(f"{self.prefix} {what}")
                self._dirty(is_end=message_type != NOTICE_RESPONSE)
            else:
                # The answer to a request that we took for answered: the last client
                # may have got the answer to another's.
                self.contradicted(what)
                self.close(CloseReason.UNASKED_ANSWER)

    def chunk_processed(self) -> None:
        """Act on the end of a chunk: nothing in it keeps a client from the server.

        A shutdown notice may follow the ReadyForQuery that makes a server free.
        """
        due, self._after_chunk = self._after_chunk, None
        if due is not None:
            due()

    def parameter_status(self, body: bytes) -> None:
        """Store a parameter that the server reported, for its client too."""
        self._note_parameter(body)

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Store a parameter that was reset; its client gets its startup value.

        Returns what the client is sent instead; None if that is what was reported.
        """
        name, value = (decode.text(part) for part in decode.parameter_status(body))
        client = self.stream.peer
        wanted = None
        if isinstance(client, ClientStream):
            wanted = self._tracking.value(client.startup_parameters, name)
        if not isinstance(client, ClientStream) or wanted in (None, value):
            self._note_parameter(body)
            return None
        had = self._tracking.value(client.parameters, name)
        self._note_parameter(body)
        client.parameters = self._with(client.parameters, name, wanted)
        return b"" if had == wanted else encode.parameter_status(name, wanted)

    def _note_parameter(self, body: bytes) -> str:
        """Store a parameter that the server reported; return its name."""
        if len(body) > LONG_MESSAGE:
            raise ServerMessageTooLong(kind="S", size=len(body))
        name, value = (decode.text(part) for part in decode.parameter_status(body))
        stream = self.stream
        self._store(name, value)
        stream.parameters = self._with(stream.parameters, name, value)
        client = stream.peer
        if isinstance(client, ClientStream):
            client.parameters = self._with(client.parameters, name, value)
        if name in FIXED_PARAMETERS:
            self.owner.reported(name, value, self)
        return name

    def _store(self, name: str, value: str) -> None:
        """Store what a server reports.

        A server may report new names as long as it lives, and each would be stored.

        :raises ParameterStatusNotStored: that would be too much.
        """
        small = name.lower()
        if small not in self._reports:
            if len(self._reports) >= MAX_PARAMETERS:
                raise ParameterStatusNotStored
            self._reports.add(small)
            self._stored_size += len(name)
        if self.is_fresh or name in FIXED_PARAMETERS:
            self._stored_size += len(value) - len(self.parameters.get(name, ""))
            self.parameters[name] = value
        if self._stored_size > MAX_LOGIN_BYTES:
            raise ParameterStatusNotStored

    def _with(self, values: Values, name: str, value: str) -> Values:
        if name == "client_encoding":
            # The other values stay the same, in the new encoding.
            values = self._tracking.in_encoding(values, value)
        return self._tracking.changed(values, name, value)

    def was_reset(self, *, at_default: bool) -> None:
        """Drop the values of unreported parameters: they have been reset.

        ``at_default``: all have their values of the login; else it is unknown which.
        """
        stream = self.stream
        stream.parameters = self._tracking.forgotten(
            stream.parameters, self._reports, at_default=at_default
        )

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return the part of a chunk that the client gets if the server shuts down.

        The first message of the chunk begins at ``at``.  ``unanswered``: no part of
        the present answer has reached the client.  Then none will, unless something
        has been done: a query that is run again must be answered from the beginning.
        """
        unanswered = unanswered and at == 0
        said, at, is_done = shutdown_notice(chunk, at)
        if said is ShutdownNotice.NONE:
            return chunk
        # No other client may get it.
        self.stream.close_needed = self.stream.needs_release_check = True
        self.shutdown_notices = notice_fields(chunk, at)
        unanswered = unanswered and not is_done
        self.gave_shutdown_notice = said is ShutdownNotice.UNDONE and unanswered
        return b"" if unanswered else chunk[:at]

    def is_answering(self) -> bool:
        """Tell whether our own query runs on this unlinked server."""
        return self.stored_state.runs_query

    def contradicted(self, what: str) -> None:
        """Log and count that the server contradicts what we know of its state."""
        self._log.error(f"{self.prefix} {what}")
        self.stream.counters.failed(PROTOCOL_VIOLATION)

    def refused_to_write(self) -> None:
        """Have the owner check whether this is still the writer."""
        self.owner.on_read_only(self)

    def transaction_in_statement_mode(self) -> None:
        """Report a forbidden transaction to the owner."""
        self.owner.transaction_in_statement_mode(self)

    def faulted(self, fault: Fault) -> None:
        """Close a server that broke the protocol; its client gets the same error."""
        if isinstance(fault, BadPacketHeader):
            fault = ServerBadHeader()
        if not isinstance(fault, ServerUnaskedAnswer):  # logged before
            self.contradicted(f"server breaks the protocol: {fault.text}")
        self.close(CloseReason.PROTOCOL_VIOLATION, detail=fault.text, terminate=False)

    # The login, and our own queries.

    def _perform(self, commands: list[ServerAuthCommand]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.stream.send(command.data)
            elif isinstance(command, Offload):
                whose = (self.host, self.address.port)
                self._offload = self._derive_keys(command.call, whose)
                self._offload.addCallbacks(self._offload_done, _ignore)
            elif isinstance(command, LoginDone):
                self._logged_in(command)
            elif self.stored_state is ServerState.LOGIN:
                self.owner.login_refused(self, command)
                reason, detail = CloseReason.LOGIN_FAILED, ""
                if isinstance(command, ServerRefused):
                    reason, detail = CloseReason.LOGIN_REFUSED, command.message
                self.close(reason, detail=detail, terminate=False)

    def _offload_done(self, result: object) -> None:
        """Go on with the login: a thread has derived the keys."""
        self._offload = None
        if self.stored_state is ServerState.LOGIN:
            self._perform(self._login.offload_done(result))

    def _logged_in(self, done: LoginDone) -> None:
        self.parameters = dict(done.parameters)
        self.cancel_key = done.cancel_key
        self.stream.parameters = self._tracking.collect(self.parameters)
        self._reports = {name.lower() for name in self.parameters}
        self.change_state(ServerEvent.LOGGED_IN)
        self.stream.ready_since = self._clock()
        self._after_chunk = partial(self.owner.logged_in, self)

    def _send_query(
        self, request: bytes, answered: AnswerCallback, event: ServerEvent
    ) -> None:
        """Send our own query."""
        self.change_state(event)
        self.busy_since = self._clock()
        self._answered = answered
        self._error = None
        self.stream.send(request)

    def _query_message(self, message_type: int, body: bytes) -> None:
        """Handle a message of the answer to our own query."""
        if self._query is not None and message_type != READY_FOR_QUERY:
            self._query.message(message_type, body)
        if message_type == ERROR_RESPONSE:
            self._error = decode.error_fields(body)
        elif message_type == COMMAND_COMPLETE:
            if body in (TAG_DISCARD_ALL, TAG_DEALLOCATE_ALL):
                self._statements.clear()
            if not self._is_setting and body in (TAG_DISCARD_ALL, *_SETTING):
                self.was_reset(at_default=body == TAG_DISCARD_ALL)
        elif message_type in COPY_RESPONSES:
            self.close(CloseReason.COPY_IN_QUERY)
        elif message_type == READY_FOR_QUERY:
            answered, self._answered = self._answered, None
            self._query = None
            self._is_setting = False
            self.stream.ready_since = self._clock()
            if body != b"I":
                self.close(CloseReason.TRANSACTION_LEFT_OPEN)
            elif answered is not None:
                self.change_state(ServerEvent.QUERY_DONE)
                self._after_chunk = partial(answered, self._error)

    def _dirty(self, *, is_end: bool = False) -> None:
        if is_end and self._after_chunk is not None:
            # The same chunk has answered our query, and its user still waits.
            self.close(CloseReason.CRASHED)
        elif self.stored_state.serves_clients:
            self.close(CloseReason.IDLE_DIRTY)
        elif self.stored_state is ServerState.USED:
            self.close(CloseReason.USED_DIRTY)

    def _gone(self, reason: CloseReason, detail: str, event: ServerEvent) -> None:
        """Enter CLOSED and report it to the owner, once."""
        self.state_at_close = self.stored_state
        self.change_state(event)
        self.close_reason, self.close_detail = reason, detail
        self._answered = self._after_chunk = None
        working, self._offload = self._offload, None
        if working is not None:
            working.cancel()
        if self._io is not None:
            self.stream.lost = True
            self.stream.stopped = True
        self.owner.lost(self, reason)


def _ignore(_failure: Failure) -> None:
    """Ignore that a computation was cancelled."""


def _is_shutdown_notice(message_type: int, body: bytes) -> bool:
    """Tell whether a message is an error with which the server ends a connection."""
    if message_type != ERROR_RESPONSE:
        return False
    fields = decode.error_fields(body)
    return fields.get("V", fields.get("S")) in ("FATAL", "PANIC")


def address_of(address: object, port: int = 0) -> Address:
    """Convert a Twisted address; anything without a host is ``unix``.

    A unix socket has the port at the end of its path, else ``port``.
    """
    host = getattr(address, "host", None)
    if host is None:
        return Address("unix", unix_port(getattr(address, "name", None) or b"", port))
    return Address(host, getattr(address, "port", 0))
