"""Starts, RELOADs and RECONNECT of a real cluster: the nodes decide, not the file.

Two nodes, of which the entry may name either: a writer and its standby, or, after a
failover without a cleanup, two writers on timelines of their own.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
import pytest

from pgswitch.demo.cluster import TOPOLOGY_QUERY, PostgresCluster, running_cluster
from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, PrivateDirectory, subdirectory
from pgswitch.demo.writers import SCHEMA, Writer, tally_writes
from tests.integration.running import HBA, PgSwitch, PgSwitchFactory, wait_for_writes
from tests.integration.test_takeover import pidfile, restart
from tests.waiting import wait_until

ONE_INSTALLATION = True

DATABASE = "bench"
GOES_ON_S = 10.0
FORGOTTEN_S = 2
NUMBERS = count(1)
"""Of clients that write: each has keys of its own."""


class TwoNodes:
    """A cluster of two, and the means to start pgswitch before it."""

    def __init__(self, cluster: PostgresCluster, factory: PgSwitchFactory) -> None:
        self.cluster = cluster
        self._factory = factory

    def entry(self, *nodes: PostgresServer, more: str = "") -> str:
        """Return an entry that names these nodes."""
        hosts = ",".join("127.0.0.1" for _ in nodes)
        return (
            f"host={hosts} port={nodes[0].port} user=trusted dbname={DATABASE}"
            f" topology_query='{TOPOLOGY_QUERY}' {more}"
        )

    def start(self, node: PostgresServer, **more: str | float) -> PgSwitch:
        """Start a pgswitch whose entry names this node."""
        return self.start_with(self.entry(node), **more)

    def start_with(self, entry: str, **more: str | float) -> PgSwitch:
        """Start a pgswitch with this entry and ``more`` settings."""
        made = self._factory(start=False)
        made.configure({DATABASE: entry}, self._settings() | more)
        made.start()
        return made

    def reload(
        self, pooler: PgSwitch, databases: dict[str, str], **more: str | float
    ) -> None:
        """Have a pgswitch take other entries."""
        self.configure(pooler, databases, **more)
        pooler.reload()

    def configure(
        self, pooler: PgSwitch, databases: dict[str, str], **more: str | float
    ) -> None:
        """Write other entries, for a pgswitch that is still to read them."""
        pooler.configure(databases, self._settings() | more)

    def _settings(self) -> dict[str, str | float]:
        return {
            "auth_type": "trust",
            "pool_mode": "transaction",
            "pidfile": pidfile(self._factory.directory),
            "switchover_forget": FORGOTTEN_S,
        }

    def split(self) -> tuple[PostgresServer, PostgresServer]:
        """Promote the standby while the writer stays; return the old and the new."""
        old = self.cluster.writer
        (new,) = self.cluster.standbys
        new.execute("SELECT pg_promote(true)")
        self.cluster.writer = new
        return old, new

    def heal(self) -> None:
        """Make the node that is not the writer its standby, from a new copy."""
        for node in self.cluster.nodes:
            if node is not self.cluster.writer:
                if node.is_running:
                    node.kill()
                self.cluster.rejoin(node, from_copy=True)
        self.cluster.wait_until_followed()

    @contextmanager
    def writing(self, pooler: PgSwitch, clients: int = 4) -> Iterator[list[Writer]]:
        """Have clients write until the end of the block; no error is allowed."""

        def connect() -> psycopg.Connection:
            return pooler.connect("trusted", DATABASE)

        made = [Writer(next(NUMBERS), connect, pause_s=0.001) for _ in range(clients)]
        for writer in made:
            writer.start()
        try:
            wait_for_writes(made)
            yield made
            wait_for_writes(made)
        finally:
            stopped = [writer.stop() for writer in made]
        assert all(stopped), "a client still waits"
        rows = self.cluster.writer.execute(
            "SELECT id, count(*) FROM written GROUP BY id", database=DATABASE
        )
        found = tally_writes(made, Counter(dict(rows)))
        assert (found.errors, found.missing, found.doubled) == ({}, 0, 0)


def rows(node: PostgresServer) -> int:
    """Return how many rows were written to a node."""
    return int(node.execute("SELECT count(*) FROM written", database=DATABASE)[0][0])


@pytest.fixture(scope="module")
def shared(
    template: PostgresServer, account: Account | None
) -> Iterator[tuple[PostgresCluster, PrivateDirectory]]:
    """Yield the cluster of all tests of this file."""
    folder = PrivateDirectory(account)
    nodes = []
    for number in range(2):
        home = subdirectory(folder.path, f"node-{number}", account)
        nodes.append(PostgresServer(template.installation, home, account))
    nodes[0].create_as_copy(template)
    try:
        with running_cluster(nodes, [*HBA], DATABASE) as cluster:
            for statement in SCHEMA:
                cluster.writer.execute(statement, database=DATABASE)
            yield cluster, folder
    finally:
        folder.remove()


@pytest.fixture
def two(
    shared: tuple[PostgresCluster, PrivateDirectory],
    pgswitch: PgSwitchFactory,
) -> Iterator[TwoNodes]:
    """Yield a healthy cluster, and heal it after the test."""
    made = TwoNodes(shared[0], pgswitch)
    yield made
    pgswitch.stop_all()
    made.heal()


def test_the_entry_names_a_standby(two: TwoNodes) -> None:
    """After a failover: each client is served by the writer, from the first on."""
    (standby,) = two.cluster.standbys
    for _ in range(3):
        pooler = two.start(standby)
        with two.writing(pooler):
            pass
        pooler.stop()


def test_two_writers_at_the_start(two: TwoNodes) -> None:
    """The one on the higher timeline is the writer, whichever the entry names."""
    old, _new = two.split()
    before = rows(old)
    for _ in range(3):
        pooler = two.start(old)
        with two.writing(pooler):
            pass
        pooler.stop()
    assert rows(old) == before


def test_the_list_names_a_node_that_is_down(two: TwoNodes) -> None:
    """It has had its say when it refuses; one that is frozen does not last long."""
    (standby,) = two.cluster.standbys
    standby.stop()
    pooler = two.start(two.cluster.writer)
    with two.writing(pooler):
        pass
    pooler.stop()
    two.cluster.rejoin(standby)
    standby.freeze()
    try:
        with two.writing(two.start(two.cluster.writer)):
            pass
    finally:
        standby.thaw()


def test_no_node_answers_at_the_start(two: TwoNodes) -> None:
    """Clients wait for the writer, not for whichever node is back first."""
    old, new = two.split()
    before = rows(old)
    old.stop()
    pooler = two.start(old)
    with pytest.raises(psycopg.OperationalError):
        pooler.connect("trusted", DATABASE, connect_timeout=2)
    old.start()
    with two.writing(pooler):
        pass
    assert rows(old) == before
    assert two.cluster.writer is new


def test_who_waits_at_a_takeover(two: TwoNodes) -> None:
    """Servers are opened at the writer at once, whatever the entry says."""
    (standby,) = two.cluster.standbys
    pooler = two.start(standby)
    two.reload(pooler, {DATABASE: two.entry(standby, more="pool_size=1")})
    outcomes: list[object] = []

    def ask(query: bytes) -> threading.Thread:
        """Ask something in a thread of its own."""

        def run() -> None:
            with pooler.connect("trusted", DATABASE) as client:
                try:
                    outcomes.append(client.execute(query).statusmessage)
                except psycopg.Error as error:
                    outcomes.append(error.sqlstate)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def shown(column: str) -> bool:
        rows = pooler.console("SHOW POOLS")
        return [row[column] for row in rows if row["database"] == DATABASE] == [1]

    threads = [ask(b"SELECT pg_sleep(4)")]
    wait_until(lambda: shown("sv_active"), "the first to be served")
    threads.append(ask(b"INSERT INTO written VALUES (-1)"))
    wait_until(lambda: shown("cl_waiting"), "the second to wait")
    two.configure(pooler, {DATABASE: two.entry(standby, more="pool_size=5")})
    restart(pooler)
    for thread in threads:
        thread.join(GOES_ON_S)
    assert outcomes == ["INSERT 0 1", "SELECT 1"]
    servers = [
        row["port"]
        for row in pooler.console("SHOW SERVERS")
        if row["database"] == DATABASE
    ]
    assert set(servers) == {two.cluster.writer.port}


def test_reloads_beside_a_fenced_writer(two: TwoNodes) -> None:
    """What is known outlives a change of the entry, the events too; so does -R."""
    pooler = two.start(two.cluster.writer)
    pooler.connect("trusted", DATABASE).close()
    old, _new = two.split()
    pooler.wait_for_log("is fenced")
    before = rows(old)
    with two.writing(pooler) as writers:
        for size in range(10, 16):
            entry = two.entry(old, more=f"pool_size={size}")
            two.reload(pooler, {DATABASE: entry})
            wait_for_writes(writers)
        restart(pooler)
        wait_for_writes(writers)
        two.reload(pooler, {DATABASE: two.entry(old, more="connect_query='select 1'")})
        wait_for_writes(writers)
    assert rows(old) == before
    (event,) = pooler.console("SHOW SWITCHOVERS")
    assert event["cause"] == "it was promoted"


def test_a_new_entry_by_reload(two: TwoNodes) -> None:
    """It is judged as at a start; a database that becomes a cluster, too."""
    old, _new = two.split()
    before = rows(old)
    pooler = two.start(two.cluster.writer)
    plain = f"host=127.0.0.1 port={old.port} user=trusted dbname={DATABASE}"
    two.reload(pooler, {DATABASE: two.entry(old), "second": plain})
    second = pooler.connect("trusted", "second")
    query = "SELECT timeline_id FROM pg_control_checkpoint()"
    (low,) = second.execute(query).fetchone() or (0,)
    two.reload(pooler, {DATABASE: two.entry(old), "second": two.entry(old)})
    for _ in range(20):
        second.execute("INSERT INTO written VALUES (-1)")
    (high,) = second.execute(query).fetchone() or (0,)
    second.close()
    assert high > low
    assert rows(old) == before


@pytest.mark.parametrize("wanted", ["read-write", "primary"])
def test_parameters_at_login(two: TwoNodes, wanted: str) -> None:
    """It is the writer's, also while the entry names a standby, and after a move."""
    (standby,) = two.cluster.standbys
    pooler = two.start(standby)

    def connect(target: str) -> psycopg.Connection:
        return pooler.connect("trusted", DATABASE, target_session_attrs=target)

    connect(wanted).close()
    with pytest.raises(psycopg.OperationalError):
        connect("standby")
    old = two.cluster.switch(PostgresServer.stop)
    connect(wanted).close()
    with pytest.raises(psycopg.OperationalError):
        connect("standby")
    two.cluster.rejoin(old)
    two.cluster.wait_until_followed()


def wrong_promotion(two: TwoNodes, pooler: PgSwitch) -> PostgresServer:
    """Promote the standby by mistake and destroy it; return the writer of before."""
    pooler.connect("trusted", DATABASE).close()
    good, clone = two.split()
    pooler.wait_for_log("is fenced")
    clone.stop("immediate")
    two.cluster.writer = good
    pooler.wait_for_log("is lost")
    return good


def waits_then_goes_on(
    two: TwoNodes, pooler: PgSwitch, mend: Callable[[], object]
) -> None:
    """Have a client wait until ``mend`` has been done, and see it served."""
    connection = pooler.connect("trusted", DATABASE)
    done = threading.Event()

    def insert() -> None:
        connection.execute("INSERT INTO written VALUES (-2)")
        done.set()

    asking = threading.Thread(target=insert, daemon=True)
    asking.start()
    assert not done.wait(1.0)
    mend()
    assert done.wait(GOES_ON_S), pooler.log_text()
    connection.close()
    with two.writing(pooler):
        pass


def test_a_wrong_promotion_is_forgotten(two: TwoNodes) -> None:
    """Once the clone is off the list, and the others agree."""
    pooler = two.start(two.cluster.writer)
    good = wrong_promotion(two, pooler)
    clone = next(node for node in two.cluster.nodes if node is not good)

    def take_off_the_list() -> None:
        good.execute(
            f"DELETE FROM topology WHERE port = {clone.port}",
            database=DATABASE,
        )

    try:
        waits_then_goes_on(two, pooler, take_off_the_list)
        assert "is no longer in the list of nodes" in pooler.log_text()
    finally:
        good.execute(
            f"INSERT INTO topology VALUES ('127.0.0.1', {clone.port})",
            database=DATABASE,
        )


def test_reconnect_forgets_a_wrong_promotion(two: TwoNodes) -> None:
    """An operator does that, for a list that still names the clone."""
    pooler = two.start(two.cluster.writer)
    wrong_promotion(two, pooler)
    waits_then_goes_on(two, pooler, lambda: pooler.console(f"RECONNECT {DATABASE}"))


class Client(threading.Thread):
    """Logs in and inserts a row; ``told`` is the error that it got."""

    def __init__(self, pooler: PgSwitch, database: str = DATABASE) -> None:
        super().__init__(daemon=True)
        self.told: str | None = None
        self._pooler, self._database = pooler, database
        self.start()

    def run(self) -> None:
        """Do so."""
        try:
            with self._pooler.connect("trusted", self._database) as connection:
                connection.execute("INSERT INTO written VALUES (-3)")
        except psycopg.Error as error:
            self.told = str(error)

    def is_served(self) -> bool:
        """Wait for the end; tell whether the row was written."""
        self.join(GOES_ON_S)
        return not self.is_alive() and self.told is None


def test_a_start_that_lasts(two: TwoNodes) -> None:
    """Clients wait, whatever an operator does; on a timeout they get the reason."""
    (standby,) = two.cluster.standbys
    standby.freeze()
    try:
        pooler = two.start(two.cluster.writer, switchover_start_timeout=5)
        first = Client(pooler)
        wait_until(lambda: pooler.console("SHOW TOPOLOGY")[1:], "the list")
        pooler.console(f"PAUSE {DATABASE}")
        pooler.console(f"RESUME {DATABASE}")
        two.reload(
            pooler,
            {DATABASE: two.entry(two.cluster.writer, more="pool_size=3")},
            switchover_start_timeout=5,
        )
        pooler.console(f"RECONNECT {DATABASE}")
        assert pooler.console("SHOW SERVERS") == []
        assert first.is_alive()
        second = Client(pooler)
        arrival = f"{DATABASE}/trusted@"
        wait_until(
            lambda: pooler.log_text().count(arrival) == 2, "the second one's arrival"
        )
        pooler.console(f"KILL {DATABASE}")
        pooler.console(f"RESUME {DATABASE}")
        for client in (first, second):
            assert not client.is_served()
        restart(pooler)
        third = Client(pooler)
        assert third.is_served(), third.told
        pooler.stop()
        pooler = two.start(two.cluster.writer, query_wait_timeout=1)
        last = Client(pooler)
        assert not last.is_served()
        assert "not known yet which node is the writer" in f"{last.told}"
    finally:
        standby.thaw()


def test_a_takeover_while_the_writer_is_searched(two: TwoNodes) -> None:
    """The fenced node is not taken by the next process either."""
    pooler = two.start(two.cluster.writer)
    pooler.connect("trusted", DATABASE).close()
    old, new = two.split()
    pooler.wait_for_log("is fenced")
    new.stop("immediate")
    pooler.wait_for_log("is lost")
    before = rows(old)
    clients = [Client(pooler)]
    restart(pooler)
    clients.append(Client(pooler))
    wait_until(
        lambda: any(
            node["state"] == "fenced" for node in pooler.console("SHOW TOPOLOGY")
        ),
        "the fenced node",
    )
    new.start()
    assert all(client.is_served() for client in clients)
    assert rows(old) == before
    moves = pooler.console("SHOW SWITCHOVERS")
    assert [move["cause"] for move in moves][:1] == ["it was promoted"]
    assert len(moves) == 2


def test_hosts_that_a_reload_adds(two: TwoNodes) -> None:
    """Without a list they become nodes; no other node may be up."""
    old, new = two.split()
    old.stop()
    entry = f"port={new.port} user=trusted dbname={DATABASE} topology_query='no sql'"
    pooler = two.start_with(f"host=127.0.0.9 {entry}")
    client = Client(pooler)
    pooler.wait_for_log("127.0.0.9: health check failed")
    two.reload(pooler, {DATABASE: f"host=127.0.0.9,127.0.0.1 {entry}"})
    assert client.is_served(), pooler.log_text()


def test_an_old_writer_that_is_read_only(two: TwoNodes) -> None:
    """A login after the move is welcomed with the new server's parameters."""
    old = two.cluster.writer
    pooler = two.start(old)
    old.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    old.execute("SELECT pg_reload_conf()")

    def connect() -> psycopg.Connection:
        return pooler.connect("trusted", DATABASE, target_session_attrs="read-write")

    def is_refused() -> bool:
        pooler.console(f"RECONNECT {DATABASE}")
        try:
            connect().close()
        except psycopg.OperationalError:
            return True
        return False

    wait_until(is_refused, "a login that gets the error")
    two.cluster.switch(PostgresServer.stop)
    for _ in range(3):
        connect().close()
    with two.writing(pooler):
        pass


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_an_entry_by_another_address(two: TwoNodes, mode: str) -> None:
    """Than any of the list: no client waits for it again at a RELOAD, or after -R."""
    old, _new = two.split()
    before = rows(old)
    entry = two.entry(old).replace("127.0.0.1", "localhost", 1)
    pooler = two.start_with(f"{entry}", pool_mode=mode)
    assert Client(pooler).is_served()
    restart(pooler)
    assert Client(pooler).is_served()
    cluster_lines = pooler.log_text().count("the writer is")
    two.reload(pooler, {DATABASE: f"{entry} pool_size=4"}, pool_mode=mode)
    assert Client(pooler).is_served()
    assert pooler.log_text().count("the writer is") == cluster_lines
    assert rows(old) == before
