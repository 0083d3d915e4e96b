"""File permissions: which other users may change, replace or read the files we use.

We trust our own user and root, who can do everything that we can anyway.  A file can
be changed by its owner and by anyone with write permission, and replaced by anyone who
owns or may write to a folder above it, unless that folder is sticky, as /tmp is: then
only an entry's owner may replace it.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgswitch.config.model import Configuration

FILES: Final = (
    *("auth_file", "auth_hba_file", "auth_ident_file"),
    *("client_tls_key_file", "client_tls_cert_file", "client_tls_ca_file"),
    *("server_tls_key_file", "server_tls_cert_file", "server_tls_ca_file"),
    *("manhole_authorized_keys", "manhole_host_key"),
)
"""Settings that name a file that decides who may do what."""
KEYS: Final = ("client_tls_key_file", "server_tls_key_file", "manhole_host_key")
"""Settings that name a private key."""
PLACES: Final = ("logfile", "pidfile", "manhole_socket")
"""Settings that name a file we create ourselves."""
OF_ROOT: Final = 0o640
OF_OURSELVES: Final = 0o600
"""Modes that a private key may have (PostgreSQL's manual, "Creating Certificates")."""


def is_trusted(uid: int) -> bool:
    """Return whether a user is our own or root."""
    return uid in {0, os.geteuid()}


def open_unplanted(path: str, flags: int, mode: int = OF_OURSELVES) -> int:
    """Open a file, but not through another user's symbolic link.

    With a link, anyone who may write to the folder could make us write to any of our
    files.

    :raises OSError: with ELOOP for such a link, or as :func:`os.open` does.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if not is_trusted(os.lstat(path).st_uid):
        text = "it is a symbolic link of another user"
        raise OSError(errno.ELOOP, text, path)
    return os.open(path, flags, mode)


class Trust:
    """The trusted users: our own, root, and the user that we shall become."""

    def __init__(self, user: str | None = None) -> None:
        """Also trust the account ``user``, which need not exist."""
        self.users = {0, os.geteuid()}
        self.groups = {0, os.getegid()}
        """A user's own group is trusted: with umask 002 it may write every file."""
        try:
            entry = pwd.getpwnam(user) if user else None
        except (KeyError, ValueError):
            entry = None
        if entry is not None:
            self.users.add(entry.pw_uid)
            self.groups.add(entry.pw_gid)

    def file(self, path: str) -> str:
        """Say who else may change or replace a file or folder; empty for no one.

        Empty as well if it does not exist, or if we may not look at it.
        """
        try:
            real = Path(path).resolve(strict=True)
            return self._writers(real) or self._place(real)
        except (OSError, RuntimeError, ValueError):
            return ""

    def place(self, path: str) -> str:
        """Say who else may remove a file that we create; empty for no one."""
        try:
            return self._place(Path(path).parent.resolve(strict=True) / "entry")
        except (OSError, RuntimeError, ValueError):
            return ""

    def _place(self, real: Path) -> str:
        for folder in real.parents:
            status = folder.stat()
            if status.st_uid not in self.users or not status.st_mode & stat.S_ISVTX:
                found = self._writers(folder)
                if found:
                    return found
        return ""

    def _writers(self, path: Path) -> str:
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid not in self.users:
            return f"{path} belongs to another user (id {status.st_uid})"
        if mode & stat.S_IWOTH:
            return f"{path} can be written by everybody (mode {mode:04o})"
        if mode & stat.S_IWGRP and status.st_gid not in self.groups:
            return f"{path} can be written by group {status.st_gid} (mode {mode:04o})"
        return ""


def key_in_the_open(path: str) -> str:
    """Say if others may read a private key, by PostgreSQL's rule; empty if not."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return ""
    mode = stat.S_IMODE(status.st_mode)
    allowed = OF_OURSELVES if status.st_uid else OF_ROOT
    if not stat.S_ISREG(status.st_mode) or not mode & ~allowed & 0o077:
        return ""
    who = "everybody" if mode & stat.S_IROTH else "others"
    return f"{path} can be read by {who} (mode {mode:04o})"


def doubts(
    configuration: Configuration, rule_files: Iterable[str] = ()
) -> Iterator[str]:
    """Yield warnings about what other users may do through a configuration's files.

    :param rule_files: files of rules, with everything they import.
    """
    settings = configuration.settings
    trust = Trust(settings.user)
    for path in configuration.files:
        if found := trust.file(path):
            yield f"configuration: {found}"
    for names, check in (
        (FILES, trust.file),
        (KEYS, key_in_the_open),
        (PLACES, lambda path: trust.file(path) or trust.place(path)),
    ):
        for name in names:
            path = getattr(settings, name)
            if path and (found := check(path)):
                yield f"{name}: {found}"
    folder = settings.unix_socket_dir
    if folder and not folder.startswith("@"):
        # Clients and a successor process connect to whatever listens there.
        found = trust.place(f"{folder}/socket")
        if found:
            yield f"unix_socket_dir: {found}"
    yield from dict.fromkeys(_foreign_code(trust, rule_files))


def _foreign_code(trust: Trust, files: Iterable[str]) -> Iterator[str]:
    """Yield warnings about other users who can change the code of rules."""
    for path in files:
        # Check the folder even if it is sticky: a module put there is imported.
        for one in (path, str(Path(path).parent)):
            if found := trust.file(one):
                yield f"rules: {found}, and with it the code that runs here"
