"""What the pools and other parts of the service share."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Protocol

from pgswitch.config.effective import Effective
from pgswitch.stats.counters import Counters, ErrorCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        """Connect ``protocol``; the Deferred fires when it is, or fails.

        ``address``: where to connect to, instead of looking up the host's name.
        """


@dataclass(slots=True)
class ServiceContext:
    """Settings, log, clock and other facilities of the service."""

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
    """Calls a function in a thread; fires with None if it failed."""
    random: Callable[[int], bytes]
    clock: Callable[[], float]
    """Monotonic seconds."""
    later: Callable[[float, Callable[[], object]], IDelayedCall]
    """Calls a function after some seconds."""
    scram_cache: KeyCache = field(default_factory=dict)
    """SCRAM keys derived from plain passwords."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Numbers of clients and servers, unique in the process."""
    failures: ErrorCounts = field(default_factory=ErrorCounts)
    """Errors sent to clients, for SHOW ERRORS."""
    console_counters: Counters = field(default_factory=Counters)
    """Counters of the console, which has no pool."""
    paused: bool = False
    """All pools are paused (PAUSE without a database)."""
    suspended: bool = False
    """The service is suspended: it reads from no socket, opens none, times nothing."""
    shutdown_fault: type[Fault] | None = None
    """The error for clients that would wait for a server; None: no shutdown."""
    ended: bool = False
    """The process is about to end, and every connection with it."""

    @property
    def log_disconnections(self) -> bool:
        """Whether disconnections are logged."""
        return bool(self.configuration.settings.log_disconnections) and not self.ended

    def configure(self, configuration: Configuration) -> None:
        """Put a new configuration in force."""
        self.configuration = configuration
        self.effective = Effective(configuration)
