"""The interface to the running service: one method for each console command."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class ShutdownMode(Enum):
    """How the console may end the process."""

    NOW = "now"
    WAIT_FOR_SERVERS = "wait_for_servers"
    WAIT_FOR_CLIENTS = "wait_for_clients"
    DRAIN = "drain"


class Control(Protocol):
    """The commands of the console, each for one database or, with None, for all.

    A command that fails raises a ConsoleError, whose text is the client's answer. A
    name that fits the ``*`` entry counts as a database, except for ``resume`` and
    ``enable``. The console refuses its own database, so no method is called with one of
    ``CONSOLE_DATABASES``.

    A console that gives up cancels its Deferred; the service continues the command.
    """

    def reload(self) -> bool:
        """Read the configuration again; return False if it has errors."""

    def set(self, key: str, value: str) -> bool:
        """Change a setting until the next reload; False for a bad key or value."""

    def tls_is_current(self) -> bool:
        """Return whether the TLS settings could be applied."""

    def pause(
        self, database: str | None, *, timeout: float | None = None
    ) -> Deferred[None]:
        """Give servers to no more clients; fires when no server is active or tested.

        Undoes the pause and fails with ``PauseTimedOut`` if that takes longer than
        ``timeout`` seconds. Raises ``AlreadyPaused``, ``ConsoleNoSuchDatabase``.
        """

    def resume(self, database: str | None) -> None:
        """End a pause; for all, that of PAUSE without a database, or of SUSPEND.

        Raises ``PoolerNotPaused`` or ``ConsoleShuttingDown``; for a database
        ``ConsoleNoSuchDatabase`` or ``DatabaseNotPaused``.
        """

    def suspend(self) -> Deferred[None]:
        """Stop all reading; fires when all buffers are empty.

        Raises ``AlreadyPaused`` or ``SuspendWithPausedDatabases``.
        """

    def disable(self, database: str) -> None:
        """Refuse new logins to a database; raises ``ConsoleNoSuchDatabase``."""

    def enable(self, database: str) -> None:
        """Accept new logins to a database; raises ``ConsoleNoSuchDatabase``."""

    def reconnect(self, database: str | None) -> None:
        """Close each server at its next release; raises ``ConsoleNoSuchDatabase``."""

    def kill(self, database: str | None) -> None:
        """Pause, then close all clients and servers.

        Raises ``ConsoleNoSuchDatabase``, or ``AlreadyPaused``.
        """

    def kill_client(self, client_id: int) -> None:
        """Close a client by its number; raises ``ClientNotFound``."""

    def wait_close(self, database: str | None) -> Deferred[None]:
        """Fire when no server is left to close; raises ``ConsoleNoSuchDatabase``."""

    def shutdown(self, mode: ShutdownMode, *, timeout: float | None = None) -> None:
        """Begin to end the process; a second call replaces the mode.

        After ``timeout`` seconds a DRAIN disconnects all clients that are left.
        """


class ConsoleLog(Protocol):
    """The two levels at which the console writes log lines of its own."""

    def log(self, message: str) -> None:
        """Write a line of level LOG."""

    def error(self, message: str) -> None:
        """Write a line of level ERROR."""
