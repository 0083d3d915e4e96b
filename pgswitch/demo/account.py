"""The operating-system user that children run as, and folders that it can reach.

PostgreSQL refuses to run as root, and so does pgswitch. When we are root, children run
as ``nobody``, the one account that every Debian has.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED_NAME = "nobody"

SHORT_ENOUGH_BYTES = 60
"""A unix socket's path holds 107 bytes (unix(7)); the names we add take under 40."""


@dataclass(frozen=True, slots=True)
class Account:
    """An operating-system user that children run as."""

    name: str
    uid: int
    gid: int


def account_for_children() -> Account | None:
    """Return the account that children must switch to, or None when we are not root.

    Raises KeyError when we are root and the machine has no user ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED_NAME)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def hand_over(path: Path, account: Account | None) -> None:
    """Make ``account`` the owner of one file or folder; None leaves it as it is."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def subdirectory(directory: Path, name: str, account: Account | None) -> Path:
    """Make a folder (mode 0700) owned by ``account``; None: by us."""
    path = directory / name
    path.mkdir(mode=0o700)
    hand_over(path, account)
    return path


def may_run(command: Sequence[str], account: Account | None) -> bool:
    """Tell whether the account can start this command and it ends with code 0.

    Trying is more reliable than reading mode bits: it covers every parent folder, the
    program's libraries and mount options.
    """
    try:
        finished = subprocess.run(
            command,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except OSError:
        return False
    return finished.returncode == 0


class PrivateDirectory:
    """A temporary folder (mode 0700) owned by the children's account.

    That account can reach it, and its path is short enough for unix sockets. ``remove``
    removes it, or else the end of the interpreter.
    """

    def __init__(self, account: Account | None) -> None:
        self.path = _make_directory(account)
        self._finalizer = weakref.finalize(
            self, shutil.rmtree, self.path, ignore_errors=True
        )

    def remove(self) -> None:
        """Remove the folder and its contents; a second call does nothing."""
        self._finalizer()


def _make_directory(account: Account | None) -> Path:
    """Make the folder in the first base that the account can write.

    TMPDIR comes first; root's may be in a home that no other user can enter.
    """
    bases = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108 - mkdtemp makes the names
    for base in bases:
        if len(os.fsencode(base)) > SHORT_ENOUGH_BYTES:
            continue
        try:
            path = Path(tempfile.mkdtemp(prefix="pgswitch-", dir=base))
        except OSError:
            continue
        hand_over(path, account)
        if may_run(["test", "-w", str(path)], account):
            return path
        path.rmdir()
    tried = ", ".join(bases)
    who = "this user" if account is None else account.name
    raise OSError(f"no folder for temporary files that {who} can write: tried {tried}")
