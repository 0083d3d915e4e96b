"""The users of ``auth_file``.

The file is read again when it has changed, so a user that is taken out of it is
refused from then on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from pgswitch.config.userlist import read_userlist
from pgswitch.types import AuthType
from pgswitch.wire.password import Secret, SecretKind

if TYPE_CHECKING:
    from pgswitch.config.model import Settings
    from pgswitch.logs import Log
    from pgswitch.wire.login_client import VerifierCache

_WITHOUT_FILE: Final = (AuthType.ANY, AuthType.PAM)
_Stamp = tuple[int, int, int, int, int, int, int]


class AuthStore:
    """Secrets by user."""

    def __init__(self, log: Log) -> None:
        """Begin without users."""
        self._log = log
        self._secrets: dict[str, Secret] = {}
        self._path: str | None = None
        self._stamp: _Stamp | None = None
        self._failing: int | None = None
        """Why the file could not be read when it was last looked at (errno)."""
        self.verifiers: VerifierCache = {}
        """SCRAM verifiers made from clear secrets, see verifiers.py."""
        self.generation = 0
        """Counts how often there were other users than before."""
        self.asked_kinds: set[SecretKind] = set()
        """Kinds of secrets that auth_query has told of so far."""
        self.any_scram = self.only_scram = False
        """Whether any user, and whether every one, has a SCRAM secret."""

    def load(self, settings: Settings, *, again: bool = False) -> None:
        """Read the file if its name, age or size is not what it was.

        A file that cannot be read leaves the users as they are, and a line in the log,
        though not one ``again`` for the same reason.  Each bad line is a line in the
        log; if there are no others, the users stay as they are, too.
        """
        if settings.auth_type in _WITHOUT_FILE:
            return
        path = settings.auth_file
        if not path:
            self._replace({})
            self._path = self._stamp = None
            return
        try:
            stamp = _stamp_of(path)
            if path == self._path and stamp == self._stamp:
                return
            found = read_userlist(path)
        except OSError as error:
            if not again or error.errno != self._failing:
                self._log.error(f"could not open auth_file {path}: {error.strerror}")
            self._failing = error.errno
            return
        self._failing = None
        for problem in found.problems:
            self._log.error(f"{problem} in auth_file {path}")
        self._path, self._stamp = path, stamp
        if not found.is_useless:
            self._replace(found.entries)
        elif self._secrets:
            self._log.error(f"{_useless(path)}, keeping the users of before")
        else:
            self._log.error(f"{_useless(path)}, nobody in it can log in")

    def problems(self, settings: Settings) -> list[str]:
        """Return why the users of a file cannot be put in force; for the log.

        That is so if not one of its lines can be read and there are users that would
        be locked out.  A file that is not there is told of by :meth:`load`.
        """
        path = settings.auth_file
        if not path or not self._secrets or settings.auth_type in _WITHOUT_FILE:
            return []
        try:
            found = read_userlist(path)
        except OSError:
            return []
        if not found.is_useless:
            return []
        texts = [f"{problem} in auth_file {path}" for problem in found.problems]
        return [*texts, _useless(path)]

    def _replace(self, users: dict[str, str]) -> None:
        self._secrets = {user: Secret.of(text) for user, text in users.items()}
        self.generation += 1
        for user, secret in list(self.verifiers):
            if self._secrets.get(user) != secret:
                del self.verifiers[user, secret]
        kinds = {secret.kind for secret in self._secrets.values()}
        self.any_scram = SecretKind.SCRAM in kinds
        self.only_scram = kinds == {SecretKind.SCRAM}

    def users(self) -> list[str]:
        """Return the names of all users of the file."""
        return list(self._secrets)

    def in_clear(self) -> list[tuple[str, Secret]]:
        """Return users and secrets of those whose secrets are in clear."""
        return [
            (user, secret)
            for user, secret in self._secrets.items()
            if secret and secret.kind is SecretKind.PLAIN
        ]

    def secret(self, user: str) -> Secret | None:
        """Return what the user has to prove, None for an unknown user."""
        return self._secrets.get(user)


def _useless(path: str) -> str:
    return f"no line of auth_file {path} can be read"


def _stamp_of(path: str) -> _Stamp:
    seen = os.stat(path)  # noqa: PTH116 - all fields of one system call
    return (
        seen.st_dev,
        seen.st_ino,
        seen.st_mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_mtime_ns,
        seen.st_size,
    )
