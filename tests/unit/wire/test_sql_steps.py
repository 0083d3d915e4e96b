"""What the statements of a text do to transactions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.wire.committing import (
    ENDS,
    StatementEffect,
    first_step,
    is_one,
    readings,
    steps,
)
from tests.counting import calls_in

C, CC, P = (
    StatementEffect.COMMITS,
    StatementEffect.COMMITS_AND_CHAINS,
    StatementEffect.PREPARES,
)
R, RC, RT = (
    StatementEffect.ROLLS_BACK,
    StatementEffect.ROLLS_BACK_AND_CHAINS,
    StatementEffect.ROLLS_BACK_TO,
)
B, BS, W, S, M = (
    StatementEffect.BEGINS,
    StatementEffect.BEGINS_SO,
    StatementEffect.WRITES,
    StatementEffect.READS,
    StatementEffect.IN_PARTS,
)

TEXTS = {
    "commit": [C],
    "END WORK": [C],
    "Commit Transaction And No Chain": [C],
    "COMMIT AND CHAIN": [CC],
    "end work and chain": [CC],
    "COMMIT PREPARED 'x'": [W],
    "COMMIT x": [W],
    "commits": [W],
    '"commit"': [W],
    "PREPARE TRANSACTION 'x'": [P],
    "prepare/**/transaction $$x$$": [P],
    "PREPARE transaction (int) AS SELECT $1": [W],
    "PREPARE transaction AS SELECT 1": [W],
    "ROLLBACK": [R],
    "ABORT WORK": [R],
    "rollback transaction and no chain": [R],
    "ROLLBACK AND CHAIN": [RC],
    "ROLLBACK TO a": [RT],
    'rollback work to savepoint "A b"': [RT],
    "ROLLBACK PREPARED 'x'": [W],
    "ABORT TO a": [W],
    "BEGIN": [B],
    "start transaction": [B],
    "BEGIN WORK": [B],
    "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY": [BS],
    "start transaction read write": [BS],
    "start": [W],
    "SAVEPOINT a": [W],
    "RELEASE a": [W],
    "SELECT a FROM t;": [S],
    "  values 1": [S],
    "table t": [S],
    "SHOW timezone": [S],
    "selecta": [W],
    "SELECT a FROM t FOR UPDATE": [W],
    "SELECT a FROM t FOR NO KEY UPDATE": [W],
    "SELECT a INTO b FROM t": [W],
    "SELECT nextval('s')": [W],
    "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x": [W],
    "(SELECT 1)": [W],
    "INSERT INTO t VALUES (1)": [W],
    "COPY t FROM STDIN": [M],
    "CALL p()": [M],
    "do $$ commit; $$": [M],
    "vacuum": [M],
    "create index concurrently i on t (a)": [M],
    "CREATE DATABASE x": [M],
    "create table database (a int)": [W],
    "": [],
    " ; -- ; x\n /* ; /* ; */ ; */ ;": [],
    "BEGIN; DELETE FROM t; COMMIT": [B, W, C],
    "SELECT ';COMMIT;'; ROLLBACK": [S, R],
    "SELECT $a$;COMMIT;$b$; $a$; ROLLBACK": [S, R],
    "-- x\nEND": [C],
    "-- x\rEND": [C],
    "/* /* */ x */ COMMIT": [C],
    "SELECT E'\\'; ROLLBACK;': COMMIT": [S],
    "ROLLBACK; /* open": [R],
    "ROLLBACK; 'open; COMMIT": [R, W],
}


@pytest.mark.parametrize("text", TEXTS)
def test_steps(text: str) -> None:
    """Each statement does one thing; the text may end with a NUL."""
    for ending in ("", "\0", ";", "\n"):
        found = [step.effect for step in steps((text + ending).encode())]
        assert found == TEXTS[text]


@pytest.mark.parametrize("text", ["ROLLBACK", "ROLLBACK ;", "/**/ROLLBACK;"])
def test_what_stands_behind(text: str) -> None:
    """The first statement is whole, with its semicolon."""
    step = first_step(text.encode())
    assert step is not None
    assert text.encode()[step.rest :] == b""
    step = first_step(text.encode() + b"; SELECT 1")
    assert step is not None
    assert (text.encode() + b"; SELECT 1")[step.rest :].strip(b"; ") == b"SELECT 1"


def test_one_statement() -> None:
    """Semicolons alone make no second."""
    assert is_one(b"")
    assert is_one(b"; SELECT ';' ;;\n")
    assert not is_one(b"SELECT 1; SELECT 2")


def test_backslashes_are_read_both_ways() -> None:
    """Whether they escape depends on a setting."""
    assert len(readings(b"SELECT 1; COMMIT")) == 1
    text = rb"SELECT '\'; COMMIT; SELECT '\';"
    assert [[step.effect for step in one] for one in readings(text)] == [[S, C, S], [S]]


PIECES = [
    *("COMMIT", "ROLLBACK", "SELECT", "EXECUTE", "'", '"', ";", "--", "/*", "*/", "\n"),
    *(
        "\\",
        "$$",
        "$a$",
        "E'",
        "U&'",
        " ",
        "x",
        "(",
        "1",
        "\r",
        "é",
        "''",
        "CONCURRENTLY",
    ),
]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_text(pieces: list[str]) -> None:
    """The steps go forward, and each begins where the one before ends."""
    text = "".join(pieces).encode()
    places = [step.rest for step in steps(text)]
    assert places == sorted(set(places))
    one = first_step(text)
    if one is not None and one.effect in ENDS:
        rest = [step.effect for step in steps(text[one.rest :])]
        assert rest == [step.effect for step in steps(text)][1:]


@pytest.mark.parametrize(
    "piece", [*PIECES, "/**/", "$a ", "--\n", "'x' ", ";;x", "E'\\''"]
)
def test_time_is_linear(piece: str) -> None:
    """Ten times as much of anything takes ten times as long, not a hundred."""
    short, long = (
        calls_in(lambda n=count: readings((piece * n).encode()))  # type: ignore[misc]
        for count in (200, 2000)
    )
    assert long < 15 * short + 100
