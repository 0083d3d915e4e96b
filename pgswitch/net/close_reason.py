"""Why a server connection is closed.

The texts are logged ("closing because: ...") and sent to the client that was using the
server.  They are PgBouncer's where PgBouncer closes a server for the same reason.  Code
compares members, never texts.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pgswitch.errors import (
    Fault,
    InvalidServerParameter,
    ServerClosed,
    ServerConnCrashed,
    ServerUnaskedAnswer,
    TransactionBlocksNotAllowed,
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
