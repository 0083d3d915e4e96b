"""The shell over SSH: public keys only, for the process's own user only.

Imported only if a setting asks for it: it needs the extra ``manhole``.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.checkers import (
    InMemorySSHKeyDB,
    SSHPublicKeyChecker,
    readAuthorizedKeyFile,
)
from twisted.conch.insults.insults import ITerminalProtocol, ServerProtocol
from twisted.conch.manhole_ssh import ConchFactory, TerminalRealm, TerminalSession
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.cred.portal import Portal

from pgswitch.config.trust import Trust

_KEY_MODE = 0o600


class KeyFileError(Exception):
    """A key file cannot be read, written or parsed; the text says which."""


class Session(TerminalSession):
    """A session that ignores resizing and the end of input."""

    def windowChanged(self, newWindowSize: object) -> None:
        """Ignore it: the shell wraps lines at the size it started with."""

    def eofReceived(self) -> None:
        """Ignore it: the end of the connection follows."""


def make_factory(
    make_shell: Callable[[], ITerminalProtocol], *, authorized_keys: str, host_key: str
) -> SSHFactory:
    """Return the factory of SSH connections to a shell.

    :param make_shell: makes the shell of one session.
    :param authorized_keys: path of the accepted public keys, as for sshd(8).
    :param host_key: path of the host key; a new ed25519 key is written if missing.
    :raises KeyFileError: one of the files cannot be used.
    """
    if found := Trust().file(authorized_keys):
        # As sshd(8) does (StrictModes): anyone who can write the file can log in.
        raise KeyFileError(found)
    keys = read_authorized_keys(authorized_keys)
    key: Any = read_host_key(host_key)
    user = pwd.getpwuid(os.geteuid()).pw_name.encode()
    make_realm: Callable[[], Any] = TerminalRealm
    realm = make_realm()
    realm.sessionFactory = Session
    realm.chainedProtocolFactory = lambda: _terminal(make_shell)
    checker = SSHPublicKeyChecker(InMemorySSHKeyDB({user: keys}))
    make_ssh: Callable[[Portal], Any] = ConchFactory
    factory = make_ssh(Portal(realm, [checker]))
    factory.publicKeys = {key.sshType(): key.public()}
    factory.privateKeys = {key.sshType(): key}
    return factory  # type: ignore[no-any-return]


def read_authorized_keys(path: str) -> list[Key]:
    """Return the public keys in a file; other lines are ignored.

    :raises KeyFileError: the file cannot be read, or has no key.
    """
    try:
        with Path(path).open("rb") as file:
            keys = list(readAuthorizedKeyFile(file))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    if not keys:
        raise KeyFileError(f"{path}: no public key in it")
    return keys


def read_host_key(path: str) -> Key:
    """Return the private key in a file; write a new ed25519 key if it is missing.

    Only its owner can read the new file.

    :raises KeyFileError: the file cannot be read or written, or has no private key.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    read: Callable[[str], Key] = Key.fromFile
    try:
        if not Path(path).exists():
            with os.fdopen(os.open(path, flags, _KEY_MODE), "wb") as file:
                file.write(_new_key().toString("openssh"))
        return read(path)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    except BadKeyError as error:
        raise KeyFileError(f"{path}: {error}") from error


def _new_key() -> Key:
    wrap: Callable[[object], Key] = Key
    return wrap(Ed25519PrivateKey.generate())


def _terminal(make_shell: Callable[[], ITerminalProtocol]) -> ServerProtocol:
    make: Callable[..., ServerProtocol] = ServerProtocol
    return make(make_shell)
