"""Which counts, waits and memory are wrong."""

from __future__ import annotations

import pytest

from soak.audit import SERVER_STATES, Counts, Waits, differences, growth, total

CALM = {
    **dict.fromkeys(SERVER_STATES, 0),
    "database": "a",
    "user": "u",
    "cl_waiting": 0,
    "maxwait": 0,
}
IDLE = "3 wait while a server is idle; a/u: 3 cl_waiting, 2 sv_active, 1 sv_idle"
BUSY = {"cl_waiting": 3, "sv_active": 2}


def test_differences() -> None:
    """Each number that is not what is open, by the command that shows it."""
    real = Counts(clients=5, servers=2)
    assert differences({"SHOW LISTS": real}, real) == []
    shown = {"SHOW LISTS": Counts(5, 3), "SHOW POOLS": Counts(4, 2)}
    assert differences(shown, real) == [
        "SHOW LISTS shows 3 servers, 2 are open",
        "SHOW POOLS shows 4 clients, 5 are open",
    ]


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({}, ""),
        ({"sv_idle": 2}, ""),
        (BUSY, ""),
        (BUSY | {"sv_idle": 1}, IDLE),
        (BUSY | {"maxwait": 61}, "a client waits for 61 s"),
        ({"cl_waiting": 1}, "1 wait, and no server is opened"),
        ({"cl_waiting": 1, "sv_login": 1}, ""),
        ({"cl_waiting": 1, "sv_tested": 1}, ""),
    ],
)
def test_waits(row: dict[str, int], wrong: str) -> None:
    """Clients wait only while all servers are active, and not for ever."""
    waits = Waits(2)
    found = [*waits.look([CALM | row], paused=False)]
    found += waits.look([CALM | row], paused=False)
    assert set(found) == ({wrong} if wrong else set())
    assert Waits(2).look([CALM | row], paused=True) == []


def test_waits_for_a_server_of_another_pool() -> None:
    """It is to be taken from there."""
    rows = [CALM | BUSY, CALM | {"sv_idle": 1}]
    assert Waits(4).look(rows, paused=False) == []
    rows[0] = CALM | BUSY | {"sv_login": 3}
    assert Waits(6).look(rows, paused=False) == []
    rows[0] = CALM | BUSY
    assert Waits(3).look(rows, paused=False) == [
        "3 wait while a server is idle; a/u: 3 cl_waiting, 2 sv_active; a/u: 1 sv_idle"
    ]


def test_a_server_about_to_be_opened() -> None:
    """Is not missed by one look: the next event may open it."""
    waits = Waits(2)
    waiting = CALM | {"cl_waiting": 1}
    for row in (waiting, CALM, waiting):
        assert waits.look([row], paused=False) == []


def test_growth() -> None:
    """A tenth is allowed, and some megabytes where that is more."""
    assert growth(100_000, 90_000) == growth(100_000, 110_000) == []
    assert growth(100_000, 110_001) == ["memory grew from 100000 to 110001 kB"]
    assert growth(50_000, 58_192) == []
    assert growth(50_000, 58_193) != []


def test_total() -> None:
    """Numbers may come as texts."""
    assert total([{"a": 1, "b": "2"}, {"a": 3, "b": 0}], "a", "b") == 6
