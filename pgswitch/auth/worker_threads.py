"""Threads for what would stop the reactor: PAM, directories, stretching passwords.

Each kind has threads of its own, so that a directory that hangs does not keep
passwords from being stretched; and a line that strangers stand in has an end, so that
they cannot make it grow.  Whoever comes when it is full is told so: nothing has been
found out about the password.  Logins that need no thread go on meanwhile.

The line is fair: whoever has much done (one user's logins, one server that asks for
many rounds) has it done in turn with the others.  What nobody wants any more leaves the
line at once.  Only what has begun is done to its end: one call of PBKDF2, which the
interpreter lock is free for.  To take it round by round, so as to end it in between,
costs 3.5 times as much and holds that lock.  So a bound is what limits it
(``scram_iterations_max``, 0.1 s of work by default), and of one server no more than one
call is under way.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool

from pgswitch.auth.ldap import DirectoryError
from pgswitch.errors import TooManyLogins
from pgswitch.net.reactor import DaemonThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from pgswitch.logs import Log
    from pgswitch.wire.client_auth import Offload


class _Job:
    """A call, whom it is for, and whether anybody still wants its result."""

    __slots__ = ("_call", "result", "wanted", "whose")

    def __init__(self, call: Callable[[], object], whose: object) -> None:
        self._call = call
        self.whose = whose
        self.wanted = True
        self.result: Deferred[object]

    def run(self) -> object:
        return self._call() if self.wanted else None


class WorkerThreads:
    """A few threads and the line before them."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        log: Log,
        *,
        name: str,
        threads: int,
        longest_line: float,
        each: int | None = None,
    ) -> None:
        """Begin without threads; the first call starts one.

        ``longest_line``: how many calls may wait for a thread or be in one; ``each``:
        how many threads may work for the same one (None: all).
        """
        self._reactor = reactor
        self._log = log
        self._name = name
        self._threads = DaemonThreadPool(0, threads, name=name)
        self._longest = longest_line
        self._free = threads
        self._each = threads if each is None else each
        self._lines: dict[object, dict[_Job, None]] = {}
        """What waits, oldest first, by whom it is for; who is next comes first."""
        self._busy: dict[object, int] = {}
        """How many threads work for whom."""
        self._under_way = 0
        self._is_told = False
        """The log knows that the line is full, or was before it last ran empty."""

    def __call__(
        self, call: Callable[[], object], whose: object = None
    ) -> Deferred[object]:
        """Return what the call returns, None if it failed.

        ``whose`` tells those apart who take turns.  Fails with TooManyLogins if the
        line is full.  Cancelled, the call is not made unless it has begun.
        """
        if self._under_way >= self._longest:
            if not self._is_told:
                self._log.warning(f"{self._name} queue is full")
            self._is_told = True
            return fail(TooManyLogins())
        if not self._threads.started:
            self._threads.start()
        self._under_way += 1
        job = _Job(call, whose)
        job.result = Deferred(lambda _: self._given_up(job))
        self._lines.setdefault(whose, {})[job] = None
        self._begin()
        return job.result

    def _given_up(self, job: _Job) -> None:
        """Take a job that nobody wants out of the line, if it stands there."""
        job.wanted = False
        line = self._lines.get(job.whose, {})
        if job in line:
            del line[job]
            if not line:
                del self._lines[job.whose]
            self._over()

    def _begin(self) -> None:
        """Give free threads to those whose turn it is."""
        while self._free:
            job = self._next()
            if job is None:
                return
            self._free -= 1
            self._busy[job.whose] = self._busy.get(job.whose, 0) + 1
            deferToThreadPool(self._reactor, self._threads, job.run).addCallbacks(
                self._done, self._failed, callbackArgs=(job,), errbackArgs=(job,)
            )

    def _next(self) -> _Job | None:
        """Take the next job out of the line; whoever it is for is last from now on."""
        for whose, line in self._lines.items():
            if self._busy.get(whose, 0) < self._each:
                job = next(iter(line))
                del self._lines[whose], line[job]
                if line:
                    self._lines[whose] = line
                return job
        return None

    def _over(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._is_told = False

    def _done(self, value: object, job: _Job) -> None:
        self._free += 1
        self._busy[job.whose] -= 1
        if not self._busy[job.whose]:
            del self._busy[job.whose]
        self._over()
        self._begin()
        if not job.result.called:
            job.result.callback(value)

    def _failed(self, failure: Failure, job: _Job) -> None:
        """Say what has failed; how only where the text is known to have no secret."""
        error = failure.value
        shown = (
            str(error) if isinstance(error, DirectoryError) else type(error).__name__
        )
        self._log.error(f"{self._name}: {shown}")
        self._done(None, job)

    def stop(self) -> None:
        """End the threads; one that hangs is left behind."""
        self._threads.end()


class LoginThreads:
    """The threads that logins have work done by."""

    def __init__(self, reactor: Any, log: Log) -> None:  # noqa: ANN401 - as above
        """Begin without threads."""
        self.deriving_keys = WorkerThreads(
            reactor, log, name="password", threads=2, longest_line=1000
        )
        """For what computes; more threads would only take the reactor's time."""
        self.asking = WorkerThreads(
            reactor, log, name="authentication", threads=16, longest_line=1000
        )
        """For what waits for others: PAM, directories, names of hosts and users."""
        self.ours = WorkerThreads(
            reactor, log, name="our password", threads=2, longest_line=inf, each=1
        )
        """For what no stranger can make more of: logins to servers, verifiers made
        ahead.  So a crowd of logins keeps nobody's server away; nor do the verifiers,
        which are made one at a time; nor does a server that asks for much work."""

    def of(self, work: Offload) -> WorkerThreads:
        """Return who does this."""
        return self.asking if work.asks_others else self.deriving_keys

    def stop(self) -> None:
        """End the threads."""
        self.deriving_keys.stop()
        self.asking.stop()
        self.ours.stop()
