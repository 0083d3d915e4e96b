"""Has a pgswitch process use its transports by Twisted's interfaces alone.

A process with this folder in PYTHONPATH accepts clients by Twisted's own transports,
looks into no socket, and encrypts by ``transport.startTLS``.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp

from pgswitch.net import listen, tls_socket, transport


def stock_transport(descriptor: int, *arguments: Any) -> tcp.Server:  # noqa: ANN401 - as Twisted calls it
    """Return Twisted's transport on an accepted connection."""
    return tcp.Server(socket.socket(fileno=descriptor), *arguments)


def no_socket(_transport: object) -> bool:
    """Stand in for has_socket."""
    return False


defaults = listen.Listeners.__init__.__kwdefaults__
assert defaults is not None
defaults["tcp_transport"] = stock_transport
for module in (tls_socket, transport):
    vars(module)["has_socket"] = no_socket
