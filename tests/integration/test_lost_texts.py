"""What pgswitch says of lost transactions, next to PostgreSQL's texts for failed ones.

The oracle is a real server: the same random messages go to it and to the state that
stands in for it once it is lost.
"""

from __future__ import annotations

from random import Random

import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.stats.counters import Counters
from pgswitch.wire import encode
from pgswitch.wire.committing import findings
from pgswitch.wire.exchange import Exchange
from pgswitch.wire.loss import LostTransaction
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.statements import StatementTable
from testkit.pgwire import error_fields
from tests.fakes.messages import close_statement, describe_statement, split
from tests.integration.running import RawClient

SCRIPTS = 150
SYNC, TERMINATE = encode.sync(), encode.terminate()
NAMES = {"r": "ROLLBACK", "s": "SELECT 1", "e": "", "c": "/* */ COMMIT"}
ENDS = [
    *("ROLLBACK", "/* ; */ ABORT -- ;\n", "COMMIT", "end work", ";; ROLLBACK"),
    *("PREPARE TRANSACTION 'x'", "rollback and no chain", "-- x\rROLLBACK"),
]
FOLLOWING = [
    *("SELECT 1", "BEGIN", "SELECT 1/0", "SAVEPOINT a", "RELEASE a", "SHOW port"),
    *("SELECT ';ROLLBACK;'", "SELECT $$;COMMIT$$", "SET work_mem = '1MB'"),
]
OTHERS = [
    *(*FOLLOWING, "DEALLOCATE r", "DISCARD ALL"),
    *("COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'"),
]
"""The last three cannot be run in the implicit transaction of a text, but alone."""
EMPTY = ["", ";", "/* ROLLBACK */", " ;; -- COMMIT"]


def heard(messages: list[tuple[str, bytes]]) -> list[str]:
    """Return type, SQLSTATE, tag or status of each message, but for notices."""
    lines = []
    for kind, body in messages:
        if kind == "E":
            code = error_fields(body)["C"]
            # A portal of before is not known any more, nor that there was one.
            lines.append("25P02" if code == "34000" else code)
        elif kind in "CZ":
            lines.append(kind + body.rstrip(b"\0").decode())
        elif kind not in "NS":
            lines.append(kind)
    return lines


def to_the_end(client: RawClient, sent: bytes) -> list[str]:
    """Send messages and Terminate; return the whole answer."""
    client.send(sent + SYNC + TERMINATE)
    received = b""
    while chunk := client.socket.recv(65536):
        received += chunk
    return heard(split(received))


def prepared(port: int, names: dict[str, str]) -> RawClient:
    """Return a client that has prepared some statements."""
    client = RawClient(port)
    client.log_in()
    parses = (encode.parse(name, text) for name, text in names.items())
    client.send(b"".join(parses) + SYNC)
    client.read_until(b"Z")
    return client


def failed(port: int) -> RawClient:
    """Return a client in a failed transaction."""
    client = prepared(port, NAMES)
    for text in ("BEGIN", "SELECT 1/0"):
        client.send(encode.query(text))
        client.read_until(b"Z")
    return client


def a_text(random: Random) -> str:
    """Return some statements; it begins with an end, half of the time."""
    first = random.choice(random.choice((ENDS, ENDS, OTHERS, EMPTY)))
    rest = [random.choice(ENDS + FOLLOWING + EMPTY) for _ in range(random.randrange(3))]
    return "\n;".join([first, *rest])


def a_message(random: Random) -> bytes:
    """Return a message, or some that belong together."""
    name = random.choice(("", *NAMES, "n"))
    text = random.choice(random.choice((ENDS, ENDS, OTHERS, EMPTY)))
    use = encode.bind("", name) + encode.execute()
    return random.choice(
        (
            encode.query(a_text(random)),
            encode.parse(name, text) + use,
            encode.parse("", text) + encode.bind("", "") + encode.execute(),
            encode.parse(name, text),
            encode.parse(name, f"{random.choice(ENDS)}; SELECT 1"),
            use,
            encode.bind("", name) + encode.describe_portal(),
            encode.execute(),
            describe_statement(name),
            close_statement(name),
            SYNC,
            SYNC,
            encode.message(ord("F"), bytes((0, 0, 0, 1, *bytes(6)))),
        )
    )


def unnamed(state: LostTransaction) -> dict[bytes, bytes]:
    """Return the text of the unnamed statement, if there is one."""
    texts: dict[bytes, bytes] = vars(state)["_texts"]
    return {name: text for name, text in texts.items() if not name}


def stood_in(port: int, sent: bytes) -> list[str]:
    """Return the answers to messages after the server is lost."""
    statements = ClientStatements(StatementTable(), Exchange(), 10, Counters())
    for name, text in NAMES.items():
        statements.introduce(name.encode(), text.encode() + b"\0\0\0")
    state = LostTransaction(statements, reported=True)
    answers = b""
    messages = split(sent + SYNC)
    while messages:
        kind, body = messages.pop(0)
        answer = state.message(ord(kind), body)
        answers += answer.data
        if answer.is_over:
            # The unnamed one is lost, which is so between any two transactions.
            known = {name: statements.text_of(name) or b"" for name in statements.names}
            known |= unnamed(state)
            names = {name.decode(): text.decode() for name, text in known.items()}
            rest = b"".join(encode.message(ord(kind), body) for kind, body in messages)
            with prepared(port, names) as client:
                rest = (answer.ahead + rest).removesuffix(SYNC)
                more = to_the_end(client, rest) if messages or answer.ahead else []
            return heard(split(answers)) + more
    return heard(split(answers))


@pytest.mark.parametrize("seed", range(2))
def test_a_lost_transaction_is_a_failed_one(
    postgres: PostgresServer, seed: int
) -> None:
    """Message by message, also after its end."""
    for number in range(SCRIPTS):
        random = Random(f"{seed} {number}")
        sent = b"".join(a_message(random) for _ in range(random.randrange(1, 8)))
        with failed(postgres.port) as client:
            expected = to_the_end(client, sent)
        assert stood_in(postgres.port, sent) == expected, (seed, number, sent)


WRITE = "INSERT INTO kept VALUES (1)"
STEPS = [
    *(WRITE, WRITE, WRITE, "ROLLBACK", "ROLLBACK", "COMMIT", "BEGIN", "BEGIN"),
    *("SELECT 1", "SELECT 1/0", "selec", "SAVEPOINT a", "ROLLBACK TO a", "RELEASE a"),
    *("ROLLBACK AND CHAIN", "COMMIT AND CHAIN", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
    *("PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "BEGIN x", "ABORT", ""),
    *("DO $$ BEGIN INSERT INTO kept VALUES (1); COMMIT; END $$"),
    *(
        "SELECT ';ROLLBACK;'",
        r"SELECT E'\'; COMMIT;'",
        r"SELECT '\'",
        "BEGIN READ ONLY",
    ),
]
KNOWN = {"w": WRITE, "c": "COMMIT", "back": "ROLLBACK", "b": "BEGIN"}


def something(random: Random) -> bytes:
    """Return a message, or some, that may commit something."""
    texts = [random.choice(STEPS) for _ in range(random.choice((1, 1, 2, 3)))]
    name = random.choice(("", "", *KNOWN, "n"))
    return random.choice(
        (
            encode.query(";".join(texts)),
            encode.query(texts[0]),
            encode.parse("", texts[0]) + encode.bind("", "") + encode.execute(),
            encode.parse(name, texts[0]),
            encode.bind("", name) + encode.execute(),
            encode.bind("", name) + encode.execute(),
            encode.execute(),
            SYNC,
        )
    )


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_nothing_was_committed_when_we_say_so(
    postgres: PostgresServer,
    seed: int,
    inside: bool,  # noqa: FBT001
) -> None:
    """A server that executes all of it leaves nothing committed."""
    postgres.execute("CREATE TABLE IF NOT EXISTS kept (a int)", database="bench")
    postgres.execute("GRANT ALL ON kept TO PUBLIC", database="bench")
    certain = 0
    for number in range(SCRIPTS):
        random = Random(f"{seed} {number}")
        sent = b"".join(something(random) for _ in range(random.randrange(1, 7)))
        sent += SYNC
        found = findings(
            sent, lambda name: KNOWN.get(name.decode(), "").encode(), inside=inside
        )
        if found.may_commit:
            continue
        certain += 1
        postgres.execute("TRUNCATE kept", database="bench")
        with prepared(postgres.port, KNOWN) as client:
            if inside:
                client.send(encode.query("BEGIN"))
                client.read_until(b"Z")
            to_the_end(client, sent)
        rows = postgres.execute("SELECT count(*) FROM kept", database="bench")
        assert rows[0][0] == 0, (seed, number, sent)
    assert certain > SCRIPTS / 10
