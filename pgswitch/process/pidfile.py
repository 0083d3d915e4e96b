"""The pid file: one process at a time holds it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from pgswitch.config.trust import open_unplanted
from pgswitch.errors.fatal import FatalError
from pgswitch.logs import Log

_MODE = 0o644
_LONGEST = 1024


class Pidfile:
    """A file that holds the process id while the service runs."""

    def __init__(self, path: str, log: Log) -> None:
        """Name the file; nothing is read or written yet."""
        self.path = path
        self._log = log

    def check(self) -> None:
        """Make sure that no other process holds the file; remove a stale one.

        A file with our own process id is stale too: in containers the ids of
        successive runs are often the same.

        :raises FatalError: another instance runs, or the file cannot be read.
        """
        try:
            text = _read(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            # Opening fails in many ways, reading an open file in hardly one.
            verb = "read" if error.errno in {errno.EISDIR, errno.EIO} else "open"
            _die(f"could not {verb} pidfile '{self.path}': {error.strerror}")
        if not text.strip().isdigit() or _is_another(int(text)):
            _die(f"pidfile '{self.path}' exists, another instance running?")
        self._log.log("stale pidfile, removing")
        try:
            Path(self.path).unlink(missing_ok=True)
        except OSError as error:
            _die(f"could not remove pidfile '{self.path}': {error.strerror}")

    def write(self) -> None:
        """Create the file with our process id.

        :raises FatalError: it exists by now, or cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags, _MODE)
        except OSError as error:
            _die(f"could not open pidfile '{self.path}': {error.strerror}")
        try:
            os.write(fd, b"%d\n" % os.getpid())
        except OSError as error:
            _die(f"could not write pidfile '{self.path}': {error.strerror}")
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the file if it is ours; errors are ignored."""
        with suppress(OSError):
            if _read(self.path).strip() == b"%d" % os.getpid():
                Path(self.path).unlink()


def _read(path: str) -> bytes:
    """Return the beginning of a file, which may be anything in a folder of others."""
    # A pipe must not make us wait.
    fd = open_unplanted(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, _LONGEST)
    finally:
        os.close(fd)


def _is_another(pid: int) -> bool:
    """Tell whether a process with this id runs that is not this one."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _die(text: str) -> NoReturn:
    raise FatalError(text)
