"""What is certain of messages whose answer was lost."""

from __future__ import annotations

import pytest

from pgswitch.wire import encode
from pgswitch.wire.committing import UNKNOWN, findings
from tests.counting import calls_in
from tests.fakes.messages import describe_statement

PREPARED = {
    b"w": b"UPDATE t SET a = 1",
    b"r": b"SELECT a FROM t",
    b"c": b"COMMIT",
    b"back": b"ROLLBACK",
}
WRITE, READ = "INSERT INTO t VALUES (1)", "SELECT a FROM t"
S = encode.sync()


def text_of(name: bytes) -> bytes:
    """Return the text of a prepared statement."""
    return PREPARED.get(name, b"")


def run(text: str, name: str = "") -> bytes:
    """Return the messages that run a statement by the extended protocol."""
    return encode.parse(name, text) + encode.bind("", name) + encode.execute()


def use(name: str) -> bytes:
    """Return the messages that run a prepared one."""
    return encode.bind("", name) + encode.execute()


def judged(sent: bytes, *, inside: bool) -> str:
    """Return what is certain, in a word."""
    found = findings(sent, text_of, inside=inside)
    if not found.is_known:
        return "?"
    return "maybe" if found.may_commit else "never"


def queries(*texts: str) -> bytes:
    """Return so many Querys."""
    return b"".join(map(encode.query, texts))


@pytest.mark.parametrize(
    ("texts", "inside", "outside"),
    [
        ((WRITE,), "never", "maybe"),
        ((READ,), "never", "never"),
        (("SELECT f()",), "never", "maybe"),
        (("CALL p()",), "never", "maybe"),
        (("COMMIT",), "maybe", "maybe"),
        (("COMMIT AND CHAIN",), "maybe", "maybe"),
        (("PREPARE TRANSACTION 'x'",), "maybe", "maybe"),
        (("COMMIT PREPARED 'x'",), "never", "maybe"),
        (("ROLLBACK PREPARED 'x'",), "never", "maybe"),
        (("ROLLBACK",), "never", "never"),
        ((WRITE, "ROLLBACK"), "never", "maybe"),
        (("ROLLBACK", WRITE), "maybe", "maybe"),
        (("ROLLBACK", READ), "never", "never"),
        (("ABORT;" + WRITE,), "maybe", "maybe"),
        (("ROLLBACK AND CHAIN", WRITE), "never", "maybe"),
        (("ROLLBACK AND CHAIN", WRITE, "COMMIT"), "maybe", "maybe"),
        (("ROLLBACK TO a", WRITE), "never", "maybe"),
        (("SAVEPOINT a", WRITE, "ROLLBACK TO SAVEPOINT a", WRITE), "never", "maybe"),
        (("RELEASE a; ROLLBACK; " + WRITE,), "maybe", "maybe"),
        (("ROLLBACK", "BEGIN", WRITE), "never", "never"),
        (("ROLLBACK", "BEGIN", WRITE, "COMMIT"), "maybe", "maybe"),
        (("BEGIN", WRITE), "never", "never"),
        ((f"BEGIN; {WRITE}",), "never", "never"),
        ((f"BEGIN; {WRITE}; COMMIT",), "maybe", "maybe"),
        ((f"BEGIN; {WRITE}; ROLLBACK",), "never", "never"),
        ((f"BEGIN; {WRITE}; ROLLBACK; {WRITE}",), "maybe", "maybe"),
        # What fails leaves the block closed for the next.
        (("ROLLBACK", "BEGIN; selec", WRITE), "maybe", "maybe"),
        (("ROLLBACK", "BEGIN ISOLATION LEVEL SERIALIZABLE", WRITE), "maybe", "maybe"),
        (("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; " + WRITE,), "never", "never"),
        (("ROLLBACK", "SELECT 1/0; BEGIN", WRITE), "maybe", "maybe"),
        (("SELECT 1/0; ROLLBACK; BEGIN", WRITE), "never", "maybe"),
        (("/* x */ ROLLBACK -- y\n;" + WRITE,), "maybe", "maybe"),
        ((r"SELECT '\'; COMMIT; --'",), "maybe", "maybe"),
        (("",), "never", "never"),
        ((";;",), "never", "never"),
        (("COPY t FROM STDIN",), "never", "maybe"),
    ],
)
def test_queries(texts: tuple[str, ...], inside: str, outside: str) -> None:
    """What stands outside of a block and may write is maybe committed."""
    assert judged(queries(*texts), inside=True) == inside
    assert judged(queries(*texts), inside=False) == outside


@pytest.mark.parametrize(
    ("sent", "inside", "outside"),
    [
        (run(WRITE) + S, "never", "maybe"),
        (run("ROLLBACK") + S, "never", "never"),
        (run("ROLLBACK") + run(WRITE) + S, "maybe", "maybe"),
        (run(WRITE) + run("ROLLBACK") + S, "never", "maybe"),
        (run("COMMIT") + S, "maybe", "maybe"),
        (run("BEGIN") + run(WRITE) + S, "never", "never"),
        (run("ROLLBACK") + run("BEGIN") + run(WRITE) + S, "never", "never"),
        (run("BEGIN") + run(WRITE) + run("COMMIT") + S, "maybe", "maybe"),
        # A Sync between the two: the first may have failed.
        (run("ROLLBACK") + run("BEGIN") + S + run(WRITE) + S, "maybe", "maybe"),
        (run("ROLLBACK") + encode.query(WRITE) + S, "maybe", "maybe"),
        # Prepared, but not carried out.
        (
            encode.parse("n", WRITE) + describe_statement("n") + S,
            "never",
            "never",
        ),
        (encode.parse("n", "COMMIT") + encode.bind("", "n") + S, "never", "never"),
        (S, "never", "never"),
        (use("w") + S, "never", "maybe"),
        (use("r") + S, "never", "never"),
        (use("c") + S, "maybe", "maybe"),
        (use("back") + use("w") + S, "maybe", "maybe"),
        (use("w") + use("back") + S, "never", "maybe"),
        (use("back") + use("r") + S, "never", "never"),
        # The order of Execute counts, not that of Parse.
        (
            encode.parse("back2", "ROLLBACK") + run(WRITE) + use("back2") + S,
            "never",
            "maybe",
        ),
        (
            encode.parse("w2", WRITE) + run("ROLLBACK") + use("w2") + S,
            "maybe",
            "maybe",
        ),
        (use("unknown") + S, "?", "?"),
        (encode.execute("older") + S, "?", "?"),
        (encode.parse("n", READ) + S + use("n") + S, "never", "never"),
        (encode.parse("", READ) + S + use("") + S, "never", "never"),
        (use(""), "?", "?"),
        # A Parse that is skipped, or whose name is in use, leaves what there was.
        (encode.parse("c", READ) + S + use("c") + S, "maybe", "maybe"),
        (run("selec") + encode.parse("", READ) + S + use("") + S, "?", "?"),
        (use("r") + encode.parse("", READ) + S + use("") + S, "?", "?"),
        (use("r") + encode.parse("new", READ) + S + use("new") + S, "?", "?"),
        (encode.message(ord("F"), bytes(8)), "?", "?"),
        (b"?", "?", "?"),
        (b"", "?", "?"),
        (encode.query(READ)[:-1], "?", "?"),
    ],
)
def test_pipelines(sent: bytes, inside: str, outside: str) -> None:
    """The same by the extended protocol, where texts and names have to be known."""
    assert judged(sent, inside=True) == inside
    assert judged(sent, inside=False) == outside


@pytest.mark.parametrize(
    ("sent", "single"),
    [
        (encode.query(WRITE), True),
        (encode.query(f"/* ; */ {WRITE};"), True),
        (encode.query(f"{WRITE};{WRITE}"), False),
        (queries(WRITE, WRITE), False),
        (encode.query("CALL p()"), False),
        (encode.query("/* /* */ */ CALL p()"), False),
        (run(WRITE) + S, True),
        (encode.parse("", WRITE) + use("") * 3 + S, True),
        (encode.parse("", WRITE) + (use("") + S) * 2, False),
        (use("w") + use("r") + S, False),
        (encode.query(r"SELECT '\'; COMMIT; --'"), False),
        (S, False),
        (b"", False),
    ],
)
def test_one_statement(sent: bytes, single: bool) -> None:  # noqa: FBT001
    """Done whole or not at all: it may be asked again if the server has undone it."""
    assert findings(sent, text_of, inside=False).is_single is single


@pytest.mark.parametrize(
    ("sent", "begun"),
    [
        (queries("BEGIN", WRITE), True),
        (queries(f"BEGIN; {WRITE}"), True),
        (run("BEGIN") + run(WRITE), True),
        (run("BEGIN") + run(WRITE) + S, True),
        (queries("BEGIN"), False),
        (queries("BEGIN", "ROLLBACK"), False),
        (queries(WRITE), False),
        (S, False),
    ],
)
def test_a_block_is_begun(sent: bytes, begun: bool) -> None:  # noqa: FBT001
    """And something done in it."""
    assert findings(sent, text_of, inside=False).is_begun is begun
    assert not findings(sent, text_of, inside=True).is_begun


def test_what_is_not_known() -> None:
    """Nothing is certain then."""
    assert findings(use("unknown"), text_of, inside=True) == UNKNOWN
    assert UNKNOWN.may_commit
    assert not UNKNOWN.is_single


@pytest.mark.parametrize(
    "part", [use("w"), run(READ, "x"), encode.query(";x"), encode.query(WRITE) + S]
)
def test_time_is_linear(part: bytes) -> None:
    """However many messages there are."""
    short, long = (
        calls_in(lambda n=count: findings(part * n, text_of, inside=True))  # type: ignore[misc]
        for count in (20, 200)
    )
    assert long < 12 * short
