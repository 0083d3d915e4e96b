"""The rules in force, shared by all clients, and what went wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgswitch.errors import DatabaseDisabled
from pgswitch.pool.families import READER
from pgswitch.pool.modes import equip
from pgswitch.relay.gate import Gate
from pgswitch.rules.advice import Advisor
from pgswitch.rules.book import Book
from pgswitch.rules.deciding import parted_key

if TYPE_CHECKING:
    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools
    from pgswitch.rules.calling import Rule
    from pgswitch.rules.deciding import RuleSet

SAID_AGAIN_S: Final = 10.0
"""How often one and the same complaint about a rule is logged at most."""
MOST_SAID: Final = 1000
"""Complaints that are remembered."""


class RulesDesk:
    """Holds the book of rules; puts gates before the clients that it concerns."""

    def __init__(self, context: PoolContext, pools: Pools) -> None:
        """Begin without rules."""
        self.context = context
        self.book: Book | None = None
        self._pools = pools
        self._said: dict[str, tuple[float, int]] = {}

    def load(self, configuration: Configuration) -> Book:
        """Return the book that a configuration asks for; raises RulesError."""
        return Book(configuration, self.book)

    def put_in_force(self, book: Book) -> None:
        """Have queries judged by this book from now on."""
        self.book = book
        self._said.clear()

    def rules_of(self, database: str) -> RuleSet | None:
        """Return the rules for the clients of a database, None if there are none."""
        return None if self.book is None else self.book.of_database(database)

    def routes(self, database: str) -> bool:
        """Tell whether clients of a database may be moved."""
        rules = self.rules_of(database)
        return rules is not None and rules.routing is not None

    def attach(self, client: Frontend) -> None:
        """Put a gate before a client that is logged in, if rules concern it."""
        if not client.logged_in or client.replicates or client.console is not None:
            return
        if self.rules_of(client.database) is None:
            return
        equip(client, self.routes)
        if client.link.relaying and client.link.gate is None:
            Gate(client.link, Advisor(self, client, client.link))

    def meant_by(self, key: str) -> tuple[DatabaseSpec | None, str]:
        """Return the entry that a key means, None for an unknown key, and the role."""
        spec = self._pools.spec_of_key(key)
        if spec is not None:
            return spec, ""
        name, role = parted_key(key)
        return self._pools.spec_of_key(name), role

    def target(
        self, key: str, client: Frontend, rule: Rule, *, is_inside: bool
    ) -> ServerPool | None:
        """Return the pool that a key means for a client, None for an unknown key.

        A client that would come to a database which the console has disabled is
        disconnected, as at a login.  Inside a transaction a reader is wherever the
        client is in that cluster: the writer can be read from too, and one reader is
        as good as another.
        """
        spec, role = self.meant_by(key)
        if spec is None:
            rule.measures.unknown += 1
            self.complain(
                f"{rule.name} returned nonexistent database key {key!r}:"
                " check [databases]; the client stays where it is"
            )
            return None
        name = spec.name
        here: ServerPool = client.pool
        if (
            name in self._pools.disabled
            and not is_inside
            and not self._pools.is_of(here, name)
        ):
            client.disconnect(DatabaseDisabled(database=name))
            return None
        if not role:
            return self._pools.pool(spec, client.user)
        if is_inside and role == READER and self._pools.is_of(here, name):
            return here
        return self._pools.of_role(spec, client.user, role, here)

    def complain(self, text: str) -> None:
        """Log what went wrong, but not for each of ten thousand queries."""
        now = self.context.clock()
        since, more = self._said.get(text, (None, 0))
        if since is not None and now - since < SAID_AGAIN_S:
            self._said[text] = (since, more + 1)
            return
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said[text] = (now, 0)
        again = f" ({more} times more before)" if more else ""
        self.context.log.error(f"{text}{again}")
