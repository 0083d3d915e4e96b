"""``-R``: the steps of an online restart in the new process."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pgswitch.errors.fatal import FatalError
from pgswitch.net.sockets import is_abstract, unix_socket_path
from pgswitch.process.service_manager import environment, inherited_sockets
from pgswitch.takeover.predecessor import InheritedSocket, Predecessor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.config.model import Settings
    from pgswitch.logs import Log


@dataclass(slots=True)
class Takeover:
    """What another process has handed over; it stands still and waits for its end."""

    predecessor: Predecessor
    sockets: list[InheritedSocket]
    pidfile: str

    def listening(self) -> list[int]:
        """Return the descriptors of the listening sockets."""
        return [one.fd for one in self.sockets if one.task == "pooler"]

    def complete(self) -> None:
        """End the other process; raises FatalError if that is not possible."""
        with _no_way_back():
            self.predecessor.end(self.pidfile)


def begin(settings: Settings, log: Log) -> Takeover | None:
    """Have the process that serves here hand over; None if there is none.

    Raises FatalError where that cannot be, or is refused; the old process goes on.
    """
    if not settings.unix_socket_dir:
        _die("cannot reboot if unix dir not configured")
    if inherited_sockets(environment()):
        _die("cannot reboot under service manager")
    path = unix_socket_path(settings.unix_socket_dir, settings.listen_port)
    if is_abstract(path):
        _die("cannot reboot with abstract Unix socket")
    predecessor = Predecessor.at(path)
    if predecessor is None:
        log.log("old process not found, try to continue normally")
        return None
    with _no_way_back():
        try:
            sockets = predecessor.sockets()
        except FatalError:
            predecessor.give_up()
            raise
    log.log(f"taking over {len(sockets)} sockets")
    return Takeover(predecessor, sockets, settings.pidfile)


@contextmanager
def _no_way_back() -> Iterator[None]:
    """Have SIGINT and SIGTERM end this process at once; the old one then resumes."""

    def leave(_number: int, _frame: object) -> NoReturn:
        _die("takeover was in progress, going down immediately")

    before = {
        number: signal.signal(number, leave)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die(text: str) -> NoReturn:
    raise FatalError(text)
