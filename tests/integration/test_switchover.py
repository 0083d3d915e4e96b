"""The writer of a real cluster moves, and what clients see of it.

One cluster and one pgswitch serve all tests of this file: each leaves behind three
nodes that run and follow one writer.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import md5
from pathlib import Path

import psycopg
import pytest

from pgswitch.cluster.recording import replay
from pgswitch.demo.cluster import TOPOLOGY_QUERY, PostgresCluster, running_cluster
from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, PrivateDirectory, hand_over, subdirectory
from pgswitch.demo.writers import SCHEMA, Writer, tally_writes
from tests.integration.proxies import BlackholeProxy
from tests.integration.running import (
    HBA,
    PASSWORDS,
    PgSwitch,
    PgSwitchFactory,
    wait_for_writes,
)
from tests.integration.test_takeover import pidfile, restart
from tests.waiting import wait_until

ONE_INSTALLATION = True

NODES = 3
RULES = """
def routing_rules(username, query, in_transaction):
    return "bench:reader" if "recovery" in query else "bench:writer"
"""
COPIED = ("CREATE TABLE copied (a text)", "GRANT ALL ON copied TO PUBLIC")
LIKE_RDS = (
    "CREATE SCHEMA rds_tools",
    "GRANT USAGE ON SCHEMA rds_tools TO PUBLIC",
    (
        "CREATE FUNCTION rds_tools.show_topology(text)"
        " RETURNS TABLE (id text, endpoint text, port int) LANGUAGE sql"
        " AS 'SELECT $1, host, port FROM topology'"
    ),
)
GOES_ON_S = 10.0
DOWN_S = 20.0


class Place:
    """The cluster, and pgswitch before it: in transaction and in session pooling."""

    def __init__(
        self, cluster: PostgresCluster, factory: PgSwitchFactory, record: Path
    ) -> None:
        self.cluster = cluster
        self.record = record
        self.factory = factory
        self.pooler: PgSwitch
        self.connections: list[psycopg.Connection] = []
        self.broken: list[PostgresServer] = []
        """Nodes that cannot follow the writer as they are."""
        self._numbers = iter(range(1, 1000))

    def connect(
        self, database: str = "bench", pooler: PgSwitch | None = None
    ) -> psycopg.Connection:
        """Connect through pgswitch, in autocommit, until the end of the test."""
        made = (pooler or self.pooler).connect("trusted", database)
        self.connections.append(made)
        return made

    @contextmanager
    def writing(
        self, database: str = "bench", count: int = 2, pooler: PgSwitch | None = None
    ) -> Iterator[list[Writer]]:
        """Have clients write until the end of the block; no row may be doubled."""
        made = [
            Writer(
                next(self._numbers),
                lambda: self.connect(database, pooler),
                pause_s=0.001,
            )
            for _ in range(count)
        ]
        for writer in made:
            writer.start()
        self.wait_for_writes(made)
        try:
            yield made
            self.wait_for_writes(made)
        finally:
            stopped = [writer.stop() for writer in made]
        assert all(stopped), "a client still waits"
        assert tally_writes(made, self.rows()).doubled == 0

    def wait_for_writes(self, writers: list[Writer]) -> None:
        """Wait until each has written some more."""
        try:
            wait_for_writes(writers)
        except AssertionError as error:
            nodes = "\n".join(node.log_text()[-2000:] for node in self.cluster.nodes)
            log = self.pooler.log_text()
            raise AssertionError(f"{error}\n{nodes}\nthe log:\n{log}") from None

    def rows(self) -> Counter[int]:
        """Return how often each key is in the table."""
        rows = self.cluster.writer.execute("SELECT id FROM written", database="bench")
        return Counter(row[0] for row in rows)

    def heal(self) -> None:
        """Have every node follow the writer again, and pgswitch know it."""
        while self.broken:
            self.broken.pop().kill()
        for node in self.cluster.nodes:
            if not node.is_running:
                self.cluster.rejoin(node, from_copy=True)
        self.cluster.wait_until_followed()

    def lines(self, words: str) -> int:
        """Return how many lines of the log have these words."""
        return self.pooler.log_text().count(words)

    @contextmanager
    def logs(self, words: str) -> Iterator[None]:
        """Wait at the end of the block for one more such line."""
        before = self.lines(words)
        yield
        wait_until(lambda: self.lines(words) > before, f"{words!r} in the log", 5.0)


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    """Yield what undoes everything."""
    with ExitStack() as made:
        yield made


@pytest.fixture(scope="module")
def place(
    template: PostgresServer,
    postgres: PostgresServer,
    account: Account | None,
    stack: ExitStack,
) -> Place:
    """Return a cluster of three with a table to write to, and a pgswitch."""
    folder = PrivateDirectory(account)
    stack.callback(folder.remove)
    nodes = []
    for number in range(NODES):
        home = subdirectory(folder.path, f"node-{number}", account)
        nodes.append(PostgresServer(template.installation, home, account))
    nodes[0].create_as_copy(template)
    # pgswitch has no secret of this role: its nodes are asked by the driver.
    hba = ["host all unlisted 127.0.0.1/32 trust", *HBA]
    cluster = stack.enter_context(running_cluster(nodes, hba, "bench"))
    cluster.writer.execute("CREATE ROLE unlisted LOGIN")
    for statement in (*SCHEMA, *COPIED):
        cluster.writer.execute(statement, database="bench")
    rules = subdirectory(folder.path, "rules", account) / "rules.py"
    rules.write_text(RULES)
    hand_over(rules, account)
    record = subdirectory(folder.path, "record", account) / "inputs"
    factory = PgSwitchFactory(folder.path, account, postgres)
    stack.callback(factory.stop_all)
    made = Place(cluster, factory, record)
    entry = (
        f"host=127.0.0.1 port={cluster.writer.port} user=trusted dbname=bench"
        f" topology_query='{TOPOLOGY_QUERY}'"
    )
    pooler = factory(
        {
            "bench": entry,
            "session": f"{entry} pool_mode=session".replace("trusted", "unlisted"),
            "split": f"host=127.0.0.1 port={cluster.writer.port} user=trusted"
            f" dbname=bench routing_rules_py_module_file={rules}",
            "plain": f"host=127.0.0.1 port={postgres.port} dbname=other",
        },
        auth_type="trust",
        pool_mode="transaction",
        switchover_record=str(record),
        pidfile=pidfile(folder.path),
    )
    made.pooler = pooler
    pooler.wait_for_log("cluster bench: the nodes are")
    pooler.wait_for_log("cluster session: the nodes are")
    return made


@pytest.fixture(autouse=True)
def healed(place: Place) -> Iterator[None]:
    """Leave the cluster whole, and no traceback in the log."""
    yield
    while place.connections:
        place.connections.pop().close()
    place.heal()
    _, traceback, text = place.pooler.log_text().partition("Traceback (most recent")
    assert not traceback, text[:3000]


def fast_stop(server: PostgresServer) -> None:
    """Stop as an administrator does: standbys get everything first."""
    server.stop("fast")


def immediate_stop(server: PostgresServer) -> None:
    """Stop at once: backends send a WARNING from wherever they are, and leave."""
    server.stop("immediate")


@pytest.mark.parametrize(
    ("how", "moves"),
    [(fast_stop, 20), (PostgresServer.kill, 3), (immediate_stop, 2)],
    ids=["planned", "crash", "immediate"],
)
def test_moves_in_a_row(
    place: Place, how: Callable[[PostgresServer], object], moves: int
) -> None:
    """The old writer comes back each time, as a standby at its address."""
    with place.writing() as writers, place.writing("session") as sessions:
        for _ in range(moves):
            old = place.cluster.switch(how)
            place.wait_for_writes([*writers, *sessions])
            place.cluster.rejoin(old, from_copy=how is not fast_stop)
            place.cluster.wait_until_followed()
    for_transactions = tally_writes(writers, place.rows())
    assert for_transactions.reconnects == 0
    assert set(for_transactions.errors) <= {"08007"}
    for_sessions = tally_writes(sessions, place.rows())
    assert set(for_sessions.errors) <= {"57P01", "lost"}
    if how is fast_stop:
        assert for_transactions.errors == {}
        assert for_transactions.missing == for_sessions.missing == 0


class PendingStatement(threading.Thread):
    """A statement that waits, in a thread of its own."""

    def __init__(self, connection: psycopg.Connection, statement: bytes) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self.outcome: object = None
        self._statement = statement
        self.start()

    def run(self) -> None:
        """Ask."""
        try:
            self.outcome = self.connection.execute(self._statement).statusmessage
        except psycopg.Error as error:
            self.outcome = error.sqlstate

    def result(self) -> object:
        """Return the command tag or the SQLSTATE; it must come."""
        self.join(GOES_ON_S)
        return self.outcome


def code(connection: psycopg.Connection, statement: bytes) -> str | None:
    """Return the SQLSTATE of a statement that must fail."""
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    return caught.value.sqlstate


def test_what_each_client_sees(place: Place) -> None:
    """One planned move, and clients in every state when the writer goes."""
    connect = place.connect
    idle, between, inside, failed, copying = (connect() for _ in range(5))
    prepared, blocked = connect(), connect()
    linked, unused = connect("session"), connect("session")
    between.execute(b"SELECT 1")
    prepared.execute(b"SELECT count(*) FROM written WHERE id = %s", [1], prepare=True)
    linked.execute(b"SET work_mem = '1MB'")
    for one in (inside, failed):
        one.execute(b"BEGIN")
        one.execute(b"LOCK TABLE written IN ROW EXCLUSIVE MODE")
    assert code(failed, b"SELECT 1/0") == "22012"
    locking = place.cluster.writer.execute
    inside.execute(b"LOCK TABLE written IN EXCLUSIVE MODE")
    waits = PendingStatement(blocked, b"INSERT INTO written VALUES (-1)")
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    wait_until(lambda: locking(query)[0][0], "the INSERT to be blocked")
    copy = copying.cursor().copy(b"COPY copied FROM STDIN")
    stream = copy.__enter__()

    place.cluster.writer.stop("fast")
    # There is no writer now.
    assert code(linked, b"SELECT 1") == "57P01"
    assert linked.closed
    assert code(inside, b"INSERT INTO written VALUES (-2)") == "40001"
    assert code(inside, b"SELECT 1") == "25P02"
    assert inside.execute(b"ROLLBACK").statusmessage == "ROLLBACK"
    assert code(failed, b"SELECT 1") == "25P02"
    assert failed.execute(b"ROLLBACK").statusmessage == "ROLLBACK"
    with pytest.raises(psycopg.OperationalError) as caught:
        for _ in range(1000):
            stream.write(b"text\n" * 1000)
        copy.__exit__(None, None, None)
    assert caught.value.sqlstate == "08007"
    again, new = connect("session"), connect()
    asking = [
        PendingStatement(one, b"INSERT INTO written VALUES (-3)")
        for one in (idle, between, inside, failed, copying, unused, again, new)
    ]
    cancelled = PendingStatement(connect(), b"SELECT 1")
    plain = connect("plain")
    assert plain.execute(b"SELECT 1").fetchone() == (1,)
    wait_until(
        lambda: (
            sum(row["cl_waiting"] for row in place.pooler.console("SHOW POOLS"))
            >= len(asking) + 2
        ),
        "everybody to wait",
    )
    cancelled.connection.cancel()
    assert cancelled.result() == "57014"
    assert all(one.outcome is None for one in asking)

    place.cluster.promote_best()
    assert [one.result() for one in asking] == ["INSERT 0 1"] * len(asking)
    assert waits.result() == "INSERT 0 1"
    row = prepared.execute(
        b"SELECT count(*) FROM written WHERE id = %s", [-1], prepare=True
    )
    assert row.fetchone() == (1,)
    assert cancelled.connection.execute(b"SELECT 1").fetchone() == (1,)
    rows = place.rows()
    assert (rows[-1], rows[-2], rows[-3]) == (1, 0, len(asking))


def test_what_clients_see_of_an_immediate_stop(place: Place) -> None:
    """A WARNING does not say that a write was undone; what only reads is run again."""
    locking, writing, reading = (place.connect() for _ in range(3))
    locking.execute(b"BEGIN")
    locking.execute(b"LOCK TABLE written IN ACCESS EXCLUSIVE MODE")
    write = PendingStatement(writing, b"INSERT INTO written VALUES (-4)")
    read = PendingStatement(reading, b"TABLE copied")
    blocked = PendingStatement(place.connect(), b"SELECT a FROM copied, written")
    ask = place.cluster.writer.execute
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    wait_until(lambda: ask(query)[0][0] == 2, "two to be blocked")
    assert read.result() == "SELECT 0"
    place.cluster.switch(immediate_stop)
    assert write.result() == "08007"
    assert blocked.result() == "SELECT 0"
    assert code(locking, b"SELECT 1") == "40001"
    assert not writing.closed
    assert writing.execute(b"INSERT INTO written VALUES (-5)").rowcount == 1
    assert place.rows()[-4] == 0


def test_lost_packets(place: Place, stack: ExitStack) -> None:
    """The way to the writer swallows all, also new connections; nothing is closed."""
    cluster = place.cluster
    paths = {node.port: BlackholeProxy(node.port) for node in cluster.nodes}
    for path in paths.values():
        stack.callback(path.close)
    rows = ", ".join(f"(''127.0.0.1'', {path.port})" for path in paths.values())
    old = cluster.writer
    pooler = place.factory(
        {
            "bench": f"host=127.0.0.1 port={paths[old.port].port} user=trusted"
            f" topology_query='select * from (values {rows}) as nodes (host, port)'"
        },
        auth_type="trust",
        pool_mode="transaction",
    )
    pooler.wait_for_log("the nodes are")
    place.broken.append(old)
    with place.writing(pooler=pooler) as writers:
        paths[old.port].drop_all()
        began = time.monotonic()
        pooler.wait_for_log("is lost: no answer in time")
        assert time.monotonic() - began < 2.5
        cluster.promote_best()
        place.wait_for_writes(writers)
    seen = tally_writes(writers, place.rows())
    assert (seen.reconnects, seen.missing) == (0, 0)
    assert set(seen.errors) <= {"08007"}


def test_a_hung_node(place: Place) -> None:
    """Silence is a death of its own; what wakes up again is not written to."""
    old = place.cluster.writer
    place.broken.append(old)
    with place.writing() as writers:
        began = time.monotonic()
        name = name_of(place, old)
        with place.logs(f"cluster bench: the writer {name} is lost: no answer in time"):
            old.freeze()
        assert time.monotonic() - began < 2.0
        place.cluster.promote_best()
        place.wait_for_writes(writers)
        with place.logs(f"{name_of(place, old)} is fenced"):
            old.thaw()
        place.wait_for_writes(writers)
    seen = tally_writes(writers, place.rows())
    assert seen.reconnects == 0
    assert set(seen.errors) <= {"08007"}


def name_of(place: Place, node: PostgresServer) -> str:
    """Return the name that pgswitch gives a node."""
    first = place.cluster.nodes[0]
    return "127.0.0.1" if node is first else f"127.0.0.1:{node.port}"


def test_two_writers(place: Place) -> None:
    """A promotion while the old writer goes on: the higher timeline is taken."""
    old = place.cluster.writer
    place.broken.extend([old, place.cluster.standbys[1]])
    with place.writing() as writers:
        new = place.cluster.standbys[0]
        with place.logs(f"cluster bench: {name_of(place, old)} is fenced"):
            new.execute("SELECT pg_promote(false)")
        place.cluster.writer = new
        place.wait_for_writes(writers)
        sent = max(writer.writes[-1].key for writer in writers)
    query = f"SELECT count(*) FROM written WHERE id > {sent}"
    assert old.execute(query, database="bench") == [(0,)]


def test_nothing_moves(place: Place) -> None:
    """One backend is killed, then a reader: the writer stays.

    Clients see nothing but the server's own words, if they had something under way.
    """
    moves = place.lines("cluster bench: the writer is")
    with place.writing() as writers:
        place.cluster.writer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'trusted' AND application_name <> 'pgswitch monitor'"
        )
        place.wait_for_writes(writers)
        place.cluster.writer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'pgswitch monitor'"
        )
        place.cluster.standbys[0].kill()
        place.wait_for_writes(writers)
    seen = tally_writes(writers, place.rows())
    assert set(seen.errors) <= {"57P01"}
    assert (seen.missing, seen.reconnects) == (0, 0)
    assert place.lines("cluster bench: the writer is") == moves


def test_secrets_that_are_no_passwords(place: Place) -> None:
    """An MD5 hash does for the monitor and the pools; a SCRAM verifier is explained."""
    word = md5(f"{PASSWORDS['md5']}md5".encode(), usedforsecurity=False).hexdigest()
    ((verifier,),) = place.cluster.writer.execute(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'scram'"
    )
    for statement in LIKE_RDS:
        place.cluster.writer.execute(statement, database="bench")
    # The quotes are those of the README of pgbouncer-fast-switchover.
    entry = (
        f"host=127.0.0.1 port={place.cluster.writer.port} dbname=bench topology_query="
        r"'select endpoint, port from rds_tools.show_topology(\'pgbouncer\')'"
    )
    pooler = place.factory(
        {"hashed": f"{entry} user=md5", "verified": f"{entry} user=scram"},
        users={"md5": f"md5{word}", "scram": verifier},
        auth_type="trust",
        pool_mode="transaction",
    )
    pooler.wait_for_log("cluster hashed: the nodes are")
    nodes = [name_of(place, node) for node in place.cluster.standbys]
    for node in nodes:
        pooler.wait_for_log(f" {node}/md5@127.0.0.1:")
    shown = {row["database"]: row for row in pooler.console("SHOW POOLS")}
    assert all(shown[node]["sv_idle"] + shown[node]["sv_login"] for node in nodes)
    client = place.connect("hashed", pooler)
    assert client.execute(b"INSERT INTO written VALUES (-10)").rowcount == 1
    pooler.wait_for_log("the monitor logs in with user and password of the entry")
    (row,) = (
        row for row in pooler.console("SHOW TOPOLOGY") if row["database"] == "verified"
    )
    assert row["why"].startswith("cannot do SCRAM authentication")


class Neighbour(threading.Thread):
    """A client of a database that has nothing to do with the cluster."""

    def __init__(self, connection: psycopg.Connection) -> None:
        super().__init__(daemon=True)
        self.took: list[float] = []
        """Seconds for each of its queries."""
        self._connection = connection
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        """Ask until stopped."""
        while not self._stopping.wait(0.005):
            began = time.monotonic()
            self._connection.execute(b"SELECT 1")
            self.took.append(time.monotonic() - began)

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self.join(GOES_ON_S)

    def p99(self, since: int) -> float:
        """Return the time that 99 % of the queries since then did not exceed."""
        some = sorted(self.took[since:])
        return some[len(some) * 99 // 100]


def test_all_down_and_up_again(place: Place) -> None:
    """For 20 s, and in the gap whatever an operator does: RELOAD, SIGHUP, PAUSE.

    Clients of another database notice nothing.
    """
    writer = place.cluster.writer
    neighbour = Neighbour(place.connect("plain"))
    with place.writing(count=1) as writers:
        wait_until(lambda: len(neighbour.took) > 300, "some queries of a neighbour")
        usual, before_it = neighbour.p99(0), len(neighbour.took)
        for node in place.cluster.nodes:
            node.stop("fast")
        down_since = time.monotonic()
        place.pooler.reload()
        place.pooler.console("RELOAD")
        place.pooler.console("PAUSE bench")
        before = writers[0].acknowledged()
        wait_until(
            lambda: time.monotonic() - down_since > DOWN_S, "a while", 2 * DOWN_S
        )
        assert neighbour.p99(before_it) < max(3 * usual, 0.05)
        with place.logs("cluster bench: the writer is 127.0.0.1"):
            for node in place.cluster.nodes:
                node.start()
        assert writers[0].acknowledged() == before
        place.pooler.console("RESUME bench")
        place.wait_for_writes(writers)
        assert place.cluster.writer is writer
    neighbour.stop()
    seen = tally_writes(writers, place.rows())
    assert (seen.errors, seen.missing, seen.reconnects) == ({}, 0, 0)


def test_readers(place: Place) -> None:
    """KEY:reader leads to a standby, without any to the writer, and back again."""
    client = place.connect("split")

    def is_reader() -> bool:
        (row,) = client.execute(b"SELECT pg_is_in_recovery()").fetchall()
        return bool(row[0])

    wait_until(is_reader, "a reader to be known")
    assert client.execute(b"INSERT INTO written VALUES (-9)").rowcount == 1
    assert is_reader()
    by_name = place.connect(name_of(place, place.cluster.standbys[0]))
    assert by_name.execute(b"INSERT INTO written VALUES (-9)").rowcount == 1
    for node in place.cluster.standbys:
        node.kill()
    assert not is_reader()
    place.heal()
    wait_until(is_reader, "a reader to be used again")


def test_a_takeover(place: Place) -> None:
    """A new process goes on with transactions on the writer and on a standby.

    It knows the writer, so no server is opened again, and a later move is as smooth.
    """
    where = "SELECT pg_is_in_recovery(), pg_backend_pid()"
    reader, writer = place.connect("split"), place.connect()
    wait_until(lambda: reader.execute(where).fetchall()[0][0], "a reader to be known")
    with place.writing() as writers:
        before = []
        for client in (reader, writer):
            client.execute("BEGIN -- recovery")
            before += client.execute(where).fetchall()
        restart(place.pooler)
        assert [row for one in (reader, writer) for row in one.execute(where)] == before
        assert [row[0] for row in before] == [True, False]
        for client in (reader, writer):
            client.execute("COMMIT")
        place.wait_for_writes(writers)
        place.cluster.rejoin(place.cluster.switch(fast_stop))
        place.wait_for_writes(writers)
    seen = tally_writes(writers, place.rows())
    assert (seen.errors, seen.missing, seen.reconnects) == ({}, 0, 0)
    place.cluster.wait_until_followed()


def test_what_the_console_and_the_record_tell(place: Place) -> None:
    """SHOW TOPOLOGY, SHOW SWITCHOVERS, and the same decided once more from the file."""
    console = place.pooler.console
    before = len(console("SHOW SWITCHOVERS"))
    with place.writing() as writers:
        place.cluster.rejoin(place.cluster.switch(fast_stop))
        place.wait_for_writes(writers)
    new = name_of(place, place.cluster.writer)
    reports = console("SHOW SWITCHOVERS")
    assert len(reports) == before + 2
    report = [row for row in reports if row["database"] == "bench"][-1]
    assert (report["new_writer"], report["lost"], report["errors"]) == (new, 0, "")
    assert report["held"] >= 1
    assert report["suspected"] <= report["confirmed"] <= report["found"]
    assert report["found"] <= report["first_served"]
    place.cluster.wait_until_followed()

    def roles() -> list[str]:
        rows = console("SHOW TOPOLOGY")
        return sorted(row["role"] for row in rows if row["database"] == "bench")

    wait_until(lambda: roles() == ["reader", "reader", "writer"], "three good nodes")
    (node,) = (
        row
        for row in console("SHOW TOPOLOGY")
        if (row["database"], row["role"]) == ("bench", "writer")
    )
    assert (node["node"], node["port"]) == (new, place.cluster.writer.port)
    assert node["servers"] >= 1
    lines = place.record.read_text().splitlines()
    reports = [json.loads(line).get("report") or {} for line in lines]
    assert len({one["system"] for one in reports if one}) == 1
    steps = list(replay(lines))
    assert [one for one in steps if one.cluster == "bench"][-1].writer == new
