"""A PostgreSQL server as far as its protocol goes, too simple to be wrong.

What it answers holds the text of the statement that it answers and what was bound to
it, so that a client's replies can be compared with those it would get from a server of
its own: names in them are those that the client has said.

Texts are statements with semicolons between them.  Those of SQL about transactions and
prepared statements do what they say; ``wrong`` fails when it is parsed, ``late`` when
it is run; ``COPY`` takes data, and ``COPY early`` fails before it reads any; ``COPY
out`` gives some.  Anything else gives one row.  Among copy data ``wrong`` fails at
once, ``late`` when all is there.
"""

from __future__ import annotations

from tests.fakes.messages import error, message

COPY_IN = message(b"G", b"\0\0\0")
PARSED, BOUND, CLOSED = message(b"1"), message(b"2"), message(b"3")
BEHIND_A_SYNC = b"PBDEC"
"""Types whose errors make the server skip to the next Sync."""
TRANSACTION_ENDS = (b"COMMIT", b"ROLLBACK")
WITHOUT_ROWS = (
    *(b"BEGIN", b"COMMIT", b"ROLLBACK", b"COPY", b"PREPARE", b"DEALLOCATE"),
    b"DISCARD",
)


class Failure(Exception):
    """What the server answers by an ErrorResponse."""

    def __init__(self, sqlstate: str, text: str) -> None:
        """Take what it says."""
        super().__init__(text)
        self.answer = error(text, sqlstate)


def missing(name: bytes) -> Failure:
    """Return the error about a statement that there is not."""
    if not name:
        return Failure("26000", "unnamed prepared statement does not exist")
    return Failure("26000", f'prepared statement "{name.decode()}" does not exist')


class ModelServer:
    """Takes bytes of a client, gives bytes of a server."""

    def __init__(self) -> None:
        """Begin after the login."""
        self.prepared: dict[bytes, bytes] = {}
        """By name, the unnamed one among them."""
        self.portals: dict[bytes, tuple[bytes, bytes]] = {}
        """Text, and what is bound to it, by name."""
        self.spent: set[bytes] = set()
        """Portals that have been run."""
        self.is_old = False
        """The unnamed statement is of an earlier transaction."""
        self.status = b"I"
        self.skipping = False
        self.copying = b""
        """Type of the message whose COPY is under way."""
        self.is_late = False
        """That COPY fails at its end."""
        self.rest: list[bytes] = []
        """Statements of the Query behind its COPY."""
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
            take = self._copy if self.copying else self._one
            try:
                answer += take(kind, body)
            except Failure as failure:
                answer += self._fail(self.copying or kind, failure)
        return answer

    def _one(self, kind: bytes, body: bytes) -> bytes:
        if kind == b"S":
            self.skipping = False
            return self._ready()
        if kind in b"dcfHX" or self.skipping:
            return b""
        if kind == b"Q":
            self._drop_portal(b"")
            self.prepared.pop(b"", None)
            self.rest = [part.strip() for part in body[:-1].split(b";")]
            self.rest = [part for part in self.rest if part]
            return self._query() if self.rest else message(b"I") + self._ready()
        if kind == b"F":
            self._check(b"")
            return message(b"V", body) + self._ready()
        return getattr(self, "_" + kind.decode())(body)  # type: ignore[no-any-return]

    def _ready(self) -> bytes:
        if self.status == b"I":
            self._drop_portals()
            self.is_old = True
        return message(b"Z", self.status)

    def _fail(self, kind: bytes, failure: Failure) -> bytes:
        if self.status == b"T":
            self.status = b"E"
        self.copying = b""
        self._drop_portals()
        # What was said before it counts: the answers to earlier statements.
        answer, self.said = self.said, b""
        answer += failure.answer
        if kind in BEHIND_A_SYNC:
            self.skipping = True
            return answer
        return answer + self._ready()

    said = b""
    """Answers of a message that may yet fail."""

    def _check(self, text: bytes) -> None:
        if self.status == b"E" and text not in TRANSACTION_ENDS:
            raise Failure("25P02", "current transaction is aborted")

    def _drop_portals(self) -> None:
        self.portals.clear()
        self.spent.clear()

    def _drop_portal(self, name: bytes) -> None:
        self.portals.pop(name, None)
        self.spent.discard(name)

    # The simple protocol.

    def _query(self) -> bytes:
        while self.rest:
            text = self.rest.pop(0)
            self._check(text)
            if text == b"wrong":
                raise Failure("42P01", "wrong")
            if _gives_rows(text):
                self.said += message(b"T", text)
            self._run(text, b"", b"Q")
            if self.copying:
                answer, self.said = self.said, b""
                return answer
        answer, self.said = self.said, b""
        return answer + self._ready()

    # Statements, in either.

    def _run(self, text: bytes, bound: bytes, kind: bytes) -> None:
        """Run a statement; its answer joins the output."""
        self._check(text)
        verb, _, rest = text.partition(b" ")
        if text in (b"BEGIN", *TRANSACTION_ENDS):
            tag = b"ROLLBACK" if self.status == b"E" else text
            self.status = b"T" if text == b"BEGIN" else b"I"
            if text != b"BEGIN":
                self._drop_portals()
        elif verb == b"COPY":
            self._begin_copy(rest, kind)
            return
        elif verb in (b"PREPARE", b"DEALLOCATE", b"DISCARD"):
            tag = self._about_statements(verb, rest)
        elif verb == b"EXECUTE":
            if rest not in self.prepared:
                raise missing(rest)
            self._run(self.prepared[rest], bound, kind)
            return
        elif text == b"late":
            raise Failure("22012", "late")
        else:
            self.said += message(b"D", text + b"|" + bound)
            tag = b"SELECT 1"
        self.said += message(b"C", tag + b"\0")

    def _about_statements(self, verb: bytes, rest: bytes) -> bytes:
        """Run one that is about prepared statements; return its tag."""
        if verb == b"PREPARE":
            name, _, text = rest.partition(b" AS ")
            if text == b"wrong":
                raise Failure("42P01", "wrong")
            self._introduce(name, text)
        elif rest == b"ALL":
            if verb == b"DISCARD" and self.status == b"T":
                raise Failure("25001", "DISCARD ALL inside a transaction block")
            unnamed = self.prepared.get(b"")
            self.prepared.clear()
            if verb == b"DEALLOCATE" and unnamed is not None:
                self.prepared[b""] = unnamed
            return verb + b" ALL"
        elif self.prepared.pop(rest, None) is None:
            raise missing(rest)
        return verb

    def _introduce(self, name: bytes, text: bytes) -> None:
        if name and name in self.prepared:
            name_of = name.decode()
            raise Failure("42P05", f'prepared statement "{name_of}" already exists')
        self.prepared[name] = text
        self.is_old = self.is_old and bool(name)

    def _begin_copy(self, rest: bytes, kind: bytes) -> None:
        if rest == b"out":
            copied = message(b"H", b"\0\0\0") + message(b"d", b"row") + message(b"c")
            self.said += copied + message(b"C", b"COPY 1\0")
            return
        self.said += COPY_IN
        if rest == b"early":
            raise Failure("P0001", "early")
        self.copying = kind
        self.is_late = False

    def _copy(self, kind: bytes, body: bytes) -> bytes:
        """Take a message of a COPY; a Sync or Flush among them is ignored."""
        if kind in b"SH":
            return b""
        if kind == b"d":
            self.is_late = self.is_late or body == b"late"
            if body == b"wrong":
                raise Failure("22P02", "wrong row")
            return b""
        assert kind in b"cf", f"a real server hangs up here: {kind!r}"
        if kind == b"f":
            raise Failure("57014", "given up")
        if self.is_late:
            raise Failure("23505", "late row")
        copying, self.copying = self.copying, b""
        done = message(b"C", b"COPY 1\0")
        if copying != b"Q":
            return done
        self.said += done
        return self._query()

    # The extended protocol.

    def _P(self, body: bytes) -> bytes:
        name, text = body.split(b"\0")[:2]
        if not name:
            self.prepared.pop(b"", None)
        self._check(text)
        if text == b"wrong":
            raise Failure("42P01", "wrong")
        self._introduce(name, text)
        return PARSED

    def _B(self, body: bytes) -> bytes:
        portal, name, rest = body.split(b"\0", 2)
        text = self._prepared(name)
        bound = rest[8:-2]
        self._check(b"" if bound else text)
        if portal and portal in self.portals:
            raise Failure("42P03", f'cursor "{portal.decode()}" already exists')
        self._drop_portal(portal)
        self.portals[portal] = text, bound
        return BOUND

    def _D(self, body: bytes) -> bytes:
        name = body[1:-1]
        if body[:1] == b"P":
            text, _bound = self._portal(name)
            before = b""
        else:
            text = self._prepared(name)
            before = message(b"t", text)
        # PostgreSQL would still describe what gives no rows, if it had it.
        self._check(text)
        return before + (message(b"T", text) if _gives_rows(text) else message(b"n"))

    def _E(self, body: bytes) -> bytes:
        name = body[:-5]
        text, bound = self._portal(name)
        self._check(text)
        if not text:
            return message(b"I")
        if name in self.spent:
            if not _gives_rows(text):
                raise Failure("55000", f'portal "{name.decode()}" cannot be run')
            return message(b"C", b"SELECT 0\0")
        self.spent.add(name)
        self._run(text, bound, b"E")
        answer, self.said = self.said, b""
        return answer

    def _prepared(self, name: bytes) -> bytes:
        if name not in self.prepared:
            self._check(b"")  # PostgreSQL finds out later; it fails in any case
            raise missing(name)
        assert name or not self.is_old, "pooled servers do not keep it so long"
        return self.prepared[name]

    def _portal(self, name: bytes) -> tuple[bytes, bytes]:
        if name not in self.portals:
            self._check(b"")
            raise Failure("34000", f'portal "{name.decode()}" does not exist')
        return self.portals[name]

    def _C(self, body: bytes) -> bytes:
        if body[:1] == b"P":
            self._drop_portal(body[1:-1])
        else:
            self.prepared.pop(body[1:-1], None)
        return CLOSED


def _gives_rows(text: bytes) -> bool:
    return bool(text) and text.split(b" ")[0] not in WITHOUT_ROWS
