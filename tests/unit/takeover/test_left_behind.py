"""What the clients receive that cannot be handed over."""

from __future__ import annotations

from pgswitch.wire import encode
from tests.fakes.messages import error_code, kinds, query
from tests.fakes.tls import FakeSide, finish
from tests.fakes.world import Client, World


def encrypted(world: World) -> Client:
    """Return a client by TLS that has logged in."""
    side = FakeSide("prefer")
    world.context.tls.clients = side  # type: ignore[assignment]
    client = world.connect()
    client.say(encode.ssl_request())
    finish(client, side)
    client.say(encode.startup([("user", "app"), ("database", "db")]))
    return client


def hand_over(world: World) -> None:
    """Freeze, show all that is handed over, get the order to end."""
    world.service.operations.suspend()
    world.wait(0.1)
    world.service.exporter.rows()
    world.service.shutdown_now()


def test_who_is_notified(world: World) -> None:
    """Clients by TLS, with their servers, and consoles; none that is handed over."""
    client, server = world.asking()
    console = world.console()
    secret = encrypted(world)
    secret.hear()
    secret.say(query("BEGIN"))
    other = world.server()
    other.hear()
    hand_over(world)
    assert client.hear() == b""
    assert server.hear() == query()
    for one in (console, secret):
        assert error_code(one.hear()) == "57P01"
    assert kinds(other.hear()) == "X"
    line = "2 clients and 1 servers cannot be handed over and end with this process"
    assert world.logged(f"LOG {line}")


def test_a_shutdown_of_another_kind(world: World) -> None:
    """Without a takeover all are closed without a message, as in PgBouncer."""
    client, _server = world.asking()
    world.console()
    world.service.operations.suspend()
    world.wait(0.1)
    world.service.shutdown_now()
    assert client.hear() == b""
    assert not world.logged("cannot be handed over")
