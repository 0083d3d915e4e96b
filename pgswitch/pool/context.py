"""What every pool shares with the others, handed to each when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Protocol

from pgswitch.config.effective import Effective
from pgswitch.stats.counters import Counters, ErrorCounts

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall
    from twisted.internet.protocol import Protocol as TwistedProtocol

    from pgswitch.config.model import Configuration, DatabaseSpec
    from pgswitch.errors import Fault
    from pgswitch.logs import Log
    from pgswitch.net.backend import DeriveKeys
    from pgswitch.tls.endpoints import TlsContexts
    from pgswitch.wire.params import Tracking
    from pgswitch.wire.password import Secret
    from pgswitch.wire.scram import ScramKeys
    from pgswitch.wire.server_auth import KeyCache
    from pgswitch.wire.statements import StatementTable

LoginSecrets = tuple["Secret | None", "ScramKeys | None"]


class Connector(Protocol):
    """Opens a transport to a server; see net/connect.py."""

    def __call__(
        self,
        host: str | None,
        port: int,
        protocol: TwistedProtocol,
        address: str = "",
    ) -> Deferred[object]:
        """Fire when ``protocol`` is connected; fail with the reason if it is not.

        With ``address`` a host that has a name is looked for there.
        """


@dataclass(slots=True)
class ServiceContext:
    """The surroundings of the pools."""

    configuration: Configuration
    effective: Effective
    log: Log
    tracking: Tracking
    statements: StatementTable
    connect: Connector
    tls: TlsContexts
    credentials: Callable[[DatabaseSpec, str], LoginSecrets]
    """Secret and SCRAM keys for logging in to a database as a user."""
    derive_keys: DeriveKeys
    """Calls something in a thread; fires with None if that failed."""
    random: Callable[[int], bytes]
    clock: Callable[[], float]
    """Monotonic seconds."""
    later: Callable[[float, Callable[[], object]], IDelayedCall]
    """Calls a function after some seconds."""
    scram_cache: KeyCache = field(default_factory=dict)
    """SCRAM keys of clear secrets, stretched once."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Numbers clients and servers for the life of the process."""
    failures: ErrorCounts = field(default_factory=ErrorCounts)
    """What clients were told of, for SHOW ERRORS."""
    console_counters: Counters = field(default_factory=Counters)
    """What the console is asked; it has no pool to count for it."""
    paused: bool = False
    """PAUSE of everything is in force."""
    suspended: bool = False
    """SUSPEND is in force: nothing is read, opened or timed."""
    shutdown_fault: type[Fault] | None = None
    """The service is ending: what whoever would have to wait for a server is told."""
    ended: bool = False
    """The process ends at once, and every connection with it."""

    @property
    def log_disconnections(self) -> bool:
        """Whether the end of a connection is logged."""
        return bool(self.configuration.settings.log_disconnections) and not self.ended

    def configure(self, configuration: Configuration) -> None:
        """Take a new configuration."""
        self.configuration = configuration
        self.effective = Effective(configuration)
