"""With what servers are logged in to: the file's secrets, and what logins showed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pgswitch.auth.auth_file import AuthFile
from pgswitch.auth.credentials import ServerCredentials
from pgswitch.auth.user_lookup import User
from pgswitch.config.model import DatabaseSpec, Settings
from pgswitch.logs import Log
from pgswitch.wire.client_auth import Accepted
from pgswitch.wire.password import Secret
from pgswitch.wire.scram import ScramKeys

KEYS = ScramKeys(b"c" * 32, b"s" * 32)
HERE = DatabaseSpec(name="here", dbname="d")
THERE = DatabaseSpec(name="there", dbname="d")
PASSWORD = Secret.of("in clear")


class Filed:
    """The credentials, and the file they come from."""

    def __init__(self, path: Path) -> None:
        """Begin with one user, ``a``."""
        self.path = path
        self.store = AuthFile(Log(quiet=True))
        self.credentials = ServerCredentials(self.store)
        self.write('"a" "one"\n"forced" "from the file"\n')

    def write(self, text: str) -> None:
        """Change the file."""
        self.path.write_text(text)
        self.store.load(replace(Settings(), auth_file=str(self.path)))

    def remember(
        self, user: str, outcome: Accepted, spec: DatabaseSpec = HERE, secret: str = ""
    ) -> None:
        """Let a user log in; ``secret`` is what auth_query gave, if it was asked."""
        found = Secret.of(secret) if secret else self.store.secret(user)
        self.credentials.remember(spec, User(user, found), outcome)


@pytest.fixture
def filed(tmp_path: Path) -> Filed:
    """Return credentials over a file."""
    return Filed(tmp_path / "users")


def test_the_file_alone(filed: Filed) -> None:
    """A user's own secret; nothing for an unknown user."""
    assert filed.credentials.for_server(HERE, "a") == (Secret.of("one"), None)
    assert filed.credentials.for_server(HERE, "b") == (None, None)


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (Accepted(), (Secret.of("one"), None)),
        (Accepted(scram_keys=KEYS), (Secret.of("one"), KEYS)),
        (Accepted(password=PASSWORD), (PASSWORD, None)),
    ],
)
def test_what_a_login_showed(
    filed: Filed, outcome: Accepted, found: tuple[Secret, ScramKeys | None]
) -> None:
    """Serves at every database, until the user's line changes."""
    filed.remember("a", outcome)
    assert filed.credentials.for_server(HERE, "a") == found
    assert filed.credentials.for_server(THERE, "a") == found
    filed.write('"a" "two"\n')
    assert filed.credentials.for_server(HERE, "a") == (Secret.of("two"), None)
    filed.write("")
    assert filed.credentials.for_server(HERE, "a") == (None, None)


def test_users_of_auth_query(filed: Filed) -> None:
    """Each database has its own; elsewhere the last one shown has to do."""
    filed.remember("q", Accepted(), THERE, secret="there")
    filed.remember("q", Accepted(), HERE, secret="here")
    assert filed.credentials.for_server(THERE, "q")[0] == Secret.of("there")
    third = DatabaseSpec(name="third", dbname="d")
    assert filed.credentials.for_server(third, "q")[0] == Secret.of("here")


def test_keys_outlive_a_login_without(filed: Filed) -> None:
    """As long as the secret is the one they belong to."""
    filed.remember("q", Accepted(scram_keys=KEYS), secret="one")
    filed.remember("q", Accepted(), secret="one")
    assert filed.credentials.for_server(HERE, "q") == (Secret.of("one"), KEYS)
    filed.remember("q", Accepted(), secret="two")
    assert filed.credentials.for_server(HERE, "q") == (Secret.of("two"), None)


def test_forced_users(filed: Filed) -> None:
    """Their own password, else their line in the file; never a client's keys."""
    own = DatabaseSpec(name="d", dbname="d", user="forced", password="own")
    for name in ("a", "forced"):
        filed.remember(name, Accepted(scram_keys=KEYS, password=PASSWORD), own)
    assert filed.credentials.for_server(own, "forced") == (Secret.of("own"), None)
    assert filed.credentials.for_server(own, "a") == (Secret.of("one"), None)
    filed_one = replace(own, password=None)
    found = filed.credentials.for_server(filed_one, "forced")
    assert found == (Secret.of("from the file"), None)


def test_for_another_process(filed: Filed, tmp_path: Path) -> None:
    """What was learned is learned by the one that goes on, with its conditions."""
    filed.remember("a", Accepted(scram_keys=KEYS))
    filed.remember("b", Accepted(), secret="asked for")
    other = Filed(tmp_path / "others")
    other.credentials.unpack(json.loads(json.dumps(filed.credentials.pack())))
    assert other.credentials.for_server(HERE, "a") == (Secret.of("one"), KEYS)
    assert other.credentials.for_server(HERE, "b") == (Secret.of("asked for"), None)
    other.write('"a" "changed"\n')
    assert other.credentials.for_server(HERE, "a") == (Secret.of("changed"), None)
