"""The signals: what each one does, and its log line.

Python runs a signal handler between any two instructions of the main thread, so ours
only schedule a call in the reactor; all work happens there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Protocol

from twisted.internet.base import ReactorBase

from pgswitch.logs import Log


class SignalledService(Protocol):
    """The service's methods that signals call."""

    @property
    def shutting_down(self) -> bool:
        """Whether a shutdown of any mode has begun."""

    @property
    def suspended(self) -> bool:
        """Whether the console has suspended the service (SUSPEND)."""

    @property
    def paused_or_suspended(self) -> bool:
        """Whether the service is paused or suspended."""

    def reload(self) -> bool:
        """Read the configuration again; return whether it is now in force."""

    def shutdown_wait_for_clients(self) -> None:
        """Shut down when the last client has disconnected."""

    def shutdown_wait_for_servers(self) -> None:
        """Shut down when every server has been released."""

    def shutdown_now(self) -> None:
        """Shut down immediately."""

    def pause_all(self) -> None:
        """Pause: give no server to a client, as the console's PAUSE."""

    def resume_all(self) -> None:
        """Undo PAUSE or SUSPEND."""


class CallsFromThread(Protocol):
    """The part of the reactor used here: ``IReactorFromThreads``."""

    def callFromThread(self, call: Callable[..., object], /, *args: object) -> object:
        """Wake the reactor up and have it make the call."""


class Signals:
    """Handles signals; each method is named after its signal."""

    def __init__(
        self,
        service: SignalledService,
        log: Log,
        *,
        fail: Callable[[str], None],
        notify: Callable[[str], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; :meth:`install` sets the handlers.

        :param service: the service that signals act on.
        :param log: receives a line for each signal.
        :param fail: ends the process with a FATAL line and status 1.
        :param notify: sends a state to the service manager (sd_notify(3)).
        :param monotonic: seconds of the clock that the service manager uses.
        """
        self._service = service
        self._log = log
        self._fail = fail
        self._notify = notify
        self._monotonic = monotonic
        self.actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGHUP: self.hup,
            signal.SIGINT: self.int,
            signal.SIGTERM: self.term,
            signal.SIGQUIT: self.quit,
            signal.SIGUSR1: self.usr1,
            signal.SIGUSR2: self.usr2,
        }

    def install(self, reactor: CallsFromThread) -> None:
        """Set the handlers; before the reactor runs, their calls wait for it.

        A Twisted reactor sets its own SIGTERM handler when it starts, before it calls
        us: a signal in between would end the process without a log line.  So we
        replace the handler it will set as well.  Python already ignores SIGPIPE.
        """
        for number, action in self.actions.items():
            signal.signal(number, _caller(reactor, action))
        if isinstance(reactor, ReactorBase):
            setattr(reactor, "sigTerm", _caller(reactor, self.term))  # noqa: B010

    def hup(self) -> None:
        """Reload the configuration and reopen the log file."""
        self._log.log("got SIGHUP, re-reading config")
        microseconds = int(self._monotonic() * 1_000_000)
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")
        self._service.reload()
        self._notify("READY=1")

    def term(self) -> None:
        """Shut down when all clients have disconnected."""
        if self._is_fast_exit("SIGTERM"):
            return
        self._log.log("got SIGTERM, shutting down, waiting for all clients disconnect")
        self._notify("STOPPING=1")
        self._service.shutdown_wait_for_clients()

    def int(self) -> None:
        """Shut down when all servers have been released."""
        if self._is_fast_exit("SIGINT"):
            return
        self._log.log(
            "got SIGINT, shutting down,"
            " waiting for all servers connections to be released"
        )
        self._notify("STOPPING=1")
        self._service.shutdown_wait_for_servers()

    def quit(self) -> None:
        """Exit immediately."""
        self._log.log("got SIGQUIT, fast exit")
        self._service.shutdown_now()

    def usr1(self) -> None:
        """Pause, as the console's PAUSE."""
        if self._service.paused_or_suspended:
            self._log.log("got SIGUSR1, but already paused/suspended")
            return
        self._log.log("got SIGUSR1, pausing all activity")
        self._service.pause_all()

    def usr2(self) -> None:
        """Resume, as the console's RESUME."""
        if self._service.shutting_down:
            self._log.log("got SIGUSR2 while shutting down, ignoring")
            return
        if not self._service.paused_or_suspended:
            self._log.log("got SIGUSR2, but not paused/suspended")
            return
        state = "SUSPEND" if self._service.suspended else "PAUSE"
        self._log.log(f"got SIGUSR2, continuing from {state}")
        self._service.resume_all()

    def _is_fast_exit(self, name: str) -> bool:
        """Exit immediately on a second signal or while suspended; return whether."""
        if self._service.shutting_down:
            self._log.log(f"got {name} while shutting down, fast exit")
            self._service.shutdown_now()
            return True
        if self._service.suspended:
            self._fail("suspend was in progress, going down immediately")
            return True
        return False


def _caller(
    reactor: CallsFromThread, action: Callable[[], None]
) -> Callable[[int, object], None]:
    def handle(_number: int, _frame: object) -> None:
        reactor.callFromThread(action)

    return handle
