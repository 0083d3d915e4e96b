"""A long way to a server: whatever is sent takes its time."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress

HERE = "127.0.0.1"


class SlowPath:
    """Passes connections on to a port, each chunk after ``delay_s`` seconds."""

    def __init__(self, to_port: int, delay_s: float) -> None:
        """Begin at once, on a port of its own."""
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
                near, _ = self._listener.accept()
                far = socket.create_connection((HERE, self._to_port))
                self.connections += 1
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._read, args=ends, daemon=True).start()

    def _read(self, source: socket.socket, sink: socket.socket) -> None:
        """Have what comes, and its end, written later."""
        later: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(later, sink), daemon=True).start()
        chunk = b"begin"
        while chunk:
            try:
                chunk = source.recv(65536)
            except OSError:
                chunk = b""
            later.put((time.monotonic() + self.delay_s, chunk))

    @staticmethod
    def _write(
        later: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket
    ) -> None:
        with suppress(OSError):
            while True:
                due, chunk = later.get()
                threading.Event().wait(max(due - time.monotonic(), 0.0))
                if not chunk:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(chunk)
