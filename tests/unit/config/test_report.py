"""What becomes of each setting."""

from __future__ import annotations

import pytest

from pgswitch.config.load import load
from pgswitch.config.model import DATABASE_KEYS, SETTINGS, USER_KEYS
from pgswitch.config.report import DIFFERENCES, SettingEffect, report

TABLES = {"pgbouncer": SETTINGS, "databases": DATABASE_KEYS, "users": USER_KEYS}


def lines(text: str) -> list[tuple[str, ...]]:
    """Return the report on a file of this text, without its notes."""
    found = report(load("x.ini", read=lambda _path: text))
    return [(*line[:4], line.verdict.value) for line in found]


def test_each_setting_of_the_file() -> None:
    """In the order of the sections; what is not there has no line."""
    text = """
[databases]
shop = host=db1 port=5433 password=secret pool_size=5
* = host=db2 port=5432
[users]
joe = client_idle_timeout=5
[peers]
3 = host=p
[pgbouncer]
pool_mode = transaction
pkt_buf = 8192
default_pool_size = 7
"""
    assert lines(text) == [
        ("pgbouncer", "", "default_pool_size", "7", "differs"),
        ("pgbouncer", "", "pkt_buf", "8192", "ignored"),
        ("pgbouncer", "", "pool_mode", "transaction", "acts"),
        ("databases", "shop", "dbname", "shop", "acts"),
        ("databases", "shop", "host", "db1", "acts"),
        ("databases", "shop", "port", "5433", "acts"),
        ("databases", "shop", "password", "********", "acts"),
        ("databases", "shop", "pool_size", "5", "differs"),
        ("databases", "*", "host", "db2", "acts"),
        ("users", "joe", "client_idle_timeout", "5", "differs"),
        ("peers", "3", "host", "p", "acts"),
    ]


def test_notes() -> None:
    """Whatever is not as in the reference says how."""
    text = "[databases]\n[pgbouncer]\n" + "".join(
        f"{name} = {about.default}\n"
        for name, about in SETTINGS.items()
        if about.default
    )
    found = report(load("x.ini", read=lambda _path: text))
    assert {line.verdict for line in found} >= {
        SettingEffect.ACTS,
        SettingEffect.DIFFERS,
    }
    for line in found:
        assert bool(line.note) is (line.verdict is not SettingEffect.ACTS), line


@pytest.mark.parametrize(("section", "name"), DIFFERENCES)
def test_differences_are_of_settings_that_there_are(section: str, name: str) -> None:
    """A name that was changed would never be found."""
    assert name in TABLES[section]
