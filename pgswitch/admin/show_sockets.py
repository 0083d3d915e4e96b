"""Rows of SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS and FDS."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from pgswitch.admin.rows import MICROSECONDS, NOT_SHOWN, Cell, Rows, local_time

if TYPE_CHECKING:
    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import DescriptorSnapshot, SocketSnapshot


def clients(view: View) -> Rows:
    """Yield the clients that have logged in."""
    return (_socket(one, one.state) for one in view.each_client())


def servers(view: View) -> Rows:
    """Yield the server connections."""
    found = view.each_server()
    return (NOT_SHOWN if one is None else _socket(one, one.state) for one in found)


def sockets(view: View) -> Rows:
    """Yield every connection, with what its buffers hold."""
    found = view.each_socket()
    return (NOT_SHOWN if one is None else _buffered(one) for one in found)


def active_sockets(view: View) -> Rows:
    """Yield the rows of the sockets that hold bytes, received or to be sent."""
    return (
        NOT_SHOWN
        if s is None or not (s.recv_pos or s.pkt_avail or s.send_avail)
        else _buffered(s)
        for s in view.each_socket()
    )


def _buffered(one: SocketSnapshot) -> tuple[Cell, ...]:
    """Return a row of SHOW SOCKETS; its send_remain is 0 in the reference too."""
    state = "active" if one.kind == "C" and one.state == "idle" else one.state
    prefix = "cl_" if one.kind == "C" else "sv_"
    return (
        *_socket(one, one.socket_state or prefix + state),
        one.recv_pos,
        one.pkt_pos,
        one.pkt_remain,
        one.send_pos,
        0,
        one.pkt_avail,
        one.send_avail,
    )


def _socket(one: SocketSnapshot, state: str) -> tuple[Cell, ...]:
    """Return the columns that clients, servers and sockets share."""
    return (
        one.kind,
        "(nouser)" if one.user is None else one.user,
        "(nodb)" if one.database is None else one.database,
        one.replication,
        state,
        one.addr,
        one.port,
        one.local_addr,
        one.local_port,
        local_time(one.connect_time),
        local_time(one.request_time),
        *divmod(one.wait_us, MICROSECONDS),
        one.close_needed,
        hex(one.ptr),
        hex(one.link) if one.link else "",
        one.remote_pid,
        one.tls or "",
        one.application_name or "",
        one.prepared_statements,
        one.id,
    )


_SHOWN_PARAMETERS: Final = (
    *("client_encoding", "standard_conforming_strings", "DateStyle", "TimeZone"),
)
_KEY_SIZE: Final = 8
"""Bytes of the cancel keys that fit an int8; those of protocol 3.2 may be longer."""


def descriptors(view: View) -> Rows:
    """Yield the open sockets."""
    found = view.each_descriptor()
    return (NOT_SHOWN if one is None else _descriptor(one) for one in found)


def handover(view: View) -> Rows:
    """Return the open sockets with their state."""
    return [(*_descriptor(one), one.state) for one in view.handover()]


def _descriptor(one: DescriptorSnapshot) -> tuple[Cell, ...]:
    key = one.cancel_key if len(one.cancel_key) == _KEY_SIZE else b""
    return (
        *(one.fd, one.task, one.user, one.database, one.addr, one.port),
        # In the byte order of the machine and without a sign, as the reference has it.
        int.from_bytes(key, sys.byteorder),
        one.link,
        *map(one.parameters.get, _SHOWN_PARAMETERS),
        *(one.password, one.scram_client_key, one.scram_server_key),
    )
