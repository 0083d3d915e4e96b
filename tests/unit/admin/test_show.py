"""What each SHOW tells of a known service."""

from __future__ import annotations

import pytest

from pgswitch.admin.show import find
from pgswitch.admin.snapshots import StateSnapshot
from tests.unit.admin.fakes import FakeView
from tests.unit.admin.reading import Cells, shown_rows

ROWS: dict[str, list[Cells]] = {
    "version": [("PgBouncer 1.25.2",)],
    "state": [("active", "yes"), ("paused", "no"), ("suspended", "no")],
    "config": [("admin_users", "admin", None, "yes")],
    "lists": [
        *(("databases", "5"), ("users", "0"), ("peers", "0"), ("pools", "0")),
        *(("peer_pools", "0"), ("free_clients", "0"), ("used_clients", "2")),
        *(("login_clients", "0"), ("free_servers", "0"), ("used_servers", "0")),
        *(("dns_names", "0"), ("dns_zones", "0")),
        *(("dns_queries", "0"), ("dns_pending", "0")),
    ],
    "mem": [("user_cache", "10", "5", "1", "60")],
    "dns_hosts": [("db", "15", "10.0.0.1:0,[::1]:0")],
    "dns_zones": [("example", "7", "2")],
    "topology": [
        (
            *("db", "a", "a.example", "5432", "writer", "known", "2", "1/AB"),
            *(None, "100", "400", "3", ""),
        )
    ],
    "switchovers": [
        (
            *("db", "no answer in time", "a", None, "2"),
            *("2026-11-22 12:00:00.000 UTC", "2026-11-22 12:00:00.250 UTC"),
            *(None, None, "1", "2", "3", "08007:1", "4"),
        )
    ],
    "rules": [
        (
            *("routing_rules", "*", "/etc/r.py", "2026-11-22 12:00:00 UTC", "abc"),
            *("1", "2", "3", "10", "4", "5", "6", "7", "8", "9", None),
        )
    ],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Each value stands in its column, and no row has a column too few."""
    assert shown_rows(name) == ROWS[name]


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
    shown = find(name)
    assert shown is not None
    assert [(one.name, one.oid) for one in shown.columns] == [(name.lower(), 25)]
    assert shown_rows(name) == [(value,)]


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
    assert [row[1] for row in shown_rows("state", FakeView(state))] == words


@pytest.mark.parametrize("name", ["", "nosuch", "default_pool_size", "hba"])
def test_there_is_no_other_show(name: str) -> None:
    """An unknown name gives None, for the console to refuse."""
    assert find(name) is None
