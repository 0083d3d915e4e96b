"""The cancel keys of clients, in PgBouncer's layout.

A key is 8 bytes (manual, BackendKeyData: process number and secret).  Processes that
share a port know each other as *peers*; the key then contains the peer of the client,
and how often a request with it may still be passed on.  Peers may be PgBouncers, so the
layout is theirs:

=========  ==============================================================
byte 0     random, the top bit 0: process numbers are positive
byte 1, 2  with peering, the peer_id, its low byte first; else random
byte 3-7   random; with peering the two low bits of byte 7 are the TTL
=========  ==============================================================
"""

from __future__ import annotations

from typing import Final

KEY_SIZE: Final = 8
_TTL_BITS: Final = 0x03
_POSITIVE: Final = 0x7F


def make(random: bytes, peer_id: int) -> bytes:
    """Return a key from 8 random bytes; ``peer_id`` 0 is no peering."""
    first = bytes((random[0] & _POSITIVE,))
    if not peer_id:
        return first + random[1:]
    peer = peer_id.to_bytes(2, "little")
    return first + peer + random[3:7] + bytes((random[7] | _TTL_BITS,))


def peer_of(key: bytes) -> int:
    """Return the peer_id in a key."""
    return int.from_bytes(key[1:3], "little")


def ttl_of(key: bytes) -> int:
    """Return how often a request with this key may be passed on."""
    return key[7] & _TTL_BITS


def passed_on(key: bytes) -> bytes:
    """Return the key for the next peer, its TTL one less; it must not be 0."""
    return key[:7] + bytes([key[7] - 1])


def as_issued(key: bytes) -> bytes:
    """Return the key as the client has it, with the initial TTL."""
    return key[:7] + bytes([key[7] | _TTL_BITS])
