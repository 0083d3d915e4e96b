"""The whole service: start, shutdown in its three ways, what signals ask."""

from __future__ import annotations

import pytest

from pgswitch.config.load import load
from pgswitch.errors.base import FatalError
from pgswitch.service import PgSwitch
from tests.fakes.messages import ANSWER, kinds, query
from tests.fakes.world import World, WorldOf


def test_starting(world: World) -> None:
    """It tells once that clients can connect."""
    assert world.started == 1


def test_stopping(world: World) -> None:
    """The timer ends and the listeners close."""
    done: list[None] = []
    world.service.stopService().addCallback(done.append)
    assert done == [None]
    assert world.reactor.getDelayedCalls() == []


# The configuration.


# What signals ask.


def test_pausing(world: World) -> None:
    """All clients wait; afterwards they are served."""
    service = world.service
    client, server = world.pair()
    service.pause_all()
    assert service.paused_or_suspended
    assert not service.suspended
    world.turn()
    assert server.is_gone()
    client.say(query())
    assert client.state() == "waiting"
    service.resume_all()
    world.server()
    assert client.state() == "active"


# Statistics.


def test_the_line_of_a_period(world_of: WorldOf) -> None:
    """The averages since the last one."""
    world = world_of(settings="stats_period = 10")
    client, server = world.pair()
    for _ in range(20):
        client.say(query())
        server.say(ANSWER)
    world.wait(10.5)
    (line,) = [line for line in world.log if "stats:" in line]
    assert line.startswith("LOG stats: 2 xacts/s, 2 queries/s, 0 client parses/s")
    world.wait(10.5)
    lines = [line for line in world.log if "stats:" in line]
    assert lines[1:] == [line for line in lines if "0 xacts/s" in line]


def test_periods_without_a_line(world_of: WorldOf) -> None:
    """Only the line is switched off."""
    world = world_of(settings="stats_period = 10\nlog_stats = 0")
    client, server = world.pair()
    world.wait(15)
    client.say(query())
    server.say(ANSWER)
    assert not world.logged("stats:")
    world.wait(10)
    console = world.console()
    console.say(query("SHOW STATS_AVERAGES"))
    assert kinds(console.hear()) == "TDDCZ"


# TLS.


def test_tls_that_cannot_be_set_up(world: World) -> None:
    """The start fails, and says why."""
    world.write(settings="client_tls_sslmode = require")
    with pytest.raises(FatalError, match="TLS setup failed"):
        PgSwitch(load(world.path), reactor=world.reactor, log=world.captured.log)
    assert world.logged("ERROR TLS setup failed: client_tls_sslmode needs client_tls")
