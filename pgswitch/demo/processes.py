"""Child processes, and the main function of programs that start them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

import psycopg

from pgswitch.demo.account import Account, hand_over

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends us when our parent dies."""

FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below Linux's usual range for outgoing connections (32768 and up), whose ports come
and go: one of ours stays free while its server is being restarted."""

POLL_S = 0.02
TAIL_LINES = 40


class ChildFailed(RuntimeError):
    """A child ended or was not ready in time; the text includes the end of its log."""


class Child:
    """One started program, in a session of its own.

    Ctrl-C at the terminal therefore reaches only us, and we stop children in order.
    If we end without doing so, an exit hook kills them; if we are killed, the kernel
    does (PR_SET_PDEATHSIG, which does not survive a change of user in the child). Start
    children from the main thread: the kernel acts when the starting thread ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        log_path: Path,
        directory: Path,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
        last_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Start the command; standard output and error are appended to ``log_path``.

        ``name`` appears in errors, ``directory`` is the working folder, ``account`` the
        user to switch to (None: ours), ``environment`` the whole environment (None:
        ours), ``last_signal`` what the child receives when we die.
        """
        self.log_path = log_path
        self.name = name
        with log_path.open("ab") as log:
            hand_over(log_path, account)
            # preexec_fn: the function makes system calls only, so threads do no harm.
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                preexec_fn=_signal_at_parent_death(last_signal),  # noqa: PLW1509
            )
        self._finalizer = weakref.finalize(self, _end, self._process, last_signal)

    @property
    def pid(self) -> int:
        """The process id; valid until the end of the child has been noticed."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; it does nothing if the child has already ended."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; return the exit code, None after ``timeout_s`` seconds."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, *signals: signal.Signals, patience_s: float = 10.0) -> int:
        """Send each signal in turn, finally SIGKILL, until the child has ended.

        Each gets ``patience_s`` seconds. Returns the exit code.
        """
        for number in signals:
            self.send(number)
            code = self.wait(patience_s)
            if code is not None:
                break
        else:
            self.send(signal.SIGKILL)
            code = self._process.wait()
        self._finalizer.detach()
        return code

    def await_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Return as soon as ``is_ready()`` is true.

        Raises ChildFailed when the child ends first, or after ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.exit_code is not None:
                raise self.failure(f"ended with code {self.exit_code}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout_s:g} s")
            time.sleep(POLL_S)  # noqa: TID251 - no reactor runs in this process

    def log_text(self) -> str:
        """Return the log so far."""
        return self.log_path.read_text(errors="replace")

    def failure(self, what: str) -> ChildFailed:
        """Return an error that says what happened, with the end of the log."""
        tail = "\n".join(self.log_text().splitlines()[-TAIL_LINES:])
        return ChildFailed(f"{self.name} {what}\n--- {self.log_path}\n{tail}")


def free_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port on which nothing listens now.

    Another process may take it first; that is rare, and the caller notices and can ask
    again. Raises OSError when no port is found.
    """
    random = SystemRandom()
    for _ in range(100):
        port = random.randint(FIRST_PORT, LAST_PORT)
        if is_free(port, address):
            return port
    raise OSError(f"no free TCP port on {address} in {FIRST_PORT}-{LAST_PORT}")


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on this TCP port now."""
    with socket.socket() as candidate:
        # As servers do: lingering connections of an earlier server don't matter.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port))
        except OSError:
            return False
    return True


def _signal_at_parent_death(number: signal.Signals) -> Callable[[], None]:
    """Return the function that the child calls between fork and exec.

    The library is loaded before the fork; the function only makes the system call. If
    we died between the two, the child ends at once.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """End a child that was not stopped: by its own signal, then by SIGKILL."""
    process.send_signal(number)
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
FAILURES = (ChildFailed, OSError, psycopg.Error)
"""Failures of a child, a file or PostgreSQL, as opposed to mistakes of ours."""


def run(
    name: str,
    work: Callable[[ExitStack], int],
    *,
    interrupted: int = INTERRUPTED,
    failures: tuple[type[Exception], ...] = FAILURES,
) -> int:
    """Run ``work``; return its exit code, or ``interrupted`` after Ctrl-C or SIGTERM.

    The cleanup that it registers with the stack is run to its end, whatever signals
    arrive. If it raises one of ``failures``, the error is printed after ``name`` and
    the exit code is 1.
    """
    # A shell starts background jobs with SIGINT ignored; we always want it.
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as cleanup:
            try:
                return work(cleanup)
            finally:
                # A second Ctrl-C must not cut the cleanup short.
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
    except KeyboardInterrupt:
        print("\nstopped; nothing is left behind", file=sys.stderr)
        return interrupted
    except failures as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return 1
