"""Credentials for server logins: from auth_file, or learned from client logins.

An authenticated client may have sent more than we had: its SCRAM keys, its password in
clear, or all that we know of it if auth_query named it.  We keep that in memory for the
servers of its pools, by database: elsewhere the same name may be another user.

What a user of auth_file has taught us is valid as long as its line there is unchanged.
Nothing is learned for a database's own ``user=``: the clients that share its servers
have other passwords.
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


class _CachedCredentials:
    """What a login proved."""

    __slots__ = ("keys", "on_file", "secret")

    def __init__(
        self, secret: Secret | None, keys: ScramKeys | None, on_file: Secret | None
    ) -> None:
        """Take it; ``on_file`` is the user's present secret in auth_file, if any."""
        self.secret = secret
        self.keys = keys
        self.on_file = on_file


def _packed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.value


def _unpacked(text: str | None) -> Secret | None:
    return None if text is None else Secret.of(text)


class ServerCredentials:
    """Secrets and SCRAM keys for logins to servers."""

    def __init__(self, store: AuthFile) -> None:
        """Begin with the users of auth_file alone."""
        self._store = store
        self._cached: dict[str, dict[str, _CachedCredentials]] = {}

    def remember(self, spec: DatabaseSpec, user: User, outcome: Accepted) -> None:
        """Remember what a client has proved at its login to a database."""
        on_file = self._store.secret(user.name)
        secret, keys = outcome.password or user.secret, outcome.scram_keys
        if spec.user is not None:
            return
        if keys is None and (secret is on_file or secret == on_file):
            return
        by_database = self._cached.setdefault(user.name, {})
        before = by_database.pop(spec.name, None)  # The latest is the last.
        if keys is None and before is not None and before.secret == secret:
            keys = before.keys
        by_database[spec.name] = _CachedCredentials(secret, keys, on_file)

    def pack(self) -> list[list[str | None]]:
        """Return what was learned, for another process; it includes clear secrets."""
        return [
            [
                *(user, database, _packed(one.secret), _packed(one.on_file)),
                *(
                    (None, None)
                    if one.keys is None
                    else (one.keys.client_key.hex(), one.keys.server_key.hex())
                ),
            ]
            for user, by_database in self._cached.items()
            for database, one in by_database.items()
        ]

    def unpack(self, packed: Iterable[Sequence[str | None]]) -> None:
        """Take what :meth:`pack` of another process returned."""
        for user, database, secret, on_file, client_key, server_key in packed:
            keys = None
            if client_key is not None and server_key is not None:
                keys = ScramKeys(bytes.fromhex(client_key), bytes.fromhex(server_key))
            learned = _CachedCredentials(_unpacked(secret), keys, _unpacked(on_file))
            self._cached.setdefault(user or "", {})[database or ""] = learned

    def for_server(
        self, spec: DatabaseSpec, user: str
    ) -> tuple[Secret | None, ScramKeys | None]:
        """Return secret and keys to log in with to this database as this user.

        If the user has not logged in to this database itself (a rule sent it there),
        these are from its latest login to another one.
        """
        on_file = self._store.secret(user)
        if user == spec.user:
            return (Secret.of(spec.password) if spec.password else on_file), None
        by_database = self._cached.get(user, {})
        for name in [spec.name, *reversed(by_database)]:
            learned = by_database.get(name)
            if learned is not None and learned.on_file == on_file:
                return learned.secret, learned.keys
        return on_file, None
