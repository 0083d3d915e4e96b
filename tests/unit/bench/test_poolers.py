"""Which poolers are found, their variants, and their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import poolers as module
from bench.environment import PASSWORD
from bench.poolers import (
    INI,
    NO_PREPARED,
    NO_RULES,
    RULED_INI,
    ComparedPooler,
    poolers,
    version_in,
    version_numbers,
    with_scram,
)
from pgswitch.wire.password import Secret, SecretKind
from pgswitch.wire.scram import matches


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this machine's poolers and our build away."""
    monkeypatch.setattr(module, "_program", lambda _name: None)
    monkeypatch.setattr(module, "_pgswitch", lambda _folder, _user: ([], []))


@pytest.mark.parametrize(
    ("text", "version", "numbers"),
    [
        ("PgBouncer 1.18.0\nlibevent 2.1.12-stable", "1.18.0", (1, 18, 0)),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12", (2, 6, 12)),
        ("no number", "?", ()),
    ],
)
def test_versions(text: str, version: str, numbers: tuple[int, ...]) -> None:
    """The first one counts."""
    assert version_in(text) == version
    assert version_numbers(version) == numbers


@pytest.mark.usefixtures("alone")
def test_what_is_absent_is_reported() -> None:
    """A line for each, with what to do."""
    found, missing = poolers(Path("none"), None, [])
    assert found == []
    assert [line.rpartition(": ")[2] for line in missing] == [
        "apt-get install pgbouncer",
        "apt-get install haproxy",
    ]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("version", "lacks", "has_setting"),
    [
        ("1.18.0", {"prepared query": NO_PREPARED}, False),
        ("1.20.1", {"prepared query": NO_PREPARED}, False),
        ("1.21.0", {}, True),
        ("1.25.2", {}, True),
    ],
)
def test_prepared_statements_of_pgbouncer(
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    lacks: dict[str, str],
    has_setting: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """They came with 1.21 (its changelog); the setting is unknown before."""
    monkeypatch.setattr(
        module, "_program", lambda name: "/x" if name == "pgbouncer" else None
    )
    monkeypatch.setattr(module, "_output", lambda *_command: f"PgBouncer {version}")
    [pgbouncer], _missing = poolers(Path("none"), None, [])
    assert pgbouncer.lacks == NO_RULES | lacks
    assert ("max_prepared_statements" in pgbouncer.template) == has_setting


@pytest.mark.usefixtures("alone")
def test_another_pgbouncer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The given one replaces the system's; another program is refused."""
    said = {"/opt/new": "PgBouncer 1.26.1\nlibevent", "/bin/true": ""}
    monkeypatch.setattr(module, "_output", lambda command, *_rest: said[command])
    [pgbouncer], _missing = poolers(Path("none"), None, [], Path("/opt/new"))
    assert (pgbouncer.command[0], pgbouncer.version) == ("/opt/new", "1.26.1")
    assert pgbouncer.lacks == NO_RULES
    with pytest.raises(ValueError, match="/bin/true is not a PgBouncer"):
        poolers(Path("none"), None, [], Path("/bin/true"))


@pytest.mark.usefixtures("alone")
def test_another_pooler() -> None:
    """A name and a command, split as a shell would."""
    found, _missing = poolers(Path("none"), None, ["odyssey=/a/b -c 'x y' {file}"])
    assert [(one.name, one.command) for one in found] == [
        ("odyssey", ["/a/b", "-c", "x y", "{file}"])
    ]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("text", ["/a/b {file}", "=/a {file}", "a=/b", "a b=/c {file}"])
def test_malformed_pooler(text: str) -> None:
    """The error shows the expected form."""
    with pytest.raises(ValueError, match="expected NAME=COMMAND"):
        poolers(Path("none"), None, [text])


def test_rules_are_for_one_entry() -> None:
    """The other workloads have clients without rules."""
    settings = RULED_INI.format(server=1, port=2, users="u", rules="/r.py")
    (ruled,) = (line for line in settings.splitlines() if "_py_module_file" in line)
    assert ruled.startswith("ruled = host=127.0.0.1 port=1 dbname=bench ")


def test_poolers_with_scram() -> None:
    """Poolers that read our ini file, with a verifier for the one password."""
    names = ("pgswitch", "interpreted", "pgbouncer", "haproxy", "another")
    poolers = [ComparedPooler(name, ["x", "{file}"]) for name in names]
    found = with_scram(poolers)
    assert [one.name for one in found] == ["pgswitch", "pgbouncer", "another"]
    assert "auth_type = scram-sha-256\n" in found[0].template
    assert "trust" in INI
    secret = Secret.of(found[0].secret)
    assert secret.kind is SecretKind.SCRAM
    assert secret.verifier is not None
    assert matches(secret.verifier, PASSWORD)
