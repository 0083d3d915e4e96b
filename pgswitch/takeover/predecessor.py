"""The new process's side of a takeover: asks the old one's console for its sockets.

All calls block: they happen before this process serves any client, and may take as
long as SUSPEND.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self

from pgswitch.config.trust import is_trusted
from pgswitch.errors.base import FatalError, fatal
from pgswitch.net.sockets import is_abstract, unix_socket_path, user_behind
from pgswitch.process.service_manager import environment, inherited_sockets
from pgswitch.takeover.exporter import UNTOUCHED
from pgswitch.types import CONSOLE_DATABASES, CONSOLE_USER
from pgswitch.wire import decode, encode
from pgswitch.wire.constants import (
    AUTHENTICATION,
    DATA_ROW,
    ERROR_RESPONSE,
    HEADER_SIZE,
    READY_FOR_QUERY,
    ROW_DESCRIPTION,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.config.model import Settings
    from pgswitch.logs import Log
    from pgswitch.takeover.serialize import Packed

TIMEOUT_S: Final = 60.0
"""Limit for one answer; SUSPEND takes up to the old process's suspend_timeout."""
END_S: Final = 30.0
"""Limit for the end of the old process."""
POLL_S: Final = 0.01
_READ: Final = 65536
_MAX_DESCRIPTORS: Final = 64
_INT4: Final = 4
_KEY_MASK: Final = (1 << 64) - 1
_STATE: Final = 15
"""The index of SHOW HANDOVER's column ``state``, which SHOW FDS does not have."""


@dataclass(slots=True)
class InheritedSocket:
    """One socket of the old process, and its connection's state."""

    fd: int
    """The descriptor in this process."""
    old_fd: int
    """The descriptor in the old process; ``link`` of other sockets refers to it."""
    task: str
    user: str
    database: str
    addr: str
    port: int
    cancel_key: bytes
    link: int
    parameters: dict[str, str | None] = field(default_factory=dict)
    is_untouched: bool = False
    state: Packed = field(default_factory=dict)
    """The state of SHOW HANDOVER; empty from PgBouncer."""


class Predecessor:
    """The running process, through its console on the unix socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection on which nothing has been sent yet."""
        self._connection = connection
        connection.settimeout(TIMEOUT_S)
        self._buffer = bytearray()
        self._descriptors: list[int] = []

    @classmethod
    def at(cls, path: str) -> Self | None:
        """Return the process that listens on a unix socket, None if there is none.

        Raises FatalError if it runs as another user, who could hand us forged clients
        and servers, or if it is too busy.
        """
        _refuse_planted(path)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(connection, path)
        except BlockingIOError:
            connection.close()
            fatal("takeover failed: the old process accepts no connection")
        except OSError:
            connection.close()
            return None
        uid = user_behind(connection)
        if not is_trusted(uid):
            connection.close()
            fatal(
                f"takeover refused: the process at {path} runs as another user"
                f" (id {uid})"
            )
        return cls(connection)

    def sockets(self) -> list[InheritedSocket]:
        """Suspend the process and return everything it hands over.

        Raises FatalError if it refuses or does not answer.
        """
        try:
            self._log_in()
            self._ask("SUSPEND;")
            return self._handed_over()
        except (OSError, EOFError) as error:
            fatal(f"takeover failed: {str(error) or 'the old process ended'}")

    def end(self, pidfile: str) -> None:
        """Shut the process down, which leaves the sockets alone; wait for its pid file.

        Returns when the pid file is gone; raises FatalError if it stays.
        """
        try:
            self._connection.sendall(encode.query("SHUTDOWN;"))
            while self._connection.recv(_READ):
                pass
        except ConnectionError:
            pass
        except OSError as error:
            fatal(f"takeover failed: {error}")
        self._connection.close()
        deadline = time.monotonic() + END_S
        while pidfile and Path(pidfile).exists():
            if time.monotonic() > deadline:
                fatal(f"takeover failed: pidfile '{pidfile}' is still there")
            time.sleep(POLL_S)  # noqa: TID251 - no client is served yet

    def give_up(self) -> None:
        """Let the process continue; it also resumes when its console disconnects."""
        with suppress(OSError):
            self._connection.sendall(encode.query("RESUME;") + encode.terminate())
        self._connection.close()

    # The protocol.

    def _log_in(self) -> None:
        start = {"user": CONSOLE_USER, "database": CONSOLE_DATABASES[0]}
        self._connection.sendall(encode.startup(start.items()))
        for kind, body in self._messages():
            if kind == AUTHENTICATION and decode.authentication(body)[0]:
                fatal("takeover failed: the old process asks for a password")

    def _ask(self, statement: str) -> list[bytes]:
        """Return the DataRows of a statement; raises FatalError for an error."""
        self._connection.sendall(encode.query(statement))
        rows = []
        for kind, body in self._messages():
            if kind in (DATA_ROW, ROW_DESCRIPTION):
                rows.append(body)
        return rows[1:]

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the messages up to ReadyForQuery."""
        failed = ""
        while True:
            kind, body = self._message()
            if kind == ERROR_RESPONSE:
                fields = decode.error_fields(body)
                failed = fields["M"]
                if fields["S"] == "FATAL":
                    break
            elif kind == READY_FOR_QUERY:
                break
            yield kind, body
        if failed:
            fatal(f"takeover failed: {failed}")

    def _message(self) -> tuple[int, bytes]:
        head = self._exactly(HEADER_SIZE)
        size = int.from_bytes(head[1:], "big") - _INT4
        return head[0], self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data, descriptors, _flags, _address = socket.recv_fds(
                self._connection, _READ, _MAX_DESCRIPTORS
            )
            self._descriptors += descriptors
            if not data:
                raise EOFError
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _handed_over(self) -> list[InheritedSocket]:
        try:
            rows = self._ask("SHOW HANDOVER;")
        except FatalError:
            rows = self._ask("SHOW FDS;")  # PgBouncer, or an older pgswitch.
        if len(rows) != len(self._descriptors):
            fatal(
                f"takeover failed: {len(rows)} rows came with"
                f" {len(self._descriptors)} sockets"
            )
        return [
            _inherited(decode.text_row(row), fd)
            for row, fd in zip(rows, self._descriptors, strict=True)
        ]


def _connect(connection: socket.socket, path: str) -> None:
    """Connect; raises BlockingIOError if the queue of connections stays full."""
    connection.setblocking(False)  # noqa: FBT003 - its only argument
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(POLL_S)  # noqa: TID251 - no client is served yet


def _refuse_planted(path: str) -> None:
    """Raise FatalError if the socket is another user's, or one could replace it.

    A user who may write to the folder could lead us to another socket of our own.
    """
    try:
        status, folder = os.lstat(path), Path(path).parent.stat()
    except OSError:
        return
    if not stat.S_ISSOCK(status.st_mode) or not is_trusted(status.st_uid):
        fatal(f"takeover refused: {path} is not a socket of our own user")
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        fatal(
            f"takeover refused: everyone may write to {Path(path).parent}"
            " and replace the socket there"
        )


def _inherited(row: list[str | None], fd: int) -> InheritedSocket:
    """Return the socket that a row of SHOW FDS or SHOW HANDOVER describes."""
    old_fd, task, user, database, addr, port, cancel, link, *parameters = row[:12]
    state = row[_STATE] if len(row) > _STATE else ""
    names = ("client_encoding", "standard_conforming_strings", "DateStyle", "TimeZone")
    key = int(cancel or 0) & _KEY_MASK
    return InheritedSocket(
        fd=fd,
        old_fd=int(old_fd or 0),
        task=task or "",
        user=user or "",
        database=database or "",
        addr=addr or "unix",
        port=int(port or 0),
        cancel_key=key.to_bytes(8, sys.byteorder) if key else b"",
        link=int(link or 0),
        parameters=dict(zip(names, parameters, strict=True)),
        is_untouched=state == UNTOUCHED,
        state=json.loads(state) if state and state != UNTOUCHED else {},
    )


@dataclass(slots=True)
class Takeover:
    """The state that another process has handed over; it is suspended until it ends."""

    predecessor: Predecessor
    sockets: list[InheritedSocket]
    pidfile: str

    def listening(self) -> list[int]:
        """Return the descriptors of the listening sockets."""
        return [one.fd for one in self.sockets if one.task == "pooler"]

    def complete(self) -> None:
        """End the other process; raises FatalError if it does not end."""
        with _exit_on_signals():
            self.predecessor.end(self.pidfile)


def begin(settings: Settings, log: Log) -> Takeover | None:
    """Take over from the running process; return None if there is none.

    Raises FatalError if that is impossible or refused; the old process then continues.
    """
    if not settings.unix_socket_dir:
        fatal("cannot reboot if unix dir not configured")
    if inherited_sockets(environment()):
        fatal("cannot reboot under service manager")
    path = unix_socket_path(settings.unix_socket_dir, settings.listen_port)
    if is_abstract(path):
        fatal("cannot reboot with abstract Unix socket")
    predecessor = Predecessor.at(path)
    if predecessor is None:
        log.log("old process not found, try to continue normally")
        return None
    with _exit_on_signals():
        try:
            sockets = predecessor.sockets()
        except FatalError:
            predecessor.give_up()
            raise
    log.log(f"taking over {len(sockets)} sockets")
    return Takeover(predecessor, sockets, settings.pidfile)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end this process at once; the old one then resumes."""

    def leave(_number: int, _frame: object) -> NoReturn:
        fatal("takeover was in progress, going down immediately")

    before = {
        number: signal.signal(number, leave)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
