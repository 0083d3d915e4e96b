"""SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS, FDS and HANDOVER.

Clients and servers have the same columns, filled from different objects: each column
names both sources.
"""

from __future__ import annotations

import sys
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple

from pgswitch.admin.incremental import POOLS_PER_STEP
from pgswitch.admin.result_set import (
    BYTEA,
    INT4,
    INT8,
    MICROSECONDS,
    TEXT,
    Cell,
    Column,
    Columns,
    PgType,
    local_time,
)
from pgswitch.admin.view import ServiceView, Show
from pgswitch.net.connection_states import ClientState, ServerState
from pgswitch.relay.client_stream import ClientStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgswitch.admin.descriptors import Descriptor
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.relay.stream import Stream

NO_USER: Final = "(nouser)"
NO_DATABASE: Final = "(nodb)"
"""Shown while a client's start-up packet has not come."""


class ClientRow(NamedTuple):
    """A client and, once it is connected, its byte stream."""

    context: ServiceContext
    frontend: Frontend
    stream: ClientStream | None
    wait_us: int
    """Microseconds since its open query began; 0 when none is open."""


class ServerRow(NamedTuple):
    """A server connection and its byte stream."""

    context: ServiceContext
    backend: Backend
    stream: ServerStream
    wait_us: int
    """Microseconds since its open query began; 0 when none is open."""


# ----------------------------------------------------------------- getting values


def _client(context: ServiceContext, frontend: Frontend) -> ClientRow:
    if not hasattr(frontend, "stream"):
        return ClientRow(context, frontend, None, 0)
    stream = frontend.stream
    wait_us = _since(context, stream.exchange.query_start)
    return ClientRow(context, frontend, stream, wait_us)


def _server(context: ServiceContext, backend: Backend) -> ServerRow:
    stream = backend.stream
    exchange = stream.exchange
    wait_us = 0 if exchange is None else _since(context, exchange.query_start)
    return ServerRow(context, backend, stream, wait_us)


def _since(context: ServiceContext, then: float) -> int:
    """Return the microseconds since a monotonic time; 0.0 stands for never."""
    return int((context.clock() - then) * MICROSECONDS) if then else 0


def _wall_time(context: ServiceContext, then: float) -> str:
    """Return a monotonic time as local date and time."""
    return local_time(time() - (context.clock() - then))


def _client_request_time(row: ClientRow) -> str:
    last_request = 0.0 if row.stream is None else row.stream.last_request
    return _wall_time(row.context, max(row.frontend.connected_at, last_request))


def _server_request_time(row: ServerRow) -> str:
    exchange = row.stream.exchange
    begun = 0.0 if exchange is None else exchange.query_start
    idle_since = max(row.stream.ready_since, row.backend.connected_at)
    return _wall_time(row.context, begun or idle_since)


def _client_link(row: ClientRow) -> str:
    server = None if row.stream is None else row.stream.server
    return "" if server is None else hex(id(server.backend))


def _server_link(row: ServerRow) -> str:
    client = row.stream.peer
    return hex(id(client.frontend)) if isinstance(client, ClientStream) else ""


def _application_name(
    context: ServiceContext, stream: ClientStream | ServerStream | None
) -> str:
    if stream is None or not stream.parameters:
        return ""
    return context.tracking.value(stream.parameters, "application_name") or ""


def _client_statements(row: ClientRow) -> int:
    stream = row.stream
    if stream is None or stream.statements is None:
        return 0
    return len(stream.statements.names) + len(stream.statements.sql.texts)


def _replication(row: ClientRow) -> str:
    facts = row.frontend.facts
    return "none" if facts is None else facts.replication.value


def _received(stream: Stream | None) -> int:
    """Return the bytes received and not yet forwarded."""
    if stream is None:
        return 0
    received = stream.wanted - stream.missing() if stream.wanted else 0
    if isinstance(stream, ClientStream):
        received += sum(map(len, stream.held))
    return received


def _missing(stream: Stream | None) -> int:
    return 0 if stream is None else stream.missing()


def _unsent(stream: Stream | None) -> int:
    """Return the bytes that wait to be sent.

    What the transport has taken over is not known exactly; it counts as one byte.
    """
    if stream is None:
        return 0
    return max(sum(map(len, stream.pending)), int(stream.backlogged))


# -------------------------------------------------------------------- the columns


class _SocketColumn(NamedTuple):
    """A column of clients and servers, with what fills it for each of them."""

    name: str
    type: PgType
    meaning: str
    client: Callable[[ClientRow], Cell]
    server: Callable[[ServerRow], Cell]
    unit: str = ""

    def of_clients(self) -> Column[ClientRow]:
        """Return the column of a table of clients."""
        return Column(self.name, self.type, self.meaning, self.client, self.unit)

    def of_servers(self) -> Column[ServerRow]:
        """Return the column of a table of servers."""
        return Column(self.name, self.type, self.meaning, self.server, self.unit)

    def of_both(self) -> Column[ClientRow | ServerRow]:
        """Return the column of a table of both."""
        client, server = self.client, self.server

        def value(row: ClientRow | ServerRow) -> Cell:
            return client(row) if isinstance(row, ClientRow) else server(row)

        return Column(self.name, self.type, self.meaning, value, self.unit)


_SOCKET: Final = (
    _SocketColumn(
        *("type", TEXT, "`C` for a client, `S` for a server."),
        lambda _: "C",
        lambda _: "S",
    ),
    _SocketColumn(
        *("user", TEXT, "User of the client, or that the server was logged in to as."),
        lambda c: c.frontend.user or NO_USER,
        lambda s: s.backend.user,
    ),
    _SocketColumn(
        *("database", TEXT, "Database, by its name in `[databases]`."),
        lambda c: c.frontend.database or NO_DATABASE,
        lambda s: s.backend.database,
    ),
    _SocketColumn(
        *("replication", TEXT, "Kind of replication: `none`, `logical`, `physical`."),
        _replication,
        lambda s: s.backend.replication,
    ),
    _SocketColumn(
        "state",
        TEXT,
        "Clients: `active`, `idle`, `waiting` (for a server), `active_cancel_req`,"
        " `waiting_cancel_req`. Servers: `active`, `idle`, `used`, `tested`, `new`,"
        " `being_canceled`.",
        lambda c: c.frontend.show_state,
        lambda s: s.backend.state.column,
    ),
    _SocketColumn(
        *("addr", TEXT, "Address of the other end, `unix` for a unix socket."),
        lambda c: c.frontend.address.host,
        lambda s: s.backend.address.host,
    ),
    _SocketColumn(
        *("port", INT4, "Port of the other end."),
        lambda c: c.frontend.address.port,
        lambda s: s.backend.address.port,
    ),
    _SocketColumn(
        *("local_addr", TEXT, "Address of our end."),
        lambda c: c.frontend.local_address.host,
        lambda s: s.backend.local_address.host,
    ),
    _SocketColumn(
        *("local_port", INT4, "Port of our end."),
        lambda c: c.frontend.local_address.port,
        lambda s: s.backend.local_address.port,
    ),
    _SocketColumn(
        *("connect_time", TEXT, "When the connection was made."),
        lambda c: local_time(c.frontend.connected_time),
        lambda s: local_time(s.backend.connected_time),
    ),
    _SocketColumn(
        *("request_time", TEXT, "When the last request began."),
        _client_request_time,
        _server_request_time,
    ),
    _SocketColumn(
        *("wait", INT4, "How long the open query has taken; 0 when none is open."),
        lambda c: c.wait_us // MICROSECONDS,
        lambda s: s.wait_us // MICROSECONDS,
        "s",
    ),
    _SocketColumn(
        *("wait_us", INT4, "The fraction of a second that belongs to `wait`."),
        lambda c: c.wait_us % MICROSECONDS,
        lambda s: s.wait_us % MICROSECONDS,
        "µs",
    ),
    _SocketColumn(
        *("close_needed", INT4, "1 for a server that closes at its next release."),
        lambda _: False,
        lambda s: s.stream.close_needed,
    ),
    _SocketColumn(
        *("ptr", TEXT, "A number that identifies the connection, as in log lines."),
        lambda c: hex(id(c.frontend)),
        lambda s: hex(id(s.backend)),
    ),
    _SocketColumn(
        *("link", TEXT, "`ptr` of the server or client that it is linked to."),
        _client_link,
        _server_link,
    ),
    _SocketColumn(
        "remote_pid",
        INT4,
        "Process at the other end: of a client on a unix socket; of a server, from"
        " its cancel key.",
        lambda c: c.frontend.address.pid,
        lambda s: int.from_bytes(s.backend.cancel_key[:4], "big"),
    ),
    _SocketColumn(
        *("tls", TEXT, "TLS version and cipher; empty without TLS."),
        lambda c: "" if c.frontend.tls is None else c.frontend.tls.description,
        lambda s: "" if s.backend.tls is None else s.backend.tls.description,
    ),
    _SocketColumn(
        *("application_name", TEXT, "The parameter `application_name`."),
        lambda c: _application_name(c.context, c.stream),
        lambda s: _application_name(s.context, s.stream),
    ),
    _SocketColumn(
        *("prepared_statements", INT4, "Prepared statements that it has."),
        _client_statements,
        lambda s: len(s.stream.statements),
    ),
    _SocketColumn(
        *("id", INT4, "Number of the connection; `KILL_CLIENT` takes a client's."),
        lambda c: c.frontend.number,
        lambda s: s.backend.number,
    ),
)


def _client_socket_state(row: ClientRow) -> str:
    state = row.frontend.show_state
    return "cl_active" if state == "idle" else f"cl_{state}"


def _server_socket_state(row: ServerRow) -> str:
    state = row.backend.state
    return "sv_login" if state is ServerState.LOGIN else f"sv_{state.column}"


_SOCKET_STATE: Final = _SocketColumn(
    "state",
    TEXT,
    "State with `cl_` or `sv_` before it; an idle client is `cl_active`, and"
    " connections in their login are `cl_login` and `sv_login`.",
    _client_socket_state,
    _server_socket_state,
)


def _buffer(
    name: str, meaning: str, bytes_of: Callable[[Stream | None], int]
) -> _SocketColumn:
    return _SocketColumn(
        *(name, INT4, meaning),
        lambda c: bytes_of(c.stream),
        lambda s: bytes_of(s.stream),
        "bytes",
    )


_BUFFERS: Final = (
    _buffer("recv_pos", "Received and not yet forwarded.", _received),
    _buffer("pkt_pos", "Always 0.", lambda _: 0),
    _buffer("pkt_remain", "Still to come of the message under way.", _missing),
    _buffer("send_pos", "Always 0.", lambda _: 0),
    _buffer("send_remain", "Always 0.", lambda _: 0),
    _buffer("pkt_avail", "Received and not yet forwarded.", _received),
    _buffer("send_avail", "Waiting to be sent.", _unsent),
)

# ---------------------------------------------------------------------- the rows
# Time may pass between two rows: each is read when it is asked for.  A connection
# that comes meanwhile need not be shown, one that has gone is not.


def _clients(view: ServiceView) -> Iterator[ClientRow]:
    """Yield the clients that have logged in or wait for their welcome."""
    clients = view.login_service.clients
    for one in list(clients.values()):
        if one.state is not ClientState.LOGIN and one.number in clients:
            yield _client(view.context, one)


def _servers(view: ServiceView) -> Iterator[ServerRow | None]:
    """Yield the server connections, those in their login included."""
    for number, pool in enumerate(view.pools, 1):
        for backend in list(pool.connections()):
            if hasattr(backend, "stream") and not backend.stream.lost:
                yield _server(view.context, backend)
        if number % POOLS_PER_STEP == 0:
            yield None


def _sockets(view: ServiceView) -> Iterator[ClientRow | ServerRow | None]:
    """Yield every connection."""
    clients = view.login_service.clients
    for one in list(clients.values()):
        if one.number in clients:
            yield _client(view.context, one)
    yield from _servers(view)


def _active_sockets(view: ServiceView) -> Iterator[ClientRow | ServerRow | None]:
    """Yield the connections with bytes in their buffers."""
    for one in _sockets(view):
        is_active = one is not None and (_received(one.stream) or _unsent(one.stream))
        yield one if is_active else None


CLIENTS: Final = Show(
    meaning="The clients that have logged in, those of the console included.",
    find=_clients,
    columns=tuple(one.of_clients() for one in _SOCKET),
)
SERVERS: Final = Show(
    meaning="The server connections, those in their login included.",
    find=_servers,
    columns=tuple(one.of_servers() for one in _SOCKET),
)
_SOCKETS_COLUMNS: Final = tuple(
    (_SOCKET_STATE if one.name == "state" else one).of_both()
    for one in (*_SOCKET, *_BUFFERS)
)
SOCKETS: Final = Show(
    meaning="Every client and server connection, with the bytes in its buffers.",
    find=_sockets,
    columns=_SOCKETS_COLUMNS,
)
ACTIVE_SOCKETS: Final = Show(
    meaning="The connections that hold bytes, received or to be sent.",
    find=_active_sockets,
    columns=_SOCKETS_COLUMNS,
)

# -------------------------------------------------------------------- descriptors

_KEY_SIZE: Final = 8
"""Bytes of the cancel keys that fit an int8; those of protocol 3.2 may be longer."""


def _cancel_number(one: Descriptor) -> int:
    key = one.cancel_key if len(one.cancel_key) == _KEY_SIZE else b""
    # In the byte order of the machine and without a sign, as PgBouncer has it.
    return int.from_bytes(key, sys.byteorder)


_DESCRIPTOR: Final[Columns[Descriptor]] = (
    Column("fd", INT4, "File descriptor.", lambda d: d.fd),
    Column(
        "task", TEXT, "`pooler` (listening), `client` or `server`.", lambda d: d.task
    ),
    Column("user", TEXT, "User of the connection.", lambda d: d.user),
    Column("database", TEXT, "Database of the connection.", lambda d: d.database),
    Column(
        *("addr", TEXT, "Address of the other end, or that it listens on; or `unix`."),
        lambda d: d.addr,
    ),
    Column("port", INT4, "Port that belongs to `addr`.", lambda d: d.port),
    Column("cancel", INT8, "Cancel key as a number.", _cancel_number),
    Column("link", INT4, "`fd` of the linked connection, or 0.", lambda d: d.peer_fd),
    Column(
        *("client_encoding", TEXT, "The parameter `client_encoding`."),
        lambda d: d.parameters.get("client_encoding"),
    ),
    Column(
        *("std_strings", TEXT, "The parameter `standard_conforming_strings`."),
        lambda d: d.parameters.get("standard_conforming_strings"),
    ),
    Column(
        *("datestyle", TEXT, "The parameter `DateStyle`."),
        lambda d: d.parameters.get("DateStyle"),
    ),
    Column(
        *("timezone", TEXT, "The parameter `TimeZone`."),
        lambda d: d.parameters.get("TimeZone"),
    ),
    Column("password", TEXT, "Always NULL.", lambda _: None),
    Column("scram_client_key", BYTEA, "Always NULL.", lambda _: None),
    Column("scram_server_key", BYTEA, "Always NULL.", lambda _: None),
)

FDS: Final = Show(
    meaning="The open sockets, for a PgBouncer that takes over (`-R`).",
    find=lambda view: view.handover.each_descriptor(),
    columns=_DESCRIPTOR,
    needs_admin=True,
    attaches=True,
)
HANDOVER: Final = Show(
    meaning="The open sockets with all their state, for another pgswitch that takes"
    " over (`-R`).",
    find=lambda view: view.handover.rows(),
    columns=(
        *_DESCRIPTOR,
        Column("state", TEXT, "All else that is known, as JSON.", lambda d: d.state),
    ),
    needs_owner=True,
    attaches=True,
)
