"""Clients whose server is lost, and what explains it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.cluster.node_checks import CheckResult
from pgswitch.cluster.nodes import Node
from pgswitch.pool.failover import TIMEOUT_S
from pgswitch.pool.pool import move_client
from pgswitch.pool.reader_route import ReaderRoute
from pgswitch.pool.writer_route import WriterRoute
from pgswitch.wire import encode
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    READY,
    RESULT,
    error,
    kinds,
    message,
    query,
    split,
)
from tests.fakes.world import Client, Server, World, WorldOf
from tests.unit.pool.test_reader_route import NODE
from tests.unit.pool.test_reader_route import NotedCluster as NotedReaders
from tests.unit.pool.test_writer_route import OTHER, NotedCluster

ENDED = error("terminating connection", "57P01", "FATAL")
IDLE_TOO_LONG = error("idle in transaction for too long", "25P03", "FATAL")
CRASHING = b"N" + error("crash of another server process", "57P02", "WARNING")[1:]
INSERT = query("INSERT INTO t VALUES (1)")
READ = query("SELECT a FROM t")
CALL = query("SELECT f(1)")
LONGEST_S = 1.0 + TIMEOUT_S
"""For how long a client is held, with the default of switchover_silence."""
HERE = Node("a", "10.0.0.1", 5432)


class Setting:
    """A client of a cluster that asks something, and its server."""

    def __init__(self, world: World) -> None:
        """Make both; the writer is HERE."""
        self.world = world
        self.client: Client
        self.server: Server
        self.client, self.server = world.pair()
        self.cluster = NotedCluster()
        self.route = WriterRoute(world.pool(), self.cluster)
        self.route.node = HERE
        world.pool().set_route(self.route)

    def ask(self, asked: bytes = INSERT) -> None:
        """Have the client ask something of its server."""
        self.client.say(asked)
        assert self.server.hear()

    def lose(self, says: bytes = ENDED) -> None:
        """Close the server, optionally with a shutdown notice."""
        if says:
            self.server.say(says)
        self.server.drop()

    def find(self, finding: CheckResult) -> None:
        """Have the calls on the writer find something."""
        calls, self.cluster.calls = self.cluster.calls, []
        assert calls
        for heard in calls:
            heard(finding)

    @property
    def is_blocked(self) -> bool:
        """Whether the client waits, and is asked of no server."""
        return (
            self.client.state() == "waiting" and not self.world.pool().idle_pool.waiters
        )

    @property
    def is_queued(self) -> bool:
        """Whether it waits for the next server."""
        return self.client.frontend.stream in self.world.pool().idle_pool.waiters

    def reruns(self) -> int:
        """Return what SHOW ERRORS has of statements that were run again."""
        return sum(
            one.number
            for one in self.world.context.failures
            if one.cause == "statement run again"
        )


@pytest.fixture
def setting(world: World) -> Setting:
    """Return a setting."""
    return Setting(world)


def fields_of(heard: bytes) -> dict[str, str]:
    """Return the fields of the first error."""
    body = next(body for kind, body in split(heard) if kind == "E")
    fields = body.rstrip(b"\0").decode().split("\0")
    return {field[0]: field[1:] for field in fields}


# A writer.


def test_held_until_it_is_known_why(setting: Setting) -> None:
    """Until then no server is asked."""
    setting.ask()
    setting.lose()
    assert setting.is_blocked
    assert setting.client.hear() == b""
    assert setting.world.attempts == []


def test_ended_by_a_command(setting: Setting) -> None:
    """The writer is well: the statement has the error that the server had for it."""
    setting.ask()
    setting.lose()
    setting.find(CheckResult.WELL)
    heard = setting.client.hear()
    assert kinds(heard) == "EZ"
    assert heard.endswith(READY)
    told = fields_of(heard)
    assert (told["S"], told["C"]) == ("ERROR", "57P01")
    assert told["M"] == "terminating connection"
    assert "not run again: its node is well" in told["D"]
    assert setting.reruns() == 0
    setting.client.say(READ)
    assert setting.world.server().hear() == READ


@pytest.mark.parametrize("asked", [INSERT, READ])
def test_the_end_of_the_search(setting: Setting, asked: bytes) -> None:
    """The writer is another: the query runs again, is counted and logged."""
    setting.ask(asked)
    setting.lose(b"" if asked == READ else ENDED)
    setting.route.wait_for_writer(is_leaving=True)
    setting.route.serve_from(OTHER, same=False)
    other = setting.world.server()
    assert other.answer() == asked
    assert setting.client.hear() == ANSWER
    assert setting.reruns() == 1
    assert setting.cluster.loss_counts.retried == 1
    word = asked[5:11].decode()
    line = next(one for one in setting.world.log if "run the statement again" in one)
    assert line.startswith("LOG")
    assert f"run the statement again: {word} " in line
    assert " t" not in line.partition(word)[2]


def test_no_delay_once_the_writer_is_given_up(setting: Setting) -> None:
    """What it has undone waits for the next writer with all others, -R or not."""
    setting.ask()
    setting.route.wait_for_writer(is_leaving=True)
    setting.lose()
    assert setting.is_queued
    assert setting.cluster.calls == []


def test_held_during_the_search(setting: Setting) -> None:
    """A read without a word: it is not known yet whether its node comes back."""
    setting.ask(READ)
    setting.lose(b"")
    setting.route.wait_for_writer(is_leaving=True)
    setting.find(CheckResult.WELL)
    setting.world.wait(2 * LONGEST_S)
    assert setting.is_blocked
    setting.route.serve_from(HERE, same=False)
    assert fields_of(setting.client.hear())["C"] == "08007"


def test_the_beginning_of_an_answer(setting: Setting) -> None:
    """It comes with the shutdown notice: the next server sends it again."""
    setting.ask(READ)
    setting.lose(message(b"T", b"\0\0") + CRASHING)
    assert setting.client.hear() == b""
    setting.route.wait_for_writer()
    setting.route.serve_from(OTHER, same=False)
    assert setting.world.server().answer() == READ
    assert setting.client.hear() == ANSWER


@pytest.mark.parametrize("says", [b"", CRASHING])
def test_a_crash_of_the_same_node(setting: Setting, says: bytes) -> None:
    """Perhaps it was this statement that has killed it: never run again."""
    setting.ask(READ)
    setting.lose(says)
    setting.route.wait_for_writer()
    setting.route.serve_from(HERE, same=False)
    told = fields_of(setting.client.hear())
    assert told["C"] == "08007"
    assert "not run again: its node was restarted" in told["D"]
    assert setting.reruns() == 0


def test_a_planned_restart(setting: Setting) -> None:
    """The server has undone it, and is back: run again."""
    setting.ask()
    setting.lose()
    setting.route.wait_for_writer(is_leaving=True)
    setting.route.serve_from(HERE, same=False)
    assert setting.world.server().hear() == INSERT


def test_said_and_not_done(setting: Setting) -> None:
    """A server that says that it ends is waited for no longer than a moment."""
    setting.ask()
    setting.server.say(ENDED)
    assert setting.client.state() == "active"
    setting.world.wait(0.5)
    assert setting.is_blocked
    setting.find(CheckResult.WELL)
    assert fields_of(setting.client.hear())["C"] == "57P01"


def test_a_limit_of_the_server(setting: Setting) -> None:
    """Any FATAL that rolls back is passed on with its own text, as an ERROR."""
    setting.ask()
    setting.lose(error("transaction timeout", "25P04", "FATAL"))
    setting.find(CheckResult.WELL)
    told = fields_of(setting.client.hear())
    assert (told["S"], told["C"]) == ("ERROR", "25P04")


def test_no_verdict(setting: Setting) -> None:
    """The writer says neither: after a while the client gets an error, once."""
    setting.ask()
    setting.lose()
    setting.find(CheckResult.UNKNOWN)
    setting.world.wait(LONGEST_S - 0.25)
    assert setting.is_blocked
    setting.world.wait(0.25)
    assert fields_of(setting.client.hear())["C"] == "57P01"
    assert setting.client.state() == "idle"
    for heard in setting.cluster.calls:
        heard(CheckResult.WELL)
    assert setting.client.hear() == b""


def test_ended_at_a_start(setting: Setting) -> None:
    """A pool that serves no client yet says nothing about the writer."""
    setting.ask()
    setting.route.wait_for_nodes()
    setting.lose()
    assert setting.is_blocked
    setting.find(CheckResult.WELL)
    assert setting.is_blocked
    setting.route.serve_from(HERE, same=True)
    assert setting.is_blocked
    setting.find(CheckResult.WELL)
    assert fields_of(setting.client.hear())["C"] == "57P01"
    assert setting.reruns() == 0


def test_no_verdict_after_a_start(setting: Setting) -> None:
    """No client waits longer than after any loss, counted from there."""
    setting.ask()
    setting.route.wait_for_nodes()
    setting.lose()
    setting.world.wait(2 * LONGEST_S)
    assert setting.is_blocked
    setting.route.serve_from(HERE, same=True)
    setting.find(CheckResult.UNKNOWN)
    setting.world.wait(LONGEST_S + 0.1)
    assert fields_of(setting.client.hear())["C"] == "57P01"


def test_moved_at_a_start(setting: Setting) -> None:
    """The writer is another by now."""
    setting.ask()
    setting.route.wait_for_nodes()
    setting.lose()
    setting.route.serve_from(OTHER, same=False)
    assert setting.world.server().answer() == INSERT
    assert setting.reruns() == 1


def test_called_on_again(setting: Setting) -> None:
    """A writer that takes no connections is the machine's to give up, or is well."""
    setting.ask()
    setting.lose()
    setting.find(CheckResult.NOT_READY)
    assert setting.cluster.calls == []
    setting.world.wait(0.25)
    assert setting.is_blocked
    setting.find(CheckResult.WELL)
    assert fields_of(setting.client.hear())["C"] == "57P01"


def test_only_once(setting: Setting) -> None:
    """A statement that loses each server that it is asked of is a suspect."""
    setting.ask(READ)
    setting.lose(b"")
    setting.route.serve_from(OTHER, same=False)
    second = setting.world.server()
    assert second.hear() == READ
    second.drop()
    told = fields_of(setting.client.hear())
    assert told["C"] == "08007"
    assert "it had been run again before" in told["D"]
    setting.client.say(READ)
    third = setting.world.server()
    assert third.answer() == READ
    assert setting.client.hear() == ANSWER
    # What comes next is another statement.
    setting.world.wait(0.25)
    setting.client.say(READ)
    third.drop()
    setting.route.serve_from(HERE, same=False)
    assert setting.world.server().hear() == READ


def test_its_own_deadline(world_of: WorldOf) -> None:
    """It counts from the first time that the statement was asked."""
    setting = Setting(world_of(settings="query_wait_timeout = 5"))
    setting.ask()
    setting.world.wait(4)
    setting.route.wait_for_writer(is_leaving=True)
    setting.lose()
    assert setting.is_queued
    setting.world.wait(1.5)
    told = fields_of(setting.client.hear())
    assert told["M"] == "query_wait_timeout"
    assert told["D"] == "There is no writer: a was lost, why not."
    assert setting.client.is_gone()


def test_held_beyond_its_deadline(world_of: WorldOf) -> None:
    """A search may take longer than a client waits."""
    setting = Setting(world_of(settings="query_wait_timeout = 5"))
    setting.ask(READ)
    setting.lose(b"")
    setting.route.wait_for_writer()
    setting.world.wait(6)
    assert fields_of(setting.client.hear())["M"] == "query_wait_timeout"
    assert setting.client.is_gone()
    assert not list(setting.world.pool().held_clients.streams())


def test_too_late(world_of: WorldOf) -> None:
    """What has run for longer than that is not begun again."""
    setting = Setting(world_of(settings="query_wait_timeout = 5"))
    setting.ask()
    setting.world.wait(6)
    setting.lose()
    told = fields_of(setting.client.hear())
    assert told["C"] == "57P01"
    assert "query_wait_timeout is over" in told["D"]


def test_parameters_set_again_and_again(world_of: WorldOf) -> None:
    """Servers that are lost meanwhile do not make the wait begin again."""
    setting = Setting(world_of(settings="query_wait_timeout = 5"))
    client = setting.world.client(TimeZone="Asia/Tokyo")
    client.hear()
    client.say(INSERT)
    server = setting.server
    for _ in range(8):
        assert b"TimeZone" in server.hear()
        setting.world.wait(0.75)
        server.drop()
        if client.is_gone():
            break
        server = setting.world.server()
    assert client.fault == "query_wait_timeout"


def test_every_client_is_decided_about(setting: Setting) -> None:
    """Those who waited longest are first again."""
    world = setting.world
    second = world.client()
    second.hear()
    setting.ask()
    second.say(READ)
    other = world.server()
    other.hear()
    setting.lose()
    other.say(ENDED)
    other.drop()
    third = world.client()
    third.hear()
    setting.route.wait_for_writer()
    third.say(CALL)
    streams = [one.frontend.stream for one in (setting.client, second, third)]
    assert world.pool().idle_pool.waiters == streams


def test_it_leaves(setting: Setting) -> None:
    """No client is left to be notified."""
    setting.ask()
    setting.lose()
    setting.client.drop()
    assert not list(setting.world.pool().held_clients.streams())
    setting.find(CheckResult.WELL)
    setting.world.wait(2 * LONGEST_S)
    assert setting.world.attempts == []


def test_cancelled(setting: Setting) -> None:
    """A cancel request ends a held client's query."""
    setting.ask(READ + query("SELECT b FROM t"))
    setting.lose()
    setting.client.say(CALL)
    key = setting.client.frontend.cancel_key
    setting.world.connect().say(encode.cancel_request(key))
    assert fields_of(setting.client.hear())["C"] == "57014"
    assert [one.sqlstate for one in setting.world.context.failures] == ["57014"]
    assert setting.world.server().hear() == query("SELECT b FROM t") + CALL


def test_what_comes_meanwhile(setting: Setting) -> None:
    """It is asked next, whatever becomes of the lost query."""
    setting.ask()
    setting.lose()
    setting.client.say(READ)
    setting.client.say(CALL)
    assert setting.client.frontend.stream.paused
    setting.find(CheckResult.WELL)
    assert kinds(setting.client.hear()) == "EZ"
    server = setting.world.server()
    assert server.hear() == READ + CALL
    server.say(ANSWER, ANSWER)
    assert setting.client.hear() == ANSWER + ANSWER


def test_the_extended_protocol(setting: Setting) -> None:
    """The same; a pipeline has one error and its ReadyForQuery."""
    asked = (
        encode.parse("s", "INSERT INTO t VALUES ($1)")
        + encode.bind("", "s")
        + encode.execute()
        + encode.sync()
    )
    setting.ask(asked)
    setting.lose(message(b"1") + message(b"2") + ENDED)
    setting.find(CheckResult.WELL)
    heard = setting.client.hear()
    assert kinds(heard) == "EZ"
    assert fields_of(heard)["C"] == "57P01"
    # The statement was not prepared: it is so now.
    setting.client.say(encode.bind("", "s") + encode.execute() + encode.sync())
    assert setting.client.hear() == b""


def test_suspended(setting: Setting) -> None:
    """Another process cannot take over a held client: SUSPEND waits for it."""
    setting.ask(READ)
    setting.lose(b"")
    admin = setting.world.console()
    admin.say(query("SUSPEND"))
    setting.world.wait(0.1)
    assert setting.is_blocked
    assert admin.hear() == b""
    setting.route.serve_from(OTHER, same=False)
    setting.world.wait(0.1)
    assert kinds(admin.hear()) == "CZ"
    assert setting.is_queued
    admin.say(query("RESUME"))
    assert setting.world.server().answer() == READ
    assert setting.client.hear() == ANSWER


def test_suspended_and_no_verdict(setting: Setting) -> None:
    """Everybody waits for the end of the suspension, so this one not for long."""
    setting.ask(READ)
    setting.lose(b"")
    setting.route.wait_for_writer(is_leaving=True)
    admin = setting.world.console()
    admin.say(query("SUSPEND"))
    setting.world.wait(LONGEST_S - 0.1)
    assert setting.is_blocked
    setting.world.wait(0.2)
    assert fields_of(setting.client.hear())["C"] == "08007"
    assert kinds(admin.hear()) == "CZ"


@pytest.mark.parametrize("says", [b"", ENDED, CRASHING])
def test_a_transaction_in_the_same_text(setting: Setting, says: bytes) -> None:
    """Certainly nothing of it was committed, whatever the cause of the loss."""
    setting.ask(query("BEGIN; INSERT INTO t VALUES (1)"))
    setting.lose(says)
    if setting.is_blocked:
        setting.find(CheckResult.WELL)
    heard = setting.client.hear()
    assert fields_of(heard)["C"] == "40001"
    assert heard.endswith(b"E")
    assert setting.cluster.loss_counts.errors == {"40001": 1}
    setting.client.say(query("ROLLBACK"))
    assert setting.client.hear().endswith(READY)


@pytest.mark.parametrize("how", ["wait", "drain"])
def test_the_service_ends(setting: Setting, how: str) -> None:
    """No client waits for a server that will not be opened."""
    setting.ask()
    setting.lose()
    service = setting.world.service
    if how == "wait":
        service.shutdown_wait_for_servers()
    else:
        setting.world.console().say(query("SHUTDOWN WAIT_FOR_SERVERS"))
    setting.world.turn()
    assert fields_of(setting.client.hear())["C"] == "57P01"
    assert not setting.is_queued


def test_lost_while_the_service_ends(setting: Setting) -> None:
    """What is lost then is not asked again either."""
    setting.ask()
    setting.world.service.shutdown_wait_for_servers()
    setting.lose()
    told = fields_of(setting.client.hear())
    assert told["C"] == "57P01"
    assert "pgswitch shuts down" in told["D"]


def test_the_cluster_is_no_more(setting: Setting) -> None:
    """A reload may take it away."""
    setting.ask()
    setting.lose()
    setting.route.close()
    assert fields_of(setting.client.hear())["C"] == "57P01"


def test_shown_as_waiting(setting: Setting) -> None:
    """Held clients count as waiting, in SHOW POOLS too."""
    setting.ask()
    setting.lose()
    console = setting.world.console()
    console.say(query("SHOW POOLS"))
    row = next(body for _kind, body in split(console.hear()) if b"transaction" in body)
    assert row.count(b"\0\0\0\1" + b"1") >= 1
    (pool,) = [
        one
        for one in named_rows("pools", setting.world.service.view)
        if one.database == setting.world.pool().key.database
    ]
    assert (pool.cl_active, pool.cl_waiting) == (0, 1)


# Words that are never passed on as they are.


def test_idle_for_too_long(setting: Setting) -> None:
    """The transaction is lost; the next statement gets the error, with the reason."""
    setting.ask(query("BEGIN"))
    setting.server.say(RESULT, IN_TRANSACTION)
    setting.client.hear()
    setting.lose(IDLE_TOO_LONG)
    assert setting.client.hear() == b""
    setting.client.say(INSERT)
    told = fields_of(setting.client.hear())
    assert (told["S"], told["C"]) == ("ERROR", "40001")
    said = "The server said: idle in transaction for too long (25P03)."
    assert told["D"] == f"{said} Nothing of it was committed."


@pytest.mark.parametrize("cut", [0, 3, 12, len(ENDED) - 1])
@pytest.mark.parametrize("rest", [0, 20_000])
def test_behind_part_of_a_result(setting: Setting, rest: int, cut: int) -> None:
    """Wherever the chunks end, the client has one error and no FATAL."""
    row = message(b"D", b"x" * 50_000)
    setting.ask(READ)
    setting.server.say(row[: len(row) - rest])
    if rest or cut:
        setting.server.say(row[len(row) - rest :] + ENDED[:cut])
    setting.lose(ENDED[cut:])
    heard = setting.client.hear()
    assert kinds(heard) == "DEZ"
    told = fields_of(heard)
    assert (told["S"], told["C"]) == ("ERROR", "08007")
    assert told["D"] == "The server said: terminating connection (57P01)."


def test_a_session(world_of: WorldOf) -> None:
    """It ends with its server, and with its words, as with PgBouncer."""
    setting = Setting(world_of(settings="pool_mode = session"))
    setting.ask()
    setting.lose()
    told = fields_of(setting.client.hear())
    assert (told["S"], told["C"], told["M"]) == (
        "FATAL",
        "57P01",
        "terminating connection",
    )
    assert setting.client.is_gone()


def test_counted(setting: Setting) -> None:
    """SHOW ERRORS counts the errors sent to clients."""
    setting.ask(query("BEGIN"))
    setting.server.say(RESULT, IN_TRANSACTION)
    setting.lose(b"")
    setting.client.say(INSERT + INSERT)
    told = {one.sqlstate: one.number for one in setting.world.context.failures}
    assert told == {"40001": 1, "25P02": 1}


# A reader.


class Reading:
    """A client in the pool of a node, whose query runs there."""

    def __init__(self, world: World, asked: bytes = CALL) -> None:
        """Ask."""
        self.world = world
        self.client, _server = world.pair()
        self.home = world.pool()
        self.cluster = NotedReaders()
        spec = replace(self.home.spec, name="b", host="10.0.0.2")
        self.pool = world.service.pools.pool(spec, "app")
        self.goes_to = self.pool
        self.pool.route = ReaderRoute(
            self.pool, NODE, self.cluster, lambda _pool: self.goes_to
        )
        move_client(self.client.frontend, self.pool)
        self.client.say(asked)
        self.server = world.server()
        assert self.server.hear() == asked

    def lose(self, says: bytes = b"") -> None:
        """Close the server, optionally with a shutdown notice."""
        if says:
            self.server.say(says)
        self.server.drop()

    def find(self, finding: CheckResult) -> None:
        """Have the calls on the node find something."""
        calls, self.cluster.calls = self.cluster.calls, []
        assert calls
        for heard in calls:
            heard(finding)


@pytest.mark.parametrize("says", [b"", ENDED])
def test_a_reader_is_gone(world: World, says: bytes) -> None:
    """Even a function can be run again elsewhere: nothing was written."""
    reading = Reading(world)
    reading.lose(says)
    reading.goes_to = reading.home
    reading.find(CheckResult.UNREACHABLE)
    assert reading.client.frontend.pool is reading.home
    (backend,) = reading.home.backends()
    assert backend.stream.peer is reading.client.frontend.stream


def test_a_reader_leaves(world: World) -> None:
    """It has said so, and takes no connections: it was stopped."""
    reading = Reading(world)
    reading.lose(ENDED)
    reading.goes_to = reading.home
    reading.find(CheckResult.NOT_READY)
    assert reading.client.frontend.pool is reading.home


def test_a_reader_is_well(world: World) -> None:
    """The query was terminated, or it has killed its backend."""
    reading = Reading(world)
    reading.lose()
    reading.find(CheckResult.NOT_READY)
    world.wait(0.25)
    reading.find(CheckResult.WELL)
    assert fields_of(reading.client.hear())["C"] == "08007"
    assert reading.client.state() == "idle"


def test_node_after_node(world: World) -> None:
    """A query that has lost one reader is not run again on a third."""
    reading = Reading(world, READ)
    reading.lose()
    reading.goes_to = reading.home
    in_home = NotedCluster()
    route = WriterRoute(reading.home, in_home)
    reading.home.set_route(route)
    reading.find(CheckResult.UNREACHABLE)
    (backend,) = reading.home.backends()
    assert backend.stream.peer is reading.client.frontend.stream
    backend.connectionLost(None)  # type: ignore[arg-type]
    told = fields_of(reading.client.hear())
    assert "it had been run again before" in told["D"]


def test_no_standby(world: World) -> None:
    """A node that was promoted may have written what a function does."""
    reading = Reading(world)
    reading.cluster.standby = False
    reading.lose()
    assert fields_of(reading.client.hear())["C"] == "08007"
    assert reading.cluster.calls == []
