"""SCRAM verifiers of clear secrets, made before anybody logs in with them.

Making one takes milliseconds.  Made at a user's first login they would tell a stranger
who listens to the clock that the user exists: unknown users are answered at once.  So
those of ``auth_file`` are made in a thread, one after the other, from the start on and
whenever the file has changed.

With 10,000 users that thread has 12 s of work and the verifiers take 5 MB.  It holds
nobody back: PBKDF2 leaves the interpreter alone, and who logs in before its turn has
its verifier made by the threads of logins.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from pgswitch.wire.scram import SALT_SIZE, ScramVerifier, make_verifier

if TYPE_CHECKING:
    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.hba_policy import HbaPolicy
    from pgswitch.pool.context import ServiceContext
    from pgswitch.wire.password import Secret


class VerifierPrecomputer:
    """Makes them, while there is any to make."""

    def __init__(
        self, context: ServiceContext, store: AuthFile, hba_policy: HbaPolicy
    ) -> None:
        """Begin with nothing to do, until :meth:`look` is called."""
        self._context = context
        self._store = store
        self._hba_policy = hba_policy
        self._made_for: object = None
        """The users, and the settings, that the line below was made of."""
        self._line: deque[tuple[str, Secret]] = deque()
        self._iterations = 0
        self._is_busy = False

    def poll(self) -> None:
        """Begin anew if users or settings have changed; called now and then."""
        iterations = self._context.configuration.settings.scram_iterations
        facts = self._store.generation, iterations, self._hba_policy.asks_scram
        if facts == self._made_for:
            return
        self._made_for, self._iterations = facts, iterations
        self._line = deque(
            self._store.in_clear() if self._hba_policy.asks_scram else ()
        )
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        """Make the first that is missing."""
        self._is_busy = False
        while self._line and not self._is_busy:
            user, secret = self._line.popleft()
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
