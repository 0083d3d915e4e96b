"""What kind a text is of, and that what is not sure is no read."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.sql import Classifier, Kind
from pgswitch.sql.classifier import MAX_LENGTH
from tests.unit.sql.statements import OTHERS, READS

kind_of = Classifier(volatile=["next_ticket", "Audit.Log", "ü$x"])


@pytest.mark.parametrize("text", READS)
def test_reads(text: str) -> None:
    """Also with what looks like a write in strings, names and comments."""
    assert kind_of(text) is Kind.READ
    assert Classifier()(text) is Kind.READ


@pytest.mark.parametrize(("text", "kind"), OTHERS)
def test_others(text: str, kind: Kind) -> None:
    """By the first word, or by what a possible read has in it."""
    assert kind_of(text) is kind
    assert kind_of(f"  /* a /* b */ */ -- c\n{text}") is kind
    assert kind_of(f"SELECT 1; {text}") is kind


@pytest.mark.parametrize(
    "call",
    [
        "next_ticket()",
        "s.next_ticket ( )",
        "log(1)",
        '"log"(1)',
        "ü$x()",
        "LOG(1)",
    ],
)
def test_functions_of_the_users(call: str) -> None:
    """Without schema, in any case, quoted too."""
    assert kind_of(f"SELECT {call}") is Kind.WRITE
    assert kind_of(f"SELECT '{call}'") is Kind.READ
    assert Classifier()(f"SELECT {call}") is Kind.READ


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'no end",
        "SELECT 1 /* /* */",
        'SELECT "no end',
        "SELECT $a$ no end $b$",
        r"SELECT 'with standard_conforming_strings off \'; DELETE FROM t --'",
        r"""SELECT U&"\006eextval"('s')""",
        "FETCH ALL FROM c",
        "EXECUTE p",
        "DECLARE c CURSOR FOR SELECT 1",
        "nonsense",
        "SELECT '" + "x" * MAX_LENGTH + "'",
    ],
)
def test_unknown(text: str) -> None:
    """Better a write too many."""
    assert kind_of(text) is Kind.UNKNOWN


@pytest.mark.parametrize("text", ["", " ", ";", ";;", "-- nothing", "/**/;", "\0"[:0]])
def test_nothing(text: str) -> None:
    """A query that does nothing can be done anywhere."""
    assert kind_of(text) is Kind.READ


OPAQUE = st.sampled_from(
    [
        "'delete from t;'",
        "'it''s; update'",
        r"e'it\'s; delete'",
        r"E'\\'",
        "$$ ; delete $$",
        "$a$ $$ ; delete $b$ $a$",
        '"delete"',
        '"a""; insert"',
        "/* ; delete */",
        "/* a /* ; delete */ */",
        "-- ; delete\n",
        "1e5",
        "$1",
        "a$delete$",
        "::text",
        "(1)",
    ]
)


@given(st.lists(OPAQUE), st.integers(0, 20), st.sampled_from("sid"))
def test_what_is_not_code(pieces: list[str], place: int, word: str) -> None:
    """It never counts, and what stands between always does."""
    exact = Classifier(volatile=["$never$quick"])
    text = "SELECT " + " ".join(pieces)
    assert exact(text) is Kind.READ
    assert kind_of(text) is Kind.READ
    verb = {"s": "into x", "i": "; insert into t", "d": "; drop table t"}[word]
    pieces.insert(place, verb)
    text = "SELECT " + " ".join(pieces)
    expected = Kind.DDL if word == "d" else Kind.WRITE
    assert exact(text) is expected
    assert kind_of(text) is expected


@given(st.text(alphabet="select updat'\"$/*-;\\e1() \né", max_size=40))
def test_the_quick_look_is_never_more_trusting(text: str) -> None:
    """Whatever the text: if it finds a read, so does the exact one."""
    exact = Classifier(volatile=["$never$quick"])
    quick, slow = Classifier()("select " + text), exact("select " + text)
    if quick is Kind.READ:
        # Text without an end runs nowhere: the server refuses it.
        assert slow in (Kind.READ, Kind.UNKNOWN)


@pytest.mark.parametrize(
    "piece",
    ["'", "$a$", "/*", "a", "a ", "((", "-- \n", '"', "'' ", "$", "e'\\"],
)
def test_no_text_takes_long(piece: str) -> None:
    """A client cannot block the event loop."""
    text = "select " + piece * (MAX_LENGTH // len(piece) - 10)
    begin = process_time()
    kind_of(text)
    assert process_time() - begin < 1
