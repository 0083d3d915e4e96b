"""What each SHOW of the console announces: columns with their types, names of rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.pgwire import row_description, row_values
from tests.fakes.messages import query
from tests.integration.running import ADMIN, PgSwitch, PgSwitchFactory, RawClient

ONE_INSTALLATION = True

TYPES = {"t": 25, "i": 23, "q": 20, "n": 1700, "b": 17}
"""Type numbers of text, int4, int8, numeric and bytea (catalogue pg_type)."""

SOCKET_COLUMNS = (
    "type:t user:t database:t replication:t state:t addr:t port:i local_addr:t"
    " local_port:i connect_time:t request_time:t wait:i wait_us:i close_needed:i"
    " ptr:t link:t remote_pid:i tls:t application_name:t prepared_statements:i id:i"
)
BUFFER_COLUMNS = (
    " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i"
    " send_avail:i"
)

COLUMNS = {
    "VERSION": "version:t",
    "STATE": "key:t value:t",
    "STATS": (
        "database:t total_server_assignment_count:n total_xact_count:n"
        " total_query_count:n total_received:n total_sent:n total_xact_time:n"
        " total_query_time:n total_wait_time:n total_client_parse_count:n"
        " total_server_parse_count:n total_bind_count:n total_client_login_count:n"
        " avg_server_assignment_count:n avg_xact_count:n avg_query_count:n avg_recv:n"
        " avg_sent:n avg_xact_time:n avg_query_time:n avg_wait_time:n"
        " avg_client_parse_count:n avg_server_parse_count:n avg_bind_count:n"
        " avg_client_login_count:n"
    ),
    "STATS_TOTALS": (
        "database:t server_assignment_count:n xact_count:n query_count:n"
        " bytes_received:n bytes_sent:n xact_time:n query_time:n wait_time:n"
        " client_parse_count:n server_parse_count:n bind_count:n client_login_count:n"
    ),
    "STATS_AVERAGES": (
        "database:t server_assignment_count:n xact_count:n query_count:n"
        " bytes_received:n bytes_sent:n xact_time:n query_time:n wait_time:n"
        " avg_client_parse_count:n avg_server_parse_count:n avg_bind_count:n"
        " avg_client_login_count:n"
    ),
    "TOTALS": "name:t value:n",
    "SERVERS": SOCKET_COLUMNS,
    "CLIENTS": SOCKET_COLUMNS,
    "SOCKETS": SOCKET_COLUMNS + BUFFER_COLUMNS,
    "ACTIVE_SOCKETS": SOCKET_COLUMNS + BUFFER_COLUMNS,
    "POOLS": (
        "database:t user:t cl_active:i cl_waiting:i cl_active_cancel_req:i"
        " cl_waiting_cancel_req:i sv_active:i sv_active_cancel:i sv_being_canceled:i"
        " sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i"
        " pool_mode:t load_balance_hosts:t"
    ),
    "PEERS": "peer_id:i host:t port:i pool_size:i",
    "PEER_POOLS": (
        "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i"
        " sv_login:i"
    ),
    "FDS": (
        "fd:i task:t user:t database:t addr:t port:i cancel:q link:i"
        " client_encoding:t std_strings:t datestyle:t timezone:t password:t"
        " scram_client_key:b scram_server_key:b"
    ),
    "LISTS": "list:t items:i",
    "USERS": (
        "name:t pool_size:t reserve_pool_size:t pool_mode:t max_user_connections:i"
        " current_connections:i max_user_client_connections:i"
        " current_client_connections:i"
    ),
    "DATABASES": (
        "name:t host:t port:i database:t force_user:t pool_size:i min_pool_size:i"
        " reserve_pool_size:i server_lifetime:i pool_mode:t load_balance_hosts:t"
        " max_connections:i current_connections:i max_client_connections:i"
        " current_client_connections:i paused:i disabled:i"
    ),
    "CONFIG": "key:t value:t default:t changeable:t",
    "MEM": "name:t size:i used:i free:i memtotal:i",
    "DNS_HOSTS": "hostname:t ttl:q addrs:t",
    "DNS_ZONES": "zonename:t serial:q count:i",
    "client_encoding": "client_encoding:t",
    "default_transaction_isolation": "default_transaction_isolation:t",
    "standard_conforming_strings": "standard_conforming_strings:t",
    "datestyle": "datestyle:t",
    "timezone": "timezone:t",
}


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch that trusts, with a peer and a user of stats_users."""
    return pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        stats_users="md5",
        sections={"peers": {"1": "host=127.0.0.1 port=6400 pool_size=3"}},
    )


@pytest.fixture
def console(pooler: PgSwitch) -> Iterator[RawClient]:
    """Yield an administrator's console without a driver."""
    with RawClient(pooler.port) as client:
        client.log_in(ADMIN, "pgbouncer")
        yield client


def test_columns(pooler: PgSwitch, console: RawClient) -> None:
    """Names, types and order are what monitoring tools were written for."""
    with pooler.connect(autocommit=False) as client:
        client.execute("SELECT 1")
        for word, columns in COLUMNS.items():
            expected = [
                (name, TYPES[kind])
                for name, kind in (column.split(":") for column in columns.split())
            ]
            console.send(query(f"SHOW {word}"))
            answer = console.read_until(b"Z")
            assert row_description(answer[0]) == expected, word
            assert answer[-2:] == [(b"C", b"SHOW\0"), (b"Z", b"I")]
            assert {kind for kind, _ in answer[1:-2]} <= {b"D"}
            for _, body in answer[1:-2]:
                assert len(row_values(body)) == len(expected), word


def test_lists_and_totals(console: RawClient) -> None:
    """The rows of SHOW STATE, LISTS and TOTALS, by name and in order."""

    def names(word: str) -> list[str | None]:
        console.send(query(f"SHOW {word}"))
        return [row_values(b)[0] for k, b in console.read_until(b"Z") if k == b"D"]

    assert names("STATE") == ["active", "paused", "suspended"]
    assert names("LISTS") == [
        *("databases", "users", "peers", "pools", "peer_pools"),
        *("free_clients", "used_clients", "login_clients"),
        *("free_servers", "used_servers"),
        *("dns_names", "dns_zones", "dns_queries", "dns_pending"),
    ]
    counted = [
        *("server_assignment_count", "xact_count", "query_count"),
        *("client_bytes", "server_bytes", "xact_time", "query_time", "wait_time"),
        *("ps_client_parse_count", "ps_server_parse_count", "ps_bind_count"),
        "client_login_count",
    ]
    assert names("TOTALS") == [
        f"{prefix}_{name}" for prefix in ("total", "avg") for name in counted
    ]
