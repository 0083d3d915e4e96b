"""Threads for what would stop the reactor: PAM, directories, stretching passwords.

Each kind has threads of its own, so that a directory that hangs does not keep
passwords from being stretched; and a line that strangers stand in has an end, so that
they cannot make it grow.  Whoever comes when it is full is told so: nothing has been
found out about the password.  Logins that need no thread go on meanwhile.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool

from pgswitch.auth.ldap import DirectoryError
from pgswitch.errors import TooManyLogins
from pgswitch.net.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from pgswitch.logs import Log
    from pgswitch.wire.login_client import Work


class _Job:
    """A call, and whether anybody still wants its result."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.wanted = True

    def run(self) -> object:
        return self._call() if self.wanted else None


class Workers:
    """A few threads and the line before them."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        log: Log,
        *,
        name: str,
        threads: int,
        longest_line: float,
    ) -> None:
        """Begin without threads; the first call starts one.

        ``longest_line``: how many calls may wait for a thread or be in one.
        """
        self._reactor = reactor
        self._log = log
        self._name = name
        self._threads = DaemonThreads(0, threads, name=name)
        self._longest = longest_line
        self._under_way = 0
        self._is_told = False
        """The log knows that the line is full, or was before it last ran empty."""

    def __call__(self, call: Callable[[], object]) -> Deferred[object]:
        """Return what the call returns, None if it failed.

        Fails with TooManyLogins if the line is full.  Cancelled, the call is not made
        unless it has begun.
        """
        if self._under_way >= self._longest:
            if not self._is_told:
                self._log.warning(f"{self._name} queue is full")
            self._is_told = True
            return fail(TooManyLogins())
        if not self._threads.started:
            self._threads.start()
        self._under_way += 1
        job = _Job(call)
        result: Deferred[object] = Deferred(lambda _: setattr(job, "wanted", False))
        deferToThreadPool(self._reactor, self._threads, job.run).addCallbacks(
            self._done, self._failed, callbackArgs=(result,), errbackArgs=(result,)
        )
        return result

    def _done(self, value: object, result: Deferred[object]) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._is_told = False
        if not result.called:
            result.callback(value)

    def _failed(self, failure: Failure, result: Deferred[object]) -> None:
        """Say what has failed; how only where the text is known to have no secret."""
        error = failure.value
        shown = (
            str(error) if isinstance(error, DirectoryError) else type(error).__name__
        )
        self._log.error(f"{self._name}: {shown}")
        self._done(None, result)

    def stop(self) -> None:
        """End the threads; one that hangs is left behind."""
        self._threads.end()


class LoginWorkers:
    """The threads that logins have work done by."""

    def __init__(self, reactor: Any, log: Log) -> None:  # noqa: ANN401 - as above
        """Begin without threads."""
        self.stretching = Workers(
            reactor, log, name="password", threads=2, longest_line=1000
        )
        """For what computes; more threads would only take the reactor's time."""
        self.asking = Workers(
            reactor, log, name="authentication", threads=16, longest_line=1000
        )
        """For what waits for others: PAM, directories, names of hosts and users."""
        self.ours = Workers(
            reactor, log, name="our password", threads=2, longest_line=inf
        )
        """For what no stranger can make more of: logins to servers, verifiers made
        ahead.  So a crowd of logins keeps nobody's server away; nor do the verifiers,
        which are made one at a time."""

    def of(self, work: Work) -> Workers:
        """Return who does this."""
        return self.asking if work.asks_others else self.stretching

    def stop(self) -> None:
        """End the threads."""
        self.stretching.stop()
        self.asking.stop()
        self.ours.stop()
