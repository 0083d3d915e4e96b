"""Which of the two probes is used, and what the driver gets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgswitch.cluster.cluster_state import WriterState
from pgswitch.cluster.driver_probe import MonitorLogin
from pgswitch.cluster.nodes import Node
from pgswitch.cluster.probe_choice import SelectingProbe
from pgswitch.errors import ServerIterationsTooMany
from pgswitch.tls.contexts import TlsOptions
from pgswitch.wire import constants
from tests.fakes.messages import message
from tests.fakes.probes import STANDBY, FakeProbe
from tests.fakes.world import Attempt, World, WorldOf
from tests.unit.cluster.test_backend_probe import rows

TOPOLOGY = "topology_query='select 1'"
SLOW_S = 0.2
"""There and back."""


class Drivers:
    """Notes what the driver's probes are made with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in for them."""
        self.credentials: list[Callable[[], MonitorLogin]] = []
        self.made: list[FakeProbe] = []

        def make(
            _reactor: object,
            node: Node,
            mine: Callable[[], MonitorLogin],
            lost: Callable[[], None],
            _addresses: object,
            *,
            recovery_query: str,
        ) -> FakeProbe:
            assert recovery_query == ""
            self.credentials.append(mine)
            self.made.append(FakeProbe(node, lost))
            return self.made[-1]

        monkeypatch.setattr("pgswitch.cluster.probe_choice.DriverProbe", make)


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Drivers:
    """Return what notes it."""
    return Drivers(monkeypatch)


def test_no_secret(world_of: WorldOf, drivers: Drivers) -> None:
    """The driver asks, and is given no password."""
    world = world_of(databases=f"db = host=10.0.0.1 user=trusted {TOPOLOGY}")
    world.wait(0.5)
    (mine,) = drivers.credentials
    expected = MonitorLogin("db", "trusted", TlsOptions(mode="disable"), "/tmp")
    assert mine() == expected
    assert drivers.made[0].asked is not None
    databases = f"db = host=10.0.0.1 user=trusted {TOPOLOGY}"
    world.reload(databases=databases, settings="server_tls_sslmode = require")
    assert drivers.credentials == [mine], "the cluster has not been begun again"
    assert mine().tls.mode == "require"


def monitors(world: World) -> list[Attempt]:
    """Return the attempts to connect that are the monitor's."""
    return [one for one in world.attempts if getattr(one.protocol, "is_quiet", False)]


@pytest.mark.parametrize("secret", ["secret", f"md5{'0' * 32}"])
def test_a_secret(world_of: WorldOf, drivers: Drivers, secret: str) -> None:
    """Whatever its kind, the driver does not get it."""
    entry = f"db = host=10.0.0.1 user=app password={secret} {TOPOLOGY}"
    world = world_of(databases=entry)
    world.wait(0.5)
    assert drivers.made[0].asked is None
    assert len(monitors(world)) == 1


def test_a_secret_comes_and_goes(world_of: WorldOf, drivers: Drivers) -> None:
    """The users file is another one by now: the next connect is by the other probe."""
    world = world_of(databases=f"db = host=10.0.0.1 user=later {TOPOLOGY}")
    world.wait(0.5)
    drivers.made[0].answer(STANDBY)
    users = world.folder / "users.txt"
    users.write_text(f'{users.read_text()}"later" "word"\n')
    world.wait(1.5)
    assert monitors(world) == [], "it stays connected"
    drivers.made[0].list("10.0.0.1")
    drivers.made[0].is_connected = False
    drivers.made[0].lost()
    world.wait(1.0)
    assert len(monitors(world)) == 1


def test_what_is_reported_of_the_present_one() -> None:
    """Before, while and after it is asked."""
    node, secrets = Node("a", "a", 1), [True]
    ours, drivers = (FakeProbe(node, lambda: None) for _ in range(2))
    probe = SelectingProbe(ours, drivers, lambda: secrets[0])
    assert (probe.is_connected, probe.is_reached, probe.address) == (False, False, "")
    probe.ask(0.1)
    assert ours.wait_s == 0.1
    ours.address = "10.0.0.1"
    ours.answer(STANDBY)
    secrets[0] = False
    assert (probe.is_connected, probe.is_reached) == (True, True)
    assert probe.address == "10.0.0.1"
    probe.read("select").addErrback(lambda _failure: None)
    assert ours.queries == ["select"]
    probe.close()
    probe.ask()
    assert drivers.asked is not None


def test_too_many_rounds(world_of: WorldOf) -> None:
    """A node that asks for ten million is refused, and none of them is done."""
    entry = f"db = host=10.0.0.1 user=app password=secret {TOPOLOGY}"
    world = world_of(databases=entry)
    world.wait(0.5)
    (attempt,) = monitors(world)
    server = attempt.accept()
    server.say(
        message(
            b"R",
            constants.AUTH_SASL.to_bytes(4, "big")
            + constants.SCRAM_SHA_256.encode()
            + b"\0\0",
        )
    )
    sent = server.hear()
    nonce = sent[sent.rindex(b"r=") + 2 :]
    rounds = 10_000_000
    challenge = b"r=" + nonce + b"more,s=c2FsdHNhbHQ=,i=%d" % rounds
    server.say(
        message(b"R", constants.AUTH_SASL_CONTINUE.to_bytes(4, "big") + challenge)
    )
    assert world.worked == []
    assert server.is_gone()
    assert ServerIterationsTooMany.text.split("{")[0].strip() in "".join(world.log)


def travel(world: World) -> None:
    """Let something go there and back; in small steps, or we would seem to sleep."""
    for _ in range(8):
        world.wait(SLOW_S / 8)


def test_a_slow_network(world_of: WorldOf) -> None:
    """TCP, TLS and SCRAM take many round trips: the probe still reaches the node.

    The log has nothing about it, and the node does not count as silent.
    """
    entry = f"db = host=10.0.0.1 user=app password=secret {TOPOLOGY}"
    world = world_of(databases=entry)
    world.wait(0.5)
    (attempt,) = monitors(world)
    cluster = world.service.clusters.by_key["db"]
    for lost in range(2):
        travel(world)
        server = attempt.accept()
        for _ in range(6):
            travel(world)
        server.log_in()
        travel(world)
        answer = [b"f", b"42", b"0000000A0000000000000001", None, b"7"]
        server.say(rows(["a", "b", "c", "d", "e"], answer))
        if not lost:
            world.wait(0.1)
            server.hear()
            server.say(rows(["host"], [b"10.0.0.1"]))
        assert cluster.machine.writer_state is WriterState.KNOWN
        if not lost:
            server.drop()
            (attempt,) = monitors(world)
    assert cluster.machine.writer == "10.0.0.1"
    assert not world.logged("health check failed")
    assert not world.logged("is lost")
