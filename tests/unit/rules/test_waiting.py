"""Functions that return a Deferred, and the clients that wait for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from pgswitch.wire.encode import cancel_request
from tests.fakes.messages import (
    ANSWER,
    IN_TRANSACTION,
    error,
    error_text,
    kinds,
    message,
    query,
    split,
)
from tests.fakes.world import World, WorldOf
from tests.unit.rules.worlds import world_with

WAITING = """
pending = []

async def rewrite_query(username, query, in_transaction):
    return await pending[-1] if pending else None

def routing_rules(username, query, in_transaction):
    return None
"""


def with_pending(world: World) -> list[Deferred[object]]:
    """Return the list of what the rules wait for, to be filled."""
    registry = world.service.rules.registry
    assert registry is not None
    rules = registry.of_database("db")
    assert rules is not None
    assert rules.rewriting is not None
    pending: list[Deferred[object]] = rules.rewriting.module.module.pending
    return pending


def test_what_takes_its_time(world_of: WorldOf, tmp_path: Path) -> None:
    """Only that client waits; its query goes on with the answer."""
    world = world_with(world_of, tmp_path, "", WAITING)
    client, server = world.pair()
    pending = with_pending(world)
    client.say(query("SELECT at once"))
    assert server.answer() == query("SELECT at once")
    pending.append(Deferred())
    client.say(query("SELECT 1"))
    assert server.hear() == b""
    pending[-1].callback("SELECT 2")
    assert server.answer() == query("SELECT 2")
    assert client.hear() == ANSWER * 2


def test_what_takes_too_long(world_of: WorldOf, tmp_path: Path) -> None:
    """It has failed then, and what it says later counts no more."""
    world = world_with(world_of, tmp_path, "", WAITING, "rules_timeout = 2")
    client, server = world.pair()
    pending = with_pending(world)
    stubborn: Deferred[object] = Deferred(lambda _: None)
    pending.append(stubborn)
    client.say(query("SELECT 1"))
    world.wait(1.5)
    assert server.hear() == b""
    world.wait(1)
    assert server.hear() == query("SELECT 1")
    assert world.logged("rewrite_query failed: RuleTimeout: no answer for 2 s")


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1)])
def test_what_cannot_be_cancelled(
    world_of: WorldOf, tmp_path: Path, error: BaseException
) -> None:
    """Its client does not wait for ever for that, nor does it stay when it has left."""

    def refuse(_deferred: Deferred[object]) -> None:
        raise error

    text = WAITING.replace("async def", "def").replace("await ", "")
    world = world_with(world_of, tmp_path, "", text, "rules_timeout = 2")
    client, server = world.pair()
    pending = with_pending(world)
    pending.append(Deferred(refuse))
    client.say(query("SELECT 1"))
    world.wait(3)
    assert server.answer() == query("SELECT 1")
    pending.append(Deferred(refuse))
    client.say(query("SELECT 2"))
    client.drop()
    assert client.is_gone()
    assert world.pool().clients == {}
    assert world.logged(f"cancelling a rule failed: {error!r}")


class Mute(Exception):
    """Has no words, and counts as false."""

    def __str__(self) -> str:
        raise ValueError

    __repr__ = __bool__ = __str__


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), Mute()]
)
def test_whatever_is_raised_at_last(
    world_of: WorldOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    """It is a failure: the query goes on as it was."""
    monkeypatch.setattr("signal.getsignal", lambda _number: None)
    world = world_with(world_of, tmp_path, "", WAITING)
    client, server = world.pair()
    pending = with_pending(world)
    pending.append(Deferred())
    client.say(query("SELECT 1"))
    assert server.hear() == b""
    pending[-1].errback(error)
    assert server.answer() == query("SELECT 1")
    assert world.logged(f"rewrite_query failed: {type(error).__name__}")


def test_what_cannot_be_waited_for(world_of: WorldOf, tmp_path: Path) -> None:
    """It says that it can, and raises when it is tried."""
    text = """
    class Later:
        def __await__(self):
            raise SystemExit

    class Odd(__import__("twisted.internet.defer").internet.defer.Deferred):
        def addCallbacks(self, *_):
            raise SystemExit

    def rewrite_query(username, query, in_transaction):
        return Later() if "later" in query else Odd()

    def routing_rules(username, query, in_transaction):
        return None
    """
    world = world_with(world_of, tmp_path, "", text)
    client, server = world.pair()
    for asked in ("SELECT later", "SELECT odd"):
        client.say(query(asked))
        assert server.answer() == query(asked)
    assert world.logged("rewrite_query failed: SystemExit")


def test_a_client_that_leaves_meanwhile(world_of: WorldOf, tmp_path: Path) -> None:
    """The function is cancelled, and what it says then comes to nothing."""
    world = world_with(world_of, tmp_path, "", WAITING)
    client, server = world.pair()
    pending = with_pending(world)
    pending.append(Deferred())
    before = len(world.reactor.getDelayedCalls())
    client.say(query("SELECT 1"))
    assert len(world.reactor.getDelayedCalls()) > before
    client.drop()
    assert client.is_gone()
    assert pending[-1].called, "the function learns that no client waits"
    assert len(world.reactor.getDelayedCalls()) <= before, "nor is any time measured"
    pending[-1].callback("SELECT 2")
    assert server.hear() == b""
    assert not world.logged("rewrite_query failed")


CANCELLED = "canceling statement due to user request"
SYNC = message(b"S")
PIPELINE = message(b"P", b"\0SELECT 1\0\0\0") + message(b"E", bytes(5)) + SYNC


@pytest.mark.parametrize("asked", [query("SELECT 1"), PIPELINE])
def test_a_query_that_is_cancelled_meanwhile(
    world_of: WorldOf, tmp_path: Path, asked: bytes
) -> None:
    """It ends as if a server had cancelled it, and so does its pipeline."""
    world = world_with(world_of, tmp_path, "", WAITING)
    client = world.client()
    server = world.server()
    key = dict(split(client.hear()))["K"]
    pending = with_pending(world)
    pending.append(Deferred())
    client.say(asked + query("SELECT 2"))
    world.connect().say(cancel_request(key))
    assert pending.pop().called
    told = client.hear()
    assert (kinds(told), error_text(told)) == ("EZ", CANCELLED)
    assert server.answer() == query("SELECT 2")
    assert client.hear() == ANSWER


def test_a_query_that_is_cancelled_in_a_transaction(
    world_of: WorldOf, tmp_path: Path
) -> None:
    """The server is made to fail it, so that both ends know."""
    world = world_with(world_of, tmp_path, "", WAITING)
    client = world.client()
    server = world.server()
    key = dict(split(client.hear()))["K"]
    client.say(query("BEGIN"))
    assert server.hear() == query("BEGIN")
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    client.hear()
    with_pending(world).append(Deferred())
    client.say(query("SELECT 1"))
    world.connect().say(cancel_request(key))
    assert server.hear() == query("SELECT CAST('pgswitch: cancelled' AS integer)")
    server.say(error("no number") + message(b"Z", b"E"))
    told = client.hear()
    assert (kinds(told), error_text(told)) == ("EZ", CANCELLED)
