"""A way to a server on which packets can be lost: nothing arrives, or is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

HERE = "127.0.0.1"
CALLERS = 4
"""More than fit into the shortest queue: connections after them get no answer."""


class SilentPath:
    """Passes connections on to a port until :meth:`fall_silent`."""

    def __init__(self, to_port: int) -> None:
        """Begin at once, on a port of its own."""
        self._to_port = to_port
        self._silent = threading.Event()
        self._listener = socket.create_server((HERE, 0), backlog=0)
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._began: dict[socket.socket, bytes] = {}
        """What each caller's connection began with."""
        self._forgotten: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        self._begin(self._accept)

    def fall_silent(self) -> None:
        """Lose everything from now on."""
        self._silent.set()
        for _ in range(CALLERS):
            caller = socket.socket()
            self._sockets.append(caller)
            caller.settimeout(0)
            with suppress(BlockingIOError):
                caller.connect((HERE, self.port))

    def forget(self, *, but: bytes) -> None:
        """Lose what is said on the present connections, as a firewall may.

        Those that began with ``but`` somewhere stay, and new ones are passed on.
        """
        for near, beginning in list(self._began.items()):
            if but not in beginning:
                self._forgotten.add(near)

    def close(self) -> None:
        """Close everything."""
        self._silent.set()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _begin(self, work: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._silent.is_set():
                near, _ = self._listener.accept()
                self._sockets.append(near)
                if self._silent.is_set():
                    return
                try:
                    far = socket.create_connection((HERE, self._to_port))
                except OSError:
                    near.shutdown(socket.SHUT_RDWR)
                    continue
                self._sockets.append(far)
                self._begin(self._pump, near, near, far)
                self._begin(self._pump, near, far, near)

    def _pump(
        self, near: socket.socket, source: socket.socket, sink: socket.socket
    ) -> None:
        """Pass on what comes, and the end of it."""
        with suppress(OSError):
            while chunk := source.recv(65536):
                if source is near:
                    self._began.setdefault(near, chunk)
                if self._silent.is_set() or near in self._forgotten:
                    return
                sink.sendall(chunk)
            if not self._silent.is_set():
                sink.shutdown(socket.SHUT_WR)
