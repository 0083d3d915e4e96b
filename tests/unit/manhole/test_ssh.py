"""The shell by SSH: keys, files, and a whole session in memory."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key
from twisted.cred.credentials import SSHPrivateKey
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from pgswitch.manhole.shell import Shell
from pgswitch.manhole.ssh import (
    KeyFileError,
    Session,
    make_factory,
    read_authorized_keys,
    read_host_key,
)

AnyKey: TypeAlias = Any
"""Keys of Twisted, whose methods have no types."""


def new_key() -> AnyKey:
    """Return a private key."""
    make: AnyKey = Key
    return make(Ed25519PrivateKey.generate())


def result_of(deferred: Deferred[object]) -> object:
    """Return what a Deferred has fired with, failures as exceptions."""
    found: list[object] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    (value,) = found
    return value


def test_host_key_is_made_once(tmp_path: Path) -> None:
    """The first start makes it, for us alone to read; later ones use it."""
    path = tmp_path / "host"
    first: Any = read_host_key(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.sshType() == b"ssh-ed25519"
    second: Any = read_host_key(str(path))
    assert first.fingerprint() == second.fingerprint()


def test_host_key_given(tmp_path: Path) -> None:
    """A key that is there is used as it is."""
    path = tmp_path / "host"
    key = new_key()
    path.write_bytes(key.toString("openssh"))
    found: Any = read_host_key(str(path))
    assert found.fingerprint() == key.fingerprint()


def test_bad_host_key(tmp_path: Path) -> None:
    """A file that holds something else is not overwritten."""
    path = tmp_path / "host"
    path.write_text("no key")
    with pytest.raises(KeyFileError, match=f"^{path}: "):
        read_host_key(str(path))
    assert path.read_text() == "no key"
    missing = str(tmp_path / "no" / "host")
    with pytest.raises(KeyFileError, match="No such file or directory"):
        read_host_key(missing)


def test_authorized_keys(tmp_path: Path) -> None:
    """Comments are skipped; a list without keys is a fault, since it lets no one in."""
    path = tmp_path / "keys"
    public = new_key().public().toString("openssh")
    path.write_bytes(b"# mine\n\n" + public + b" me@host\n")
    assert len(read_authorized_keys(str(path))) == 1
    path.write_text("# nobody\n")
    with pytest.raises(KeyFileError, match="no public key in it"):
        read_authorized_keys(str(path))
    with pytest.raises(KeyFileError, match="No such file or directory"):
        read_authorized_keys(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("user", "own_key", "enters"),
    [("pooler", True, True), ("pooler", False, False), ("root", True, False)],
)
def test_login(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    own_key: bool,  # noqa: FBT001
    enters: bool,  # noqa: FBT001
) -> None:
    """Only the process's own user enters, and only with a key of the list."""
    key, other = new_key(), new_key()
    keys = tmp_path / "keys"
    keys.write_bytes(key.public().toString("openssh"))
    entry = type("Entry", (), {"pw_name": "pooler"})
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: entry)
    factory: Any = make_factory(
        lambda: Shell({}),
        authorized_keys=str(keys),
        host_key=str(tmp_path / "host"),
    )
    assert list(factory.publicKeys) == list(factory.privateKeys) == [b"ssh-ed25519"]
    shown = key if own_key else other
    credentials = SSHPrivateKey(
        user.encode(),
        shown.sshType(),
        shown.public().blob(),
        b"what is signed",
        shown.sign(b"what is signed"),
    )
    (checker,) = set(factory.portal.checkers.values())
    answer = result_of(checker.requestAvatarId(credentials))
    if enters:
        assert answer == user.encode()
    else:
        assert isinstance(answer, UnauthorizedLogin)


def test_keys_that_others_may_write(tmp_path: Path) -> None:
    """Write access to the list is access to the manhole, so others must not have it."""
    keys = tmp_path / "keys"
    keys.write_bytes(new_key().public().toString("openssh"))
    keys.chmod(0o666)
    with pytest.raises(KeyFileError, match="can be written by everyone"):
        make_factory(
            lambda: Shell({}),
            authorized_keys=str(keys),
            host_key=str(tmp_path / "host"),
        )


def test_session_takes_the_end_of_input(tmp_path: Path) -> None:
    """Neither a resized window nor the end of input is a fault."""
    make: Any = Session
    session = make(None)
    session.windowChanged((24, 80, 0, 0))
    session.eofReceived()
