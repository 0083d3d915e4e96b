"""TCP proxies that stand for a bad network: one delays, one loses what is sent."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

HERE = "127.0.0.1"
BACKLOG_FILLERS = 4
"""More than fit into the shortest backlog: further connections get no answer."""


class LatencyProxy:
    """Forwards connections to a port, each chunk after ``delay_s`` seconds."""

    def __init__(self, to_port: int, delay_s: float) -> None:
        """Listen at once, on a port of its own."""
        self.delay_s = delay_s
        self.connections = 0
        self._to_port = to_port
        self._listener = socket.create_server((HERE, 0))
        self._sockets = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close everything."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HERE, self._to_port))
                self.connections += 1
                self._sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._read, args=ends, daemon=True).start()

    def _read(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what arrives, and its end, after the delay."""
        delayed: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(delayed, sink), daemon=True).start()
        chunk = b"begin"
        while chunk:
            try:
                chunk = source.recv(65536)
            except OSError:
                chunk = b""
            delayed.put((time.monotonic() + self.delay_s, chunk))

    @staticmethod
    def _write(
        delayed: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket
    ) -> None:
        with suppress(OSError):
            while True:
                due, chunk = delayed.get()
                threading.Event().wait(max(due - time.monotonic(), 0.0))
                if not chunk:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(chunk)


class BlackholeProxy:
    """Forwards connections to a port until :meth:`drop_all` or :meth:`drop`.

    Then packets are lost: nothing arrives, and nothing is closed.
    """

    def __init__(self, to_port: int) -> None:
        """Listen at once, on a port of its own."""
        self._to_port = to_port
        self._drops_all = threading.Event()
        self._listener = socket.create_server((HERE, 0), backlog=0)
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._first_chunks: dict[socket.socket, bytes] = {}
        """What each client sent first."""
        self._dropped: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        self._start_thread(self._accept)

    def drop_all(self) -> None:
        """Lose everything from now on, new connections too."""
        self._drops_all.set()
        for _ in range(BACKLOG_FILLERS):
            filler = socket.socket()
            self._sockets.append(filler)
            filler.settimeout(0)
            with suppress(BlockingIOError):
                filler.connect((HERE, self.port))

    def drop(self, *, but: bytes) -> None:
        """Lose what is sent on the open connections, as a firewall may.

        Those whose first chunk contains ``but`` go on; new ones are forwarded.
        """
        for client, first in list(self._first_chunks.items()):
            if but not in first:
                self._dropped.add(client)

    def close(self) -> None:
        """Close everything."""
        self._drops_all.set()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _start_thread(self, work: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._drops_all.is_set():
                client, _ = self._listener.accept()
                self._sockets.append(client)
                if self._drops_all.is_set():
                    return
                try:
                    server = socket.create_connection((HERE, self._to_port))
                except OSError:
                    client.shutdown(socket.SHUT_RDWR)
                    continue
                self._sockets.append(server)
                self._start_thread(self._forward, client, client, server)
                self._start_thread(self._forward, client, server, client)

    def _forward(
        self, client: socket.socket, source: socket.socket, sink: socket.socket
    ) -> None:
        """Pass on what arrives, and the end of it."""
        with suppress(OSError):
            while chunk := source.recv(65536):
                if source is client:
                    self._first_chunks.setdefault(client, chunk)
                if self._drops_all.is_set() or client in self._dropped:
                    return
                sink.sendall(chunk)
            if not self._drops_all.is_set():
                sink.shutdown(socket.SHUT_WR)
