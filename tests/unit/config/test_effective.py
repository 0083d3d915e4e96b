"""Which of several values holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgswitch.config.effective import Effective
from pgswitch.config.model import DatabaseSpec
from pgswitch.types import PoolMode
from tests.unit.config.files import loaded

S, T, P = PoolMode.STATEMENT, PoolMode.TRANSACTION, PoolMode.SESSION

# name, text for all, text of the database, text of the user, value that holds; None is
# a line without the key.
CASES: list[tuple[str, str | None, str | None, str | None, object]] = [
    ("pool_mode", None, None, None, P),
    ("pool_mode", "transaction", None, None, T),
    ("pool_mode", "transaction", "statement", None, S),
    ("pool_mode", "transaction", "statement", "session", P),
    ("pool_size", "7", None, None, 7),
    ("pool_size", "7", "0", None, 0),
    ("pool_size", "7", "-1", None, 7),
    ("pool_size", "7", "8", "9", 9),
    ("pool_size", "7", "8", "0", 0),
    ("pool_size", "7", "8", "-1", 8),
    ("pool_size", "-7", None, None, 0),
    ("min_pool_size", "-1", None, None, 0),
    ("reserve_pool_size", "-1", None, None, 0),
    ("min_pool_size", "1", None, None, 1),
    ("min_pool_size", "1", "0", None, 0),
    ("reserve_pool_size", "1", None, None, 1),
    ("reserve_pool_size", "1", "2", "0", 0),
    ("query_wait_timeout", None, None, None, 120.0),
    ("query_wait_timeout", "1", "2", None, 2.0),
    ("query_wait_timeout", "1", "-1", None, 1.0),
    ("query_wait_timeout", "1", "2", "0", 0.0),
    ("query_wait_timeout", "0", None, "3", 3.0),
    ("query_timeout", "1", None, None, 1.0),
    ("query_timeout", "1", None, "2", 2.0),
    ("query_timeout", "1", None, "0", 1.0),
    ("idle_transaction_timeout", "1", None, "2", 2.0),
    ("transaction_timeout", "1", None, "2", 2.0),
    ("client_idle_timeout", "0", None, "2", 2.0),
    ("client_idle_timeout", "0", None, None, 0.0),
    ("server_lifetime", "1", "2", None, 2.0),
    ("server_lifetime", "1", "0", None, 1.0),
    ("server_lifetime", "0", None, None, 0.0),
    ("max_db_connections", "5", None, None, 5),
    ("max_db_connections", "5", "6", None, 6),
    ("max_db_connections", "5", "0", None, 5),
    ("max_db_connections", "-5", None, None, 0),
    ("max_user_connections", "5", None, None, 5),
    ("max_user_connections", "5", None, "6", 6),
    ("max_user_connections", "5", None, "0", 5),
    ("max_db_client_connections", "5", "6", None, 6),
    ("max_user_client_connections", "5", None, "6", 6),
]


@pytest.mark.parametrize(("name", "everyone", "database", "user", "value"), CASES)
def test_value(
    name: str,
    everyone: str | None,
    database: str | None,
    user: str | None,
    value: object,
) -> None:
    """The user's value wins over the database's, and that one over everyone's."""
    setting = "default_pool_size" if name == "pool_size" else name
    configuration = loaded(
        "[pgbouncer]\n"
        + (f"{setting} = {everyone}\n" if everyone else "")
        + f"[databases]\nd = {f'{name}={database}' if database else ''}\n"
        + f"[users]\nu = {f'{name}={user}' if user else ''}\n"
    )
    look_up: Callable[[DatabaseSpec, str], Any] = getattr(
        Effective(configuration), name
    )
    got = look_up(configuration.databases["d"], "u")
    assert got == value
    assert isinstance(got, type(value))


def test_other_user() -> None:
    """One user's entry does not touch another's values."""
    configuration = loaded("[pgbouncer]\n[databases]\nd=\n[users]\nu=pool_size=1\n")
    effective = Effective(configuration)
    sizes = [
        effective.pool_size(configuration.databases["d"], user) for user in ("u", "v")
    ]
    assert sizes == [1, 20]


@pytest.mark.parametrize(
    ("settings", "users", "expected"),
    [
        ("", "", False),
        ("", "a = pool_size=1", False),
        ("", "a = client_idle_timeout=5\nb = pool_size=1", True),
        ("client_idle_timeout = 5", "", True),
    ],
)
def test_whether_anybody_may_be_too_silent(
    settings: str, users: str, *, expected: bool
) -> None:
    """Computed once for all pools, since each asks three times a second."""
    made = loaded(f"[pgbouncer]\n{settings}\n[users]\n{users}\n")
    assert Effective(made).has_silence_limit is expected


@pytest.mark.parametrize(("written", "read"), [("200", 200), ("0", 0), ("-5", 0)])
def test_prepared_statements(written: str, read: int) -> None:
    """A number below nothing is nothing."""
    made = loaded(f"[pgbouncer]\nmax_prepared_statements = {written}\n")
    assert Effective(made).max_prepared_statements == read


def test_a_peers_pool() -> None:
    """Its own size or the common one; a negative value means no limit."""
    made = loaded(
        "[pgbouncer]\ndefault_pool_size = -1\n"
        "[peers]\n1 = host=a pool_size=3\n2 = host=b\n"
    )
    assert Effective(made).peer_pool_size(1) == 3
    assert Effective(made).peer_pool_size(2) == 0
