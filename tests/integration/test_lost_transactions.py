"""Clients that were in a transaction when the writer of a real cluster moved."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pgswitch.wire import encode
from testkit.pgwire import error_fields
from tests.fakes.messages import close_statement, message
from tests.integration.running import RawClient
from tests.integration.test_switchover import (
    Place,
    code,
    fast_stop,
    healed,
    place,
    stack,
)
from tests.waiting import wait_until

ONE_INSTALLATION = True
FIXTURES = (healed, place, stack)
"""The same cluster as there, made for this file too."""
SYNC, FLUSH = encode.sync(), message(b"H")
BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"


class Asker(RawClient):
    """A client that sends messages and shortens the answers."""

    def hear(self, *, ends: int = 1) -> str:
        """Return types, SQLSTATEs, tags and statuses up to some ReadyForQuery."""
        words = []
        while ends:
            kind, body = self.read_message()
            ends -= kind == b"Z"
            if kind == b"E":
                words.append(error_fields(body)["C"])
            elif kind in (b"C", b"Z"):
                words.append((kind + body.rstrip(b"\0")).decode())
            elif kind not in (b"S", b"N"):
                words.append(kind.decode())
        return " ".join(words)

    def ask(self, *messages: bytes, ends: int = 1) -> str:
        """Say messages; return what is heard."""
        self.send(b"".join(messages))
        return self.hear(ends=ends)


def insert(key: int) -> str:
    """Return a statement that writes one row."""
    return f"INSERT INTO written VALUES ({key})"


def run(text: str, name: str = "") -> bytes:
    """Return the messages that run a statement by the extended protocol."""
    return encode.parse(name, text) + encode.bind("", name) + encode.execute()


def use(name: str) -> bytes:
    """Return the messages that run a prepared one."""
    return encode.bind("", name) + encode.execute()


@pytest.fixture
def opened() -> ExitStack:  # type: ignore[misc]
    """Yield what closes the raw clients."""
    with ExitStack() as made:
        yield made


def a_client(place: Place, opened: ExitStack, *texts: str) -> Asker:
    """Return a client that has said some texts."""
    client = opened.enter_context(Asker(place.pooler.port))
    client.log_in()
    for text in texts:
        assert client.ask(encode.query(text)).endswith("ZT")
    return client


def test_what_follows_a_lost_transaction(place: Place, opened: ExitStack) -> None:
    """Texts, pipelines and names mean what they would have meant on one server."""
    (text, pipeline, named, closing, chaining, late, empty) = (
        a_client(place, opened, "BEGIN", insert(-1)) for _ in range(7)
    )
    assert closing.ask(encode.parse("n", "SELECT 1"), SYNC) == "1 ZT"
    unsynced = a_client(place, opened)
    unsynced.send(run(insert(-9)) + FLUSH)
    assert [unsynced.read_message()[0] for _ in range(3)] == [b"1", b"2", b"C"]
    driver = place.connect()
    driver.execute(b"BEGIN")
    driver.execute(insert(-8).encode())

    place.cluster.writer.stop("fast")
    wait_until(lambda: place.lines("server lost") >= 9, "the losses")
    # There is no writer now, but what ends a transaction needs no server.
    assert empty.ask(encode.query("")) == "I ZE"
    assert empty.ask(encode.query("SELECT 1")) == "40001 ZE"
    assert empty.ask(encode.query(" ; -- x\n")) == "I ZE"
    assert empty.ask(encode.query("SELECT 1; ROLLBACK")) == "25P02 ZE"
    assert empty.ask(encode.query("/* /* */ */ ROLLBACK -- x")) == "CROLLBACK ZI"
    assert chaining.ask(encode.query("ROLLBACK AND CHAIN")) == "40001 ZI"
    assert late.ask(run("COMMIT") + run(insert(-2)), SYNC) == "1 2 40001 ZI"
    assert unsynced.ask(SYNC) == "40001 ZI"
    # As pgjdbc does: its ROLLBACK is prepared when it is needed, and kept.
    assert named.ask(encode.parse("S_1", "ROLLBACK"), SYNC) == "1 ZE"
    assert named.ask(use("S_1"), SYNC) == "2 CROLLBACK ZI"
    # As Npgsql does: a name is closed and used again.
    assert closing.ask(close_statement("n"), SYNC) == "3 ZE"
    assert closing.ask(encode.query("END")) == "40001 ZI"
    assert code(driver, b"SELECT 1") == "40001"
    driver.rollback()
    text.send(encode.query(f"ABORT; {insert(-3)}; SELECT 1"))
    pipeline.send(run("ROLLBACK") + run(insert(-4)) + SYNC)

    place.cluster.promote_best()
    assert text.hear() == "CROLLBACK CINSERT 0 1 T D CSELECT 1 ZI"
    assert pipeline.hear() == "1 2 CROLLBACK 1 2 CINSERT 0 1 ZI"
    assert named.ask(encode.query("BEGIN")) == "CBEGIN ZT"
    assert named.ask(use("S_1"), SYNC) == "2 CROLLBACK ZI"
    assert closing.ask(run("SELECT 2", "n"), SYNC) == "1 2 D CSELECT 1 ZI"
    for one in (empty, chaining, late, unsynced):
        assert one.ask(encode.query(insert(-5))) == "CINSERT 0 1 ZI"
    with driver.transaction():
        driver.execute(insert(-6).encode())
    rows = place.rows()
    assert {key: rows[key] for key in range(-9, 0)} == {
        **dict.fromkeys((-9, -8, -7, -2, -1), 0),
        -3: 1,
        -4: 1,
        -5: 4,
        -6: 1,
    }


def test_what_stood_behind_a_rollback(place: Place, opened: ExitStack) -> None:
    """It ran outside the transaction, so it may be done; the rest certainly is not."""
    locking = place.connect()
    locking.execute(b"BEGIN")
    locking.execute(b"LOCK TABLE written IN EXCLUSIVE MODE")
    clients = [a_client(place, opened, "BEGIN") for _ in range(4)]
    begun = a_client(place, opened)
    asked = (
        encode.query(f"ROLLBACK; {insert(-11)}"),
        run("ROLLBACK") + run(insert(-12)) + SYNC,
        encode.query(f"ROLLBACK; BEGIN; {insert(-13)}"),
        encode.query(f"SAVEPOINT a; ROLLBACK TO a; {insert(-14)}; ROLLBACK"),
    )
    for client, sent in zip(clients, asked, strict=True):
        client.send(sent)
    begun.send(run("BEGIN") + run(insert(-15)) + SYNC)
    ask = place.cluster.writer.execute
    wait_until(lambda: ask(BLOCKED)[0][0] == len(asked) + 1, "all to be blocked")
    place.cluster.switch(fast_stop)
    heard = [client.hear().split()[-2:] for client in (*clients, begun)]
    assert heard == [["08007", "ZI"]] * 2 + [["40001", "ZE"]] * 3
    assert code(locking, b"SELECT 1") == "40001"
    rows = place.rows()
    assert [rows[key] for key in range(-15, -10)] == [0] * 5
