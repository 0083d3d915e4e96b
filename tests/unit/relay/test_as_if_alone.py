"""Any stream, in any pieces: clients cannot tell a shared server from their own."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgswitch.types import PoolMode
from tests.fakes.messages import message, query, split
from tests.unit.relay.play import (
    COPY_DONE,
    EXECUTE,
    FLUSH,
    SYNC,
    Play,
    bind,
    parse,
    unnamed,
)
from tests.unit.relay.scripts import CLIENTS, Author, drawn

DRAWN = 1500
"""How many plays are drawn by :mod:`random`: more than hypothesis has time for."""


@pytest.mark.parametrize("start", range(0, DRAWN, 100))
def test_as_if_alone(start: int) -> None:
    """With errors, transactions, evictions, COPY, and servers that change."""
    for seed in range(start, start + 100):
        random = Random(seed)
        scripts = drawn(random)
        play = Play(scripts, random.randint(1, 2), random.randint(1, 3))
        play.run(random.randrange, waits=random.random() < 0.5)
        play.check()


@settings(max_examples=100)
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 2),
    st.integers(1, 3),
    st.booleans(),
)
def test_as_if_alone_in_short(
    random: Random,
    servers: int,
    prepared: int,
    waits: bool,  # noqa: FBT001 - drawn
) -> None:
    """The same, with the shortest script that fails."""
    play = Play(drawn(random), servers, prepared)
    play.run(random.randrange, waits=waits)
    play.check()


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_nothing_of_others_without_shared_statements(start: int) -> None:
    """With max_prepared_statements = 0 names are lost, but never another's found."""
    for seed in range(start, start + 100):
        random = Random(seed)
        play = Play(drawn(random), random.randint(1, 2), prepared=0)
        play.run(random.randrange, waits=False)
        for client, name in zip(play.clients, CLIENTS, strict=False):
            for kind, body in split(play.heard[client]):
                others = [one for one in CLIENTS if one != name and one in body]
                assert not others, (kind, body)
        play.check_rest()


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_a_server_for_each_session(start: int) -> None:
    """Under session pooling nothing is rewritten, and all comes to its end."""
    for seed in range(start, start + 100):
        random = Random(seed)
        scripts = drawn(random)
        play = Play(scripts, len(scripts), None, PoolMode.SESSION)
        play.run(random.randrange, waits=random.random() < 0.5)
        for client, expected in play.expected.items():
            assert split(play.heard[client]) == split(b"".join(expected))
            assert client.exchange.clean
            assert client.exchange.outstanding() == 0


def test_each_cut_of_one_stream() -> None:
    """Two pieces, cut at every byte, and both ways: the same as in one."""
    script = [
        parse(b"a", b"one") + bind(b"a") + EXECUTE + SYNC,
        query("COPY") + message(b"d", b"row") + COPY_DONE + query("x"),
        message(b"C", b"Sa\0") + unnamed(b"wrong") + FLUSH + SYNC,
        query("PREPARE b AS two") + query("EXECUTE b"),
        unnamed(b"COPY") + SYNC + message(b"d", b"wrong") + COPY_DONE + SYNC,
    ]
    whole = b"".join(script)
    for cut in range(1, len(whole)):
        parts = [whole[a:b] for a, b in pairwise((0, cut, len(whole)))]
        play = Play([parts], 1, 2)
        play.run(lambda _below: 0, waits=False)
        play.check()


def test_author() -> None:
    """The same numbers make the same scripts."""
    one, two = (Author(Random(1), CLIENTS[0]).script() for _ in range(2))
    assert one == two
