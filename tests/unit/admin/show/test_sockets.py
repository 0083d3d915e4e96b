"""Clients and servers of a running service."""

from __future__ import annotations

import calendar
from time import strptime, time
from types import SimpleNamespace
from typing import Any

import pytest

from pgswitch.admin.show import sockets
from pgswitch.admin.statements import named_rows
from pgswitch.admin.view import ServiceView
from pgswitch.net.connection_states import ClientState, ServerState
from pgswitch.types import Address
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, IN_TRANSACTION, message, query, split
from tests.fakes.world import World
from tests.unit.admin.fakes import NOON, fake_view
from tests.unit.admin.reading import Cells, rows_of


@pytest.fixture
def view(world: World) -> ServiceView:
    """Return the view of the usual world."""
    return world.service.view


def one(name: str, view: ServiceView) -> Any:  # noqa: ANN401 - columns as attributes
    """Return the only row of a SHOW."""
    (row,) = named_rows(name, view)
    return row


def of_clients(view: ServiceView) -> list[Any]:
    """Return the rows of clients in SHOW SOCKETS, which has the buffers too."""
    return [row for row in named_rows("sockets", view) if row.type == "C"]


def of_servers(view: ServiceView) -> list[Any]:
    """Return the rows of servers in SHOW SOCKETS."""
    return [row for row in named_rows("sockets", view) if row.type == "S"]


def test_a_client_and_its_server(world: World, view: ServiceView) -> None:
    """Client and server point at each other while they are linked."""
    client = world.client(application_name="shop")
    server = world.server(application_name="shop")
    client.say(query("BEGIN"))
    server.say(message(b"C", b"BEGIN\0") + IN_TRANSACTION)
    world.wait(3)
    client.say(query())
    world.wait(2)
    seen, other = one("clients", view), one("servers", view)
    assert (seen.user, seen.database, seen.state) == ("app", "db", "active")
    assert (seen.addr, seen.port) == ("192.0.2.1", 40_000)
    assert seen.application_name == "shop"
    assert seen.id == client.frontend.number
    assert (seen.wait, seen.wait_us) == (other.wait, other.wait_us) == (2, 0)
    began = calendar.timegm(strptime(seen.request_time, "%Y-%m-%d %H:%M:%S UTC"))
    assert began == pytest.approx(time() - 2, abs=1.5)
    assert (seen.link, other.link) == (other.ptr, seen.ptr)
    assert (other.addr, other.port) == ("10.0.0.1", 5432)
    assert other.remote_pid == server.backend.number
    assert other.application_name == "shop"
    assert not other.close_needed
    world.pool().expire_servers()
    assert one("servers", view).close_needed


def test_who_is_shown_where(world: World, view: ServiceView) -> None:
    """Clients in their login are sockets only; a server counts from its connection."""
    world.connect()
    assert rows_of("clients", view) == []
    assert one("sockets", view).state == "cl_login"
    assert one("sockets", view).user == "(nouser)"
    world.client()
    assert one("clients", view).state == "waiting"
    assert rows_of("servers", view) == []
    world.accept()
    (server,) = of_servers(view)
    assert (server.state, server.application_name) == ("sv_login", "")
    assert len(rows_of("sockets", view)) == 3


def test_a_cancel_request_is_a_client(world: World, view: ServiceView) -> None:
    """A cancel request is shown while it is forwarded."""
    client = world.client()
    world.server()
    key = dict(split(client.hear()))["K"]
    client.say(query())
    world.connect().say(encode.cancel_request(key))
    assert [seen.state for seen in named_rows("clients", view)] == [
        "active",
        "waiting_cancel_req",
    ]
    world.cancelling()
    assert [seen.state for seen in named_rows("clients", view)] == [
        "active",
        "active_cancel_req",
    ]


def test_prepared_statements(world: World, view: ServiceView) -> None:
    """Each side counts its own."""
    client, server = world.pair()
    parse = message(b"P", b"a\0SELECT 1\0\0\0") + message(b"P", b"b\0SELECT 1\0\0\0")
    client.say(parse + message(b"S"))
    server.say(message(b"1") + ANSWER[-6:])
    assert one("clients", view).prepared_statements == 2
    assert one("servers", view).prepared_statements == 1


def test_the_rest_of_a_message(world: World, view: ServiceView) -> None:
    """pkt_remain counts the bytes still to come of a message forwarded in pieces."""
    client, server = world.asking("COPY t FROM STDIN")
    server.say(message(b"G", b"\0\0\0"))
    client.say(message(b"d", b"x" * 100)[:50])
    assert of_clients(view)[0].pkt_remain == 55
    server.say(message(b"N", b"S" * 50)[:30])
    assert of_servers(view)[0].pkt_remain == 25


def test_buffers(world: World, view: ServiceView) -> None:
    """Bytes received but not forwarded, and bytes that could not be sent."""
    client, server = world.asking()
    client.say(query())
    half = message(b"D", b"x" * 100)[:30]
    client.transport.socket.room = 10
    server.say(ANSWER + half)
    assert of_clients(view)[0].send_avail >= 1
    world.wait(0.1)
    assert of_servers(view)[0].pkt_remain == 75
    waiting = world.client()
    waiting.say(query())
    (_, seen) = of_clients(view)
    assert (seen.recv_pos, seen.pkt_avail) == (len(query()), len(query()))


CLIENT: Any = SimpleNamespace(
    user="postgres",
    database="bench",
    facts=None,
    state=ClientState.ACTIVE,
    show_state="active",
    address=Address("127.0.0.1", 56540),
    local_address=Address("127.0.0.1", 6400),
    connected_time=NOON,
    connected_at=10.0,
    logged_in=True,
    tls=None,
    number=2,
)
LOGIN: Any = SimpleNamespace(
    user="",
    database="",
    facts=None,
    state=ClientState.LOGIN,
    show_state="login",
    address=Address("unix", 6400),
    local_address=Address("unix", 6400),
    connected_time=NOON,
    connected_at=10.0,
    logged_in=False,
    waiting_since=0.0,
    tls=None,
    number=4,
)
SERVER: Any = SimpleNamespace(
    user="postgres",
    database="bench",
    replication="none",
    state=ServerState.LOGIN,
    address=Address("127.0.0.1", 6000),
    local_address=Address("127.0.0.1", 41140),
    connected_time=NOON,
    connected_at=10.0,
    cancel_key=(24610).to_bytes(4, "big") + b"abcd",
    tls=SimpleNamespace(description="TLSv1.3/TLS_AES_256_GCM_SHA384"),
    number=3,
)
CLIENT.stream = SimpleNamespace(
    server=SimpleNamespace(backend=SERVER),
    last_request=11.5,
    exchange=SimpleNamespace(query_start=11.5),
    parameters=(),
    statements=None,
    wanted=10,
    missing=lambda: 3,
    pending=[],
    backlogged=False,
)
SERVER.stream = SimpleNamespace(
    peer=None,
    lost=False,
    close_needed=True,
    exchange=None,
    ready_since=0.0,
    parameters=("shop",),
    statements=range(5),
    wanted=0,
    missing=lambda: 0,
    pending=[],
    backlogged=False,
)
CLIENT_ENDS = ("127.0.0.1", "56540", "127.0.0.1", "6400")
CLIENT_TIMES = ("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:01 UTC")
CLIENT_TAIL = (
    *("2", "3", "0", hex(id(CLIENT)), hex(id(SERVER)), "0", "", "", "0", "2"),
)
SERVER_TAIL = (
    *("127.0.0.1", "6000", "127.0.0.1", "41140"),
    *("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:00 UTC"),
    *("0", "0", "1", hex(id(SERVER)), "", "24610"),
    *("TLSv1.3/TLS_AES_256_GCM_SHA384", "shop", "5", "3"),
)
LOGIN_TAIL = (
    *("unix", "6400", "unix", "6400"),
    *("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:00 UTC"),
    *("0", "0", "0", hex(id(LOGIN)), "", "0", "", "", "0", "4"),
)
CLIENT_SOCKET = (
    *("C", "postgres", "bench", "none", "cl_active"),
    *(*CLIENT_ENDS, *CLIENT_TIMES, *CLIENT_TAIL),
    *("7", "0", "3", "0", "0", "7", "0"),
)
LISTENING = ("7", "pooler", None, None, "127.0.0.1", "6400", "0", "0", *(None,) * 7)
ROWS: dict[str, list[Cells]] = {
    "clients": [
        (
            *("C", "postgres", "bench", "none", "active"),
            *(*CLIENT_ENDS, *CLIENT_TIMES, *CLIENT_TAIL),
        )
    ],
    "servers": [("S", "postgres", "bench", "none", "new", *SERVER_TAIL)],
    "sockets": [
        CLIENT_SOCKET,
        ("C", "(nouser)", "(nodb)", "none", "cl_login", *LOGIN_TAIL, *("0",) * 7),
        ("S", "postgres", "bench", "none", "sv_login", *SERVER_TAIL, *("0",) * 7),
    ],
    "active_sockets": [CLIENT_SOCKET],
}
DESCRIPTOR_ROWS: dict[str, list[Cells]] = {
    "handover": [(*LISTENING, "{}")],
    "fds": [
        LISTENING,
        (
            *("8", "client", "postgres", "bench", "unix", "0", "1", "9"),
            *("UTF8", None, None, "UTC", None, None, None),
        ),
    ],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value stands in its column, and no row has a column too few."""
    monkeypatch.setattr(sockets, "time", lambda: NOON + 3.500_003_5)
    tracking = SimpleNamespace(value=lambda values, _name: values[0])
    parts: Any = SimpleNamespace(
        context=SimpleNamespace(clock=lambda: 13.500_003_5, tracking=tracking),
        login_service=SimpleNamespace(clients={2: CLIENT, 4: LOGIN}),
        pools=[SimpleNamespace(connections=lambda: [SERVER])],
    )
    assert rows_of(name, parts) == ROWS[name]


@pytest.mark.parametrize("name", DESCRIPTOR_ROWS)
def test_descriptors(name: str) -> None:
    """The same holds for the sockets that another process can take over."""
    assert rows_of(name, fake_view()) == DESCRIPTOR_ROWS[name]
