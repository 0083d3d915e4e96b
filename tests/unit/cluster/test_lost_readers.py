"""What happens to clients of a reader that is lost, or refuses logins."""

from __future__ import annotations

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.cluster.nodes import NodeStatus, ProbeFailure
from pgswitch.net.connection_states import ServerState
from pgswitch.pool.cluster_databases import READER
from pgswitch.pool.pool import ServerPool, move_client
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    error_code,
    message,
    query,
)
from tests.fakes.monitored import ENTRY, OTHER, Monitored
from tests.fakes.probes import STANDBY, writes
from tests.fakes.world import Client, Server

WRITER, STANDBYS = "10.0.0.1", ("10.0.0.2", "10.0.0.3")
BEGUN = message(b"C", b"BEGIN\0") + IN_TRANSACTION


class Readers:
    """A cluster of a writer and two standbys, and clients that read."""

    def __init__(self, monitored: Monitored, settings: str = "") -> None:
        """Begin with a client in the writer's pool."""
        self.monitored = monitored
        self.world = world = monitored.world
        world.reload(
            settings=f"standby_pool_size = 0\n{settings}",
            databases=f"{ENTRY}\n{OTHER}",
        )
        self.probes = monitored.probes
        self.probes[WRITER].answer(writes())
        world.wait(0.5)
        self.probes[WRITER].list(WRITER, *STANDBYS)
        world.wait(0.5)
        for name in STANDBYS:
            self.probes[name].answer(STANDBY)
        self.first, self.writer = world.pair()

    def client(self) -> Client:
        """Return a client that has gone to the reader with least to do."""
        client = self.world.client()
        client.hear()
        pools = self.world.service.pools
        spec = self.world.context.configuration.databases["db"]
        move_client(client.frontend, pools.pool_for_role(spec, "app", READER))
        return client

    def asking(self, text: str = "SELECT 1") -> tuple[Client, Server]:
        """Return a client that reads, and its server."""
        client = self.client()
        client.say(query(text))
        server = self.world.server()
        assert server.hear() == query(text)
        return client, server

    def answer(self, *names: str) -> None:
        """Have nodes answer as before; time passes."""
        self.world.wait(0.3)
        for name in names:
            if self.probes[name].asked is not None:
                self.probes[name].answer(writes() if name == WRITER else STANDBY)

    def status(self, host: str) -> NodeStatus:
        """Return what is known of a node."""
        return self.world.service.clusters.by_key["db"].machine.nodes[host]

    def why(self, host: str) -> str:
        """Return the column of SHOW TOPOLOGY."""
        rows = named_rows("topology", self.world.service.view)
        (why,) = (row.why for row in rows if row.host == host)
        return str(why)


def fall_silent(readers: Readers, silent: str) -> None:
    """Let a node be silent for long enough."""
    for _ in range(10):
        readers.answer(*{WRITER, *STANDBYS} - {silent})


def test_a_silent_reader(monitored: Monitored) -> None:
    """No client waits for it: they get an error, or another node serves them."""
    readers = Readers(monitored)
    reading, server = readers.asking()
    inside, second = readers.asking("BEGIN")
    second_host = second.backend.host
    second.say(BEGUN)
    inside.hear()
    silent = str(server.backend.host)
    assert second_host != silent
    calling = readers.client()
    assert calling.frontend.pool is reading.frontend.pool
    calling.say(query("CALL in_parts()"))
    third = readers.world.server()
    idle = readers.client()
    move_client(idle.frontend, reading.frontend.pool)
    fall_silent(readers, silent)
    assert server.is_gone()
    assert third.is_gone()
    assert not second.is_gone()
    assert error_code(calling.hear()) == "08007"
    assert reading.hear() == b""
    assert idle.frontend.pool is not server.backend.owner
    again = readers.world.server()
    assert again.backend.host == second_host
    assert again.answer() == query()
    assert reading.hear() == ANSWER
    assert readers.world.attempts == []


def test_a_transaction_at_a_silent_reader(monitored: Monitored) -> None:
    """It is lost, and its client gets the error, as if a writer were lost."""
    readers = Readers(monitored)
    inside, server = readers.asking("BEGIN")
    server.say(BEGUN)
    inside.hear()
    inside.say(query("SELECT 2"))
    fall_silent(readers, str(server.backend.host))
    assert error_code(inside.hear()) == "40001"
    inside.say(query("ROLLBACK"))
    assert inside.hear().endswith(READY)
    inside.say(query("SELECT 3"))
    other = readers.world.server()
    assert other.backend.host != server.backend.host
    assert other.answer() == query("SELECT 3")


def test_a_session_at_a_silent_reader(monitored: Monitored) -> None:
    """It ends, as with a writer."""
    readers = Readers(monitored, "pool_mode = session")
    client, server = readers.asking()
    fall_silent(readers, str(server.backend.host))
    assert error_code(client.hear()) == "57P01"
    assert client.is_gone()


def test_a_reader_that_answers_clients(monitored: Monitored) -> None:
    """It is alive, whatever becomes of the monitor's probes."""
    readers = Readers(monitored)
    client, server = readers.asking()
    host = str(server.backend.host)
    for _ in range(10):
        readers.answer(*{WRITER, *STANDBYS} - {host})
        server.answer()
        assert client.hear() == ANSWER
        client.say(query())
        server.hear()
    assert not server.is_gone()
    assert readers.probes[host].closed == 0
    fall_silent(readers, host)
    assert server.is_gone()


def test_questions_that_find_no_connection(monitored: Monitored) -> None:
    """A node that takes no new connections may still answer on those there are."""
    readers = Readers(monitored)
    client, server = readers.asking()
    server.answer()
    client.say(query())
    routes = readers.world.service.clusters.by_key["db"].routes
    status = readers.status(str(server.backend.host))
    routes.node_lost(status.node, is_silent=True)
    assert not server.is_gone()
    readers.world.wait(1.0)
    routes.node_lost(status.node, is_silent=True)
    readers.world.turn()
    assert server.is_gone()


def test_a_reader_that_is_lost_otherwise(monitored: Monitored) -> None:
    """What it is at is left to its own end: its connections say what becomes of it."""
    readers = Readers(monitored)
    _client, server = readers.asking()
    host = str(server.backend.host)
    readers.answer(WRITER, *STANDBYS)
    readers.probes[host].lost()
    readers.probes[host].fail(ProbeFailure.REFUSED, "refused")
    assert readers.why(host) == "refused"
    assert not server.is_gone()


def test_a_writer_that_leaves_and_falls_silent(monitored: Monitored) -> None:
    """Its busy connections end only so; no client waits for the next writer for it."""
    readers = Readers(monitored)
    client, server = readers.first, readers.writer
    client.say(query("CALL in_parts()"))
    assert server.hear()
    readers.answer(WRITER, *STANDBYS)
    readers.probes[WRITER].lost()
    readers.probes[WRITER].fail(ProbeFailure.REFUSED, "refused")
    assert not server.is_gone()
    fall_silent(readers, WRITER)
    assert server.is_gone()
    assert error_code(client.hear()) == "08007"
    client.say(query())
    assert readers.world.attempts == []


def test_a_reader_that_speaks_again(monitored: Monitored) -> None:
    """It takes readers again, its pool too."""
    readers = Readers(monitored)
    _client, server = readers.asking()
    host = str(server.backend.host)
    pool = server.backend.owner
    assert isinstance(pool, ServerPool)
    fall_silent(readers, host)
    assert pool.is_blocked()
    for _ in range(5):
        readers.answer(WRITER, *STANDBYS)
    assert not pool.is_blocked()
    later = readers.client()
    move_client(later.frontend, pool)
    later.say(query())
    (backend,) = pool.backends()
    assert backend.stored_state is ServerState.LOGIN


FULL = ("sorry, too many clients already", "53300")
REFUSALS = (
    FULL,
    ("the database system is shutting down", "57P03"),
    ("no pg_hba.conf entry", "28000"),
    ("something new", "XX000"),
)


@pytest.mark.parametrize(("words", "sqlstate"), REFUSALS)
def test_a_reader_that_refuses(monitored: Monitored, words: str, sqlstate: str) -> None:
    """Reads go to another; the column ``why`` has the reason; it is retried later."""
    readers = Readers(monitored)
    clients = [readers.client() for _ in range(4)]
    pool = clients[0].frontend.pool
    for client in clients[1:]:
        move_client(client.frontend, pool)
    for client in clients:
        client.say(query())
    refusing = readers.world.accept()
    refusing.hear()
    refusing.refuse(words, sqlstate)
    host = str(refusing.backend.host)
    assert readers.why(host) == f"refuses connections: {words}"
    others = [one for one in readers.world.attempts if one.host != host]
    assert len(others) == len(clients)
    servers = [one.accept() for one in others]
    for server in servers:
        server.log_in()
    assert [server.answer() for server in servers] == [query()] * len(clients)
    assert [client.hear() for client in clients] == [ANSWER] * len(clients)
    assert not any(client.frontend.pool is pool for client in clients)
    assert readers.client().frontend.pool is not pool
    for _ in range(55):
        readers.answer(WRITER, *STANDBYS)
    assert readers.why(host) == ""
    assert readers.client().frontend.pool is pool


def test_a_reader_that_takes_its_time_to_refuse(monitored: Monitored) -> None:
    """It is left alone from then on, not from when the login began."""
    readers = Readers(monitored, "server_login_retry = 0")
    client = readers.client()
    client.say(query())
    refusing = readers.world.accept()
    for _ in range(5):
        readers.answer(WRITER, *STANDBYS)
    refusing.refuse(*FULL)
    assert client.fault == ""
    (attempt,) = readers.world.attempts
    assert attempt.host != refusing.backend.host


def test_all_readers_refuse(monitored: Monitored) -> None:
    """Then clients read from the writer, and get what it answers."""
    readers = Readers(monitored)
    client = readers.client()
    client.say(query())
    for host in STANDBYS:
        (attempt,) = readers.world.attempts
        assert attempt.host == host
        attempt.accept().refuse(*FULL)
    assert client.frontend.pool.key.database == "db"
    assert readers.writer.answer() == query()
    assert client.hear() == ANSWER


def test_a_reader_that_is_full_but_for_ours(monitored: Monitored) -> None:
    """What we have there is used."""
    readers = Readers(monitored)
    first, server = readers.asking()
    pool = first.frontend.pool
    second = readers.client()
    move_client(second.frontend, pool)
    second.say(query())
    refusing = next(
        one for one in readers.world.attempts if one.host == server.backend.host
    )
    refusing.accept().refuse(*FULL)
    assert second.frontend.pool is not pool
    server.answer()
    assert first.hear() == ANSWER
    assert not pool.refuses_logins()
    third = readers.client()
    assert third.frontend.pool is pool
    third.say(query())
    assert server.answer() == query()


def test_a_writer_that_refuses(monitored: Monitored) -> None:
    """The column has the refusal as long as it lasts."""
    readers = Readers(monitored)
    readers.first.say(query())
    second = readers.world.client()
    second.hear()
    second.say(query())
    readers.world.accept().refuse(*FULL)
    assert readers.why(WRITER) == f"refuses connections: {FULL[0]}"
    assert second.state() == "waiting"
    readers.writer.answer()
    assert second.state() == "active"
    readers.writer.answer()
    third = readers.world.client()
    readers.first.say(query())
    third.hear()
    third.say(query())
    readers.world.wait(0.5)
    readers.world.server()
    assert readers.why(WRITER) == ""
