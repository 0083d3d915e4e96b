"""Clients and servers of a running service."""

from __future__ import annotations

from time import time

import pytest

from pgswitch.admin.snapshots import SocketSnapshot
from pgswitch.view import ServiceView
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, IN_TRANSACTION, message, query, split
from tests.fakes.world import World


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


def one(snapshots: object) -> SocketSnapshot:
    """Return the only one."""
    assert isinstance(snapshots, list)
    (snapshot,) = snapshots
    assert isinstance(snapshot, SocketSnapshot)
    return snapshot


def test_a_client_and_its_server(world: World, view: ServiceView) -> None:
    """They point at each other while they are joined."""
    client = world.client(application_name="shop")
    server = world.server(application_name="shop")
    client.say(query("BEGIN"))
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    world.wait(3)
    client.say(query())
    world.wait(2)
    seen, other = one(view.clients()), one(view.servers())
    assert (seen.user, seen.database, seen.state) == ("app", "db", "active")
    assert (seen.addr, seen.port) == ("192.0.2.1", 40_000)
    assert seen.application_name == "shop"
    assert seen.id == client.frontend.number
    assert seen.wait_us == other.wait_us == 2_000_000
    assert seen.request_time == pytest.approx(time() - 2, abs=1)
    assert (seen.link, other.link) == (other.ptr, seen.ptr)
    assert (other.addr, other.port) == ("10.0.0.1", 5432)
    assert other.remote_pid == server.backend.number
    assert other.application_name == "shop"
    assert not other.close_needed
    world.pool().expire_servers()
    assert one(view.servers()).close_needed


def test_who_is_shown_where(world: World, view: ServiceView) -> None:
    """Clients in their login are sockets only; a server counts from its connection."""
    world.connect()
    assert view.clients() == []
    assert one(view.sockets()).socket_state == "cl_login"
    assert one(view.sockets()).user is None
    world.client()
    assert one(view.clients()).state == "waiting"
    assert view.servers() == []
    world.accept()
    assert one(view.servers()).socket_state == "sv_login"
    assert one(view.servers()).application_name is None
    assert len(view.sockets()) == 3


def test_a_cancel_request_is_a_client(world: World, view: ServiceView) -> None:
    """As long as it is passed on."""
    client = world.client()
    world.server()
    key = dict(split(client.hear()))["K"]
    client.say(query())
    world.connect().say(encode.cancel_request(key))
    assert [seen.state for seen in view.clients()] == ["active", "waiting_cancel_req"]
    world.cancelling()
    assert [seen.state for seen in view.clients()] == ["active", "active_cancel_req"]


def test_prepared_statements(world: World, view: ServiceView) -> None:
    """How many each side has."""
    client, server = world.pair()
    parse = message(b"P", b"a\0SELECT 1\0\0\0") + message(b"P", b"b\0SELECT 1\0\0\0")
    client.say(parse + message(b"S"))
    server.say(message(b"1") + ANSWER[-6:])
    assert one(view.clients()).prepared_statements == 2
    assert one(view.servers()).prepared_statements == 1


def test_the_rest_of_a_message(world: World, view: ServiceView) -> None:
    """How much of one that is passed on in pieces is still to come."""
    client, server = world.asking("COPY t FROM STDIN")
    server.say(message(b"G", b"\0\0\0"))
    client.say(message(b"d", b"x" * 100)[:50])
    assert one(view.clients()).pkt_remain == 55
    server.say(message(b"N", b"S" * 50)[:30])
    assert one(view.servers()).pkt_remain == 25


def test_buffers(world: World, view: ServiceView) -> None:
    """What was read and not passed on, what could not be sent."""
    client, server = world.asking()
    client.say(query())
    half = message(b"D", b"x" * 100)[:30]
    client.transport.socket.room = 10
    server.say(ANSWER + half)
    assert one(view.clients()).send_avail >= 1
    world.wait(0.1)
    assert one(view.servers()).pkt_remain == 75
    waiting = world.client()
    waiting.say(query())
    (_, seen) = view.clients()
    assert (seen.recv_pos, seen.pkt_avail) == (len(query()), len(query()))
