"""How a client reads and writes, and how a server comes by what it sends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manner:
    """A way to send and to read.

    Of what is sent, ``piece`` bytes go at a time (0: all at once), with a pause of
    ``send_pause_s`` after every ``burst`` bytes. Of what comes, ``bite`` bytes are read
    at a time with a pause of ``read_pause_s`` after every ``gulp`` bytes, into a buffer
    of ``buffer`` bytes (0: the system's). The server pauses for ``row_pause_s`` at
    every row that ``pause_rows`` divides. ``amount`` is how much work is done, 1: all.
    """

    name: str
    piece: int = 0
    burst: int = 0
    send_pause_s: float = 0.0
    bite: int = 1 << 18
    gulp: int = 0
    read_pause_s: float = 0.0
    buffer: int = 0
    pause_rows: int = 0
    row_pause_s: float = 0.0
    amount: float = 1.0


PLAIN = Manner("plain")
SLOW_READER = Manner(
    "slow reader", bite=2048, gulp=32768, read_pause_s=0.001, buffer=8192, amount=0.2
)
ONE_BYTE = Manner("1-byte writes", piece=1, amount=0.2)
BURSTS = Manner(
    "bursts",
    burst=65536,
    send_pause_s=0.003,
    pause_rows=100,
    row_pause_s=0.003,
    amount=0.4,
)
SLOW_SENDER = Manner(
    "slow sender",
    piece=4096,
    burst=4096,
    send_pause_s=0.0005,
    pause_rows=10,
    row_pause_s=0.001,
    amount=0.2,
)

MANNERS = {one.name: one for one in (PLAIN, SLOW_READER, ONE_BYTE, BURSTS, SLOW_SENDER)}
