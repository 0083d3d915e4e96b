"""How many clients there may be: in all, of a database, of a user.

All three are looked at before any proof is asked for, so that a flood costs little.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pgswitch.errors import (
    TooManyDatabaseClients,
    TooManyUserClients,
    UsernameTooLong,
)

if TYPE_CHECKING:
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import PoolContext
    from pgswitch.wire.startup import StartupFacts

USER_NAME_LIMIT = 128
"""Bytes that a user name must stay under."""


def check_name(user: str) -> None:
    """Refuse a name that PostgreSQL could not have either."""
    if len(user.encode("utf-8", "surrogateescape")) >= USER_NAME_LIMIT:
        raise UsernameTooLong


class Headcount:
    """How many clients each database and each user has, by what they asked for.

    Clients count from their start-up packet on.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.of_database: Counter[str] = Counter()
        self.of_user: Counter[str] = Counter()

    def come(self, facts: StartupFacts) -> None:
        """Count a client that has sent its start-up packet."""
        self.of_database[facts.database] += 1
        self.of_user[facts.user] += 1

    def gone(self, facts: StartupFacts) -> None:
        """Forget a client."""
        for counts, name in (
            (self.of_database, facts.database),
            (self.of_user, facts.user),
        ):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]

    def check(
        self, context: PoolContext, facts: StartupFacts, spec: DatabaseSpec | None
    ) -> None:
        """Refuse a client, already counted, that is one too many.

        Raises TooManyDatabaseClients or TooManyUserClients.
        """
        if spec is None:
            return
        effective = context.effective
        most = effective.max_db_client_connections(spec, facts.user)
        if most and self.of_database[facts.database] > most:
            raise TooManyDatabaseClients
        most = effective.max_user_client_connections(spec, facts.user)
        if most and self.of_user[facts.user] > most:
            raise TooManyUserClients
