"""How the pooler is set up, and what scripts may then do."""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One set-up. ``faults`` mixes trouble in."""

    name: str
    mode: str
    servers: int
    prepared: int = 100
    clients: int = 3
    rules: bool = False
    tls: bool = False
    faults: bool = False

    @property
    def shares_servers(self) -> bool:
        """Whether a client may get another server with its next transaction."""
        return self.mode in ("transaction", "statement")

    @property
    def transactions(self) -> bool:
        """Whether clients may open some."""
        return self.mode != "statement"

    @property
    def keeps_names(self) -> bool:
        """Whether named statements outlive transactions."""
        return self.prepared > 0 or not self.shares_servers


NOTHING = Variant("nothing", "none", servers=4, clients=4)
"""No pooler: PostgreSQL beside itself. What is found then is wrong with the fuzzer."""

VARIANTS = (
    Variant("session", "session", servers=4, clients=4),
    Variant("session-waiting", "session", servers=1),
    Variant("transaction-1", "transaction", servers=1),
    Variant("transaction-2", "transaction", servers=2),
    Variant("transaction-3", "transaction", servers=3, clients=4),
    Variant("transaction-1-prepared-1", "transaction", servers=1, prepared=1),
    Variant("transaction-2-prepared-2", "transaction", servers=2, prepared=2),
    Variant("transaction-2-prepared-0", "transaction", servers=2, prepared=0),
    Variant("statement-1", "statement", servers=1),
    Variant("statement-2-prepared-1", "statement", servers=2, prepared=1),
    Variant("rules-1", "transaction", servers=1, rules=True),
    Variant("rules-2-prepared-1", "transaction", servers=2, prepared=1, rules=True),
    Variant("tls-2", "transaction", servers=2, tls=True),
    Variant("faults-1", "transaction", servers=1, faults=True),
    Variant("faults-2-prepared-2", "transaction", servers=2, prepared=2, faults=True),
    Variant("faults-session", "session", servers=2, faults=True),
    Variant("faults-rules-2", "transaction", servers=2, rules=True, faults=True),
)

BY_NAME = {one.name: one for one in (*VARIANTS, NOTHING)}
