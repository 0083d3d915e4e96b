"""The configuration as a value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from pgswitch.config.model import (
    DatabaseSpec,
)
from tests.unit.config.files import loaded


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        (None, ()),
        ("a", ("a",)),
        ("a,::1,/tmp,@x", ("a", "::1", "/tmp", "@x")),
        ("a,,b,", ("a", "b")),
    ],
)
def test_hosts(host: str | None, hosts: tuple[str, ...]) -> None:
    """A host may be a list."""
    assert DatabaseSpec(name="a", host=host).hosts == hosts


@pytest.mark.parametrize(("dbname", "result"), [(None, "app"), ("b", "b")])
def test_for_autodb(dbname: str | None, result: str) -> None:
    """The template's entry takes the asked name, and its database if it has none."""
    made = DatabaseSpec(name="*", dbname=dbname, host="h").for_autodb("app")
    assert made == DatabaseSpec(name="app", dbname=result, host="h")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("a", "one"),
        ("b", "all"),
        ("é" * 31, "all"),
        ("é" * 32, None),
        ("", None),
        ("pgbouncer", None),
        ("pgswitch", None),
    ],
)
def test_database(name: str, host: str | None) -> None:
    """An entry of its own wins over the template, which stands for ordinary names."""
    found = loaded("[pgbouncer]\n[databases]\n*=host=all\na=host=one\n").database(name)
    assert (found and found.host) == host
    assert found is None or found.dbname == name


def test_no_template() -> None:
    """Without a template an unknown name is unknown."""
    assert loaded("[pgbouncer]\n[databases]\na=\n").database("b") is None


def test_frozen() -> None:
    """Nothing of a configuration can be changed in place."""
    got = loaded("[pgbouncer]\n[databases]\na=\n")
    with pytest.raises(FrozenInstanceError):
        got.settings.verbose = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        got.databases["b"] = got.databases["a"]  # type: ignore[index]


def test_password_does_not_show() -> None:
    """A database's repr, as a traceback may have it, is without its password."""
    assert "hush" not in repr(DatabaseSpec(name="a", password="hush"))
