"""Things to look at afterwards: a log kept in a file, a reactor that only notes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

from twisted.internet.task import Clock

from pgswitch.logs import Log


class CapturedLog:
    """A log whose lines can be read back without their dates."""

    def __init__(self, verbosity: int = 0) -> None:
        """Keep the lines in memory that vanishes with this object."""
        self._fd = os.memfd_create("log")
        weakref.finalize(self, os.close, self._fd)
        self.log = Log(stderr=self._fd, verbosity=verbosity)

    @property
    def descriptor(self) -> int:
        """Where they go."""
        return self._fd

    @property
    def lines(self) -> list[str]:
        """Return ``LEVEL message`` of each entry so far."""
        size = os.fstat(self._fd).st_size
        text = os.pread(self._fd, size, 0).decode().replace("\n\t", "\v")
        entries = [line.partition("] ")[2] for line in text.split("\n")[:-1]]
        return [entry.replace("\v", "\n") for entry in entries]


class NotingReactor(Clock):
    """A clock that also notes what it is asked to watch and to call."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        super().__init__()
        self.readers: list[object] = []
        self.when_running: list[Callable[[], object]] = []
        self.from_threads: list[Callable[[], object]] = []
        self.triggers: list[tuple[object, ...]] = []

    def addReader(self, reader: object) -> None:
        """Note a descriptor to watch, once."""
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        """Forget a descriptor; as Twisted's reactors, do not mind an unknown one."""
        if reader in self.readers:
            self.readers.remove(reader)

    def callWhenRunning(self, call: Callable[..., object], *args: object) -> None:
        """Note a call for the start."""
        self.when_running.append(lambda: call(*args))

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        """Note a call for the next turn."""
        self.from_threads.append(lambda: call(*args))

    def addSystemEventTrigger(self, *args: object) -> None:
        """Note a trigger."""
        self.triggers.append(args)
