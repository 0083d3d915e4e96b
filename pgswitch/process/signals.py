"""Signals: what each one does, and the log line that says so.

A signal handler of Python runs between any two instructions of the main thread, so
ours only ask the reactor to call back; all work is done there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Protocol

from twisted.internet.base import ReactorBase

from pgswitch.logs import Log


class SignalledService(Protocol):
    """What signals use of the running service."""

    @property
    def shutting_down(self) -> bool:
        """Whether a shutdown of any kind has begun."""

    @property
    def suspended(self) -> bool:
        """Whether the console has SUSPENDed everything."""

    @property
    def paused_or_suspended(self) -> bool:
        """Whether everything is paused or suspended."""

    def reload(self) -> bool:
        """Read the configuration again; tell whether it was taken."""

    def shutdown_wait_for_clients(self) -> None:
        """End once every client has left."""

    def shutdown_wait_for_servers(self) -> None:
        """End once every server connection is given back."""

    def shutdown_now(self) -> None:
        """End at once."""

    def pause_all(self) -> None:
        """Let no client get a server, as the console's PAUSE."""

    def resume_all(self) -> None:
        """Undo PAUSE or SUSPEND."""


class CallsFromThread(Protocol):
    """What is used of the reactor: ``IReactorFromThreads``."""

    def callFromThread(self, call: Callable[..., object], /, *args: object) -> object:
        """Call in the reactor's turn, waking it up."""


class Signals:
    """Acts on signals: the methods are named after them."""

    def __init__(
        self,
        service: SignalledService,
        log: Log,
        *,
        fail: Callable[[str], None],
        notify: Callable[[str], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; :meth:`install` makes the system call us.

        :param service: what the signals act on.
        :param log: where each signal is told.
        :param fail: ends the process with a FATAL line and status 1.
        :param notify: tells the service manager a state (sd_notify(3)).
        :param monotonic: seconds of the clock that the service manager reads.
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
        """Set the handlers; what they ask of a reactor not yet running, waits for it.

        A reactor of Twisted sets its own handler of SIGTERM when it starts, before it
        calls anything of ours: a signal in between would end the process without a
        word.  So what it sets is ours too.  Python ignores SIGPIPE already.
        """
        for number, action in self.actions.items():
            signal.signal(number, _caller(reactor, action))
        if isinstance(reactor, ReactorBase):
            setattr(reactor, "sigTerm", _caller(reactor, self.term))  # noqa: B010

    def hup(self) -> None:
        """Read the configuration and the log file's name again."""
        self._log.log("got SIGHUP, re-reading config")
        microseconds = int(self._monotonic() * 1_000_000)
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")
        self._service.reload()
        self._notify("READY=1")

    def term(self) -> None:
        """Shut down once all clients have left."""
        if self._is_fast_exit("SIGTERM"):
            return
        self._log.log("got SIGTERM, shutting down, waiting for all clients disconnect")
        self._notify("STOPPING=1")
        self._service.shutdown_wait_for_clients()

    def int(self) -> None:
        """Shut down once all servers are given back."""
        if self._is_fast_exit("SIGINT"):
            return
        self._log.log(
            "got SIGINT, shutting down,"
            " waiting for all servers connections to be released"
        )
        self._notify("STOPPING=1")
        self._service.shutdown_wait_for_servers()

    def quit(self) -> None:
        """Leave at once."""
        self._log.log("got SIGQUIT, fast exit")
        self._service.shutdown_now()

    def usr1(self) -> None:
        """Pause."""
        if self._service.paused_or_suspended:
            self._log.log("got SIGUSR1, but already paused/suspended")
            return
        self._log.log("got SIGUSR1, pausing all activity")
        self._service.pause_all()

    def usr2(self) -> None:
        """Resume."""
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
        """Leave at once if this is the second signal, or nothing runs any more."""
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
