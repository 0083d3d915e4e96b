"""Runs the service inside a process: signals, pid file, exit status, manhole.

Both the command line and the twistd plugin use it.

It also makes Python's garbage collector run rarely.  Reference counts free our objects;
connections break their reference cycles when they end (net/transport.py).  The
collector is only a safety net.  By default it runs after every 700 new objects, which
is a few dozen connections, and regularly visits everything that Twisted, OpenSSL and we
have imported: that was a tenth of a connection's cost.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import globalLogPublisher

from pgswitch.admin.statements import named_rows
from pgswitch.admin.view import ServiceView
from pgswitch.config.model import Configuration
from pgswitch.errors.base import FatalError
from pgswitch.logs import Log
from pgswitch.logs.twisted_log import TwistedLogObserver
from pgswitch.manhole.shell import Manhole, inspection_helpers
from pgswitch.process.pidfile import Pidfile
from pgswitch.process.service_manager import notify_service_manager
from pgswitch.process.signals import SignalledService, Signals
from pgswitch.process.start import claim, descriptor_line
from pgswitch.process.versions import process_up_line

NEW_OBJECTS: Final = 20_000
"""Allocations minus deallocations before the collector runs: about 500 connections."""
GENERATION: Final = 20
"""Collections of one generation before the next older one is collected."""


def tune_gc() -> None:
    """Exempt all present objects from collection, and collect less often.

    Called when the service is built and begins to serve.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, GENERATION, GENERATION)


class RunnableService(SignalledService, Protocol):
    """The service's methods used here: those for signals, starting and stopping."""

    @property
    def view(self) -> ServiceView:
        """What the console reads."""

    def startService(self) -> None:
        """Open the listeners and serve; may raise :class:`FatalError`."""

    def stopService(self) -> Deferred[None] | None:
        """Close everything; may fire later."""


class Runner(Service):
    """The pooler together with its process's signals, pid file and manhole."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        log: Log,
        make_service: Callable[..., RunnableService],
    ) -> None:
        """Prepare; :meth:`startService` opens everything.

        :param configuration: the configuration to start with.
        :param reactor: the reactor, running or not yet.
        :param log: the service's log.
        :param make_service: builds the service. Called with the configuration and the
            keywords ``reactor``, ``log`` and ``started``; the service calls ``started``
            when it begins to serve.
        """
        self.exit_status = 0
        self.pidfile: Pidfile | None = None
        self._configuration = configuration
        self._reactor = reactor
        self._log = log
        self._observer = TwistedLogObserver(log)
        self._starting = False
        self.service = make_service(
            configuration, reactor=reactor, log=log, started=self._started
        )
        self._manhole = Manhole(
            {"service": self.service, **inspection_helpers(self._rows_of)},
            reactor=reactor,
            log=log,
        )

    def _rows_of(self, name: str) -> Sequence[object]:
        """Return the rows of a SHOW, for the shell."""
        return named_rows(name, self.service.view)

    def startService(self) -> None:
        """Open everything and serve.

        :raises FatalError: something could not be opened; everything is closed again.
        """
        self.running = True
        globalLogPublisher.addObserver(self._observer)
        configuration = self._configuration
        self._log.log(descriptor_line(configuration, len(configuration.users)))
        signals = Signals(self.service, self._log, fail=self._fail, notify=self._notify)
        # Now, because a reload may be requested as soon as we report that we are ready,
        # and again once the reactor runs, because it sets handlers of its own.
        signals.install(self._reactor)
        self._reactor.callWhenRunning(signals.install, self._reactor)
        self._starting = True
        try:
            self.service.startService()
        except FatalError:
            self.stopService()
            raise
        finally:
            self._starting = False

    def stopService(self) -> Deferred[None]:
        """Close everything.

        :return: fires when everything is closed and the pid file is removed.
        """
        self.running = False
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        for close in (self._manhole.close, self.service.stopService):
            try:
                await maybeDeferred(close)
            except Exception as error:  # noqa: BLE001 - the rest must be closed too
                self._log.error(f"while closing: {error!r}")
        if self.pidfile is not None:
            self.pidfile.remove()
        globalLogPublisher.removeObserver(self._observer)

    def _started(self) -> None:
        """Open the manhole, write the pid file and report that we are ready."""
        try:
            self._manhole.open(self._configuration.settings)
            if self.pidfile is not None:
                self.pidfile.write()
        except FatalError as error:
            if self._starting:
                raise
            self._fail(error.text)
            return
        tune_gc()
        self._log.log(process_up_line(self._reactor))
        self._notify("READY=1")

    def _notify(self, state: str) -> None:
        notify_service_manager(state, os.environ)

    def _fail(self, text: str) -> None:
        self._log.fatal(text)
        self.exit_status = 1
        self.service.shutdown_now()


class PluginRunner(Runner):
    """The Runner under twistd, which has its own daemon, pid file and log."""

    def startService(self) -> None:
        """Run the start-up steps and serve; exit with status 1 if one fails."""
        settings = self._configuration.settings
        try:
            self.pidfile = claim(self._configuration, settings.user, self._log)
            super().startService()
        except FatalError as error:
            self._log.fatal(error.text)
            raise SystemExit(1) from None

    def _fail(self, text: str) -> None:
        # twistd exits with status 0 after any stop that it considers clean.
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        super()._fail(text)
