"""Opening connections: hosts in turn, protocol versions, logins that fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.error import DNSLookupError

from pgswitch.config.model import DatabaseSpec
from pgswitch.net.backend import Backend
from pgswitch.net.connection_states import CloseReason
from pgswitch.pool.maintenance import INTERVAL_S
from pgswitch.pool.server_connector import startup_parameters
from pgswitch.wire import encode
from tests.fakes.messages import kinds, query
from tests.fakes.world import World, WorldOf

RETRY_S = 15
BOTH = "db = host=10.0.0.1,10.0.0.2"
STARTUP = [("user", "app"), ("database", "db")]


def test_what_a_server_receives() -> None:
    """User and database, and what the entry says; nothing else."""
    spec = DatabaseSpec(name="a", timezone="UTC", application_name="pool")
    assert startup_parameters(spec, "u", {}) == [
        ("user", "u"),
        ("database", "a"),
        ("timezone", "UTC"),
        ("application_name", "pool"),
    ]
    spec = DatabaseSpec(name="a", dbname="b", datestyle="ISO", client_encoding="UTF8")
    assert startup_parameters(spec, "u", {})[1:] == [
        ("database", "b"),
        ("client_encoding", "UTF8"),
        ("datestyle", "ISO"),
    ]


def test_the_newest_protocol_first(world: World) -> None:
    """Protocol 3.2 is asked for."""
    world.client()
    assert world.accept().hear() == encode.startup_3_2(STARTUP)


def hang_up(world: World) -> None:
    """Close without a word."""
    world.accept().drop()


def refuse(world: World) -> None:
    """Refuse the protocol version, as Redshift does."""
    world.accept().refuse("unsupported frontend protocol 3.2", "0A000")


@pytest.mark.parametrize("reject", [hang_up, refuse])
def test_stepping_down(world: World, reject: Callable[[World], None]) -> None:
    """A server that does not like 3.2 is asked for 3.0 at once, from then on."""
    client = world.client()
    reject(world)
    server = world.accept()
    assert server.hear() == encode.startup(STARTUP)
    server.log_in()
    assert kinds(client.hear())[-1] == "Z"
    client.say(query())
    server.drop()
    client = world.client()
    client.say(query())
    assert world.accept().hear() == encode.startup(STARTUP)


def test_hanging_up_on_both_protocols(world: World) -> None:
    """Then it is a failure; the next attempt has to wait its time."""
    client = world.client()
    hang_up(world)
    hang_up(world)
    assert world.attempts == []
    assert world.pool().failing == "server conn crashed?"
    assert client.state() == "waiting"


def test_a_refused_login(world: World) -> None:
    """Every waiting client gets the server's error."""
    clients = [world.client() for _ in range(2)]
    world.accept().refuse('database "db" does not exist', "3D000")
    words = 'database "db" does not exist'
    assert [client.fault for client in clients] == [words, words]
    assert all(client.is_gone() for client in clients)
    assert world.logged('FATAL database "db" does not exist')


def test_a_server_that_starts_up(world: World) -> None:
    """Clients wait on; another attempt is made, not too soon."""
    client = world.client()
    world.accept().refuse("the database system is starting up", "57P03")
    assert client.state() == "waiting"
    world.wait(RETRY_S - 1)
    assert world.attempts == []
    world.wait(2)
    world.server()
    assert client.state() == "idle"
    assert world.pool().failing == ""


def test_fast_fail(world: World) -> None:
    """While no server can be had, a query is refused at once with the reason."""
    client, server = world.pair()
    server.drop()
    other = world.client()
    other.hear()
    client.say(query())
    world.attempts[0].fail()
    assert client.state() == "waiting"
    other.say(query())
    assert "(server_login_retry)" in (fault := other.fault)
    assert "connect failed" in fault
    assert other.is_gone()


def test_one_attempt_at_a_time_while_failing(world: World) -> None:
    """Ten wait, one is tried; when it works all are served."""
    first, server = world.pair()
    clients = [first, *(world.client() for _ in range(9))]
    server.drop()
    for client in clients:
        client.say(query())
    assert len(world.attempts) == 10
    while world.attempts:
        world.attempts[0].fail()
    for _ in range(3):
        world.wait(RETRY_S + 1)
        assert len(world.attempts) == 1
        world.attempts[0].fail()
    world.wait(RETRY_S + 1)
    world.server()
    world.wait(INTERVAL_S)
    assert len(world.attempts) == 9
    while world.attempts:
        world.server()
    assert [client.state() for client in clients] == ["active"] * 10


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("round-robin", ["10.0.0.1", "10.0.0.2", "10.0.0.1"]),
        ("disable", ["10.0.0.1", "10.0.0.1", "10.0.0.1"]),
    ],
)
def test_hosts_in_turn(world_of: WorldOf, balance: str, expected: list[str]) -> None:
    """Each connection the next host, or always the same while it works."""
    world = world_of(databases=f"{BOTH} load_balance_hosts={balance}")
    clients = [world.pair()[0], *(world.client() for _ in range(2))]
    hosts = [world.pool().servers[2].address.host]
    for client in clients:
        client.say(query())
    hosts += [str(attempt.host) for attempt in world.attempts]
    assert hosts == expected


@pytest.mark.parametrize("balance", ["round-robin", "disable"])
def test_the_next_host_after_a_failure(world_of: WorldOf, balance: str) -> None:
    """With either word, a host that fails is followed by the other."""
    world = world_of(databases=f"{BOTH} load_balance_hosts={balance}")
    world.client()
    world.attempts[0].fail()
    assert [attempt.host for attempt in world.attempts] == ["10.0.0.2"]
    world.server()
    assert world.pool().failing == ""
    assert [one.address.host for one in world.pool().backends()] == ["10.0.0.2"]


@pytest.mark.parametrize("balance", ["round-robin", "disable"])
def test_all_hosts_fail(world_of: WorldOf, balance: str) -> None:
    """Each is tried once; then the attempt has failed, and the next waits its time."""
    world = world_of(databases=f"{BOTH} load_balance_hosts={balance}")
    world.client()
    world.attempts[0].fail()
    world.attempts[0].fail()
    assert world.attempts == []
    assert world.pool().failing == "connect failed"
    world.wait(RETRY_S + 1)
    assert len(world.attempts) == 1


def test_a_host_that_stays(world_of: WorldOf) -> None:
    """Without load balancing the host that works is the first one from then on."""
    world = world_of(databases=f"{BOTH} load_balance_hosts=disable")
    client = world.client()
    world.attempts[0].fail()
    world.server()
    for asking in (client, world.client()):
        asking.say(query())
    assert [attempt.host for attempt in world.attempts] == ["10.0.0.2"]


@pytest.mark.parametrize("folder", ["/tmp/pg", "@pg"])
def test_a_folder_as_host(world_of: WorldOf, folder: str) -> None:
    """The server's address is ``unix`` with the port that names the socket."""
    world = world_of(databases=f"db = host={folder} port=5433")
    world.client()
    assert world.attempts[0].host == folder
    server = world.server()
    assert server.backend.address == ("unix", 5433, 0)


def test_without_a_host(world_of: WorldOf) -> None:
    """The unix socket."""
    world = world_of(databases="db = port=5433")
    world.client()
    (attempt,) = world.attempts
    assert (attempt.host, attempt.port) == (None, 5433)
    assert world.server().state() == "idle"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (DNSLookupError("no such name"), "server DNS lookup failed"),
        (TimeoutError("too slow"), "connect failed"),
    ],
)
def test_why_connecting_failed(world: World, reason: Exception, words: str) -> None:
    """The log tells, and so does the pool from then on."""
    world.client()
    world.attempts[0].fail(reason)
    assert world.pool().failing == words
    assert world.logged(f"closing because: {words} (age=0s)")
    assert world.logged("WARNING S-")


def test_giving_up_an_attempt(world: World) -> None:
    """What was closed meanwhile is not connected any more."""
    world.client()
    (attempt,) = world.attempts
    for backend in world.pool().backends():
        backend.close(CloseReason.PAUSED)
    assert attempt.cancelled
    assert world.pool().failing == ""


def test_an_end_in_the_moment_of_connecting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake that fails at once leaves no attempt to be stopped."""
    world.client()
    (attempt,) = world.attempts

    def refuse(backend: Backend, _facts: object) -> None:
        backend.close(
            CloseReason.TLS_FAILED, detail="TLS handshake failed", terminate=False
        )

    monkeypatch.setattr(Backend, "_negotiated", refuse)
    attempt.transport()
    assert not attempt.cancelled
    assert not world.logged("new connection to server")
    assert world.logged("closing because: TLS handshake failed")
