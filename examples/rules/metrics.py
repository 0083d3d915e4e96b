"""Moves nothing: counts queries by user and kind, and sends the counts to statsd.

One datagram for each query, which no server has to answer, so nobody waits.
"""

import re
import socket

STATSD = ("127.0.0.1", 8125)

_KIND = re.compile(r"\s*([a-z]+)", re.IGNORECASE)
_SOCKET = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
_SOCKET.setblocking(False)


def routing_rules(username, query, in_transaction):
    found = _KIND.match(query)
    kind = found.group(1).lower() if found else "other"
    try:
        _SOCKET.sendto(f"pgswitch.{username}.{kind}:1|c".encode(), STATSD)
    except OSError:
        pass  # a lost count is no reason to fail a query
    return None
