"""What is asked, what is answered, and when a server may be given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.wire.exchange import BATCH, FAKE, IDLE, PARSE, SWALLOW, Exchange

CASES = {
    # name: requests and replies in turn, clean at the end, left outstanding.
    # A capital behind > is a request, behind < a reply; Z's status follows it; a star
    # is a whole query of the extended protocol.
    "simple": (">Q <T <C <ZI", True, 0),
    "simple, error": (">Q <E <ZI", True, 0),
    "open transaction": (">Q <C <ZT", False, 0),
    "failed transaction": (">Q <E <ZE", False, 0),
    "two pipelined queries": (">Q >Q <C <ZI", False, 1),
    "both answered": (">Q >Q <C <ZI <C <ZI", True, 0),
    "extended": (">P >B >D >E >S <1 <2 <T <C <ZI", True, 0),
    "no data": (">P >B >D >E >S <1 <2 <n <C <ZI", True, 0),
    "describe statement": (">P >D >S <1 <t <T <ZI", True, 0),
    "before its sync": (">P >B >E <1 <2 <C", False, 0),
    "portal suspended": (">B >E >S <2 <s <ZI", True, 0),
    "empty query": (">B >E >S <2 <I <ZI", True, 0),
    "error skips to sync": (">P >B >E >S <E <ZI", True, 0),
    "error skips a query too": (">P >Q >S <E <ZI", True, 0),
    "error, then more, then sync": (">P <E >B >Q >E >S <ZI", True, 0),
    "error, sync, next batch": (">P <E >S >Q <ZI <C <ZI", True, 0),
    "error in the second batch": (">B >E >S >B >E >S <2 <C <ZI <E <ZI", True, 0),
    "error in the first batch": (">B >E >S >B >E >S <E <ZI", False, 3),
    "function call": (">F <V <ZI", True, 0),
    "sync alone": (">S <ZI", True, 0),
    "copy in, simple": (">Q <G >c <C <ZI", True, 0),
    "copy in, sync ignored": (">B >E >S <2 <G >c >S <C <ZI", True, 0),
    "copy in, given up": (">Q <G >f <E <ZI", True, 0),
    "copy in, failed before its end": (">Q <G <E <ZI >c", True, 0),
    "copy in, extended, failed": (">B >E >S <2 <G <E >c >S <ZI", True, 0),
    "copy in, then another query": (">Q <G >c >Q <C <ZI", False, 1),
    "copy in, sent ahead": (">B >E >c >S >Q <2 <G <C <ZI", False, 1),
    "copy in, sent ahead, simple": (">Q >c >S >Q <G <C <ZI <ZI", False, 1),
    "copy in, sent ahead, refused": (">Q >d >c >Q <E <ZI", False, 1),
    "copy in, sent ahead, failed": (">B >E >f >S >Q <2 <G <E <ZI", False, 1),
    "two copies sent ahead": (">Q >c >Q >c <G <C <ZI <G <C <ZI", True, 0),
    "the end of no copy": (">Q >c >f <C <ZI", True, 0),
    "the end of no copy, extended": (">E >c >S >E >S <C <ZI <C <ZI", True, 0),
    "batch": (">* <1 <2 <T <C <ZI", True, 0),
    "batch, before its end": (">* <1 <2 <T <C", False, 1),
    "batch, error": (">* <1 <E <ZI", True, 0),
    "batch, in a transaction": (">* <1 <2 <T <C <ZT", False, 0),
    "batches, error in the first": (">* >* <E <ZI", False, 1),
    "batches, error in the second": (">* >* <1 <C <ZI <E <ZI", True, 0),
    "batch behind what fails": (">P >* <E <ZI", True, 0),
    "batch behind what has failed": (">P <E >* <ZI", True, 0),
    "batch that copies in": (">* <2 <G >c >S <C <ZI", True, 0),
    "batch that copies in, two syncs": (">* >S <2 <G >c >S <C <ZI", True, 0),
    "batch that copies in, failed": (">* <2 <G <E >c >S <ZI", True, 0),
    "batch that copies in, failed, sync to come": (">* <2 <G <E >c", False, 0),
    "batch behind one that copies in": (">* >* <2 <G <E <ZI", True, 0),
    "sync among copy data": (">P >B >E <1 <2 <G >S >d >c >S <C <ZI", True, 0),
    "sync among copy data, error": (">P >B >E <1 <2 <G >S >d <E >c >S <ZI", True, 0),
    "notices count for nothing": (">Q <N <A <C <N <ZI", True, 0),
}


def play(script: str) -> Exchange:
    """Return an exchange after the messages of a script."""
    exchange = Exchange()
    for word in script.split():
        kind = ord(word[1])
        if word[0] == ">":
            if word[1] == "*":
                exchange.request(BATCH)
            elif word[1] in "cf":
                exchange.copy_data_ended(kind)
            elif word[1] != "d":
                exchange.request(kind)
        elif word[1] == "Z":
            exchange.ready(ord(word[2]))
        elif word[1] == "E":
            exchange.failed()
        elif word[1] in "GW":
            exchange.copy_started()
        else:
            exchange.completed(kind)
    return exchange


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    """Each script ends clean or not, with so much outstanding."""
    script, clean, outstanding = CASES[name]
    exchange = play(script)
    assert (exchange.clean, exchange.outstanding()) == (clean, outstanding)


def test_failed_tells_what_was_skipped() -> None:
    """The request that failed first, then all up to the Sync, which stays."""
    exchange = Exchange()
    for kind in b"PBES":
        exchange.request(kind)
    exchange.completed(ord("1"))
    assert exchange.failed() == [ord("B"), ord("E")]
    assert exchange.outstanding() == 1


def test_flags() -> None:
    """A fake request waits at the head for us; a swallowed one tells so when done."""
    exchange = Exchange()
    exchange.request(PARSE | SWALLOW)
    exchange.request(PARSE | FAKE)
    exchange.request(ord("S"))
    assert exchange.special == 2
    assert not exchange.head_is_fake()
    assert exchange.completed(ord("1")) == PARSE | SWALLOW
    assert exchange.head_is_fake()
    assert exchange.take() == PARSE | FAKE
    assert exchange.special == 0
    exchange.ready(IDLE)
    assert exchange.clean


def test_nothing_is_faked_while_the_server_skips() -> None:
    """Our own replies would answer what the server never did."""
    exchange = Exchange()
    exchange.request(ord("P"))
    exchange.failed()
    exchange.request(PARSE | FAKE)
    assert not exchange.head_is_fake()
    exchange.request(ord("S"))
    assert exchange.ready(IDLE) == [PARSE | FAKE]
    assert exchange.clean
    assert exchange.special == 0


def test_a_long_pipeline_is_not_kept() -> None:
    """Answered requests are dropped long before the pipeline ends."""
    exchange = Exchange()
    for _ in range(5000):
        exchange.request(ord("E"))
    for _ in range(4999):
        exchange.completed(ord("C"))
    assert len(exchange.queue) < 2000
    assert exchange.outstanding() == 1


@given(st.lists(st.sampled_from([*b"QFSPBDEC"]), max_size=20))
def test_a_server_by_the_rules_leaves_it_clean(requests: list[int]) -> None:
    """Answered one by one without error, every exchange ends clean after a Sync."""
    exchange = Exchange()
    replies = {
        ord("P"): b"1",
        ord("B"): b"2",
        ord("D"): b"T",
        ord("E"): b"C",
        ord("C"): b"3",
    }
    requests = [*requests, ord("S")]
    for kind in requests:
        exchange.request(kind)
    for kind in requests:
        assert not exchange.clean
        for reply in replies.get(kind, b""):
            assert exchange.completed(reply) == kind
        if kind in b"QFS":
            assert exchange.ready(IDLE) == []
    assert exchange.clean
    assert exchange.special == exchange.outstanding() == 0


@pytest.mark.parametrize(
    ("script", "is_inside"),
    [
        ("", False),
        (">Q", False),
        (">F", False),
        (">*", False),
        (">P >B >E >S", False),
        (">P >B >E", True),
        (">S >P", True),
        (">P >S >Q", False),
        (">P <1", True),
        (">P <1 >S <ZI", False),
        (">Q <C <ZT", False),
    ],
)
def test_pipelines(script: str, is_inside: bool) -> None:  # noqa: FBT001
    """One lasts until its Sync, also while all is answered that it has asked."""
    assert play(script).is_in_pipeline() == is_inside


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just(">"), st.sampled_from("QFSPBDECcf")),
            st.tuples(st.just("<"), st.sampled_from("123nTCIsEGWZ")),
        ),
        max_size=40,
    )
)
def test_no_script_breaks_it(script: list[tuple[str, str]]) -> None:
    """Whatever comes, ReadyForQuery of an idle server with nothing left is clean."""
    words = " ".join(
        side + kind + ("I" if kind == "Z" and side == "<" else "")
        for side, kind in script
    )
    exchange = play(words)
    while exchange.outstanding():
        exchange.ready(IDLE)
    exchange.ready(IDLE)
    assert exchange.clean
    assert exchange.special == 0
