"""What is run again when a server of a real cluster is lost, and what is not.

One cluster and one pgswitch serve all tests of this file, as in test_switchover.py.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from tests.integration import test_switchover
from tests.integration.test_switchover import PendingStatement, Place, code
from tests.waiting import wait_until

ONE_INSTALLATION = True
GOES_ON_S = 20.0

stack = test_switchover.stack
place = test_switchover.place
healed = test_switchover.healed


class Killer(threading.Thread):
    """Kills, as the OOM killer does, each backend that is at a certain query."""

    def __init__(self, nodes: list[PostgresServer], words: str) -> None:
        super().__init__(daemon=True)
        self._killed: set[int] = set()
        self._nodes = nodes
        self._words = words
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        """Look at all nodes until the end."""
        while not self._over.wait(0.02):
            for node in self._nodes:
                with suppress(psycopg.Error, ProcessLookupError):
                    for pid in at_work(node, self._words):
                        os.kill(pid, signal.SIGKILL)
                        self._killed.add(pid)  # It is seen until it is buried.

    def stop(self) -> int:
        """Return how many were killed."""
        self._over.set()
        self.join()
        return len(self._killed)


def at_work(node: PostgresServer, words: str) -> list[int]:
    """Return the processes of a node that are at a query with these words."""
    rows = node.execute(
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND state = 'active' AND query LIKE %s AND backend_type = 'client backend'"
        " AND application_name <> 'locking'",
        [f"%{words}%"],
        "bench",
    )
    return [row[0] for row in rows]


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Lock the table ``copied`` against all other users."""
    writer = place.cluster.writer
    with psycopg.connect(
        f"host=127.0.0.1 port={writer.port} user=trusted dbname=bench",
        application_name="locking",
    ) as direct:
        direct.execute("LOCK TABLE copied IN ACCESS EXCLUSIVE MODE")
        yield
        with suppress(psycopg.Error):
            direct.rollback()


def told(place: Place) -> dict[tuple[str, str], int]:
    """Return what SHOW ERRORS counts, by SQLSTATE and cause."""
    rows = place.pooler.console("SHOW ERRORS")
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        key = str(row["sqlstate"]), str(row["cause"])
        found[key] = found.get(key, 0) + int(row["count"])
    return found


class Failing(PendingStatement):
    """A statement that waits, and fails; keeps its error."""

    error: psycopg.Error | None = None

    def __init__(
        self, connection: psycopg.Connection, statement: bytes, **how: bool
    ) -> None:
        self._how = how
        super().__init__(connection, statement)

    def run(self) -> None:
        """Ask."""
        try:
            done = self.connection.execute(self._statement, **self._how)  # type: ignore[call-overload]
            self.outcome = done.statusmessage
        except psycopg.Error as error:
            self.error = error
            self.outcome = error.sqlstate


def error_of(asking: Failing) -> psycopg.Error:
    """Return the error of a statement that must fail."""
    asking.join(GOES_ON_S)
    assert isinstance(asking.error, psycopg.Error), asking.outcome
    return asking.error


def works(place: Place, database: str = "bench") -> None:
    """Wait until clients are served."""

    def serves() -> bool:
        with suppress(psycopg.Error):
            return place.connect(database).execute("SELECT 1").fetchone() == (1,)
        return False

    wait_until(serves, "clients to be served", GOES_ON_S)


def reader(place: Place) -> psycopg.Connection:
    """Return a client whose queries go to standbys, once pgswitch has seen them all."""

    def unfit() -> list[object]:
        rows = place.pooler.console("SHOW TOPOLOGY")
        mine = [row for row in rows if row["database"] == "bench"]
        return [row for row in mine if row["role"] != "writer" and row["why"]]

    wait_until(lambda: not unfit(), "all standbys to be fit", 3 * GOES_ON_S)
    return place.connect("split")


def test_a_read_that_kills_the_writer(place: Place) -> None:
    """It kills it once; its client gets the error when the node is back, or before."""
    client = place.connect()
    before = told(place)
    with locked(place):
        asking = Failing(client, b"SELECT a FROM copied /* killer */")
        wait_until(lambda: at_work(place.cluster.writer, "killer"), "the query")
        killer = Killer(place.cluster.nodes, "killer")
        error = error_of(asking)
    assert error.sqlstate == "08007"
    assert "not run again" in str(error.diag.message_detail)
    works(place)
    assert killer.stop() == 1
    assert client.execute("SELECT 1").fetchone() == (1,)
    assert told(place).get(("00000", "statement run again")) == before.get(
        ("00000", "statement run again")
    )


@pytest.mark.parametrize(
    "text",
    ["SELECT pg_sleep(60), pg_is_in_recovery()", "SELECT a AS recovery FROM copied"],
)
def test_a_read_that_kills_readers(place: Place, text: str) -> None:
    """Not one node after the other."""
    client = reader(place)
    killer = Killer(place.cluster.nodes, text)
    with locked(place):
        writer = place.cluster.writer
        # Commits are asynchronous here: it takes one for the lock to be written at all.
        writer.execute("SELECT pg_logical_emit_message(true, '', '')")
        ((locked_at,),) = writer.execute("SELECT pg_current_wal_insert_lsn()::text")
        # A standby that was just restarted may still have the last test's lock.
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(
            lambda: all(
                node.execute(replayed, [locked_at])[0][0]
                for node in place.cluster.standbys
            ),
            "the standbys to have the lock",
        )
        error = error_of(Failing(client, text.encode()))
    assert error.sqlstate == "08007"
    works(place, "split")
    assert killer.stop() == 1


def reading(place: Place, words: str) -> PostgresServer:
    """Wait until a standby is at a query; return it."""
    standbys = place.cluster.standbys
    (found, *_) = wait_until(
        lambda: [node for node in standbys if at_work(node, words)], "a standby at it"
    )
    return found


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_reader_is_stopped(place: Place, how: str) -> None:
    """Its query is run again elsewhere, functions and all, and that is shown."""
    cause = "00000", "statement run again"
    before = told(place).get(cause, 0)
    client = reader(place)
    asking = PendingStatement(client, b"SELECT pg_sleep(1.5), pg_is_in_recovery()")
    reading(place, "pg_sleep(1.5)").stop(how)
    assert asking.result() == "SELECT 1"
    assert told(place)[cause] == before + 1


def test_ended_on_a_reader(place: Place) -> None:
    """There too it stays ended."""
    client = reader(place)
    asking = Failing(client, b"SELECT pg_sleep(30), pg_is_in_recovery()")
    node = reading(place, "pg_sleep(30)")
    for pid in at_work(node, "pg_sleep(30)"):
        node.execute("SELECT pg_terminate_backend(%s)", [pid])
    error = error_of(asking)
    assert (error.sqlstate, error.diag.severity) == ("57P01", "ERROR")
    assert client.execute("SELECT 1").fetchone() == (1,)


def simple(client: psycopg.Connection) -> Failing:
    """Ask by a Query."""
    return Failing(client, b"INSERT INTO copied VALUES ('runaway')")


def prepared(client: psycopg.Connection) -> Failing:
    """Ask by a prepared statement."""
    return Failing(client, b"INSERT INTO copied VALUES ('runaway')", prepare=True)


def binary(client: psycopg.Connection) -> Failing:
    """Ask by the extended protocol."""
    return Failing(client, b"INSERT INTO copied VALUES ('runaway')", binary=True)


def begun(place: Place) -> list[tuple[object, object]]:
    """Return which switchovers there were; those of earlier tests may still end."""
    rows = place.pooler.console("SHOW SWITCHOVERS")
    return [(row["database"], row["suspected"]) for row in rows]


def end(place: Place, words: str) -> None:
    """End every backend that runs such a query, once."""
    writer = place.cluster.writer
    wait_until(lambda: at_work(writer, words), "the statement")
    for pid in at_work(writer, words):
        writer.execute("SELECT pg_terminate_backend(%s)", [pid])


@pytest.mark.parametrize("how", [simple, binary, prepared])
def test_what_an_administrator_ends(
    place: Place, how: Callable[[psycopg.Connection], Failing]
) -> None:
    """It stays ended; the client gets the server's error, and goes on."""
    client = place.connect()
    before = told(place)
    moves = begun(place)
    with locked(place):
        asking = how(client)
        end(place, "runaway")
        error = error_of(asking)
        assert error.sqlstate == "57P01"
        assert error.diag.severity == "ERROR"
        assert "terminating connection" in str(error.diag.message_primary)
        assert "not run again" in str(error.diag.message_detail)
        writer = place.cluster.writer
        wait_until(lambda: not at_work(writer, "runaway"), "the end of it")
    assert not client.closed
    assert client.execute("SELECT 1").fetchone() == (1,)
    assert begun(place) == moves
    after = told(place)
    ended = "57P01", "statement ended by its server"
    assert after[ended] == before.get(ended, 0) + 1


def test_ended_in_a_transaction(place: Place) -> None:
    """The transaction is lost, and the server's words stand in the DETAIL."""
    client = place.connect()
    client.execute("BEGIN")
    client.execute("INSERT INTO written VALUES (-20)")
    with locked(place):
        asking = simple(client)
        end(place, "runaway")
        error = error_of(asking)
    assert error.sqlstate == "40001"
    assert "(57P01). Nothing of it was committed." in str(error.diag.message_detail)
    assert client.execute("ROLLBACK").statusmessage == "ROLLBACK"


def test_ended_in_a_session(place: Place) -> None:
    """The session ends, as with PgBouncer."""
    client = place.connect("session")
    with locked(place):
        asking = simple(client)
        end(place, "runaway")
        error = error_of(asking)
    assert (error.sqlstate, error.diag.severity) == ("57P01", "FATAL")
    assert client.closed


def test_idle_in_transaction_for_too_long(place: Place) -> None:
    """No FATAL for a client that stays; the next statement gets the reason."""
    client = place.connect()
    client.execute("BEGIN")
    client.execute("SET LOCAL idle_in_transaction_session_timeout = '200ms'")
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SET LOCAL idle%'"
    ended = place.cluster.writer.execute
    wait_until(lambda: ended(query)[0][0] == 0, "the server to end it")
    with pytest.raises(psycopg.Error) as caught:
        client.execute("SELECT 1")
    assert caught.value.sqlstate == "40001"
    assert "(25P03). Nothing" in str(caught.value.diag.message_detail)
    assert client.execute("ROLLBACK").statusmessage == "ROLLBACK"
    assert client.execute("SELECT 1").fetchone() == (1,)


def test_run_again_and_shown(place: Place) -> None:
    """A planned move: once, unseen by the client, seen by the operator."""
    writing, reading, cut = place.connect(), place.connect(), place.connect()
    cause = "00000", "statement run again"
    before = told(place).get(cause, 0)
    rows = cut.cursor().stream(
        "SELECT repeat('x', 20000), pg_sleep(0.2) FROM generate_series(1, 99)"
    )
    next(rows)
    with locked(place):
        asking = [
            PendingStatement(writing, b"INSERT INTO copied VALUES ('once')"),
            PendingStatement(reading, b"SELECT a FROM copied"),
        ]
        writer = place.cluster.writer
        wait_until(lambda: len(at_work(writer, "copied")) == 2, "both to wait")
        writer.stop("fast")
        place.cluster.promote_best()
        assert asking[0].result() == "INSERT 0 1"
        assert str(asking[1].result()).startswith("SELECT ")
    with pytest.raises(psycopg.Error) as caught:
        list(rows)
    assert (caught.value.sqlstate, caught.value.diag.severity) == ("08007", "ERROR")
    assert "(57P01)" in str(caught.value.diag.message_detail)
    assert not cut.closed
    found = place.cluster.writer.execute(
        "SELECT count(*) FROM copied WHERE a = 'once'", database="bench"
    )
    assert found == [(1,)]
    assert told(place)[cause] == before + 2
    shown = [
        row
        for row in place.pooler.console("SHOW SWITCHOVERS")
        if row["database"] == "bench"
    ]
    assert shown[-1]["retried"] == 2
    text = place.pooler.log_text()
    assert "run the statement again: INSERT " in text
    assert "run the statement again: SELECT " in text
    assert "'once'" not in text


def test_why_no_client_is_served(place: Place) -> None:
    """query_wait_timeout without a writer names the reason."""
    client = place.connect()
    place.pooler.console("SET query_wait_timeout = 1")
    try:
        place.cluster.writer.stop("fast")
        with pytest.raises(psycopg.Error) as caught:
            client.execute("SELECT 1")
    finally:
        place.pooler.console("SET query_wait_timeout = 120")
    assert caught.value.diag.message_primary == "query_wait_timeout"
    assert "There is no writer:" in str(caught.value.diag.message_detail)
    place.cluster.promote_best()
    works(place)
    assert code(place.connect(), b"SELECT 1/0") == "22012"
