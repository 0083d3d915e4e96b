"""With what servers are logged in to: auth_file, and what logins have taught us.

A client that proves itself may show more than we had: its SCRAM keys, its password
in clear, or all we know of it when auth_query named it. That is kept in memory for
the servers of its pools, by database: elsewhere the same name may be somebody else.

What was learned from a user of auth_file holds as long as its line there does.
Nothing is ever learned for a database's own ``user=``: clients that share its servers
have other passwords than it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgswitch.wire.password import Secret

if TYPE_CHECKING:
    from pgswitch.auth.lookup import Identity
    from pgswitch.auth.store import AuthStore
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.wire.login_client import Accepted
    from pgswitch.wire.scram import ScramKeys


class _Learned(NamedTuple):
    """What a login proved."""

    secret: Secret | None
    keys: ScramKeys | None
    on_file: Secret | None
    """The secret in auth_file at that time; None for a user not in it."""


class Credentials:
    """Secrets and SCRAM keys for logins to servers."""

    def __init__(self, store: AuthStore) -> None:
        """Begin with the users of auth_file alone."""
        self._store = store
        self._learned: dict[str, dict[str, _Learned]] = {}

    def learn(self, spec: DatabaseSpec, identity: Identity, outcome: Accepted) -> None:
        """Keep what a client has proved when it logged in to a database."""
        on_file = self._store.secret(identity.user)
        secret, keys = outcome.password or identity.secret, outcome.scram_keys
        if spec.user is not None or (secret == on_file and keys is None):
            return
        by_database = self._learned.setdefault(identity.user, {})
        before = by_database.pop(spec.name, None)  # what is learned last stands last
        if keys is None and before is not None and before.secret == secret:
            keys = before.keys
        by_database[spec.name] = _Learned(secret, keys, on_file)

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
