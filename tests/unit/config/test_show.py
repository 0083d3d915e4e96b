"""The rows of SHOW CONFIG."""

from __future__ import annotations

import pytest

from pgswitch.config.model import SETTINGS
from pgswitch.config.report import ConfigRow, config_rows
from pgswitch.config.settings import Settings
from tests.unit.config.files import loaded

ROWS: list[tuple[str, str | None, str | None, str]] = [
    ("admin_users", "admin", "", "yes"),
    ("auth_type", "scram-sha-256", "md5", "yes"),
    ("auth_user", None, None, "yes"),
    ("conffile", "x.ini", None, "yes"),
    ("default_pool_size", "20", "20", "yes"),
    ("listen_addr", "*, ::1", "", "no"),
    ("polling_frequency", "0.1", ".1", "yes"),
    ("pool_mode", "transaction", "session", "yes"),
    ("query_wait_timeout", "0.5", "120", "yes"),
    ("rewrite_query_disconnect_on_failure", "true", "false", "yes"),
    ("server_lifetime", "1e+06", "3600", "yes"),
    ("server_tls_sslmode", "prefer", "prefer", "yes"),
    ("unix_socket_mode", "511", "0777", "no"),
]

TEXT = """\
[pgbouncer]
admin_users = admin
auth_type = SCRAM-SHA-256
listen_addr = *, ::1
pool_mode = Transaction
query_wait_timeout = .5
rewrite_query_disconnect_on_failure = yes
server_lifetime = 1000000
"""


@pytest.mark.parametrize("row", ROWS)
def test_row(row: tuple[str, str | None, str | None, str]) -> None:
    """A value is shown as the console of PgBouncer shows it."""
    rows = {shown.key: shown for shown in config_rows(loaded(TEXT).settings)}
    assert rows[row[0]] == ConfigRow(*row)


def test_order() -> None:
    """There is a row for each setting, in the order of the table."""
    assert [row.key for row in config_rows(Settings())] == list(SETTINGS)


def test_defaults() -> None:
    """Where nothing is set, each value is the default, but for how it is written."""
    rows = [row for row in config_rows(Settings()) if row.value != row.default]
    assert [row.key for row in rows] == ["polling_frequency", "unix_socket_mode"]
