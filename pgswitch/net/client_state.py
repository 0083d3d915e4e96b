"""The states of a client connection as one table; the names are PgBouncer's (``CL_``).

:class:`~pgswitch.net.frontend.Frontend` stores a state and changes it in one function.
While a client is logged in, the stored state is IDLE or LOST_TRANSACTION: the hot path
stores nothing per query.  ``Frontend.state`` derives ACTIVE and WAITING from the
client's stream when it is asked, so their rows (events SERVER_...) are here for the
reader and for the drawing, and no code looks them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto
from types import MappingProxyType
from typing import Final

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
