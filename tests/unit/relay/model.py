"""A PostgreSQL server as far as its protocol goes, too simple to be wrong.

What it answers holds the text of the statement that it answers, never a name, so that
a client's replies can be compared with those it would get from a server of its own.
"""

from __future__ import annotations

from tests.fakes.messages import message

ERROR = message(b"E", b"SERROR\0\0")
COPY_IN = message(b"G", b"\0\0\0")
PARSED, BOUND, CLOSED = message(b"1"), message(b"2"), message(b"3")
BEHIND_A_SYNC = b"PBDEC"
"""Types whose errors make the server skip to the next Sync."""


class ModelServer:
    """Takes bytes of a client, gives bytes of a server."""

    def __init__(self) -> None:
        """Begin behind the login."""
        self.prepared: dict[bytes, bytes] = {}
        self.portal: bytes | None = None
        self.status = b"I"
        self.skipping = False
        self.copying = b""
        """Type of the message whose COPY is under way."""
        self.held = b""

    def take(self, data: bytes) -> bytes:
        """Return the answer to what has come whole."""
        self.held += data
        answer = b""
        while len(self.held) > 4:
            size = int.from_bytes(self.held[1:5], "big") + 1
            if len(self.held) < size:
                break
            kind, body = self.held[:1], self.held[5:size]
            self.held = self.held[size:]
            answer += self._copy(kind, body) if self.copying else self._one(kind, body)
        return answer

    def _one(self, kind: bytes, body: bytes) -> bytes:
        if kind == b"S":
            self.skipping = False
            return self._ready()
        if kind in b"dcfH" or self.skipping:
            return b""
        if kind == b"Q":
            return self._query(body[:-1])
        if kind == b"F":
            return message(b"V", body) + self._ready()
        return self._extended(kind, body)

    def _ready(self) -> bytes:
        if self.status == b"I":
            self.portal = None
        return message(b"Z", self.status)

    def _fail(self, kind: bytes) -> bytes:
        if self.status == b"T":
            self.status = b"E"
        self.portal = None
        if kind in BEHIND_A_SYNC:
            self.skipping = True
            return ERROR
        return ERROR + self._ready()

    def _query(self, text: bytes) -> bytes:
        if text == b"wrong":
            return self._fail(b"Q")
        if text == b"COPY":
            self.copying = b"Q"
            return COPY_IN
        if text == b"BEGIN":
            self.status = b"T"
        elif text == b"COMMIT":
            self.status = b"I"
        elif text == b"DISCARD ALL":
            self.prepared.clear()
        return message(b"D", text) + message(b"C", text + b"\0") + self._ready()

    def _extended(self, kind: bytes, body: bytes) -> bytes:
        names = body.split(b"\0")
        if kind == b"P":
            name, text = names[:2]
            if text == b"wrong" or (name and name in self.prepared):
                return self._fail(kind)
            self.prepared[name] = text
            return PARSED
        if kind == b"C":
            self.prepared.pop(names[0][1:], None)
            return CLOSED
        if kind == b"E":
            return self._execute()
        found = self.prepared.get(names[1] if kind == b"B" else names[0][1:])
        return self._fail(kind) if found is None else self._look_up(kind, found)

    def _look_up(self, kind: bytes, text: bytes) -> bytes:
        """Answer a Bind or a Describe of this statement."""
        if kind == b"D":
            return message(b"t", text) + message(b"n")
        self.portal = text
        return BOUND

    def _execute(self) -> bytes:
        if self.portal is None:
            return self._fail(b"E")
        if self.portal == b"COPY":
            self.copying = b"E"
            return COPY_IN
        if not self.portal:
            return message(b"I")
        return message(b"D", self.portal) + message(b"C", b"SELECT 1\0")

    def _copy(self, kind: bytes, body: bytes) -> bytes:
        """Take a message of a COPY; a Sync or Flush among them is ignored."""
        if kind in b"SH" or (kind == b"d" and body != b"wrong"):
            return b""
        assert kind in b"dcf", "a real server hangs up here"
        copying, self.copying = self.copying, b""
        if kind != b"c":
            return self._fail(copying)
        done = message(b"C", b"COPY 1\0")
        return done + (self._ready() if copying == b"Q" else b"")
