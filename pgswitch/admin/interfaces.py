"""What the console needs of the running service: a view to read, verbs to call.

The service implements both; the console imports neither pools nor listeners.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from twisted.internet.defer import Deferred

    from pgswitch.admin.snapshots import (
        DatabaseSnapshot,
        DescriptorSnapshot,
        DnsHostSnapshot,
        DnsZoneSnapshot,
        FailureSnapshot,
        ListsSnapshot,
        MemorySnapshot,
        NodeSnapshot,
        PeerSnapshot,
        PoolSnapshot,
        RouteSnapshot,
        RuleSnapshot,
        SocketSnapshot,
        StateSnapshot,
        StatsReport,
        SwitchoverSnapshot,
        UserSnapshot,
    )


class ShutdownMode(Enum):
    """How the console may end the process."""

    NOW = "now"
    WAIT_FOR_SERVERS = "wait_for_servers"
    WAIT_FOR_CLIENTS = "wait_for_clients"
    DRAIN = "drain"


class View(Protocol):
    """Reads the present state of the service; no method changes anything.

    Of what there may be thousands of, each is as it is when it is asked for, and None
    stands for something that was looked at and is not shown.  What is gathered from
    thousands is returned by a generator, which yields while it looks.
    """

    def pools(self) -> Sequence[PoolSnapshot]:
        """Return the pools by database and user, the console's own included."""

    def clients(self) -> Sequence[SocketSnapshot]:
        """Return the clients that have logged in, console clients included."""

    def servers(self) -> Sequence[SocketSnapshot]:
        """Return the server connections that have logged in or are doing so."""

    def each_client(self) -> Iterator[SocketSnapshot]:
        """Yield the clients one by one."""

    def each_server(self) -> Iterator[SocketSnapshot | None]:
        """Yield the server connections."""

    def each_socket(self) -> Iterator[SocketSnapshot | None]:
        """Yield every client and server connection, clients in login included."""

    def each_descriptor(self) -> Iterator[DescriptorSnapshot | None]:
        """Yield the open sockets that another process could take over."""

    def handover(self) -> Sequence[DescriptorSnapshot]:
        """Return the same with all that another process of ours needs beside."""

    def each_pool(self) -> Iterator[PoolSnapshot | None]:
        """Yield the pools by database and user, the console's own included."""

    def each_database(self) -> Iterator[DatabaseSnapshot | None]:
        """Yield the databases in the order shown, the console's own included."""

    def each_user(self) -> Iterator[UserSnapshot | None]:
        """Yield the users in the order shown."""

    def peers(self) -> Sequence[PeerSnapshot]:
        """Return the peers in the order shown."""

    def gather_stats(self) -> Generator[None, None, StatsReport]:
        """Return the counters and their averages."""

    def each_percentiles(self) -> Iterator[tuple[str, Sequence[int]] | None]:
        """Yield a database and its p50, p95, p99 of queries, transactions, waits."""

    def each_error(self) -> Iterator[FailureSnapshot | None]:
        """Yield how often clients were told of which error, in order."""

    def state(self) -> StateSnapshot:
        """Return whether the service is paused, suspended or shutting down."""

    def gather_lists(self) -> Generator[None, None, ListsSnapshot]:
        """Return how many there are of each thing."""

    def each_memory(self) -> Iterator[MemorySnapshot | None]:
        """Yield how many objects of each kind are alive."""

    def rules(self) -> Sequence[RuleSnapshot]:
        """Return the functions of the user's that are in force."""

    def route(self, query: str, user: str, database: str) -> RouteSnapshot:
        """Return what the rules make of a query; it runs the user's functions.

        ``user`` and ``database`` may be empty.
        """

    def each_node(self) -> Iterator[NodeSnapshot | None]:
        """Yield the nodes of all clusters."""

    def switchovers(self) -> Sequence[SwitchoverSnapshot]:
        """Return the switchovers since the start, the oldest first."""

    def dns_hosts(self) -> Sequence[DnsHostSnapshot]:
        """Return the names whose addresses are kept; none where none are kept."""

    def dns_zones(self) -> Sequence[DnsZoneSnapshot]:
        """Return the zones that those names belong to."""

    def config_rows(self) -> Sequence[tuple[str, str | None, str | None, str]]:
        """Return name, value, default and ``yes`` or ``no`` of each setting."""


class Control(Protocol):
    """The verbs of the console, each for one database or, with None, for all.

    A verb that cannot be carried out raises a console fault of
    ``pgswitch.errors`` (severity ERROR), whose text is the client's answer. A name
    that fits the ``*`` entry counts as a database, except to ``resume`` and
    ``enable``. The console itself refuses its own database, so no verb is ever
    called with one of ``CONSOLE_DATABASES``.

    A Deferred that is cancelled belongs to a console that gave up: the service stops
    telling it, and carries on with what it was doing.
    """

    def reload(self) -> bool:
        """Read the configuration again; return False if the old one stays."""

    def set(self, key: str, value: str) -> bool:
        """Change a setting until the next reload; False for a bad key or value."""

    def tls_is_current(self) -> bool:
        """Tell whether the settings of TLS could be put in force."""

    def pause(
        self, database: str | None, *, timeout: float | None = None
    ) -> Deferred[None]:
        """Stop handing out servers; fires when no server is active or tested.

        Fails with ``PauseTimedOut``, and the pause undone, if that takes longer than
        ``timeout`` seconds. Raises ``AlreadyPaused``, ``ConsoleNoSuchDatabase``.
        """

    def resume(self, database: str | None) -> None:
        """End a pause; for all, that of PAUSE without a database, or of SUSPEND.

        Raises ``PoolerNotPaused`` or ``ConsoleShuttingDown``; for a database
        ``ConsoleNoSuchDatabase`` or ``DatabaseNotPaused``.
        """

    def suspend(self) -> Deferred[None]:
        """Stop all reading; fires when everything has come to rest.

        Raises ``AlreadyPaused`` or ``SuspendWithPausedDatabases``.
        """

    def disable(self, database: str) -> None:
        """Refuse new logins to a database; raises ``ConsoleNoSuchDatabase``."""

    def enable(self, database: str) -> None:
        """Accept new logins to a database; raises ``ConsoleNoSuchDatabase``."""

    def reconnect(self, database: str | None) -> None:
        """Close each server at its next release; ``ConsoleNoSuchDatabase``."""

    def kill(self, database: str | None) -> None:
        """Pause, then close all clients and servers.

        Raises ``ConsoleNoSuchDatabase``, or ``AlreadyPaused``.
        """

    def kill_client(self, client_id: int) -> None:
        """Close a client by its number; raises ``ClientNotFound``."""

    def wait_close(self, database: str | None) -> Deferred[None]:
        """Wait until no server is to be closed any more; ``ConsoleNoSuchDatabase``."""

    def shutdown(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin to end the process; called again, the mode is replaced.

        After ``timeout`` seconds a DRAIN ends whatever is still under way.
        """


class ConsoleLog(Protocol):
    """The two levels at which the console writes log lines of its own."""

    def log(self, message: str) -> None:
        """Write a line of level LOG."""

    def error(self, message: str) -> None:
        """Write a line of level ERROR."""
