"""The states of client and server connections, and why a server connection is closed.

**Clients**; the names are PgBouncer's (``CL_``).
:class:`~pgswitch.net.frontend.Frontend` stores a state and changes it in one function.
While a client is logged in, the stored state is IDLE or LOST_TRANSACTION: the hot path
stores nothing per query.  ``Frontend.state`` derives ACTIVE and WAITING from the
client's stream when it is asked, so their rows (events SERVER_...) are here for the
reader and for the drawing, and no code looks them up.

**Servers**; the names are PgBouncer's (``SV_LOGIN`` and so on).  States that PgBouncer
does not have tell apart what it calls ``SV_TESTED``, our own queries, and name a
connection that is kept open to a standby.

``IDLE <-> ACTIVE`` is changed by checkout and release on the hot path and is read from
the pairing, not stored: a server whose stored state is IDLE is ACTIVE while its
stream is linked to a client.  Both are in the table for the drawing.

PgBouncer's ``SV_ACTIVE_CANCEL`` is the state of a connection that carries a cancel
request.  Here these are no servers; see ``pool/outgoing_cancels.py``.
``SV_JUSTFREE`` and ``SV_FREE`` are CLOSED.

**Close reasons**; the texts are logged ("closing because: ...") and sent to the client
that was using the server.  They are PgBouncer's where PgBouncer closes a server for the
same reason.  Code compares members, never texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

from pgswitch.errors import (
    Fault,
    InvalidServerParameter,
    ServerClosed,
    ServerConnCrashed,
    ServerUnaskedAnswer,
    TransactionBlocksNotAllowed,
)
from pgswitch.state_table import StateTable


class ClientState(IntEnum):
    """The state of a client connection; a number, because that hashes faster."""

    LOGIN = auto()
    """Connected; the first packets and the authentication take place."""
    WAITING_LOGIN = auto()
    """The login waits for a server: for auth_query, or for the first welcome."""
    IDLE = auto()
    """Logged in, without a server."""
    ACTIVE = auto()
    """Has a server."""
    WAITING = auto()
    """Has sent a query and waits for a server."""
    LOST_TRANSACTION = auto()
    """Its server is lost amid a transaction, which the client has yet to end."""
    WAITING_CANCEL = auto()
    """A cancel request that is not sent to the server yet."""
    ACTIVE_CANCEL = auto()
    """A cancel request on its way to the server."""
    CLOSED = auto()


class ClientEvent(IntEnum):
    """What changes the state of a client connection."""

    CANCEL_REQUESTED = auto()
    """The first packet is a CancelRequest."""
    CANCEL_SENT = auto()
    LOGIN_SUSPENDED = auto()
    LOGIN_RESUMED = auto()
    LOGIN_DONE = auto()
    """ReadyForQuery goes out; or the session comes from another process."""
    SERVER_AWAITED = auto()
    SERVER_LINKED = auto()
    SERVER_RELEASED = auto()
    WAIT_ENDED = auto()
    """The wait for a server is cancelled."""
    TRANSACTION_LOST = auto()
    TRANSACTION_ENDED = auto()
    CLOSE = auto()


CLIENT_STATES: Final[StateTable[ClientState, ClientEvent]] = StateTable(
    "client",
    ClientState.LOGIN,
    {
        ClientState.LOGIN: {
            ClientEvent.CANCEL_REQUESTED: ClientState.WAITING_CANCEL,
            ClientEvent.LOGIN_SUSPENDED: ClientState.WAITING_LOGIN,
            ClientEvent.LOGIN_DONE: ClientState.IDLE,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.WAITING_LOGIN: {
            ClientEvent.LOGIN_RESUMED: ClientState.LOGIN,
            ClientEvent.LOGIN_DONE: ClientState.IDLE,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.IDLE: {
            ClientEvent.SERVER_LINKED: ClientState.ACTIVE,
            ClientEvent.SERVER_AWAITED: ClientState.WAITING,
            ClientEvent.TRANSACTION_LOST: ClientState.LOST_TRANSACTION,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.ACTIVE: {
            ClientEvent.SERVER_RELEASED: ClientState.IDLE,
            ClientEvent.SERVER_AWAITED: ClientState.WAITING,
            ClientEvent.TRANSACTION_LOST: ClientState.LOST_TRANSACTION,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.WAITING: {
            ClientEvent.SERVER_LINKED: ClientState.ACTIVE,
            ClientEvent.WAIT_ENDED: ClientState.IDLE,
            ClientEvent.TRANSACTION_LOST: ClientState.LOST_TRANSACTION,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.LOST_TRANSACTION: {
            ClientEvent.TRANSACTION_ENDED: ClientState.IDLE,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.WAITING_CANCEL: {
            ClientEvent.CANCEL_SENT: ClientState.ACTIVE_CANCEL,
            ClientEvent.CLOSE: ClientState.CLOSED,
        },
        ClientState.ACTIVE_CANCEL: {ClientEvent.CLOSE: ClientState.CLOSED},
    },
)

IDLE_STATES: Final = (ClientState.IDLE, ClientState.LOST_TRANSACTION)
"""Without a server, and not waiting for one."""

SHOW_WORDS: Final[Mapping[ClientState, str]] = MappingProxyType(
    {
        ClientState.LOGIN: "login",
        ClientState.WAITING_LOGIN: "waiting",
        ClientState.IDLE: "idle",
        ClientState.ACTIVE: "active",
        ClientState.WAITING: "waiting",
        ClientState.LOST_TRANSACTION: "idle",
        ClientState.WAITING_CANCEL: "waiting_cancel_req",
        ClientState.ACTIVE_CANCEL: "active_cancel_req",
        ClientState.CLOSED: "closed",
    }
)
"""The column ``state`` of SHOW CLIENTS; it never lists LOGIN and CLOSED."""


class ServerState(Enum):
    """Where a server connection is in its life."""

    column: str
    """The word of SHOW SERVERS."""
    runs_query: bool
    """One of our own queries runs on it."""
    serves_clients: bool
    """A client has it, or may have it without a further query of ours."""

    __hash__ = object.__hash__  # Enum's own is a Python call, for each look-up.

    LOGIN = ("SV_LOGIN", "new")
    """From the attempt to connect to the first ReadyForQuery."""
    CONNECT_QUERY = ("connect query", "tested", True)
    """It runs ``connect_query``, the last step before it serves clients."""
    IDLE = ("SV_IDLE", "idle", False, True)
    """No client has it."""
    ACTIVE = ("SV_ACTIVE", "active", False, True)
    """A client has it."""
    USED = ("SV_USED", "used")
    """No client has it, and it must pass ``server_check_query`` before one does."""
    TESTED = ("SV_TESTED", "tested", True)
    """It runs the reset query, the check query, or drops a client's statements."""
    PARAMETER_SYNC = ("parameter sync", "tested", True)
    """It runs the SET queries that give it the parameters of its next user."""
    INTERNAL_QUERY = ("internal query", "tested", True)
    """It runs ``auth_query``, or a query of the monitor."""
    BEING_CANCELED = ("SV_BEING_CANCELED", "being_canceled", False, True)
    """Its client has released it, but a cancel request aimed at it is under way."""
    STANDBY = ("standby", "idle", False, True)
    """It is kept open to a standby, for the moment that its node is promoted."""
    CLOSED = ("SV_JUSTFREE", "closed")

    def __init__(
        self,
        _name: str,
        column: str,
        runs_query: bool = False,  # noqa: FBT001, FBT002 - written out above
        serves_clients: bool = False,  # noqa: FBT001, FBT002 - written out above
    ) -> None:
        """Take the columns of the list above."""
        self.column = column
        self.runs_query = runs_query
        self.serves_clients = serves_clients


class ServerEvent(Enum):
    """What happens to a server connection."""

    __hash__ = object.__hash__  # As above.

    LOGGED_IN = "logged in"
    INHERITED = "taken over from another process"
    CHECKED_OUT = "checked out"
    RELEASED = "released"
    RELEASED_IN_CANCEL = "released while a cancel request is under way"
    CANCEL_DONE = "last cancel request done"
    CHECK_DUE = "check due"
    TEST_SENT = "reset or check query sent"
    CONNECT_QUERY_SENT = "connect_query sent"
    PARAMETERS_SENT = "SET of parameters sent"
    QUERY_SENT = "internal query sent"
    QUERY_DONE = "query of ours answered"
    KEPT = "kept for a promotion"
    CLOSED = "closed by us"
    LOST = "connection lost"


_E, _S = ServerEvent, ServerState

_ENDS = {_E.CLOSED: _S.CLOSED, _E.LOST: _S.CLOSED}
_QUERY_RUNS = {_E.QUERY_DONE: _S.IDLE, **_ENDS}

SERVER_STATES: StateTable[ServerState, ServerEvent] = StateTable(
    "server",
    _S.LOGIN,
    {
        _S.LOGIN: {_E.LOGGED_IN: _S.IDLE, _E.INHERITED: _S.IDLE, **_ENDS},
        _S.IDLE: {
            _E.CHECKED_OUT: _S.ACTIVE,
            _E.RELEASED_IN_CANCEL: _S.BEING_CANCELED,
            _E.CHECK_DUE: _S.USED,
            _E.TEST_SENT: _S.TESTED,
            _E.CONNECT_QUERY_SENT: _S.CONNECT_QUERY,
            _E.PARAMETERS_SENT: _S.PARAMETER_SYNC,
            _E.QUERY_SENT: _S.INTERNAL_QUERY,
            _E.KEPT: _S.STANDBY,
            **_ENDS,
        },
        _S.ACTIVE: {
            _E.RELEASED: _S.IDLE,
            _E.RELEASED_IN_CANCEL: _S.BEING_CANCELED,
            **_ENDS,
        },
        _S.USED: {_E.TEST_SENT: _S.TESTED, **_ENDS},
        _S.CONNECT_QUERY: _QUERY_RUNS,
        _S.TESTED: _QUERY_RUNS,
        _S.PARAMETER_SYNC: _QUERY_RUNS,
        _S.INTERNAL_QUERY: _QUERY_RUNS,
        _S.BEING_CANCELED: {_E.CANCEL_DONE: _S.IDLE, **_ENDS},
        _S.STANDBY: {_E.TEST_SENT: _S.TESTED, **_ENDS},
    },
)


class _Row(NamedTuple):
    """The columns of the list below."""

    text: str
    is_failure: bool = True
    is_switchover: bool = False
    fault: type[Fault] = ServerClosed


class CloseReason(Enum):
    """Why a server connection is closed.

    A reason whose text varies is closed with a detail, which replaces the text.
    """

    text: str
    is_failure: bool
    """A login that ends so has failed, and the monitor looks at the node of a cluster.

    False for reasons of ours that say nothing about the server.
    """
    is_switchover: bool
    """In a cluster: its client is not to blame, and may be served by another server."""
    fault: type[Fault]
    """What the client that was using the server is sent."""

    # The server or the network.
    CRASHED = _Row("server conn crashed?", is_switchover=True, fault=ServerConnCrashed)
    DNS_FAILED = _Row("server DNS lookup failed")
    CONNECT_FAILED = _Row("connect failed")
    CONNECT_TIMEOUT = _Row("connect timeout")
    TLS_SETUP_FAILED = _Row("TLS setup failed")
    TLS_FAILED = _Row("TLS failed")
    LOGIN_FAILED = _Row("failed to answer authreq")
    LOGIN_REFUSED = _Row("login refused")
    """Detail: the server's message."""
    PROTOCOL_VIOLATION = _Row("server breaks the protocol")
    """Detail: the text of the fault."""
    UNASKED_ANSWER = _Row(ServerUnaskedAnswer.text)
    IDLE_DIRTY = _Row("SV_IDLE server got dirty")
    USED_DIRTY = _Row("SV_USED server got dirty")
    DISCARDED_DIRTY = _Row("idle server got dirty")

    # The time limits.
    QUERY_TIMEOUT = _Row("query timeout")
    IDLE_TRANSACTION_TIMEOUT = _Row("idle transaction timeout")
    TRANSACTION_TIMEOUT = _Row("transaction timeout")
    IDLE_TIMEOUT = _Row("server idle timeout")
    LIFETIME_OVER = _Row("server lifetime over")

    # Sizes.
    TOO_MANY = _Row("too many servers in the pool")
    EVICTED = _Row("evicted")

    # Our own queries.
    RESET_FAILED = _Row("reset query failed")
    CHECK_FAILED = _Row("test query failed")
    CLEANUP_FAILED = _Row("dropping of prepared statements failed")
    PARAMETERS_REFUSED = _Row(InvalidServerParameter.text)
    PARAMETER_RESET_FAILED = _Row("could not reset parameters for auth_query")
    UNFIT_ANSWER = _Row("unfit answer to auth_query")
    """Detail: what is wrong with it."""
    COPY_IN_QUERY = _Row("COPY in a query of the pooler")
    TRANSACTION_LEFT_OPEN = _Row("query of the pooler left a transaction open")
    MONITOR_CLOSED = _Row("the monitor closes it")

    # The client.
    QUERY_IN_PROGRESS = _Row("client disconnected with query in progress")
    CLIENT_NOT_READY = _Row("client disconnect while server was not ready")
    CLIENT_UNSENT = _Row("client disconnect before everything was sent to the server")
    RELEASED_UNSENT = _Row("server released before everything was sent to it")
    TRANSACTION_BLOCK = _Row(TransactionBlocksNotAllowed.text)
    REPLICATION_CLOSED = _Row("replication client was closed")
    REPLICATION_LEFT = _Row("replication client disconnected")

    # RELOAD, RECONNECT, PAUSE, SUSPEND.
    OBSOLETE = _Row("obsolete connection")
    CLOSE_NEEDED = _Row("close_needed")
    RECONFIGURED = _Row("database configuration changed", is_failure=False)
    REDIRECTED = _Row("connect string changed", is_failure=False)
    REMOVED = _Row("database removed", is_failure=False)
    PAUSED = _Row("pause mode", is_failure=False)
    UNSAFE = _Row("close unsafe file descriptors on suspend", is_failure=False)
    SUSPEND_TIMEOUT = _Row("suspend_timeout", is_failure=False)

    # Clusters.
    WRITER_LOST = _Row("writer lost", is_failure=False, is_switchover=True)
    WRITER_MOVED = _Row("writer moved", is_failure=False, is_switchover=True)
    NODE_LOST = _Row("node lost", is_failure=False, is_switchover=True)

    def __init__(
        self,
        text: str,
        is_failure: bool,  # noqa: FBT001 - Enum passes the row by position
        is_switchover: bool,  # noqa: FBT001
        fault: type[Fault],
    ) -> None:
        """Take a row."""
        self.text = text
        self.is_failure = is_failure
        self.is_switchover = is_switchover
        self.fault = fault
