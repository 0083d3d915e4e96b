"""Handshakes in memory, and what comes of them."""

from __future__ import annotations

from contextlib import suppress

from OpenSSL import SSL

TURNS = 10
BUFFER = 65536


def shake_hands(*ends: SSL.Connection) -> None:
    """Carry bytes between two ends in memory until both are done.

    Raises what either raises; an alert still goes to the other end.
    """
    for _ in range(TURNS):
        waiting = 0
        for one, other in (ends, ends[::-1]):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                waiting += 1
            finally:
                carry(one, other)
        if not waiting:
            return
    raise AssertionError("the handshake does not end")


def carry(one: SSL.Connection, other: SSL.Connection) -> None:
    """Bring what one end has to send to the other."""
    with suppress(SSL.WantReadError):
        other.bio_write(one.bio_read(BUFFER))
