"""Internal queries by themselves; auth/test_user_lookup.py has them in logins."""

from __future__ import annotations

import pytest
from twisted.python.failure import Failure

from pgswitch.errors import Fault, QueryWaitTimeout
from tests.fakes.messages import (
    READY,
    TERMINATE,
    error,
    message,
    parameter,
    query,
)
from tests.fakes.world import Server, World, WorldOf
from tests.unit.pool.test_writer_route import OTHER, in_cluster


class FakeQuery:
    """A question, and what was answered."""

    def __init__(self, unfit: str = "") -> None:
        """``unfit`` is why the server is to be closed."""
        self.request = message(b"S")
        self.unfit = unfit
        self.heard = ""

    def message(self, kind: int, body: bytes) -> None:
        """Note the message."""
        del body
        self.heard += chr(kind)

    def begin_again(self) -> None:
        """Forget it."""
        self.heard = self.unfit = ""


def test_asked_and_answered(world: World) -> None:
    """The answer goes to the question, the server to the next one."""
    _client, server = world.pair()
    question = FakeQuery()
    done = world.pool().internal_queries.send(question, "u")
    assert server.state() == "tested"
    server.hear()
    server.say(message(b"n") + READY)
    assert (question.heard, done.called) == ("n", True)
    assert server.state() == "idle"


def left_by_a_client(world: World) -> Server:
    """Return an idle server that has a client's parameters."""
    client, server = world.pair(timezone="Asia/Tokyo", search_path="evil")
    client.say(query())
    server.hear()
    server.say(parameter("TimeZone", "Asia/Tokyo") + READY)
    assert server.answer() == query()
    return server


def test_no_client_decides_who_may_log_in(world_of: WorldOf) -> None:
    """What one has left on a server is undone before it is asked."""
    world = world_of(settings="track_extra_parameters = search_path")
    server = left_by_a_client(world)
    question = FakeQuery()
    done = world.pool().internal_queries.send(question, "u")
    assert server.hear() == query("SET TimeZone='UTC';RESET search_path;")
    server.say(parameter("TimeZone", "UTC") + READY)
    assert server.hear() == question.request
    server.say(message(b"n") + READY)
    assert (question.heard, done.called) == ("n", True)
    world.pool().internal_queries.send(question, "u")
    assert server.hear() == question.request


def test_parameters_that_cannot_be_undone(world_of: WorldOf) -> None:
    """The server is not asked, but closed; the waiting login gets an error."""
    world = world_of(settings="track_extra_parameters = search_path")
    server = left_by_a_client(world)
    failures: list[Failure] = []
    world.pool().internal_queries.send(FakeQuery(), "u").addErrback(failures.append)
    server.hear()
    server.say(error("no", "22023") + READY)
    assert server.is_gone()
    assert server.hear() == TERMINATE
    assert isinstance(failures[0].value, Fault)


def test_lost_while_they_are_undone(world_of: WorldOf) -> None:
    """The same when the server closes on its own."""
    world = world_of(settings="track_extra_parameters = search_path")
    server = left_by_a_client(world)
    failures: list[Failure] = []
    world.pool().internal_queries.send(FakeQuery(), "u").addErrback(failures.append)
    server.drop()
    assert isinstance(failures[0].value, Fault)


def test_lost_with_the_writer_of_a_cluster(world: World) -> None:
    """A login waits for the next writer; it is asked once more and no oftener."""
    _client, server = world.pair()
    route = in_cluster(world)
    failures: list[Failure] = []
    question = FakeQuery()
    done = world.pool().internal_queries.send(question, "u").addErrback(failures.append)
    server.hear()
    server.say(error("terminating connection", "57P01", "FATAL"))
    server.drop()
    route.wait_for_writer(is_leaving=True)
    assert question.heard == ""
    assert not done.called
    route.serve_from(OTHER, same=False)
    other = world.server()
    assert other.hear() == question.request
    other.drop()
    assert isinstance(failures[0].value, Fault)


def test_no_longer_than_a_login_may_wait(world_of: WorldOf) -> None:
    """Counted from when it was sent first."""
    world = world_of(settings="query_wait_timeout = 3")
    _client, server = world.pair()
    route = in_cluster(world)
    failures: list[Failure] = []
    world.pool().internal_queries.send(FakeQuery(), "u").addErrback(failures.append)
    world.wait(2.0)
    server.drop()
    route.wait_for_writer()
    world.wait(0.5)
    assert failures == []
    world.wait(1.0)
    assert isinstance(failures[0].value, QueryWaitTimeout)


def test_lost_while_the_service_ends(world: World) -> None:
    """No other server is asked."""
    _client, server = world.pair()
    in_cluster(world)
    failures: list[Failure] = []
    world.pool().internal_queries.send(FakeQuery(), "u").addErrback(failures.append)
    world.service.shutdown_wait_for_servers()
    server.drop()
    assert isinstance(failures[0].value, Fault)


def test_a_server_that_is_unfit(world: World) -> None:
    """Is closed."""
    _client, server = world.pair()
    world.pool().internal_queries.send(FakeQuery("bad answer"), "u")
    server.say(READY)
    assert server.is_gone()
    assert world.logged("closing because: bad answer")


def test_reset_in_session_mode(world_of: WorldOf) -> None:
    """A server is released after an internal query as after any other."""
    world = world_of(settings="pool_mode = session")
    _client, server = world.pair()
    world.pool().internal_queries.send(FakeQuery(), "u")
    server.hear()
    server.say(READY)
    assert b"DISCARD ALL" in server.hear()


def test_a_paused_pool(world: World) -> None:
    """Asks when the pause is over."""
    world.pair()
    world.service.pause_all()
    done = world.pool().internal_queries.send(FakeQuery(), "u")
    assert len(world.pool().internal_queries) == 1
    world.service.resume_all()
    world.server().say(READY)
    assert done.called


def test_given_up(world: World) -> None:
    """No login waits: nothing is asked and no outcome reported."""
    world.pair()
    world.service.pause_all()
    internal_queries = world.pool().internal_queries
    done = internal_queries.send(FakeQuery(), "u")
    done.addErrback(lambda _: None)
    done.cancel()
    assert internal_queries.waiting() == []
    internal_queries.fail(Fault())


@pytest.mark.parametrize(
    ("command", "text"),
    [("kill", "database removed"), ("turn_waiters_away", "server shutting down")],
)
def test_sent_away(world: World, command: str, text: str) -> None:
    """With the pool, or with all logins."""
    world.pair()
    world.service.pause_all()
    failed: list[str] = []
    done = world.pool().internal_queries.send(FakeQuery(), "u")

    def note(failure: Failure) -> None:
        failed.append(str(failure.value))

    done.addErrback(note)
    pool = world.pool()
    if command == "kill":
        world.service.pools.drop(pool)
    else:
        world.service.shutdown_wait_for_servers()
    assert failed == [
        "database removed" if command == "kill" else "server shutting down"
    ]
