"""Tests of the files that a pgswitch process of our own gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.config.load import load
from pgswitch.config.userlist import parse_userlist
from pgswitch.demo.pooler import Pooler, Sections, ini_text
from pgswitch.demo.processes import ChildFailed

SECRETS = {"plain": "secret", 'with "quotes"': 'a"b""c', "empty": ""}


def test_ini_text_lists_sections_in_order() -> None:
    """Sections, keys and values come out as written."""
    sections: Sections = {"databases": {"a": "host=x"}, "pgbouncer": {"listen_port": 1}}
    assert ini_text(sections) == (
        "[databases]\na = host=x\n\n[pgbouncer]\nlisten_port = 1\n"
    )


def test_files_are_read_back_as_written(tmp_path: Path) -> None:
    """The service's own readers find what was put in."""
    pooler = Pooler(tmp_path, port=7000)
    pooler.write_users(SECRETS)
    pooler.write_ini(
        {"databases": {"a": "host=x"}, "pgbouncer": {"listen_addr": "127.0.0.2"}}
    )
    settings = load(str(pooler.ini_path)).settings
    assert settings.listen_port == 7000
    assert settings.listen_addr == ("127.0.0.2",)
    assert settings.unix_socket_dir == str(tmp_path)
    assert parse_userlist(pooler.users_path.read_text()) == (SECRETS, [])
    assert settings.auth_file == str(pooler.users_path)


@pytest.mark.parametrize("name", ["ini_path", "users_path"])
def test_files_are_private(tmp_path: Path, name: str) -> None:
    """No other user may read secrets."""
    pooler = Pooler(tmp_path, port=7000)
    pooler.write_users({})
    pooler.write_ini({})
    assert getattr(pooler, name).stat().st_mode & 0o777 == 0o600


def test_without_a_process(tmp_path: Path) -> None:
    """Before the start there is no child, no log, and nothing to stop."""
    pooler = Pooler(tmp_path, port=7000)
    assert not pooler.is_running
    assert pooler.log_text() == ""
    assert pooler.stop() is None
    with pytest.raises(ChildFailed):
        _ = pooler.child


def test_url_names_all_parts(tmp_path: Path) -> None:
    """The connection string is what psql takes."""
    assert Pooler(tmp_path, port=7000).url("u", "p", "d") == (
        "postgresql://u:p@127.0.0.1:7000/d"
    )
