"""Child processes, and the main function of programs that start them.

PostgreSQL refuses to run as root, and so does pgswitch. When we are root, children run
as ``nobody``, the one account that every Debian has;
:class:`Account` is that user.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import SystemRandom

import psycopg

UNPRIVILEGED_NAME = "nobody"

SHORT_ENOUGH_BYTES = 60
"""A unix socket's path holds 107 bytes (unix(7)); the names we add take under 40."""


@dataclass(frozen=True, slots=True)
class Account:
    """An operating-system user that children run as."""

    name: str
    uid: int
    gid: int


def account_for_children() -> Account | None:
    """Return the account that children must switch to, or None when we are not root.

    Raises KeyError when we are root and the machine has no user ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED_NAME)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def hand_over(path: Path, account: Account | None) -> None:
    """Make ``account`` the owner of one file or folder; None leaves it as it is."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def subdirectory(directory: Path, name: str, account: Account | None) -> Path:
    """Make a folder (mode 0700) owned by ``account``; None: by us.

    A folder that is there already gets a sibling with a number.
    """
    paths = (directory / f"{name}{number or ''}" for number in count())
    path = next(one for one in paths if not one.exists())
    path.mkdir(mode=0o700)
    hand_over(path, account)
    return path


def may_run(command: Sequence[str], account: Account | None) -> bool:
    """Tell whether the account can start this command and it ends with code 0.

    Trying is more reliable than reading mode bits: it covers every parent folder, the
    program's libraries and mount options.
    """
    try:
        finished = subprocess.run(
            command,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except OSError:
        return False
    return finished.returncode == 0


class PrivateDirectory:
    """A temporary folder (mode 0700) owned by the children's account.

    That account can reach it, and its path is short enough for unix sockets. ``remove``
    removes it, or else the end of the interpreter.
    """

    def __init__(self, account: Account | None) -> None:
        self.path = _make_directory(account)
        self._finalizer = weakref.finalize(
            self, shutil.rmtree, self.path, ignore_errors=True
        )

    def remove(self) -> None:
        """Remove the folder and its contents; a second call does nothing."""
        self._finalizer()


def _make_directory(account: Account | None) -> Path:
    """Make the folder in the first base that the account can write.

    TMPDIR comes first; root's may be in a home that no other user can enter.
    """
    bases = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108 - mkdtemp makes the names
    for base in bases:
        if len(os.fsencode(base)) > SHORT_ENOUGH_BYTES:
            continue
        try:
            path = Path(tempfile.mkdtemp(prefix="pgswitch-", dir=base))
        except OSError:
            continue
        hand_over(path, account)
        if may_run(["test", "-w", str(path)], account):
            return path
        path.rmdir()
    tried = ", ".join(bases)
    who = "this user" if account is None else account.name
    raise OSError(f"no folder for temporary files that {who} can write: tried {tried}")


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
