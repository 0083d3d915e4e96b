"""The limits on clients: of a database and of a user.

They are checked before the authentication, so that a flood of connections costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.config.model import DatabaseSpec
from pgswitch.errors import (
    TooManyDatabaseClients,
    TooManyUserClients,
    UsernameTooLong,
)
from pgswitch.types import CONSOLE_DATABASES

if TYPE_CHECKING:
    from pgswitch.pool.context import ServiceContext
    from pgswitch.wire.startup import StartupFacts

USER_NAME_LIMIT = 128
"""Bytes that a user name must stay under."""
CONSOLE_SPEC = DatabaseSpec(name=CONSOLE_DATABASES[0])
"""The console's entry, which has no settings of its own."""


def check_name(user: str) -> None:
    """Refuse a name that PostgreSQL could not have either."""
    if len(user.encode("utf-8", "surrogateescape")) >= USER_NAME_LIMIT:
        raise UsernameTooLong


class ClientCounts:
    """The number of clients by database and by user, as their start-up packets say.

    Clients count from their start-up packet on.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.of_database: dict[str, int] = {}
        self.of_user: dict[str, int] = {}

    def add(self, facts: StartupFacts) -> None:
        """Count a client that has sent its start-up packet."""
        counts, name = self.of_database, facts.database
        counts[name] = counts.get(name, 0) + 1
        counts, name = self.of_user, facts.user
        counts[name] = counts.get(name, 0) + 1

    def remove(self, facts: StartupFacts) -> None:
        """Forget a client."""
        _one_less(self.of_database, facts.database)
        _one_less(self.of_user, facts.user)

    def of_console(self) -> int:
        """Return how many clients the console has, under all of its names."""
        return sum(self.of_database.get(name, 0) for name in CONSOLE_DATABASES)

    def check(
        self, context: ServiceContext, facts: StartupFacts, spec: DatabaseSpec | None
    ) -> None:
        """Refuse a client that exceeds a limit; it is counted already.

        The console has its limit as a database; admins are exempt.

        Raises TooManyDatabaseClients or TooManyUserClients.
        """
        effective = context.effective
        if not effective.has_client_limit:
            return
        count = self.of_database[facts.database]
        if facts.database in CONSOLE_DATABASES:
            if facts.user in context.configuration.settings.admin_users:
                return
            spec, count = CONSOLE_SPEC, self.of_console()
        if spec is None:
            return
        limit = effective.max_db_client_connections(spec, facts.user)
        if limit and count > limit:
            raise TooManyDatabaseClients
        limit = effective.max_user_client_connections(spec, facts.user)
        if limit and self.of_user[facts.user] > limit:
            raise TooManyUserClients


def _one_less(counts: dict[str, int], name: str) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]
