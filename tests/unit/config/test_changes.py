"""What a new configuration changes."""

from __future__ import annotations

import pytest

from pgswitch.config.model import (
    DATABASE_KEYS,
    carried_over,
    needs_reconnect,
    needs_reconnect_all,
)
from tests.unit.config.files import loaded

RECYCLING = {
    "dbname",
    "host",
    "port",
    "user",
    "connect_query",
    "auth_dbname",
    "auth_query",
    "load_balance_hosts",
    "sslnegotiation",
    "server_tls_sslmode",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "server_tls_protocols",
    "server_tls_ciphers",
    "server_tls13_ciphers",
    "server_tls_ecdhcurve",
}

VALUES = {
    "pool_mode": "statement",
    "load_balance_hosts": "disable",
    "sslnegotiation": "direct",
    "server_tls_sslmode": "require",
    "server_tls_protocols": "all",
}


def test_nothing() -> None:
    """The same file again needs no new connections."""
    text = "[pgbouncer]\nlisten_addr=a,b\n[databases]\na=host=b\n"
    old, new = loaded(text), loaded(text)
    assert not needs_reconnect_all(old.settings, new.settings)
    assert not needs_reconnect(old.databases["a"], new.databases["a"])


@pytest.mark.parametrize(
    "key", [key for key in DATABASE_KEYS if key != "topology_query"]
)
def test_recycling_keys(key: str) -> None:
    """Only keys that decide where servers lead and how they begin recycle them."""
    old = loaded("[pgbouncer]\n[databases]\na=\n")
    new = loaded(f"[pgbouncer]\n[databases]\na={key}={VALUES.get(key, '1')}\n")
    got = needs_reconnect(old.databases["a"], new.databases["a"])
    assert got == (key in RECYCLING)


@pytest.mark.parametrize(
    ("line", "all_of_them"),
    [
        ("server_tls_sslmode=require", True),
        ("server_tls_sslmode=prefer", False),
        ("client_tls_sslmode=allow", False),
    ],
)
def test_recycles_all(line: str, all_of_them: bool) -> None:  # noqa: FBT001  a table's column
    """A change of how servers are reached by TLS recycles those of every database."""
    old, new = loaded("[pgbouncer]\n"), loaded(f"[pgbouncer]\n{line}\n")
    assert needs_reconnect_all(old.settings, new.settings) == all_of_them


def test_carried_over() -> None:
    """What needs a restart stays as it was; all else is new."""
    old = loaded("[pgbouncer]\nlisten_port=1\nverbose=1\n")
    new = loaded("[pgbouncer]\nlisten_port=2\nverbose=2\n[databases]\na=\n")
    got = carried_over(old, new)
    assert (got.settings.listen_port, got.settings.verbose) == (1, 2)
    assert got.databases == new.databases
