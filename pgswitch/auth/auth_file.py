"""The users of ``auth_file``, and the SCRAM verifiers of their clear secrets.

The file is read again when it has changed, so a user that is taken out of it is
refused from then on.
"""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from pgswitch.config.userlist import Userlist, read_userlist
from pgswitch.types import AuthType
from pgswitch.wire.password import Secret, SecretKind
from pgswitch.wire.scram import SALT_SIZE, ScramVerifier, make_verifier

if TYPE_CHECKING:
    from pgswitch.auth.hba_policy import HbaPolicy
    from pgswitch.config.model import Settings
    from pgswitch.logs import Log
    from pgswitch.pool.context import ServiceContext
    from pgswitch.wire.client_auth import VerifierCache

_WITHOUT_FILE: Final = (AuthType.ANY, AuthType.PAM)
_Stamp = tuple[int, int, int, int, int, int, int]


class AuthFileContent:
    """An auth_file as it was when it was read; it holds secrets."""

    def __init__(self, path: str, stamp: _Stamp | None, found: Userlist) -> None:
        """Take its path, what identifies this version of it, and its content."""
        self.path = path
        self.stamp = stamp
        self.found = found

    @property
    def hindrances(self) -> list[str]:
        """Return why it must not be put in force, line by line; empty if it may."""
        return [*self.complaints(), self.complaint] if self.complaint else []

    def complaints(self) -> list[str]:
        """Return what is wrong with single lines."""
        return [f"{one} in auth_file {self.path}" for one in self.found.problems]

    @property
    def complaint(self) -> str:
        """What is wrong with the whole of it, if anything is."""
        if self.found.is_useless:
            return f"no line of auth_file {self.path} can be read"
        if self.found.is_cut:
            return f"auth_file {self.path} ends in the midst of a line"
        return ""


_NO_FILE: Final = AuthFileContent("", None, Userlist({}, []))
"""Stands for the file if none is set: it has no users."""


class AuthFile:
    """Secrets by user."""

    def __init__(self, log: Log) -> None:
        """Begin without users."""
        self._log = log
        self._secrets: dict[str, Secret] = {}
        self._last: AuthFileContent | None = None
        """What was read last, whether or not it was put in force."""
        self._failing: int | None = None
        """Why the file could not be read when it was last looked at (errno)."""
        self.verifiers: VerifierCache = {}
        """SCRAM verifiers made from clear secrets, see :class:`VerifierPrecomputer`."""
        self.generation = 0
        """Counts how often there were other users than before."""
        self.auth_query_kinds: set[SecretKind] = set()
        """Kinds of secrets that auth_query has returned so far."""
        self.any_scram = self.only_scram = False
        """Whether any user, and whether every one, has a SCRAM secret."""

    def load(self, settings: Settings, *, again: bool = False) -> None:
        """Read the file if its name, age or size is not what it was."""
        self.take(self.read(settings), again=again)

    def read(self, settings: Settings) -> AuthFileContent | OSError | None:
        """Return what the file says, or why it cannot be read; None if none is used.

        A file that is what it was is not read.
        """
        if settings.auth_type in _WITHOUT_FILE:
            return None
        path = settings.auth_file
        if not path:
            return _NO_FILE
        last = self._last
        try:
            stamp = _stamp_of(path)
            if last is not None and (path, stamp) == (last.path, last.stamp):
                return last
            return AuthFileContent(path, stamp, read_userlist(path))
        except OSError as error:
            error.filename = path
            return error

    def problems(self, reading: AuthFileContent | OSError | None) -> list[str]:
        """Return why the users of a file cannot be put in force; for the log.

        That is so if none of its lines can be read, or the last one is cut, and users
        would be locked out.  A missing file is logged by :meth:`take`.
        """
        if not self._secrets or not isinstance(reading, AuthFileContent):
            return []
        return reading.hindrances

    def take(
        self, reading: AuthFileContent | OSError | None, *, again: bool = False
    ) -> None:
        """Put in force what :meth:`read` has returned, if that is new.

        If the file cannot be read, the users stay as they are, and the reason is
        logged; with ``again`` only if it is not the last one.  Each bad line is logged;
        if all lines are bad, or the last one is cut, the users stay, too.
        """
        if reading is None or reading is self._last:
            return
        if isinstance(reading, OSError):
            if not again or reading.errno != self._failing:
                self._log.error(
                    f"could not open auth_file {reading.filename}: {reading.strerror}"
                )
            self._failing = reading.errno
            return
        self._failing = None
        self._last = reading
        for complaint in reading.complaints():
            self._log.error(complaint)
        if not reading.complaint:
            self._replace(reading.found.entries)
        elif self._secrets:
            self._log.error(f"{reading.complaint}, keeping the users of before")
        else:
            self._log.error(reading.complaint)
            self._replace(reading.found.entries)

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
        """Return the users whose secrets are in clear, with these secrets."""
        return [
            (user, secret)
            for user, secret in self._secrets.items()
            if secret and secret.kind is SecretKind.PLAIN
        ]

    def secret(self, user: str) -> Secret | None:
        """Return the secret of a user, None for an unknown user."""
        return self._secrets.get(user)


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


class VerifierPrecomputer:
    """Makes the SCRAM verifiers of clear secrets before anybody logs in with them.

    Making one takes milliseconds.  Made at a user's first login, they would tell an
    attacker with a clock that the user exists: unknown users are answered at once.  So
    those of ``auth_file`` are made in a thread, one after the other, from the start on
    and whenever the file has changed.

    With 10,000 users that thread has 12 s of work and the verifiers take 5 MB.  It
    holds up nothing: PBKDF2 releases the interpreter lock, and for a user that logs in
    early the threads of logins make the verifier.
    """

    def __init__(
        self, context: ServiceContext, store: AuthFile, hba_policy: HbaPolicy
    ) -> None:
        """Begin with nothing to do, until :meth:`poll` is called."""
        self._context = context
        self._store = store
        self._hba_policy = hba_policy
        self._made_for: object = None
        """The users, and the settings, that the queue below was made for."""
        self._queue: deque[tuple[str, Secret]] = deque()
        self._iterations = 0
        self._is_busy = False

    def poll(self) -> None:
        """Start again if users or settings have changed; called from time to time."""
        iterations = self._context.configuration.settings.scram_iterations
        facts = self._store.generation, iterations, self._hba_policy.asks_scram
        if facts == self._made_for:
            return
        self._made_for, self._iterations = facts, iterations
        self._queue = deque(
            self._store.in_clear() if self._hba_policy.asks_scram else ()
        )
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        """Make the first missing one."""
        self._is_busy = False
        while self._queue and not self._is_busy:
            user, secret = self._queue.popleft()
            known = self._store.verifiers.get((user, secret))
            if known is not None and known.iterations == self._iterations:
                continue
            self._is_busy = True
            salt = self._context.random(SALT_SIZE)
            make = partial(make_verifier, secret.value, salt, self._iterations)
            self._context.derive_keys(make).addCallback(self._made, user, secret)

    def _made(self, verifier: object, user: str, secret: Secret) -> None:
        if isinstance(verifier, ScramVerifier) and self._store.secret(user) == secret:
            self._store.verifiers[user, secret] = verifier
        self._next()
