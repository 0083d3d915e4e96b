"""Idle clients in a process of their own: ``-m bench.idle_clients PORT COUNT TLS``.

TLS is 0 or 1. The process prints ``holding`` when all are logged in and ends with its
standard input, so that it never outlives its parent.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.environment import DATABASE, USER
from testkit.pgwire import Connection, ServerError

HOLDING = "holding"


class IdleFailed(RuntimeError):
    """The idle clients could not log in; the text says why."""


@contextmanager
def idle_clients(port: int, count: int, *, by_tls: bool = False) -> Iterator[None]:
    """Keep ``count`` idle clients connected to ``port`` for the length of a block.

    Raises IdleFailed unless all can log in.
    """
    holder = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.idle_clients",
            str(port),
            str(count),
            str(int(by_tls)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        try:
            said = holder.stdout.readline().strip() if holder.stdout else ""
            if said != HOLDING:
                raise IdleFailed(said or "the process of the idle clients ended")
            yield
        finally:
            holder.kill()


def main() -> None:
    """Log in, print ``holding``, and stay until standard input ends."""
    port, count, by_tls = map(int, sys.argv[1:])
    with ExitStack() as connections:
        for number in range(count):
            try:
                client = connections.enter_context(Connection(port))
                if by_tls:
                    client.request_tls()
                client.log_in(USER, DATABASE)
            except (OSError, EOFError, ServerError) as error:
                print(f"idle client {number + 1} of {count}: {error}", flush=True)
                return
        print(HOLDING, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
