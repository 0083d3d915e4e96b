"""What each SHOW tells of a known service."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pgswitch.admin.show import SHOWS, show
from pgswitch.admin.snapshots import StateSnapshot
from tests.unit.admin.fakes import FakeView
from tests.unit.admin.reading import Cells, read

TOTALS = tuple(str(number) for number in range(1, 13))
AVERAGES = tuple(str(number) for number in range(21, 33))
NOTHING = ("0",) * 12

CLIENT_ENDS = ("127.0.0.1", "56540", "127.0.0.1", "6400")
CLIENT_TIMES = ("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:01 UTC")
CLIENT_TAIL = (
    *("2", "3", "0", "0x5566bb02bdc8", "0x5566bb055bf0", "0", None, None, "0", "2"),
)
SERVER_TAIL = (
    *("127.0.0.1", "6000", "127.0.0.1", "41140"),
    *("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:00 UTC"),
    *("0", "0", "1", "0x5566bb055bf0", "", "24610"),
    *("TLSv1.3/TLS_AES_256_GCM_SHA384", "shop", "5", "3"),
)
LOGIN_TAIL = (
    *("unix", "6400", "unix", "6400"),
    *("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:00 UTC"),
    *("0", "0", "0", "0x10", "", "0", None, None, "0", "4"),
)
CLIENT_SOCKET = (
    *("C", "postgres", "bench", "none", "cl_active"),
    *(*CLIENT_ENDS, *CLIENT_TIMES, *CLIENT_TAIL),
    *("7", "0", "0", "0", "0", "0", "0"),
)

ROWS: dict[str, list[Cells]] = {
    "version": [("PgBouncer 1.25.2",)],
    "state": [("active", "yes"), ("paused", "no"), ("suspended", "no")],
    "config": [("admin_users", "admin", None, "yes")],
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
    "pools": [
        (
            *("bench", "postgres"),
            *("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"),
            *("transaction", "round-robin"),
        ),
        ("pgbouncer", "pgbouncer", "1", *("0",) * 12, "statement", None),
    ],
    "databases": [
        (
            *("bench", "127.0.0.1", "6000", "bench_real", None),
            *("3", "1", "2", "3600", None, None, "4", "5", "6", "7", "1", "0"),
        ),
        (
            *("pgbouncer", None, "6400", "pgbouncer", "pgbouncer"),
            *("2", "0", "0", "3600", "statement", None, "0", "0", "0", "0", "0", "1"),
        ),
    ],
    "users": [
        ("admin", None, None, None, "0", "0", "0", "1"),
        ("app", "        5", "        0", "session", "8", "3", "9", "0"),
    ],
    "peers": [
        ("1", "127.0.0.1", "6400", "3"),
        ("2", "10.0.0.2", "6401", "3"),
    ],
    "peer_pools": [("2", "1", "2", "3", "4")],
    "stats": [("bench", *TOTALS, *AVERAGES), ("shop", *NOTHING, *NOTHING)],
    "stats_totals": [("bench", *TOTALS), ("shop", *NOTHING)],
    "stats_averages": [("bench", *AVERAGES), ("shop", *NOTHING)],
    "totals": [
        *(("total_server_assignment_count", "1"), ("total_xact_count", "2")),
        *(("total_query_count", "3"), ("total_client_bytes", "4")),
        *(("total_server_bytes", "5"), ("total_xact_time", "6")),
        *(("total_query_time", "7"), ("total_wait_time", "8")),
        ("total_ps_client_parse_count", "9"),
        ("total_ps_server_parse_count", "10"),
        *(("total_ps_bind_count", "11"), ("total_client_login_count", "12")),
        *(("avg_server_assignment_count", "21"), ("avg_xact_count", "22")),
        *(("avg_query_count", "23"), ("avg_client_bytes", "24")),
        *(("avg_server_bytes", "25"), ("avg_xact_time", "26")),
        *(("avg_query_time", "27"), ("avg_wait_time", "28")),
        *(("avg_ps_client_parse_count", "29"), ("avg_ps_server_parse_count", "30")),
        *(("avg_ps_bind_count", "31"), ("avg_client_login_count", "32")),
    ],
    "lists": [
        *(("databases", "5"), ("users", "0"), ("peers", "0"), ("pools", "0")),
        *(("peer_pools", "0"), ("free_clients", "0"), ("used_clients", "2")),
        *(("login_clients", "0"), ("free_servers", "0"), ("used_servers", "0")),
        *(("dns_names", "0"), ("dns_zones", "0")),
        *(("dns_queries", "0"), ("dns_pending", "0")),
    ],
    "mem": [("user_cache", "10", "5", "1", "60")],
    "dns_hosts": [("db", "15", "10.0.0.1,::1")],
    "dns_zones": [],
    "rules": [
        (
            *("routing_rules", "*", "/etc/r.py", "2026-11-22 12:00:00 UTC", "abc"),
            *("1", "2", "3", "4", "5", "6", "7", "8", "9", None),
        )
    ],
}


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the process live in UTC, as times of day are shown in its zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("name", SHOWS)
def test_rows_say_what_the_service_shows(name: str) -> None:
    """Each value stands in its column, and no row has a column too few."""
    data = show(name.upper(), FakeView())
    assert data is not None
    answer = read(data)
    assert answer.rows == ROWS[name]
    assert {len(row) for row in answer.rows} <= {len(answer.columns)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_encoding", "UTF-8"),
        ("default_transaction_isolation", "read committed"),
        ("standard_conforming_strings", "on"),
        ("DateStyle", "ISO"),
        ("TIMEZONE", "GMT"),
    ],
)
def test_what_drivers_ask_is_answered(name: str, value: str) -> None:
    """A few session settings are shown, each as one text column of its name."""
    data = show(name, FakeView())
    assert data is not None
    answer = read(data)
    assert answer.columns == [(name.lower(), 25)]
    assert answer.rows == [(value,)]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (StateSnapshot(), ["yes", "no", "no"]),
        (StateSnapshot(paused=True), ["no", "yes", "no"]),
        (StateSnapshot(suspended=True), ["no", "no", "yes"]),
        (StateSnapshot(shutting_down=True), ["yes", "no", "no"]),
    ],
)
def test_the_state_is_said_in_three_words(
    state: StateSnapshot, words: list[str]
) -> None:
    """Exactly one of active, paused and suspended is yes."""
    data = show("state", FakeView(state))
    assert data is not None
    assert [row[1] for row in read(data).rows] == words


@pytest.mark.parametrize("name", ["", "nosuch", "default_pool_size", "hba", "fds"])
def test_there_is_no_other_show(name: str) -> None:
    """An unknown name gives None, for the console to refuse."""
    assert show(name, FakeView()) is None
