"""A DNS server for tests, on a free port of 127.0.0.1.

``python -m tests.integration.name_server FILE`` prints its port and answers from FILE
until its standard input ends. A line of the file is a name and its addresses, or a
zone, ``SOA`` and its serial number. It reads the file for each question.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from twisted.internet import stdio, task
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Protocol
from twisted.names import dns
from twisted.names.error import DNSNameError
from twisted.names.server import DNSServerFactory


class NameServer:
    """The process of the server."""

    def __init__(self, folder: Path) -> None:
        """Start it without names; ``resolv_conf`` is a file that refers to it."""
        self._records = folder / "records"
        self._records.write_text("")
        command = [sys.executable, "-m", __name__, str(self._records)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(
            f"nameserver 127.0.0.1:{port}\noptions timeout:1 attempts:1\n"
        )
        folder.chmod(0o755)

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._process.communicate()

    def answer(self, **answers: Sequence[str]) -> None:
        """Replace all answers: addresses by name, ``SOA`` and a number by zone."""
        lines = [f"{name} {' '.join(rest)}\n" for name, rest in answers.items()]
        new = self._records.with_suffix(".new")
        new.write_text("".join(lines))
        new.replace(self._records)


class _Records:
    """Answers questions from the file, as a client of twisted.names' server."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def query(self, question: Any, timeout: object = None) -> Deferred[Any]:  # noqa: ANN401 - dns.Query
        del timeout
        lines = [line.split() for line in self._path.read_text().splitlines()]
        records = {name: rest for name, *rest in lines}
        name = question.name.name.decode().lower()
        if name not in records:
            return fail(DNSNameError())
        payloads = [
            one for one in _payloads(records[name]) if question.type == one.TYPE
        ]
        headers = [
            dns.RRHeader(name.encode(), one.TYPE, payload=one, auth=True)
            for one in payloads
        ]
        return succeed((headers, [], []))


def _payloads(rest: Sequence[str]) -> list[Any]:
    if rest[0] == "SOA":
        return [dns.Record_SOA(b"ns", b"root", serial=int(rest[1]))]
    return [
        dns.Record_AAAA(address) if ":" in address else dns.Record_A(address)
        for address in rest
    ]


class _UntilTheEnd(Protocol):
    """Fires ``ended`` at the end of standard input."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: object = None) -> None:
        del reason
        self.ended.callback(None)


def main(reactor: Any, path: str) -> Deferred[None]:  # noqa: ANN401 - IReactorUDP
    """Serve until standard input ends."""
    factory = DNSServerFactory(clients=[_Records(path)])
    factory.noisy = False
    protocol = dns.DNSDatagramProtocol(factory)
    port = reactor.listenUDP(0, protocol, interface="127.0.0.1")
    sys.stdout.write(f"{port.getHost().port}\n")
    sys.stdout.flush()
    end = _UntilTheEnd()
    stdio.StandardIO(end)
    return end.ended


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
