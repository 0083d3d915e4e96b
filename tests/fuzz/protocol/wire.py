"""Steps as bytes, bytes as messages, messages as one line each."""

from __future__ import annotations

import re
import struct
from random import Random
from typing import NamedTuple

from tests.fuzz.protocol.script import FAULTS, Group, Step

PAD = re.compile(r"\{pad:(\d+)\}")
"""Stands in a text for so many letters."""

PROTOCOL = 196608
SSL_REQUEST = struct.pack("!II", 8, 80877103)
CANCEL = 80877102

FENCES = 6
"""So many CloseComplete in a row end a group: no script closes that many."""
FENCE_NAME = "fence of the fuzzer"

ASYNCHRONOUS = b"SNA"
"""ParameterStatus, NoticeResponse, NotificationResponse: come when they like."""


class Message(NamedTuple):
    """What a server sent."""

    kind: bytes
    body: bytes


def _text(word: str) -> bytes:
    padded = PAD.sub(lambda found: "x" * int(found[1]), word)
    return padded.encode("utf-8", "surrogateescape")


def _cstring(word: str) -> bytes:
    return _text(word) + b"\0"


def _packet(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def startup(user: str, database: str) -> bytes:
    """Return a StartupMessage."""
    pairs = b"".join(map(_cstring, ("user", user, "database", database)))
    return struct.pack("!II", len(pairs) + 9, PROTOCOL) + pairs + b"\0"


def cancel(key: bytes) -> bytes:
    """Return a CancelRequest with the body of a BackendKeyData."""
    return struct.pack("!II", len(key) + 8, CANCEL) + key


def encoded(step: Step) -> bytes:
    """Return a step as bytes; trouble has none.

    The words are: text (Q), name and text (P), portal, statement and values (B, Bb),
    S or P and name (D, C), portal and rows (E), function and argument (F), data (d),
    reason (f).
    """
    kind, words = step
    if kind in FAULTS:
        return b""
    if kind in ("B", "Bb"):
        return _packet(b"B", _bind(*words, binary=kind == "Bb"))
    if kind == "P":
        body = _cstring(words[0]) + _cstring(words[1]) + b"\0\0"
    elif kind in ("D", "C"):
        body = words[0].encode() + _cstring(words[1])
    elif kind == "E":
        body = _cstring(words[0]) + struct.pack("!I", int(words[1]))
    elif kind == "F":
        argument = _text(words[1])
        body = struct.pack("!IHHi", int(words[0]), 0, 1, len(argument))
        body += argument + b"\0\0"
    elif kind == "d":
        body = _text(words[0])
    elif kind in ("Q", "f"):
        body = _cstring(words[0])
    else:
        body = b""
    return _packet(kind.encode(), body)


def _bind(portal: str, statement: str, *values: str, binary: bool) -> bytes:
    body = _cstring(portal) + _cstring(statement) + b"\0\0"
    body += struct.pack("!H", len(values))
    for value in values:
        raw = _text(value)
        body += struct.pack("!i", len(raw)) + raw
    return body + (b"\0\1\0\1" if binary else b"\0\0")


def fence() -> bytes:
    """Return messages that change nothing, whose answers are like no others."""
    close = encoded(Step("C", ("S", FENCE_NAME)))
    return close * FENCES + encoded(Step("S"))


def is_fenced(messages: list[Message]) -> bool:
    """Tell whether the answers end with those to :func:`fence`."""
    last = messages[-FENCES - 1 :]
    return [one.kind for one in last] == [b"3"] * FENCES + [b"Z"]


FULL_STOP = encoded(Step("f", ("enough",))) + encoded(Step("S"))
"""Ends a COPY, or a pipeline that is skipped."""


class Piece(NamedTuple):
    """Bytes of one write, or trouble; then perhaps a pause."""

    data: bytes
    fault: Step | None = None
    pause_s: float = 0.0


PAUSE_S = 0.001
MOST_BYTES = 500


def pieces(group: Group) -> list[Piece]:
    """Return what is to be written for a group, in order."""
    found: list[Piece] = []
    waiting = b""
    for step in group.steps:
        if step.kind in FAULTS:
            found += _cut(waiting, group.cuts)
            found.append(Piece(b"", step))
            waiting = b""
        elif group.cuts in ("steps", "slowly"):
            pause_s = PAUSE_S if group.cuts == "slowly" else 0.0
            found.append(Piece(encoded(step), None, pause_s))
        else:
            waiting += encoded(step)
    return found + _cut(waiting, group.cuts)


def _cut(data: bytes, cuts: str) -> list[Piece]:
    if not data:
        return []
    word, _, seed = cuts.partition(" ")
    if word == "bytes" and len(data) < MOST_BYTES:
        return [Piece(data[at : at + 1]) for at in range(len(data))]
    if word != "random":
        return [Piece(data)]
    dice = Random(int(seed))
    count = min(len(data) - 1, dice.randint(1, 6))
    places = sorted(dice.sample(range(1, len(data)), count)) if count else []
    return [
        Piece(data[start:end], None, dice.choice((0.0, 0.0, PAUSE_S)))
        for start, end in zip([0, *places], [*places, len(data)], strict=True)
    ]


class Splitter:
    """Makes messages of what is read."""

    def __init__(self) -> None:
        """Begin at a boundary."""
        self._data = b""

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are whole now."""
        self._data += data
        found, at = [], 0
        while len(self._data) - at >= 5:
            (length,) = struct.unpack_from("!I", self._data, at + 1)
            end = at + 1 + length
            if end > len(self._data):
                break
            found.append(Message(self._data[at : at + 1], self._data[at + 5 : end]))
            at = end
        self._data = self._data[at:]
        return found

    @property
    def rest(self) -> bytes:
        """What is not a whole message yet."""
        return self._data


def shown(message: Message) -> str:
    """Return all of a message that is compared, as one line.

    What differs between two runs anyway is left out: numbers of tables in row
    descriptions, and of errors all but severity, SQLSTATE and text.
    """
    kind, body = message
    if kind == b"T":
        return "T " + ", ".join(_columns(body))
    if kind == b"D":
        return f"D {_values(body)!r}"
    if kind in b"EN":
        fields = error_fields(body)
        return f"{kind.decode()} {' '.join(fields.get(key, '-') for key in 'SCM')}"
    if kind == b"Z":
        return f"Z {body.decode(errors='replace')}"
    if kind == b"C":
        return f"C {body.rstrip(bytes(1)).decode(errors='replace')}"
    return f"{kind.decode(errors='replace')} {body!r}" if body else kind.decode()


def error_fields(body: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse."""
    parts = [part.decode(errors="replace") for part in body.split(b"\0") if part]
    return {part[0]: part[1:] for part in parts}


def parameter(body: bytes) -> tuple[str, str]:
    """Return name and value of a ParameterStatus."""
    name, value, _ = body.split(b"\0")
    return name.decode(), value.decode(errors="replace")


def _columns(body: bytes) -> list[str]:
    (count,) = struct.unpack_from("!H", body)
    found, at = [], 2
    for _ in range(count):
        end = body.index(b"\0", at)
        _, _, oid, _, _, form = struct.unpack_from("!IHIhih", body, end + 1)
        name = body[at:end].decode(errors="replace")
        found.append(f"{name}:{oid}:{form}")
        at = end + 19
    return found


def _values(body: bytes) -> list[str | None]:
    (count,) = struct.unpack_from("!H", body)
    values: list[str | None] = []
    at = 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, at)
        at += 4
        if size < 0:
            values.append(None)
            continue
        values.append(body[at : at + size].decode(errors="replace"))
        at += size
    return values
