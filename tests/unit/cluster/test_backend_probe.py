"""A probe that logs in as the pools do, on made-up connections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure as TwistedFailure

from pgswitch.cluster.backend_probe import BackendProbe
from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.probe import FULL, LONG, ProbeFailed, QueryRows
from pgswitch.wire import encode
from tests.fakes.messages import READY, error, message, query
from tests.fakes.world import World


def rows(names: list[str], *values: list[bytes | None]) -> bytes:
    """Return an answer with these columns."""
    columns = b"".join(name.encode() + b"\0" + bytes(18) for name in names)
    described = message(b"T", len(names).to_bytes(2, "big") + columns)
    data = b"".join(encode.data_row(row) for row in values)
    return described + data + message(b"C", b"SELECT 1\0") + READY


class Probing:
    """One probe, and what came of its questions."""

    def __init__(self, world: World) -> None:
        """Begin without a connection."""
        self.world = world
        self.losses = 0
        spec = world.context.configuration.databases["db"]
        at = replace(spec, host="10.0.0.2", port=5433)
        self.probe = BackendProbe(world.context, at, "app", self._lost)
        self.results: list[object] = []

    def _lost(self) -> None:
        self.losses += 1

    def ask(self) -> None:
        """Ask what the node is."""
        self._note(self.probe.ask())

    def read(self, text: str) -> None:
        """Run a query."""
        self._note(self.probe.read(text))

    def _note(self, asking: Deferred[NodeReport] | Deferred[QueryRows]) -> None:
        asking.addBoth(self.results.append)

    def fault(self) -> tuple[ProbeFailure, str]:
        """Return how the last question failed."""
        failure = self.results.pop()
        assert isinstance(failure, TwistedFailure)
        assert isinstance(failure.value, ProbeFailed)
        return failure.value.failure, str(failure.value)


@pytest.fixture
def probing(world: World) -> Probing:
    """Return a probe of one node."""
    return Probing(world)


def test_an_answer(world: World, probing: Probing) -> None:
    """The connection is made for the first question, and kept for the next."""
    probing.ask()
    (attempt,) = world.attempts
    assert (attempt.host, attempt.port) == ("10.0.0.2", 5433)
    server = world.accept()
    assert b"pgswitch monitor" in server.transport.socket.sent
    server.log_in()
    assert probing.probe.is_connected
    assert server.hear() == query(FULL)
    answer = [b"f", b"42", b"0000000A0000000000000001", None, b"7"]
    server.say(rows(["a", "b", "c", "d", "e"], answer))
    assert probing.results == [
        NodeReport(in_recovery=False, timeline=10, lsn=42, system=7)
    ]
    probing.read("select host")
    assert server.hear() == query("select host")
    server.say(rows(["host", "port"], [b"a", b"1"], [b"b", None]))
    assert probing.results[1] == (("host", "port"), [["a", "1"], ["b", None]])


def test_a_question_refused(world: World, probing: Probing) -> None:
    """Less is asked, on the same connection."""
    probing.ask()
    server = world.server()
    server.hear()
    server.say(error("permission denied", "42501"), READY)
    assert server.hear() == query(LONG)
    server.say(rows(["a", "b", "c", "d"], [b"t", b"1", None, b"0"]))
    assert probing.results == [NodeReport(in_recovery=True, lsn=1, lag_s=0.0)]


@pytest.mark.parametrize("code", ["57014", "40001", "53200"])
def test_a_question_refused_this_time(
    world: World, probing: Probing, code: str
) -> None:
    """Nothing less is asked for that; the connection stays."""
    probing.ask()
    server = world.server()
    server.hear()
    server.say(error("canceling statement", code), READY)
    assert probing.fault() == (ProbeFailure.UNFIT, "canceling statement")
    assert probing.probe.is_connected
    probing.ask()
    assert server.hear() == query(FULL)


def test_it_is_not_ready_when_asked(world: World, probing: Probing) -> None:
    """As when it logs in."""
    probing.ask()
    server = world.server()
    server.say(error("the database system is shutting down", "57P03"), READY)
    assert probing.fault()[0] is ProbeFailure.NOT_READY


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("57P03", ProbeFailure.NOT_READY),
        ("28P01", ProbeFailure.UNFIT),
        ("53300", ProbeFailure.FULL),
    ],
)
def test_a_login_refused(
    world: World, probing: Probing, code: str, failure: ProbeFailure
) -> None:
    """The server's words tell why; it is tried again with the next question."""
    probing.ask()
    world.accept().refuse("its words", code)
    assert probing.fault() == (failure, "its words")
    probing.ask()
    assert len(world.attempts) == 1


def test_nobody_there(world: World, probing: Probing) -> None:
    """No line of the log for each attempt: the cluster tells of the node."""
    lines = len(world.log)
    probing.ask()
    world.attempts[0].fail()
    assert probing.fault()[0] is ProbeFailure.REFUSED
    assert world.log[lines:] == []


def test_lost(world: World, probing: Probing) -> None:
    """While it is asked, and while it is not."""
    probing.ask()
    server = world.server()
    server.drop()
    assert probing.fault()[0] is ProbeFailure.LOST
    assert probing.losses == 0
    probing.ask()
    server = world.server()
    server.say(rows(["a"], [b"t"]))
    server.drop()
    assert probing.losses == 1
    assert not probing.probe.is_connected


def test_closed(world: World, probing: Probing) -> None:
    """A query under way fails at once."""
    probing.ask()
    server = world.server()
    probing.probe.close()
    assert probing.fault() == (ProbeFailure.SILENT, ProbeFailure.SILENT.value)
    world.turn()
    assert server.is_gone()
    assert probing.losses == 0
    probing.ask()
    probing.probe.close()
    assert probing.fault()[0] is ProbeFailure.SILENT
    assert world.attempts == []
