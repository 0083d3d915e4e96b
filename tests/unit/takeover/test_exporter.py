"""What a process has to hand over."""

from __future__ import annotations

import json

import pytest

from pgswitch.admin.descriptors import Descriptor
from pgswitch.takeover.exporter import UNTOUCHED
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, query
from tests.fakes.tls import FakeSide, finish
from tests.fakes.world import World
from tests.unit.pool.test_held_clients import Setting


def handed(world: World) -> list[Descriptor]:
    """Return the rows."""
    return list(world.service.exporter.rows())


def test_servers_before_clients(world: World) -> None:
    """So that clients find theirs; each with its state."""
    client, server = world.asking()
    first, second = handed(world)
    assert (first.task, second.task) == ("server", "client")
    assert (first.fd, second.fd) == (second.peer_fd, first.peer_fd)
    assert second.cancel_key == client.frontend.cancel_key
    state = json.loads(second.state)
    assert state["parameters"]["TimeZone"] == "UTC"
    assert state["exchange"]["queue"] == [ord("Q")]
    state = json.loads(first.state)
    assert state["reported"]["server_version"] == "18.0"
    assert state["key"].encode("latin-1") == server.backend.cancel_key


def test_who_is_left_out(world: World) -> None:
    """Consoles, logins, servers being opened; not clients that have only connected."""
    world.console()
    world.connect()
    world.client()
    world.accept()
    (row,) = handed(world)
    assert (row.task, row.state) == ("client", UNTOUCHED)


def test_tls(world: World) -> None:
    """Connections by TLS stay in the old process, and so do those linked to one."""
    side = FakeSide("prefer")
    world.context.tls.clients = side  # type: ignore[assignment]
    begun = world.connect()
    begun.say(encode.ssl_request())
    assert handed(world) == []
    finish(begun, side)
    begun.say(encode.startup([("user", "app"), ("database", "db")]))
    server = world.server()
    (row,) = handed(world)
    assert row.task == "server"
    begun.say(query("BEGIN"))
    assert handed(world) == []
    server.say(ANSWER)
    assert len(handed(world)) == 1


def test_what_belongs_to_no_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes along with the first listening socket."""
    client, server = world.asking()
    server.answer()
    world.leave(client)
    world.service.operations.disable("db")
    listening = [Descriptor(fd=n, task="pooler", addr="", port=1) for n in (4, 5)]
    descriptors = world.service.exporter._descriptors
    monkeypatch.setattr(descriptors, "listening", lambda: listening)
    first, second, *_ = handed(world)
    state = json.loads(first.state)
    assert state["disabled"] == ["db"]
    assert state["counters"][0][:2] == ["db", "app"]
    assert state["counters"][0][2][2] == 1, "one query"
    assert second.state == ""


def test_what_counts_against_a_statement(world: World) -> None:
    """That it was run again, and since when it waits."""
    setting = Setting(world)
    setting.ask()
    world.wait(1.0)
    setting.route.wait_for_writer(is_leaving=True)
    setting.lose()
    assert setting.is_queued
    world.wait(0.5)
    (row,) = (one for one in handed(world) if one.task == "client")
    assert json.loads(row.state)["lost"] == {"since": 1.5, "reruns": 1}
