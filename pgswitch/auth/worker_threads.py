"""Threads for calls that would block the event loop: PAM, directories, key derivation.

Each kind has threads of its own, so that a directory that hangs does not keep keys from
being derived.  The queues are bounded, because clients that are not authenticated fill
them.  A login that finds its queue full fails with TooManyLogins: that says nothing
about its password.  Logins that need no thread go on meanwhile.

A queue is fair: owners with many calls (the logins of one user, a server that asks for
many iterations) take turns with the others.  A cancelled call leaves its queue at once.
A call that has begun runs to its end: one call of PBKDF2, which releases the
interpreter lock.  Computing it in steps, to be able to end it in between, costs 3.5
times as much and holds that lock.  Its work has a bound instead
(``scram_iterations_max``, by default 0.1 s), and each server has at most one such call
at a time.
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
    """A call, its owner, and whether it is cancelled."""

    __slots__ = ("_call", "is_cancelled", "owner", "result")

    def __init__(self, call: Callable[[], object], owner: object) -> None:
        self._call = call
        self.owner = owner
        self.is_cancelled = False
        self.result: Deferred[object]

    def run(self) -> object:
        return None if self.is_cancelled else self._call()


class WorkerThreads:
    """A few threads and the queue before them."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        log: Log,
        *,
        name: str,
        threads: int,
        max_queued: float,
        each: int | None = None,
    ) -> None:
        """Begin without threads; the first call starts one.

        ``max_queued``: how many calls may wait for a thread or be in one; ``each``:
        how many threads one owner may have (None: all).
        """
        self._reactor = reactor
        self._log = log
        self._name = name
        self._threads = DaemonThreadPool(0, threads, name=name)
        self._max_queued = max_queued
        self._free = threads
        self._each = threads if each is None else each
        self._queues: dict[object, dict[_Job, None]] = {}
        """Waiting calls, oldest first, by owner; the next owner in turn comes first."""
        self._busy: dict[object, int] = {}
        """The number of busy threads by owner."""
        self._under_way = 0
        self._is_full_logged = False
        """Whether the log has a line since the queue last was empty."""

    def __call__(
        self, call: Callable[[], object], owner: object = None
    ) -> Deferred[object]:
        """Return what the call returns, None if it failed.

        Owners take turns.  Fails with TooManyLogins if the queue is full.  Cancelling
        the Deferred drops the call unless it has begun.
        """
        if self._under_way >= self._max_queued:
            if not self._is_full_logged:
                self._log.warning(f"{self._name} queue is full")
            self._is_full_logged = True
            return fail(TooManyLogins())
        if not self._threads.started:
            self._threads.start()
        self._under_way += 1
        job = _Job(call, owner)
        job.result = Deferred(lambda _: self._cancelled(job))
        self._queues.setdefault(owner, {})[job] = None
        self._begin()
        return job.result

    def _cancelled(self, job: _Job) -> None:
        """Take a cancelled job out of the queue, if it is there."""
        job.is_cancelled = True
        queue = self._queues.get(job.owner, {})
        if job in queue:
            del queue[job]
            if not queue:
                del self._queues[job.owner]
            self._over()

    def _begin(self) -> None:
        """Give free threads to the owners in turn."""
        while self._free:
            job = self._next()
            if job is None:
                return
            self._free -= 1
            self._busy[job.owner] = self._busy.get(job.owner, 0) + 1
            deferToThreadPool(self._reactor, self._threads, job.run).addCallbacks(
                self._done, self._failed, callbackArgs=(job,), errbackArgs=(job,)
            )

    def _next(self) -> _Job | None:
        """Take the next job out of the queue; its owner becomes the last in turn."""
        for owner, queue in self._queues.items():
            if self._busy.get(owner, 0) < self._each:
                job = next(iter(queue))
                del self._queues[owner], queue[job]
                if queue:
                    self._queues[owner] = queue
                return job
        return None

    def _over(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._is_full_logged = False

    def _done(self, value: object, job: _Job) -> None:
        self._free += 1
        self._busy[job.owner] -= 1
        if not self._busy[job.owner]:
            del self._busy[job.owner]
        self._over()
        self._begin()
        if not job.result.called:
            job.result.callback(value)

    def _failed(self, failure: Failure, job: _Job) -> None:
        """Log what has failed, with its text only if that contains no secret."""
        error = failure.value
        is_harmless = isinstance(error, DirectoryError)
        reason = str(error) if is_harmless else type(error).__name__
        self._log.error(f"{self._name}: {reason}")
        self._done(None, job)

    def stop(self) -> None:
        """End the threads; one that hangs is left behind."""
        self._threads.end()


class LoginThreads:
    """The thread pools of logins."""

    def __init__(self, reactor: Any, log: Log) -> None:  # noqa: ANN401 - as above
        """Begin without threads."""
        self.deriving_keys = WorkerThreads(
            reactor, log, name="password", threads=2, max_queued=1000
        )
        """For key derivation; more threads would only slow the event loop down."""
        self.waiting = WorkerThreads(
            reactor, log, name="authentication", threads=16, max_queued=1000
        )
        """For calls that wait: PAM, directories, names of hosts and of system users."""
        self.ours = WorkerThreads(
            reactor, log, name="our password", threads=2, max_queued=inf, each=1
        )
        """For work that clients cannot multiply: logins to servers, and verifiers that
        are precomputed.  So neither a flood of client logins, nor the verifiers (one at
        a time), nor a server that asks for much work delays the login to a server."""

    def of(self, work: Offload) -> WorkerThreads:
        """Return the threads for a call."""
        return self.waiting if work.is_external else self.deriving_keys

    def stop(self) -> None:
        """End the threads."""
        self.deriving_keys.stop()
        self.waiting.stop()
        self.ours.stop()
