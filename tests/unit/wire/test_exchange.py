"""What is asked, what is answered, and when a server may be given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.wire.constants import (
    CLOSE,
    EXECUTE,
    FUNCTION_CALL,
    PARSE,
    QUERY,
    STATUS_IDLE,
    SYNC,
)
from pgswitch.wire.exchange import (
    BATCH,
    ENDS_BATCH,
    FAKE,
    FENCE,
    INTERNAL,
    MAYBE,
    SWALLOW,
    Exchange,
)
from tests.counting import only_interpreted

CASES = {
    # name: requests and replies in turn, clean at the end, left outstanding.
    # A capital behind > is a request, behind < a reply; Z's status follows it; a star
    # is a whole query of the extended protocol, a bar our own fence: a Close and a
    # Sync that are answered in any case, "<3" and "<ZI"; a question mark the probe that
    # tells whether the server skips: "<ZI <1" if it does, else "<3" first of all.
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
    "copy in, extended, failed": (">B >E >S <2 <G <E >c >S <ZI", False, 1),
    "its first sync was read": (">B >E >S <2 <G <E >c >S <ZI <ZI", True, 0),
    "its first sync was not": (">B >E >S <2 <G <E >c >S <ZI >| <3 <ZI", True, 0),
    "it was, behind the fence": (">B >E >S <2 <G <E >c >S <ZI >| <ZI <3 <ZI", True, 0),
    "no answer to it before its sync": (">B >E >S <2 <G <E >c", False, 1),
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
    "batch that copies in, failed": (">* <2 <G <E >c >S <ZI", False, 1),
    "batch that copies in, failed, fenced": (
        ">* <2 <G <E >c >S <ZI >| <3 <ZI",
        True,
        0,
    ),
    "batch that copies in, failed, sync to come": (">* <2 <G <E >c", False, 1),
    "batch behind one that copies in": (">* >* <2 <G <E <ZI", False, 1),
    "that batch is answered": (">* >* <2 <G <E <ZI <1 <2 <C <ZI", True, 0),
    "a pipeline behind it": (">B >E >S >P >D >S <2 <G <E <ZI <1 <T <ZI", True, 0),
    "probed: it skips": (">B >E >S <2 <G >d <E >? <ZI <1 <3 <ZI", False, 0),
    "probed: it does not": (
        ">B >E >S <2 <G >d <E >? <ZI <3 <ZI <1 <3 <ZI",
        True,
        0,
    ),
    "probed: two were read": (
        ">B >E >S <2 <G >S >d <E >? <ZI <ZI <3 <ZI <1 <3 <ZI",
        True,
        0,
    ),
    "sync among copy data": (">P >B >E <1 <2 <G >S >d >c >S <C <ZI", True, 0),
    "sync among copy data, error": (">P >B >E <1 <2 <G >S >d <E >c >S <ZI", False, 1),
    "two syncs among copy data": (">B >E <2 <G >S >S >d <E >c >S <ZI", False, 2),
    "two of them, one read": (">B >E <2 <G >S >S >d <E >c >S <ZI <ZI", False, 1),
    "two of them, fenced": (">B >E <2 <G >S >S >d <E >c >S <ZI >| <3 <ZI", True, 0),
    "sync in a simple copy, error": (">Q <G >S >d <E <ZI", False, 1),
    "sync in a simple copy, answered": (">Q <G >S >d <E <ZI <ZI", True, 0),
    "sync in a simple copy, fenced": (">Q <G >S >d <E <ZI >| <3 <ZI", True, 0),
    "sync in a simple copy, next query": (">Q <G >S >d <E <ZI >Q <C <ZI", True, 0),
    "sync in a simple copy, next error": (">Q <G >S >d <E <ZI >Q <E <ZI", True, 0),
    "sync in a simple copy, then batch": (">Q <G >S >d <E <ZI >* <1 <C <ZI", True, 0),
    "sync in a simple copy, then copy": (">Q <G >S <E <ZI >Q <G >c <C <ZI", True, 0),
    "late end behind a sync in doubt": (
        ">B >E >S <2 <G <E >f >S <ZI >| <3 <ZI",
        True,
        0,
    ),
    "end sent ahead behind it": (">B >E >S >f >S >c <2 <G <E <ZI >| <3 <ZI", True, 0),
    "notices count for nothing": (">Q <N <A <C <N <ZI", True, 0),
}


def play(script: str) -> Exchange:  # noqa: C901, PLR0912 - a way for each
    """Return an exchange after the messages of a script."""
    exchange = Exchange()
    for word in script.split():
        kind = ord(word[1])
        if word[0] == ">":
            if word[1] == "*":
                exchange.request(BATCH)
            elif word[1] == "|":
                assert exchange.wants_fence()
                exchange.request(CLOSE | SWALLOW | FENCE)
                exchange.request(SYNC | SWALLOW)
            elif word[1] == "?":
                assert exchange.wants_probe()
                exchange.probe()
            elif word[1] in "cf":
                exchange.copy_data_ended(kind)
            elif word[1] == "d":
                exchange.copy_data_sent()
            else:
                exchange.request(kind)
        elif word[1] == "Z":
            exchange.ready(ord(word[2]))
        elif word[1] == "E":
            exchange.failed()
        elif word[1] in "GW":
            exchange.copy_started()
        else:
            if exchange.is_probing():
                exchange.probed(kind)
            exchange.completed(kind)
    return exchange


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    """Each script ends clean or not, with so much outstanding."""
    script, clean, outstanding = CASES[name]
    exchange = play(script)
    assert (exchange.clean, exchange.outstanding()) == (clean, outstanding)
    assert exchange.clean <= (exchange.unsettled == 0)


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
    assert exchange.synthetic_count == 2
    assert not exchange.head_is_fake()
    assert exchange.completed(ord("1")) == PARSE | SWALLOW
    assert exchange.head_is_fake()
    assert exchange.take() == PARSE | FAKE
    assert exchange.synthetic_count == 0
    exchange.ready(STATUS_IDLE)
    assert exchange.clean


def test_nothing_is_faked_while_the_server_skips() -> None:
    """Our own replies would answer what the server never did."""
    exchange = Exchange()
    exchange.request(ord("P"))
    exchange.failed()
    exchange.request(PARSE | FAKE)
    assert not exchange.head_is_fake()
    exchange.request(ord("S"))
    assert exchange.ready(STATUS_IDLE) == [PARSE | FAKE]
    assert exchange.clean
    assert exchange.synthetic_count == 0


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
            assert exchange.ready(STATUS_IDLE) == []
    assert exchange.clean
    assert exchange.synthetic_count == exchange.outstanding() == 0


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
        exchange.ready(STATUS_IDLE)
    exchange.ready(STATUS_IDLE)
    assert exchange.clean
    assert exchange.synthetic_count == 0


@pytest.mark.parametrize(
    ("script", "wants"),
    [
        ("", False),
        (">Q", False),
        (">Q <G >S", False),
        # In doubt, but the Sync's own answer may yet come, and would end a skipping.
        (">B >E >S <2 <G <E", False),
        (">B >E >S <2 <G <E >c >S <ZI", True),
        (">B >E >S <2 <G <E >c >S <ZI >P", False),
        (">B >E >S <2 <G <E >c >S <ZI >P >S", False),
        (">Q <G >S <E <ZI", True),
        (">Q <G >S <E <ZE", True),
        (">Q <G >S <E <ZI >|", False),
        (">B >E >S >P >S <2 <G <E <ZI", False),
        (">B >E >S >P >S <2 <G <E", False),
        (">* >* <2 <G <E <ZI", False),
    ],
)
def test_when_a_fence_is_wanted(script: str, *, wants: bool) -> None:
    """Only when nothing else answers a Sync that may have been ignored."""
    assert play(script).wants_fence() == wants


def test_a_fence_in_a_transaction() -> None:
    """It does no harm there, and a client may wait for it."""
    assert play(">Q <C <ZT >Q <G >S <E <ZE").wants_fence()


@pytest.mark.parametrize(
    ("script", "must"),
    [
        (">Q >Q", False),
        (">B >E >S", False),
        # A Sync that a COPY may swallow, then data that it may fail for.
        (">B >E >S >d", True),
        (">B >E >S >d >c", True),
        (">B >E >S >d >c >S", False),
        (">* >f", True),
        (">* >d <1 <2 <C <ZI", False),
        # All of it is skipped for certain, or none of it.
        (">B >E >d >c", False),
        (">Q >d >c", False),
        # In the midst of a COPY anything else is the end of the connection.
        (">Q <G", True),
        (">Q <G >c", False),
        (">Q <G >d <E", False),
        (">B >E >S <2 <G >d <E", True),
        (">B >E >S <2 <G >d <E >S", False),
        (">B >E >S <2 <G >d <E <ZI", False),
    ],
)
def test_what_must_be_answered_first(script: str, *, must: bool) -> None:
    """What a server may skip or not is not asked before that is known."""
    assert play(script).must_settle() == must


def test_a_probe_withholds_answers() -> None:
    """Whose a ReadyForQuery was is known by what comes behind it."""
    exchange = play(">B >E >S <2 <G >S >d <E >? <ZI <ZI")
    assert exchange.answered & SWALLOW
    assert exchange.probed(ord("3")) == [STATUS_IDLE, STATUS_IDLE]
    exchange = play(">B >E >S <2 <G >S >d <E >? <ZI")
    assert exchange.probed(ord("N")) == []
    assert exchange.probed(ord("1")) == []
    assert exchange.skips_here


def test_skipping_for_a_server() -> None:
    """It is over with the client's own Sync, and nothing is clean before."""
    exchange = play(">B >E >S <2 <G >d <E >? <ZI <1 <3 <ZI")
    assert exchange.skips_here
    exchange.skipped_here()
    exchange.request(SYNC)
    exchange.ready(STATUS_IDLE)
    assert exchange.clean
    assert exchange.synthetic_count == exchange.unsettled == 0


@pytest.mark.parametrize(
    ("script", "answers", "skips"),
    [
        ("", False, False),
        (">Q", True, False),
        (">P", True, False),
        (">P <E", False, True),
        (">P <E >Q", False, True),
        (">P <E >Q >S", True, False),
        (">P >S <E", True, False),
        (">Q <G", False, False),
        (">Q <G >d", False, False),
        (">Q <G >c", True, False),
        # Ignored, perhaps: only the client's next Sync is answered for certain.
        (">B >E >S <2 <G <E", False, True),
        (">B >E >S <2 <G <E >Q", False, True),
        (">B >E >S <2 <G <E >Q >S", True, False),
        (">B >E >S <2 <G <E <ZI", False, False),
    ],
)
def test_what_will_be_answered(script: str, *, answers: bool, skips: bool) -> None:
    """To wait for an answer that needs more of the client would be for ever."""
    exchange = play(script)
    assert (exchange.will_answer(), exchange.skips()) == (answers, skips)


def test_an_internal_query_that_fails() -> None:
    """The client sees our Sync's answer, as it ends that to the waiting request."""
    exchange = Exchange()
    exchange.request(PARSE | SWALLOW | INTERNAL)
    exchange.request(SYNC | SWALLOW | INTERNAL)
    assert exchange.synthetic_count == 2
    assert exchange.failed() == [PARSE | SWALLOW | INTERNAL]
    assert exchange.internal_query_failed
    assert exchange.synthetic_count == 0
    exchange.ready(STATUS_IDLE)
    assert exchange.answered == SYNC
    assert exchange.clean


def test_an_internal_query_by_a_simple_query_that_fails() -> None:
    """Likewise when it is a Query that goes before."""
    exchange = Exchange()
    exchange.request(QUERY | SWALLOW | INTERNAL)
    exchange.failed()
    exchange.ready(STATUS_IDLE)
    assert exchange.answered == QUERY
    assert exchange.internal_query_failed
    assert exchange.synthetic_count == 0


def test_what_becomes_a_maybe() -> None:
    """Syncs right behind what copies, and those sent before its end; no others."""
    exchange = play(">Q >S >S >c >S <G")
    assert exchange.queue == [QUERY, SYNC | MAYBE, SYNC | MAYBE, ord("c"), SYNC]
    exchange = play(">B >E <2 <G >S >c >S")
    assert exchange.queue[exchange.head :] == [EXECUTE, SYNC | MAYBE, ord("c"), SYNC]
    assert exchange.unsettled == 1


def test_forgetting() -> None:
    """With its server all that was in doubt is gone."""
    exchange = play(">B >E >S <2 <G >d <E >? <ZI <1 <3 <ZI")
    exchange.await_answers()
    exchange.forget()
    assert exchange.clean
    assert exchange.synthetic_count == exchange.unsettled == 0
    assert not exchange.awaited
    assert not exchange.wants_fence()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just(">"), st.sampled_from("QSSPBEEccf*")),
            st.tuples(st.just("<"), st.sampled_from("12CEEGGZZ")),
        ),
        max_size=30,
    )
)
def test_no_script_leaves_a_count(script: list[tuple[str, str]]) -> None:
    """Whatever comes, what is counted is what stands in the queue."""
    words = " ".join(
        side + kind + ("I" if kind == "Z" and side == "<" else "")
        for side, kind in script
    )
    exchange = play(words)
    left = exchange.queue[exchange.head :]
    maybes = sum(1 for entry in left if entry & MAYBE)
    assert exchange.unsettled - maybes in (0, 1)
    assert exchange.copy_end_sent() == any(
        entry in (ord("c"), ord("f")) for entry in left
    )
    while exchange.outstanding():
        exchange.ready(STATUS_IDLE)
    exchange.ready(STATUS_IDLE)
    assert exchange.clean
    assert exchange.synthetic_count == 0


class Counting(list[int]):
    """A queue that counts how often its entries are read."""

    looks = 0

    def __getitem__(self, key: SupportsIndex | slice) -> Any:  # noqa: ANN401 - as a list
        """Count."""
        Counting.looks += 1
        return super().__getitem__(key)


QUESTIONS = {
    "ends": Exchange.ends_are_outstanding,
    "will answer": Exchange.will_answer,
    "skips": Exchange.skips,
    "keeps answers": Exchange.keeps_answers,
    "must settle": Exchange.must_settle,
    "data of a COPY": Exchange.copy_data_sent,
}


@only_interpreted
@pytest.mark.parametrize("skipping", [False, True])
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_a_long_pipeline(ask: Callable[[Exchange], object], *, skipping: bool) -> None:
    """What is asked with each request does not look at all of those before it."""
    exchange = Exchange()
    exchange.queue = Counting()
    exchange.skipping = skipping
    Counting.looks = 0
    for _ in range(2000):
        exchange.request(CLOSE)
        ask(exchange)
    assert Counting.looks < 5 * 2000
    exchange.skipping = False
    for _ in range(2000):
        exchange.completed(ord("3"))
        ask(exchange)
    assert exchange.outstanding() == 0
    assert Counting.looks < 20 * 2000


ENTRIES = st.sampled_from(
    [CLOSE, EXECUTE, QUERY, SYNC, SYNC | SWALLOW, SYNC | MAYBE, BATCH, FUNCTION_CALL]
)


@given(
    entries=st.lists(st.one_of(ENTRIES, st.just(0)), max_size=60),
    may_skip=st.booleans(),
)
def test_what_stands_in_the_queue(entries: list[int], *, may_skip: bool) -> None:
    """However it is kept account of, it is what looking through the queue finds."""
    exchange = Exchange()
    exchange.skipping = may_skip
    for entry in entries:
        if entry:
            exchange.queue.append(entry)
        elif exchange.queue:
            exchange._pop()
        rest = exchange.queue[exchange.head :]
        kinds = [one & 0xFF for one in rest]
        ends = {SYNC, QUERY, FUNCTION_CALL}
        assert exchange.ends_are_outstanding() == any(kind in ends for kind in kinds)
        is_synced = any(
            kind == SYNC and not one & MAYBE
            for kind, one in zip(kinds, rest, strict=True)
        )
        assert exchange.skips() == (may_skip and not is_synced)
        assert exchange._may_copy() == any(
            kind in {QUERY, EXECUTE} or one == BATCH
            for kind, one in zip(kinds, rest, strict=True)
        )
        assert exchange._is_synced_copy() == any(
            one == BATCH
            or one & MAYBE != 0
            or (kinds[at] == SYNC and EXECUTE in kinds[:at])
            for at, one in enumerate(rest)
        )


def test_the_literal_of_a_batch() -> None:
    """It is what its definition says."""
    assert BATCH == SYNC | ENDS_BATCH
