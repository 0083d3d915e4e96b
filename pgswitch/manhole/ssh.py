"""The way into the shell by SSH: public keys, for the process's own user alone.

Imported only when it is asked for: it needs the extra ``manhole``.
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
    """A key file cannot be read, written or understood; the text says which."""


class Session(TerminalSession):
    """A session that takes resizing and the end of input without a fault."""

    def windowChanged(self, newWindowSize: object) -> None:
        """Ignore it: the shell wraps lines at the size it began with."""

    def eofReceived(self) -> None:
        """Ignore it: the end of the connection follows."""


def make_factory(
    make_shell: Callable[[], ITerminalProtocol], *, authorized_keys: str, host_key: str
) -> SSHFactory:
    """Return the factory of SSH connections that end in a shell.

    :param make_shell: makes the shell of one session.
    :param authorized_keys: path of the public keys that may enter, as for sshd(8).
    :param host_key: path of the host key; a new ed25519 key is put there if missing.
    :raises KeyFileError: one of the files is not right.
    """
    if found := Trust().file(authorized_keys):
        # As sshd(8) does (StrictModes): whoever writes it gets in.
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
    """Return the public keys of a file; lines that hold none are left out.

    :raises KeyFileError: it cannot be read, or holds no key at all.
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
    """Return the private key of a file; put a new ed25519 key there first if missing.

    The new file is readable by its owner alone.

    :raises KeyFileError: it cannot be read or written, or holds no such key.
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
