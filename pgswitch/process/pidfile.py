"""The pid file: one process at a time holds it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from pgswitch.config.trust import open_unplanted
from pgswitch.errors.base import fatal
from pgswitch.logs import Log

_MODE = 0o644
_MAX_BYTES = 1024


class Pidfile:
    """A file that holds the process id while the service runs."""

    def __init__(self, path: str, log: Log) -> None:
        """Store the path; nothing is read or written yet."""
        self.path = path
        self._log = log

    def check(self) -> None:
        """Check that no other process holds the file; remove a stale one.

        A file with our own process id is stale too: in containers, successive runs
        often have the same id.

        :raises FatalError: another instance runs, or the file cannot be read.
        """
        try:
            text = _read(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            # Opening fails in many ways, reading an open file in few.
            verb = "read" if error.errno in {errno.EISDIR, errno.EIO} else "open"
            fatal(f"could not {verb} pidfile '{self.path}': {error.strerror}")
        if not text.strip().isdigit() or _is_another(int(text)):
            fatal(f"pidfile '{self.path}' exists, another instance running?")
        self._log.log("stale pidfile, removing")
        try:
            Path(self.path).unlink(missing_ok=True)
        except OSError as error:
            fatal(f"could not remove pidfile '{self.path}': {error.strerror}")

    def write(self) -> None:
        """Create the file with our process id.

        :raises FatalError: it exists meanwhile, or cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags, _MODE)
        except OSError as error:
            fatal(f"could not open pidfile '{self.path}': {error.strerror}")
        try:
            os.write(fd, b"%d\n" % os.getpid())
        except OSError as error:
            fatal(f"could not write pidfile '{self.path}': {error.strerror}")
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the file if it has our process id; errors are ignored."""
        with suppress(OSError):
            if _read(self.path).strip() == b"%d" % os.getpid():
                Path(self.path).unlink()


def _read(path: str) -> bytes:
    """Return the start of a file; other users may have put anything there."""
    # O_NONBLOCK: a pipe must not make us wait.
    fd = open_unplanted(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, _MAX_BYTES)
    finally:
        os.close(fd)


def _is_another(pid: int) -> bool:
    """Return whether another process with this id is running."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
