"""With what servers are logged in to: auth_file, and what logins have taught us.

A client that proves itself may show more than we had: its SCRAM keys, its password
in clear, or all we know of it when auth_query named it. That is kept in memory for
the servers of its pools, by database: elsewhere the same name may be somebody else.

What was learned from a user of auth_file holds as long as its line there does.
Nothing is ever learned for a database's own ``user=``: clients that share its servers
have other passwords than it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.wire.password import Secret
from pgswitch.wire.scram import ScramKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.user_lookup import User
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.wire.client_auth import Accepted


class _CachedCredential:
    """What a login proved."""

    __slots__ = ("keys", "on_file", "secret")

    def __init__(
        self, secret: Secret | None, keys: ScramKeys | None, on_file: Secret | None
    ) -> None:
        """Take it; ``on_file`` is the secret in auth_file now, if it has the user."""
        self.secret = secret
        self.keys = keys
        self.on_file = on_file


def _told(secret: Secret | None) -> str | None:
    return None if secret is None else secret.value


def _understood(text: str | None) -> Secret | None:
    return None if text is None else Secret.of(text)


class ServerCredentials:
    """Secrets and SCRAM keys for logins to servers."""

    def __init__(self, store: AuthFile) -> None:
        """Begin with the users of auth_file alone."""
        self._store = store
        self._learned: dict[str, dict[str, _CachedCredential]] = {}

    def remember(self, spec: DatabaseSpec, identity: User, outcome: Accepted) -> None:
        """Keep what a client has proved when it logged in to a database."""
        on_file = self._store.secret(identity.user)
        secret, keys = outcome.password or identity.secret, outcome.scram_keys
        if spec.user is not None:
            return
        if keys is None and (secret is on_file or secret == on_file):
            return
        by_database = self._learned.setdefault(identity.user, {})
        before = by_database.pop(spec.name, None)  # what is learned last stands last
        if keys is None and before is not None and before.secret == secret:
            keys = before.keys
        by_database[spec.name] = _CachedCredential(secret, keys, on_file)

    def pack(self) -> list[list[str | None]]:
        """Return what was learned, for another process; secrets in clear among it."""
        return [
            [
                *(user, database, _told(one.secret), _told(one.on_file)),
                *(
                    (None, None)
                    if one.keys is None
                    else (one.keys.client_key.hex(), one.keys.server_key.hex())
                ),
            ]
            for user, by_database in self._learned.items()
            for database, one in by_database.items()
        ]

    def unpack(self, packed: Iterable[Sequence[str | None]]) -> None:
        """Learn what :meth:`pack` of another process returned."""
        for user, database, secret, on_file, client_key, server_key in packed:
            keys = None
            if client_key is not None and server_key is not None:
                keys = ScramKeys(bytes.fromhex(client_key), bytes.fromhex(server_key))
            learned = _CachedCredential(_understood(secret), keys, _understood(on_file))
            self._learned.setdefault(user or "", {})[database or ""] = learned

    def for_server(
        self, spec: DatabaseSpec, user: str
    ) -> tuple[Secret | None, ScramKeys | None]:
        """Return with what to log in to a server of this database as this user.

        Where the user has not logged in to this very database (a rule sent it
        there), what it showed last at another one has to do.
        """
        on_file = self._store.secret(user)
        if user == spec.user:
            return (Secret.of(spec.password) if spec.password else on_file), None
        by_database = self._learned.get(user, {})
        for name in [spec.name, *reversed(by_database)]:
            learned = by_database.get(name)
            if learned is not None and learned.on_file == on_file:
                return learned.secret, learned.keys
        return on_file, None
