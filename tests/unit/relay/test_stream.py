"""Any stream, in any pieces: clients cannot tell a shared server from their own.

What is run answers with the text that was run and what was bound to it, and each
client has texts and values of its own, so that an answer shows whose it is.
"""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgswitch.types import PoolMode
from tests.fakes.messages import TERMINATE, kinds, message, query, split
from tests.unit.relay.model import ModelServer
from tests.unit.relay.play import (
    COPY_DONE,
    COPY_FAIL,
    EXECUTE,
    FLUSH,
    SYNC,
    Play,
    bind,
    parse,
    unnamed,
)

Script = list[bytes]
Strategy = st.SearchStrategy[bytes]

SEEDS = st.integers(0, 1 << 32)
"""Of the order in which bytes move; drawing each move would be slow."""
NAMES = st.sampled_from([b"a", b"b", b"c"])
TEXTS = st.sampled_from([b"one", b"two", b"three", b"", b"wrong", b"late"])
"""Shared by clients: what they bind tells them apart."""
OTHER_NAMES = st.sampled_from([b"x", b"y"])
"""Of messages' statements that are no queries, so no EXECUTE names them."""
CLIENTS = (b"@0", b"@1", b"@2")


def joined(parts: st.SearchStrategy[list[bytes]], end: bytes = b"") -> Strategy:
    """Return parts as one."""
    return parts.map(lambda some: b"".join(some) + end)


def queried(text: bytes) -> bytes:
    """Return a Query."""
    return query(text.decode())


def executed(name: bytes, value: bytes) -> bytes:
    """Return Bind and Execute."""
    return bind(name, value) + EXECUTE


def sql(client: bytes) -> Strategy:
    """Return a statement of SQL about prepared ones."""
    return st.one_of(
        st.builds(
            lambda name, text: b"PREPARE %s AS %s" % (name, text),
            NAMES,
            st.sampled_from([b"one" + client, b"two" + client, b"wrong", b"late"]),
        ),
        NAMES.map(lambda name: b"EXECUTE " + name),
        NAMES.map(lambda name: b"DEALLOCATE " + name),
        st.just(b"DEALLOCATE ALL"),
    )


def texts(client: bytes) -> Strategy:
    """Return the text of a Query."""
    plain = st.sampled_from(
        [b"q" + client, b"wrong", b"late", b"BEGIN", b"COMMIT", b"ROLLBACK", b""]
    )
    some = st.lists(st.one_of(plain, sql(client)), min_size=1, max_size=3)
    return st.one_of(plain, sql(client), some.map(b";".join), st.just(b"DISCARD ALL"))


def steps(client: bytes) -> Strategy:
    """Return messages of the extended protocol, without a Sync."""
    return st.one_of(
        st.builds(parse, NAMES, TEXTS),
        NAMES.map(lambda name: executed(name, client)),
        NAMES.map(lambda name: executed(name, b"")),
        NAMES.map(lambda name: message(b"D", b"S" + name + b"\0")),
        NAMES.map(lambda name: message(b"C", b"S" + name + b"\0")),
        st.builds(lambda text: unnamed(text + client), TEXTS.filter(bool)),
        TEXTS.map(unnamed),
        st.builds(parse, OTHER_NAMES, sql(client)),
        OTHER_NAMES.map(lambda name: executed(name, b"")),
        sql(client).map(unnamed),
        st.sampled_from([EXECUTE, FLUSH, message(b"D", b"P\0"), unnamed(b"COPY out")]),
    )


def copies(client: bytes) -> Strategy:
    """Return a COPY of either protocol, with Syncs where the server ignores them."""
    copy = st.sampled_from([b"COPY", b"COPY early"])
    begin = st.one_of(
        copy.map(queried),
        copy.map(lambda text: queried(b"%s;q%s" % (text, client))),
        copy.map(unnamed),
        copy.map(lambda text: unnamed(text) + SYNC),
        copy.map(lambda text: unnamed(text) + SYNC + SYNC),
        st.builds(lambda one, two: one + unnamed(two), steps(client), copy),
    )
    data = st.sampled_from(
        [
            *(message(b"d", b"row"), message(b"d"), message(b"d", b"late")),
            *(message(b"d", b"wrong"), FLUSH, SYNC),
        ]
    )
    end = st.sampled_from(
        [
            *(COPY_DONE + SYNC, COPY_FAIL + SYNC, COPY_DONE + FLUSH + SYNC),
            *(COPY_DONE + unnamed(b"q" + client) + SYNC, COPY_DONE + SYNC + SYNC),
        ]
    )
    return st.builds(
        lambda one, two, three: one + two + three,
        begin,
        joined(st.lists(data, max_size=3)),
        end,
    )


def segments(client: bytes) -> Strategy:
    """Return what ends with a Sync, or is a Query."""
    bare = bind(b"") + EXECUTE + COPY_DONE + SYNC
    return st.one_of(
        joined(st.lists(steps(client), max_size=5), SYNC),
        texts(client).map(queried),
        copies(client),
        # Of no COPY, or behind one that has failed.
        st.sampled_from([message(b"d", b"row") + COPY_DONE, COPY_DONE + FLUSH]),
        st.sampled_from([message(b"F", b"\0\0\0\1"), SYNC]),
        # With a Query in front there is no unnamed statement.
        st.just(queried(b"q" + client) + bare),
        st.just(queried(b"BEGIN") + bare + unnamed(b"v" + client) + SYNC + bare),
        st.builds(
            lambda one, two: queried(b"BEGIN") + one + SYNC + two + bare,
            st.one_of(steps(client), st.just(parse(b"", b"v" + client))),
            st.one_of(st.just(b""), steps(client)),
        ),
        steps(client).map(lambda one: one + queried(b"BEGIN") + SYNC),
    )


END = query("COMMIT")
SCRIPTS = [st.lists(segments(client), max_size=5) for client in CLIENTS]


def scripts(most: int = 3) -> st.SearchStrategy[list[Script]]:
    """Return scripts of so many clients."""
    return st.one_of(
        [st.tuples(*SCRIPTS[:number]).map(list) for number in range(1, most + 1)]
    )


ODD = re.compile("E[dHS]*S[dHS]*[cf]H*[^SH]")
"""A Sync among the data of a COPY, and none behind its end: if it fails, only a Sync that
is still to come tells whether what comes before that was skipped."""


def can_be_played(scripts: list[Script]) -> bool:
    """Tell whether a server on its own can carry the scripts out, to their ends."""
    for script in scripts:
        if ODD.search(kinds(b"".join(script))):
            return False
        server = ModelServer()
        try:
            for part in script:
                server.take(part)
        except AssertionError:
            return False
        if server.skipping or server.copying:
            return False
    return True


@settings(max_examples=10000)
@given(SEEDS, scripts().filter(can_be_played), st.integers(1, 2), st.integers(1, 3), st.booleans())
def test_as_if_alone(
    seed: int,
    scripts: list[Script],
    servers: int,
    prepared: int,
    waits: bool,  # noqa: FBT001 - drawn
) -> None:
    """With errors, transactions, evictions, COPY, and servers that change."""
    play = Play([[*script, END] for script in scripts], servers, prepared)
    play.run(Random(seed).randrange, waits=waits)
    play.check()
