"""After the authentication: the pool or the console, and the parameters reported."""

from __future__ import annotations

import pytest

from tests.fakes.messages import ANSWER, READY, kinds, message, parameter, query, split
from tests.fakes.world import World, WorldOf


def test_disabled_and_shutting_down(world_of: WorldOf) -> None:
    """Only an authenticated client learns of either; of the database first."""
    world = world_of(databases="db = host=10.0.0.1\nother = host=10.0.0.1")
    world.service.operations.disable("db")
    world.service.shutdown_wait_for_clients()
    assert "authentication failed" in world.client(user="nobody").fault
    assert "disabled" in world.client().fault
    assert "shutting down" in world.client("other").fault
    assert "no such database" in world.client("nowhere").fault


def test_what_the_console_tells_at_login(world: World) -> None:
    """Its own parameters, then tracked ones that were given."""
    client = world.client("pgbouncer", "admin", application_name="psql")
    messages = split(client.hear())
    assert "".join(kind for kind, _body in messages) == "RSSSSSSSSKZ"
    assert ("S", b"application_name\0psql\0") in messages


@pytest.mark.parametrize(
    ("start", "mode"),
    [
        ({}, "transaction"),
        ({"user": "other"}, "statement"),
        ({"replication": "database"}, "session"),
    ],
)
def test_drivers_recognise_the_pooler(
    world_of: WorldOf, start: dict[str, str], mode: str
) -> None:
    """By which version it goes, and how long a client has its server."""
    world = world_of(
        settings="pool_mode = transaction", users="other = pool_mode=statement"
    )
    for _ in range(2):
        client = world.client(**start)
        if world.attempts:
            world.server()
        messages = split(client.hear())
        assert ("S", f"pool_mode\0{mode}\0".encode()) in messages
        assert ("S", b"pgbouncer_version\x001.25.2\0") in messages


def test_own_parameters(world: World) -> None:
    """The client's own values are reported, not those of servers."""
    client = world.client(timezone="Asia/Tokyo", application_name="x")
    world.server()
    messages = split(client.hear())
    assert ("S", b"TimeZone\0Asia/Tokyo\0") in messages
    assert ("S", b"application_name\0x\0") in messages
    assert ("S", b"DateStyle\0ISO, MDY\0") in messages


def test_what_it_had_at_its_start_is_kept(world: World) -> None:
    """What it sets later changes nothing there."""
    client = world.client(timezone="Asia/Tokyo", application_name="caf\udcff")
    server = world.server()
    stream = client.frontend.stream
    before = stream.startup_parameters
    assert before is stream.parameters
    value = world.context.tracking.value
    assert value(before, "TimeZone") == "Asia/Tokyo"
    assert value(before, "application_name") == "caf\\xff"
    assert value(before, "DateStyle") == "ISO, MDY"
    client.say(query())
    server.say(parameter("TimeZone", "Asia/Tokyo") + READY)
    server.say(parameter("DateStyle", "German, DMY") + ANSWER)
    assert value(stream.parameters, "DateStyle") == "German, DMY"
    assert stream.startup_parameters is before


def test_a_console_that_is_called_by_no_text(world: World) -> None:
    """Its name is cleaned, too: others read it in SHOW CLIENTS."""
    client = world.client("pgbouncer", "admin", application_name="\udcff" + "x" * 80)
    name = "\\xff" + "x" * 59
    assert parameter("application_name", name) in client.hear()
    client.say(query("SHOW CLIENTS"))
    assert name.encode() in client.hear()


@pytest.mark.parametrize(
    ("given", "name"),
    [({"application_name": "x"}, "x"), ({}, "app")],
)
def test_application_name_add_host(
    world_of: WorldOf, given: dict[str, str], name: str
) -> None:
    """Servers can learn the addresses of clients."""
    world = world_of(settings="application_name_add_host = 1")
    client = world.client(**given)
    world.server()
    text = f"application_name\0{name} - 192.0.2.1:40000\0"
    assert ("S", text.encode()) in split(client.hear())


def test_login_notify_message(world_of: WorldOf) -> None:
    """A notice between the key and ReadyForQuery."""
    world = world_of(settings="login_notify_message = be kind")
    assert kinds(world.console().hear()) == ""
    client = world.client()
    world.server()
    messages = split(client.hear())
    assert messages[-2][0] == "N"
    assert b"be kind" in messages[-2][1]


def test_disable_pqexec(world_of: WorldOf) -> None:
    """A simple query closes its client, alone or after others; no server is asked."""
    world = world_of(settings="disable_pqexec = 1")
    client, server = world.pair()
    server.hear()
    client.say(query())
    assert client.fault == "PQexec disallowed"
    assert server.hear() == b""
    client = world.client()
    client.hear()
    client.say(message(b"S"))
    assert server.hear() == message(b"S")
    server.say(READY)
    client.hear()
    client.say(message(b"S") + query())
    assert client.fault == "PQexec disallowed"
