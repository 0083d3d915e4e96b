"""One connection of ours to a PostgreSQL server, apart from the bytes it relays.

A :class:`Backend` connects its Link to what is rare in a server's life: logging in,
queries of our own (connect_query, reset, check, SET), parameters it reports, dying.
What follows from any of it is the pool's business: the backend tells its *owner*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from time import monotonic, time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol

from pgswitch.errors import (
    BadPacketHeader,
    Fault,
    ParameterStatusNotStored,
    ServerBadHeader,
    ServerClosed,
    ServerConnCrashed,
    ServerMessageTooLong,
    ServerUnaskedAnswer,
)
from pgswitch.logs import socket_prefix
from pgswitch.net.sockets import unix_port
from pgswitch.net.tls_negotiation import Encryption, TlsNegotiation
from pgswitch.net.tracing import traced
from pgswitch.net.transport import SocketIO, io_for
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import DEALLOCATE_ALL, DISCARD_ALL, ServerStream
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
)
from pgswitch.wire.framing import LONG_MESSAGE
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
from pgswitch.wire.shutdown_notice import ShutdownNotice, shutdown_notice, words_of

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from pgswitch.logs import Log
    from pgswitch.tls.certificates import TlsFacts
    from pgswitch.wire.params import Tracking, Values
    from pgswitch.wire.statements import ServerStatements

FIXED = frozenset(
    ("in_hot_standby", "integer_datetimes", "server_encoding", "server_version")
)
"""Parameters that no client can SET: what a server reports is so for everybody."""

COPY_RESPONSES = (COPY_IN_RESPONSE, COPY_BOTH_RESPONSE)
PROTOCOL_VIOLATION = b"08P01"
_SETTING = (b"SET\0", b"RESET\0")
"""Tags of statements that may change a parameter that is not reported."""
CRASHED = "server conn crashed?"

AnswerCallback = Callable[[dict[str, str] | None], None]
"""Told the fields of the ErrorResponse of a query of ours, or None if it went well."""


class DeriveKeys(Protocol):
    """Calls something in a thread; see auth/worker_threads.py."""

    def __call__(
        self, call: Callable[[], object], whose: object = None, /
    ) -> Deferred[object]:
        """Fire with what it returns; those for whom work is done take turns."""


class ServerQuery(Protocol):
    """Something of ours that a server is asked, and that reads the answer itself."""

    request: bytes
    unfit: str
    """Why the server is to be closed, now that it has answered; or nothing."""

    def message(self, kind: int, body: bytes) -> None:
        """Take one message of the answer; ReadyForQuery is not among them."""


class Phase(Enum):
    """Where a server is in its life; ``ACTIVE`` is told by its Link being linked."""

    LOGIN = "new"
    READY = "idle"
    USED = "used"
    BUSY = "tested"
    CLOSED = "closed"


class AimedCancel(Protocol):
    """A cancel request on its way to a server; see pool/outgoing_cancels.py."""

    def unneeded(self) -> None:
        """Give up unless it is sent: the query it was for is over."""


class BackendOwner(Protocol):
    """What a backend tells the pool it belongs to."""

    def logged_in(self, backend: Backend) -> None:
        """Note that the login is done; the backend is ready for queries."""

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Note that the login failed, for a reason that was said."""

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Note that a parameter has changed which no client can have changed."""

    def lost(self, backend: Backend, reason: str) -> None:
        """Note that the connection is gone; said once, whoever ended it."""

    def on_read_only(self, backend: Backend) -> None:
        """Note that the server of a cluster takes no writes."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Note that a client opened a transaction that its pool mode forbids."""


class Backend(TwistedProtocol):
    """A server connection; its Link relays, this decides all the rest."""

    shutdown_notices: Mapping[str, str] = MappingProxyType({})
    """The fields of the message in which it said that it ends."""
    is_fresh = True
    """No client has had it yet, so that whatever it reports is a default."""
    is_quiet = False
    """Its owner tells the log why it cannot be connected to."""
    _reports: set[str]
    """Names, in small letters, of the parameters that the server reports."""
    _working: Deferred[object] | None = None
    """What a thread does for the login."""
    _kept = 0
    """Characters of what it has reported since its login that are kept."""
    _due: Callable[[], None] | None = None
    """What follows from being free, once all that has come was looked at."""
    _is_setting = False
    """The query of ours sets tracked parameters, and we know which."""

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
    ) -> None:
        """Take what the pool knows; ``names`` are database entry and pool user."""
        self.number = number
        self.owner = owner
        self.database, self.user = names
        self.generation = generation
        self.phase = Phase.LOGIN
        self.parameters: dict[str, str] = {}
        """What the server reported at its login, in its order, and what of it has
        changed since by no client's doing."""
        self.cancel_key = b""
        self.host: str | None = None
        """As the database's entry has it, a name perhaps; None: the default socket."""
        self.address = Address("unix", 0)
        self.local_address = Address("unix", 0)
        self.tls: TlsFacts | None = None
        """Of the handshake, once there was one."""
        self.connected_at = monotonic()
        self.connected_time = time()
        self.busy_since = 0.0
        """When the present query of our own began, in monotonic seconds."""
        self.phase_at_close = Phase.LOGIN
        self.close_reason = ""
        self.loss_detail: str | None = None
        """More than the reason has, for the client that was using it."""
        self.gave_shutdown_notice = False
        """The server said that it ends, and has undone what it was doing."""
        self.encryption: Encryption | None = None
        """How it is to be connected to, for its cancel requests too; None: in clear."""
        self.is_logged = False
        """TLS is told to the log (log_connections)."""
        self.replication = "none"
        """The word of SHOW SERVERS; a walsender belongs to one client for good."""
        self.cancels: list[AimedCancel] = []
        """Cancel requests for it that are under way."""
        self.is_parked = False
        """Unlinked, but not to be used before the last of those is over."""
        self.stream: ServerStream
        self._startup = startup
        self._login = login
        self._stretch = derive_keys
        self._statements = statements
        self._tracking = tracking
        self._log = log
        self._limit = limit
        self._io: SocketIO | None = None
        self._answered: AnswerCallback | None = None
        self._error: dict[str, str] | None = None
        self._question: ServerQuery | None = None
        self._ready = False
        self._negotiation: TlsNegotiation | None = None

    # What Twisted calls.

    def connectionMade(self) -> None:
        """Get the connection encrypted if it is to be."""
        transport: Any = self.transport
        io = self._io = io_for(transport)
        stream = self.stream = ServerStream(self._limit, io, self, self._statements)
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
        self._negotiation.begin().addCallbacks(self._negotiated, self._tls_refused)

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
        self.close(reason, terminate=False)

    def dataReceived(self, data: bytes) -> None:
        """Take what a transport has read that does not leave it to the Stream."""
        if self._negotiation is not None:
            self._negotiation.received(data)
        elif self._io is not None:
            self._io.received(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002 - the reason is ours or an end of file
        """Tell the owner, and let go of everything."""
        if self.phase is not Phase.CLOSED:
            self._gone(self._why_lost())
        self._negotiation = None
        if self._io is not None:
            self._io.detach()
            self.stream.let_go()

    def _why_lost(self) -> str:
        """Return the reason for an end that was not ours.

        With TLS 1.3 a server that does not like our certificate says so when our
        handshake is done already (RFC 8446, section 4.4.2.4): what looks like a crash
        may have had an alert before it.
        """
        tls = None if self._io is None else self._io.tls
        if tls is None or not tls.error:
            return CRASHED
        reason = f"TLS failed: {tls.error}"
        if not self.is_quiet:
            self._log.warning(f"{self.prefix} {reason}")
        if self.phase is Phase.LOGIN:
            return reason
        self.loss_detail = f"{reason}."
        return CRASHED

    def go_on_with(
        self,
        transport: Any,  # noqa: ANN401 - of any reactor
        *,
        reported: dict[str, str],
        parameters: Values,
        cancel_key: bytes,
    ) -> None:
        """Take a connection that another process has logged in.

        ``reported`` is what the server said at that login, ``parameters`` are the
        tracked ones as they are now.
        """
        self._startup = b""
        self.makeConnection(transport)  # type: ignore[no-untyped-call]
        self.parameters = reported
        self.cancel_key = cancel_key
        self.stream.parameters = parameters
        self._reports = {name.lower() for name in reported}
        self.is_fresh = False
        self.phase = Phase.READY

    # What the pool asks.

    @property
    def state(self) -> str:
        """Return the word of SHOW SERVERS."""
        if self.phase is Phase.READY:
            if self.stream.exchange is not None:
                return "active"
            if self.cancels:
                return "being_canceled"
        return self.phase.value

    @property
    def prefix(self) -> str:
        """Return what log lines about this server begin with."""
        return socket_prefix("S", id(self), self.database, self.user, self.address)

    @property
    def is_confidential(self) -> bool:
        """Whether rows that it sends now are secrets: answers of auth_query."""
        return self._question is not None

    def loss_fault(self) -> Fault:
        """Return what the client is told that was using it when it was closed."""
        if self.close_reason == CRASHED:
            return ServerConnCrashed(detail=self.loss_detail)
        return ServerClosed(reason=self.close_reason)

    def run(self, sql: str, answered: AnswerCallback) -> None:
        """Run a query of our own on an unlinked server; its rows are dropped."""
        self._be_busy(encode.query(sql), answered)

    def run_set(self, sql: str, answered: AnswerCallback) -> None:
        """Run a query of :meth:`Tracking.set_queries` on an unlinked server."""
        self._is_setting = True
        self._be_busy(encode.query(sql), answered)

    def took(self, name: str, value: str | None) -> None:
        """Note that the server has taken a value, if it may not have reported it.

        It reports no value that is the same for it as before, which may have had other
        bytes in another encoding.
        """
        is_told = name.lower() in self._reports
        if not is_told or (value is not None and not value.isascii()):
            stream = self.stream
            stream.parameters = self._tracking.changed(stream.parameters, name, value)

    def ask(self, question: ServerQuery, answered: AnswerCallback) -> None:
        """Ask an unlinked server something; the answer goes to ``question``."""
        self._question = question
        self._be_busy(question.request, answered)

    def close(self, reason: str, *, terminate: bool = True) -> None:
        """Close the connection; the owner is told at once."""
        if self.phase is Phase.CLOSED:
            return
        last = (
            encode.terminate() if terminate and self.phase is not Phase.LOGIN else b""
        )
        io = self._io
        self._gone(reason)
        if io is not None:
            io.close(last)

    # What the Link calls.

    def message(self, message_type: int, body: bytes) -> None:
        """Deal with a whole message while no client is linked."""
        if self.phase is Phase.LOGIN:
            if self.tls is not None:
                self._login.end_point = self.tls.end_point
            self._perform(self._login.message(message_type, body))
        elif message_type == PARAMETER_STATUS:
            name = self._note_parameter(body)
            if self.phase is not Phase.BUSY and not self.is_fresh and name not in FIXED:
                self._dirty()
        elif self.phase is Phase.BUSY:
            self._private(message_type, body)
        elif message_type != NOTIFICATION_RESPONSE:
            what = f"got packet '{chr(message_type)}' from server when not linked"
            if message_type == NOTICE_RESPONSE or _is_shutdown_notice(
                message_type, body
            ):
                self._log.warning(f"{self.prefix} {what}")
                self._dirty()
            else:
                # The answer to something that we believed answered: whoever has had
                # the server last may have got what was another's.
                self.contradicted(what)
                self.close(ServerUnaskedAnswer.text)

    def walked(self) -> None:
        """Note the end of a chunk: nothing in it stands in the way of a client.

        Behind the ReadyForQuery that makes a server free may stand its last word.
        """
        due, self._due = self._due, None
        if due is not None:
            due()

    def parameter_status(self, body: bytes) -> None:
        """Note a parameter that the server reported, for its client too."""
        self._note_parameter(body)

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Note one that was reset: its client has what it asked for at its start.

        Returns what the client is told instead; None if that is what is reported.
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
        """Note a parameter that the server reported; return its name."""
        if len(body) > LONG_MESSAGE:
            raise ServerMessageTooLong(kind="S", size=len(body))
        name, value = (decode.text(part) for part in decode.parameter_status(body))
        stream = self.stream
        self._keep(name, value)
        stream.parameters = self._with(stream.parameters, name, value)
        client = stream.peer
        if isinstance(client, ClientStream):
            client.parameters = self._with(client.parameters, name, value)
        if name in FIXED:
            self.owner.reported(name, value, self)
        return name

    def _keep(self, name: str, value: str) -> None:
        """Keep what a server reports; ParameterStatusNotStored if it is too much.

        It may report new names as long as it lives, each of which would be kept.
        """
        small = name.lower()
        if small not in self._reports:
            if len(self._reports) >= MAX_PARAMETERS:
                raise ParameterStatusNotStored
            self._reports.add(small)
            self._kept += len(name)
        if self.is_fresh or name in FIXED:
            self._kept += len(value) - len(self.parameters.get(name, ""))
            self.parameters[name] = value
        if self._kept > MAX_LOGIN_BYTES:
            raise ParameterStatusNotStored

    def _with(self, values: Values, name: str, value: str) -> Values:
        if name == "client_encoding":
            # Other values are the same as before, and will be told in this one.
            values = self._tracking.in_encoding(values, value)
        return self._tracking.changed(values, name, value)

    def was_reset(self, *, at_default: bool) -> None:
        """Forget parameters that were set and are not reported: they were reset.

        ``at_default``: all are as at the login; else nobody knows which.
        """
        stream = self.stream
        stream.parameters = self._tracking.forgotten(
            stream.parameters, self._reports, at_default=at_default
        )

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return what of a chunk a client shall see, if the server says that it ends.

        The first message of the chunk begins at ``at``.  ``unanswered``: no part of
        the present answer has reached the client.  Then none will, unless something
        is done: what is asked again must be answered from the beginning.
        """
        unanswered = unanswered and at == 0
        said, at, is_done = shutdown_notice(chunk, at)
        if said is ShutdownNotice.NONE:
            return chunk
        # Nobody else is to ask it anything.
        self.stream.close_needed = self.stream.needs_release_check = True
        self.shutdown_notices = words_of(chunk, at)
        unanswered = unanswered and not is_done
        self.gave_shutdown_notice = said is ShutdownNotice.UNDONE and unanswered
        return b"" if unanswered else chunk[:at]

    def is_answering(self) -> bool:
        """Tell whether this server, which no client has, was asked something by us."""
        return self.phase is Phase.BUSY

    def contradicted(self, what: str) -> None:
        """Note that the server is not as we believed: an ERROR line, and a count."""
        self._log.error(f"{self.prefix} {what}")
        self.stream.counters.failed(PROTOCOL_VIOLATION)

    def refused_to_write(self) -> None:
        """Have the owner look whether this is still the writer."""
        self.owner.on_read_only(self)

    def transaction_in_statement_mode(self) -> None:
        """Have the owner deal with a forbidden transaction."""
        self.owner.transaction_in_statement_mode(self)

    def faulted(self, fault: Fault) -> None:
        """Close a server that broke the protocol; its client is told the same."""
        if isinstance(fault, BadPacketHeader):
            fault = ServerBadHeader()
        if not isinstance(fault, ServerUnaskedAnswer):  # which was told of before
            self.contradicted(f"server breaks the protocol: {fault.text}")
        self.close(fault.text, terminate=False)

    # Logging in, queries of our own.

    def _perform(self, commands: list[ServerAuthCommand]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.stream.send(command.data)
            elif isinstance(command, Offload):
                whose = (self.host, self.address.port)
                self._working = self._stretch(command.call, whose)
                self._working.addCallbacks(self._offload_done, _not_wanted)
            elif isinstance(command, LoginDone):
                self._logged_in(command)
            elif self.phase is Phase.LOGIN:
                self.owner.login_refused(self, command)
                reason = "failed to answer authreq"
                if isinstance(command, ServerRefused):
                    reason = command.message
                self.close(reason, terminate=False)

    def _offload_done(self, result: object) -> None:
        """Go on with the login, now that a thread has stretched the password."""
        self._working = None
        if self.phase is Phase.LOGIN:
            self._perform(self._login.offload_done(result))

    def _logged_in(self, done: LoginDone) -> None:
        self.parameters = dict(done.parameters)
        self.cancel_key = done.cancel_key
        self.stream.parameters = self._tracking.collect(self.parameters)
        self._reports = {name.lower() for name in self.parameters}
        self.phase = Phase.READY
        self.stream.ready_since = monotonic()
        self._due = partial(self.owner.logged_in, self)

    def _be_busy(self, request: bytes, answered: AnswerCallback) -> None:
        """Send a query of ours."""
        self.phase = Phase.BUSY
        self.busy_since = monotonic()
        self._answered = answered
        self._error = None
        self.stream.send(request)

    def _private(self, message_type: int, body: bytes) -> None:
        """Deal with the answer to a query of ours."""
        if self._question is not None and message_type != READY_FOR_QUERY:
            self._question.message(message_type, body)
        if message_type == ERROR_RESPONSE:
            self._error = decode.error_fields(body)
        elif message_type == COMMAND_COMPLETE:
            if body in (DISCARD_ALL, DEALLOCATE_ALL):
                self._statements.clear()
            if not self._is_setting and body in (DISCARD_ALL, *_SETTING):
                self.was_reset(at_default=body == DISCARD_ALL)
        elif message_type in COPY_RESPONSES:
            self.close("COPY in a query of the pooler")
        elif message_type == READY_FOR_QUERY:
            answered, self._answered = self._answered, None
            self._question = None
            self._is_setting = False
            self.stream.ready_since = monotonic()
            if body != b"I":
                self.close("query of the pooler left a transaction open")
            elif answered is not None:
                self.phase = Phase.READY
                self._due = partial(answered, self._error)

    def _dirty(self) -> None:
        if self.phase is Phase.READY:
            self.close("SV_IDLE server got dirty")
        elif self.phase is Phase.USED:
            self.close("SV_USED server got dirty")

    def _gone(self, reason: str) -> None:
        """Tell the owner, once."""
        self.phase_at_close = self.phase
        self.phase = Phase.CLOSED
        self.close_reason = reason
        self._answered = self._due = None
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
        if self._io is not None:
            self.stream.lost = True
            self.stream.stopped = True
        self.owner.lost(self, reason)


def _not_wanted(_failure: Failure) -> None:
    """Take it that work was given up."""


def _is_shutdown_notice(message_type: int, body: bytes) -> bool:
    """Tell whether a message is an error that ends the connection, asked or not."""
    if message_type != ERROR_RESPONSE:
        return False
    fields = decode.error_fields(body)
    return fields.get("V", fields.get("S")) in ("FATAL", "PANIC")


def address_of(address: object, port: int = 0) -> Address:
    """Return a Twisted address as ours; anything without a host is ``unix``.

    A unix socket has the port that its path ends with, else ``port``.
    """
    host = getattr(address, "host", None)
    if host is None:
        return Address("unix", unix_port(getattr(address, "name", None) or b"", port))
    return Address(host, getattr(address, "port", 0))
