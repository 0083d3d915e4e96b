"""Scripts of clients, drawn at random: all requests, in any order.

What is run answers with the text that was run and what was bound to it, and each
client has texts and values of its own, so that an answer shows whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from tests.fakes.messages import TERMINATE, kinds, message, query
from tests.unit.relay.model import ModelServer
from tests.unit.relay.play import (
    COPY_DONE,
    COPY_FAIL,
    EXECUTE,
    FLUSH,
    SYNC,
    bind,
    parse,
    unnamed,
)

Script = list[bytes]
"""What a client sends, in parts that end with ReadyForQuery."""

END = query("COMMIT")
CLIENTS = (b"@0", b"@1", b"@2")
NAMES = (b"a", b"b", b"c")
OTHER_NAMES = (b"x", b"y")
"""Of messages' statements that are no queries, so no EXECUTE names them."""
ROWS = (b"one", b"two", b"three", b"late")
TEXTS = (*ROWS, b"", b"wrong")
"""Shared by clients: what they bind tells them apart."""
DATA = (
    *(message(b"d", b"row"), message(b"d"), message(b"d", b"late")),
    *(message(b"d", b"wrong"), FLUSH, SYNC),
)
BARE = bind(b"") + EXECUTE + COPY_DONE + SYNC
"""The unnamed statement, should there be one; should it be a COPY, it ends."""
ODD = re.compile("E[dHS]*S[dHS]*[cf]H*[^SH]")
"""A Sync among the data of a COPY, and none behind its end: if it fails, only a Sync
that is still to come tells whether what comes before that was skipped."""


def queried(text: bytes) -> bytes:
    """Return a Query."""
    return message(b"Q", text + b"\0")


def executed(name: bytes, value: bytes = b"") -> bytes:
    """Return Bind and Execute."""
    return bind(name, value) + EXECUTE


class Author:
    """Writes scripts for one client."""

    def __init__(self, random: Random, client: bytes) -> None:
        """``client`` stands in all that is its own."""
        self.random = random
        self.client = client

    def _one_of(self, *ways: Callable[[], bytes]) -> bytes:
        return self.random.choice(ways)()

    def _pick(self, *values: bytes) -> bytes:
        return self.random.choice(values)

    def _several(self, way: Callable[[], bytes], most: int, least: int = 0) -> bytes:
        return b"".join(way() for _ in range(self.random.randint(least, most)))

    def sql(self) -> bytes:
        """Return a statement of SQL about prepared ones."""
        name = self._pick(*NAMES)
        mine = [row + self.client for row in ROWS]
        number = self.random.randrange(20)
        if number < 7:
            return b"PREPARE %s AS %s" % (name, self._pick(*mine, b"wrong"))
        if number < 14:
            return b"EXECUTE " + name
        return b"DEALLOCATE " + (name if number < 19 else b"ALL")

    def text(self) -> bytes:
        """Return the text of a Query."""
        number = self.random.randrange(30)
        if number < 10:
            return self._plain()
        if number < 22:
            return self.sql()
        if number < 29:
            size = self.random.randint(1, 3)
            return b";".join(self._one_of(self._plain, self.sql) for _ in range(size))
        return b"DISCARD ALL"

    def _plain(self) -> bytes:
        return self._pick(
            *(b"q" + self.client, b"wrong", b"late", b"BEGIN", b"COMMIT", b"ROLLBACK"),
            b"",
        )

    def step(self) -> bytes:
        """Return messages of the extended protocol, without a Sync."""
        name, other = self._pick(*NAMES), self._pick(*OTHER_NAMES)
        return self._one_of(
            lambda: parse(name, self._pick(*TEXTS)),
            lambda: executed(name, self.client),
            lambda: executed(name),
            lambda: message(b"D", b"S" + name + b"\0"),
            lambda: message(b"C", b"S" + name + b"\0"),
            lambda: unnamed(self._pick(*ROWS) + self.client),
            lambda: unnamed(self._pick(*TEXTS)),
            lambda: parse(other, self.sql()),
            lambda: executed(other),
            lambda: unnamed(self.sql()),
            lambda: parse(b"", self.sql()),
            lambda: self._pick(
                EXECUTE, FLUSH, message(b"D", b"P\0"), unnamed(b"COPY out")
            ),
        )

    def copy(self) -> bytes:
        """Return a COPY of either protocol, with Syncs where a server ignores them."""
        text = self._pick(b"COPY", b"COPY", b"COPY early")
        behind = self._one_of(lambda: b"q" + self.client, self.sql, lambda: b"wrong")
        begin = self._one_of(
            lambda: queried(text),
            lambda: queried(text + b";" + behind),
            lambda: unnamed(text),
            lambda: unnamed(text) + SYNC,
            lambda: unnamed(text) + SYNC + SYNC,
            lambda: self.step() + unnamed(text) + self._pick(b"", SYNC),
            lambda: self.step() + SYNC + unnamed(text) + self._pick(b"", SYNC),
        )
        data = self._several(lambda: self._pick(*DATA), 3)
        end = self._pick(COPY_DONE, COPY_DONE, COPY_FAIL) + self._one_of(
            lambda: SYNC,
            lambda: FLUSH + SYNC,
            lambda: SYNC + SYNC,
            lambda: self._several(self.step, 3) + SYNC,
            lambda: queried(self.text()) + SYNC,
            lambda: SYNC + unnamed(b"q" + self.client) + SYNC,
            lambda: SYNC + self._several(self.step, 3) + SYNC,
            lambda: SYNC + queried(self.text()),
        )
        return begin + data + end

    def part(self) -> bytes:
        """Return what ends with a Sync, or is a Query."""
        begin = queried(b"BEGIN")
        own = b"v" + self.client
        return self._one_of(
            *[lambda: self._several(self.step, 5) + SYNC] * 8,
            *[lambda: queried(self.text())] * 5,
            *[self.copy] * 3,
            # Of no COPY, or after one that has failed.
            lambda: message(b"d", b"row") + COPY_DONE,
            lambda: COPY_DONE + FLUSH,
            lambda: message(b"F", b"\0\0\0\1"),
            lambda: SYNC,
            # After a Query there is no unnamed statement.
            lambda: queried(b"q" + self.client) + BARE,
            lambda: begin + BARE + unnamed(own) + SYNC + BARE,
            lambda: begin + parse(b"", own) + SYNC + self._several(self.step, 1) + BARE,
            lambda: begin + self.step() + SYNC + self._several(self.step, 1) + BARE,
            lambda: (
                self._several(self.step, 2)
                + queried(self.text())
                + self._several(self.step, 1)
                + SYNC
            ),
        )

    def script(self, most: int = 6) -> Script:
        """Return a script of so many parts; it ends in a clean state."""
        while True:
            script = [self.part() for _ in range(self.random.randint(0, most))]
            if is_playable(script):
                end = END + self._pick(b"", b"", b"", b"", TERMINATE)
                return [*script, end]


def is_playable(script: Script) -> bool:
    """Tell whether a server of the client's own can carry a script out, to its end."""
    if ODD.search(kinds(b"".join(script))):
        return False
    server = ModelServer()
    try:
        for part in script:
            server.take(part)
    except AssertionError:
        return False
    return not server.skipping and not server.copying


def drawn(random: Random) -> list[Script]:
    """Return scripts of some clients."""
    number = random.randint(1, len(CLIENTS))
    return [Author(random, client).script() for client in CLIENTS[:number]]
